from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
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


@pytest.fixture(scope="module")
def spacy() -> Callable[[str], tuple[list[str], list[int]]]:
    """The words and sentence starts of spaCy's blank English pipeline, of one line without control characters."""
    language = pytest.importorskip("spacy").blank("en")
    language.add_pipe("sentencizer")

    def tokens(line: str) -> tuple[list[str], list[int]]:
        words: list[str] = []
        starts: list[int] = []
        begins = True
        for token in language(line):
            begins = begins or bool(token.is_sent_start)
            if not token.is_space:
                if begins:
                    starts.append(len(words))
                words.append(token.text)
                begins = False
        return words, starts

    return tokens


PIECES = [
    *("a", "B", "é", "ж", "中", "1", "9", "km", "C", "°", "😀", "www.x.com", "http://"),
    *("n't", "'s", "Mr.", "a.m.", ":)"),
    *".,:;!?'\"()-—…<3/@$*_+=^%#~`´»。|\\",
    *("  ", "\u00a0", "\u3000"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.just(" "),
            st.sampled_from(PIECES),
            st.sampled_from(sorted(tokenize._rules().exceptions)),
            st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=3),
        ),
        max_size=20,
    )
)
def test_the_rules_split_as_those_of_spacy_do(spacy, pieces):
    line = "".join(pieces)
    words, starts = TOKENIZER(line)
    assert (list(words), list(starts)) == spacy(line)


@pytest.mark.parametrize(
    "line",
    [
        "vitamin-e. and (a.) :) ;-) >.< : ) ): x-:)",
        "He said: 'Don't!'  \"I'd've gone\" (at 3.30p.m.)...",
        "U.S.A. costs $5.00/kg, 7km, 30°C. e.g. U.K.-based co-op.",
        "me@x.org, http://x.org/a?b=c. www.imdb.com/title.",
        "Wow!!!  ?? (What?) 'No.' \u00bbJa.\u00ab So.\u00a0Then",
    ],
)
def test_what_is_difficult_is_split_as_spacy_does(spacy, line):
    words, starts = TOKENIZER(line)
    assert (list(words), list(starts)) == spacy(line)


def test_a_long_text_in_one_line():
    sentence = "It was a good film . "
    words, starts = TOKENIZER(sentence * 60_000)
    assert len(words) == 6 * 60_000
    assert starts == tuple(range(0, 6 * 60_000, 6))


def test_a_very_long_word_stays_one_word_and_costs_no_time():
    run = "('" * 500_000
    begin = time.perf_counter()
    words, starts = TOKENIZER(f"Before it. Then {run} follows, and {run}. After it.")
    assert time.perf_counter() - begin < 20  # the rules alone would need days
    assert words == ("Before", "it", ".", "Then", run, "follows", ",", "and", f"{run}.", "After", "it", ".")
    assert starts[:2] == (0, 3)


def test_the_longest_run_that_is_split_and_the_shortest_that_is_not():
    assert len(TOKENIZER("(" * 250).words) == 250
    assert TOKENIZER("(" * 251).words == ("(" * 251,)


def test_the_memory_does_not_grow_with_the_text():
    tokenizer = Tokenizer(max_remembered=1000)
    for part in range(5):
        text = " ".join(f"word{part}x{number}" for number in range(2000))
        assert tokenizer(text).words == tuple(text.split())
        assert len(tokenizer._remembered) <= 3000


def test_a_copy_for_another_process_is_small_and_splits_alike():
    text = "I can't (really) go."
    words = TOKENIZER(text)
    copied = pickle.dumps(TOKENIZER)
    assert len(copied) < 200
    assert pickle.loads(copied)(text) == words


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
