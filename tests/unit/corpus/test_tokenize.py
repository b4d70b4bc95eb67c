from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.corpus import tokenize
from txray.corpus.tokenize import Tokenizer, sentence_starts

TOKENIZER = Tokenizer()


def _sentences(text: str, tokenizer: Tokenizer = TOKENIZER) -> list[str]:
    words, starts = tokenizer(text)
    ends = (*starts[1:], len(words))
    return [" ".join(words[start:end]) for start, end in zip(starts, ends, strict=True)]


def test_words_and_sentences_of_running_text():
    assert _sentences('I don\'t like it. Mr. Smith (the hero) said: "No!" Why?') == [
        "I do n't like it .",
        'Mr. Smith ( the hero ) said : " No ! "',
        "Why ?",
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\n\n", "\u2028", "\x0b"])
def test_a_line_end_ends_a_sentence_and_is_no_word(line_end):
    assert _sentences(f"first line{line_end}second line{line_end}") == ["first line", "second line"]


@pytest.mark.parametrize("text", ["", " ", "\n \t\n", "\x00", "\u00a0\u3000"])
def test_nothing_but_spaces_gives_no_words(text):
    assert TOKENIZER(text) == ((), ())


@pytest.mark.parametrize("control", ["\x00", "\x07", "\x1b", "\x7f", "\x9f", "\t"])
def test_control_characters_count_as_spaces(control):
    assert TOKENIZER(f"a{control}b{control}").words == ("a", "b")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_no_character_but_spaces_and_controls_is_lost(text):
    words, starts = TOKENIZER(text)
    kept = tokenize._CONTROL.sub(" ", "\n".join(text.splitlines()))
    assert "".join(words) == "".join(kept.split())
    assert all(word and not any(character.isspace() for character in word) for word in words)
    assert list(starts) == sorted(set(starts))
    assert starts[:1] == ((0,) if words else ())


def test_text_in_pieces_is_tokenised_like_text_as_a_whole(monkeypatch):
    sentence = 'The plot (so-called) isn\'t good, said Mr. Smith. "It is!" cried Anne... Oh well! '
    text = sentence * 40
    whole = TOKENIZER(text)
    for size in (300, 333, 1000):
        monkeypatch.setattr(tokenize, "_CHUNK", size)
        assert Tokenizer()(text) == whole


def test_a_text_above_the_limit_of_the_library():
    sentence = "It was a good film . "
    words, starts = TOKENIZER(sentence * 60_000)
    assert len(words) == 6 * 60_000
    assert starts == tuple(range(0, 6 * 60_000, 6))


def test_a_sentence_without_an_end_is_cut_but_loses_no_word(monkeypatch):
    monkeypatch.setattr(tokenize, "_CHUNK", 1000)
    words, starts = Tokenizer()("word " * 1000)
    assert words == ("word",) * 1000
    assert starts == (0, 200, 400, 600, 800)


def test_a_very_long_word_stays_one_word_and_costs_no_time():
    run = "('" * 500_000
    begin = time.perf_counter()
    words, starts = TOKENIZER(f"Before it. Then {run} follows, and {run}. After it.")
    assert time.perf_counter() - begin < 60  # the rules alone would need days
    assert words == ("Before", "it", ".", "Then", run, "follows", ",", "and", f"{run}.", "After", "it", ".")
    assert starts[:2] == (0, 3)


def test_the_longest_run_that_is_split_and_the_shortest_that_is_not():
    assert len(TOKENIZER("(" * 250).words) == 250
    assert TOKENIZER("(" * 251).words == ("(" * 251,)


def test_the_vocabulary_does_not_grow_with_the_text():
    fresh = len(_strings(TOKENIZER_OF(1_000_000), "a"))
    tokenizer = TOKENIZER_OF(fresh + 1000)
    for part in range(5):
        text = " ".join(f"word{part}x{number}" for number in range(2000))
        assert tokenizer(text).words == tuple(text.split())
        assert len(_strings(tokenizer, "a")) < fresh + 5000


def TOKENIZER_OF(most: int) -> Tokenizer:  # noqa: N802
    return Tokenizer(most_strings=most)


def _strings(tokenizer: Tokenizer, text: str) -> object:
    tokenizer(text)
    return tokenizer._spacy().vocab.strings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b . c d", (0, 3)),
        ("a . b ? c ! d", (0, 2, 4, 6)),
        ("a . . . b", (0, 4)),
        ("( a . ) b", (0, 4)),
        ("a . ) . b . )", (0, 4)),
        ("a .", (0,)),
        (". a", (0, 1)),
        ("a.b c", (0,)),
        ('a . " b', (0, 2)),
    ],
)
def test_sentence_starts_of_text_that_is_already_split(text, expected):
    assert sentence_starts(text.split()) == expected
