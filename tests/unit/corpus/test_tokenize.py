from __future__ import annotations

import gzip
import pickle
import time
from itertools import accumulate, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.corpus import tokenize
from txray.corpus.tokenize import Tokenizer, sentence_starts

TOKENIZER = Tokenizer()


def _sentences(text: str, tokenizer: Tokenizer = TOKENIZER) -> list[str]:
    words, starts, _ = tokenizer(text)
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
    assert TOKENIZER(text) == ((), (), ())


@pytest.mark.parametrize("control", ["\x00", "\x07", "\x1b", "\x7f", "\x9f", "\t"])
def test_control_characters_count_as_spaces(control):
    assert TOKENIZER(f"a{control}b{control}").words == ("a", "b")


PIECES = [
    *("a", "I", "é", "e\u0301", "ж", "中", "1", "90", "km", "C", "°", "😀", "\u200d", "www.x.com", "http://", "a@b.de"),
    *("n't", "can", "not", "'s", "'em", "in'", "Mr.", "a.m.", ":)", "US$", "<3", "@", "com", "do", "nt"),
    *".,:;!?'\"()[]-–—…</$*_+=^%#~`´’»。|\\\x00\t \u00a0",
]  # fmt: skip


@given(
    st.one_of(
        st.lists(st.sampled_from(PIECES), min_size=5, max_size=60).map("".join),
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300),
    )
)
def test_words_are_the_text_without_its_spaces(text):
    words, starts, _ = TOKENIZER(text)
    printed = tokenize._CONTROL.sub(" ", "\n".join(text.splitlines()))
    assert "".join(words) == "".join(printed.split())
    position = 0
    for word in words:
        assert word
        assert not any(character.isspace() for character in word)
        position = printed.index(word, position) + len(word)
    assert list(starts) == sorted(set(starts))
    assert starts[:1] == ((0,) if words else ())
    assert all(start < len(words) for start in starts)


def test_no_pair_of_pieces_loses_a_character():
    for text in map("".join, product(PIECES, repeat=2)):
        assert "".join(TOKENIZER(text).words) == "".join(tokenize._CONTROL.sub(" ", text).split())


@pytest.mark.parametrize(
    ("run", "words"),
    [
        # contractions
        ("don't", "do n't"),
        ("CAN’T", "CA N’T"),
        ("couldn't've", "could n't 've"),
        ("I'd've", "I 'd 've"),
        ("he`s", "he `s"),
        ("boss's", "boss 's"),
        ("boys'", "boys '"),
        ("cannot", "can not"),
        ("Gonna", "Gon na"),
        ("wanna", "wan na"),
        ("dont", "do nt"),
        ("thats", "that s"),
        ("its", "its"),
        ("well", "well"),
        ("were", "were"),
        ("n't", "n't"),
        ("'s", "'s"),
        ("O'Brien's", "O'Brien 's"),
        ("rock'n'roll", "rock'n'roll"),
        ("'em,", "'em ,"),
        ("'80s", "'80s"),
        ("1980's", "1980 's"),
        ("goin'", "goin'"),
        # abbreviations
        ("Mr.Smith", "Mr. Smith"),
        ("U.S.", "U.S."),
        ("U.K.-based", "U.K. - based"),
        ("J.R.R.", "J.R.R."),
        ("(e.g.", "( e.g."),
        ("Ph.D.,", "Ph.D. ,"),
        ("etc...", "etc ..."),
        ("etc.", "etc ."),
        ("I.", "I ."),
        ("no.", "no ."),
        # punctuation
        ("end.The", "end . The"),
        ('"Yes!"...', '" Yes ! " ...'),
        ("well-known", "well - known"),
        ("now--it", "now -- it"),
        ("and/or", "and / or"),
        ("(What?!)", "( What ? ! )"),
        ("*****", "*****"),
        ("account(s)", "account ( s )"),
        ("AT&T", "AT&T"),
        ("sh*t", "sh*t"),
        ("_word_", "_ word _"),
        ("snake_case", "snake_case"),
        ("<br/>", "< br / >"),
        # numbers
        ("$1,000.50/kg", "$ 1,000.50 / kg"),
        ("US$5", "US$ 5"),
        ("30°C", "30 °C"),
        ("7km,", "7 km ,"),
        ("3.30p.m.)", "3.30 p.m. )"),
        ("7:30PM", "7:30 PM"),
        ("2nd", "2nd"),
        ("3D", "3D"),
        ("1/2", "1/2"),
        ("-5", "-5"),
        ("5-10", "5 - 10"),
        ("10%.", "10 % ."),
        ("713-853-3989", "713-853-3989"),
        # addresses and emoticons
        ("(http://x.org/a?b=c).", "( http://x.org/a?b=c ) ."),
        ("me@x.org,", "me@x.org ,"),
        ("www.imdb.com/title.", "www.imdb.com/title ."),
        ("Amazon.com's", "Amazon.com 's"),
        ("a_file.pdf", "a_file.pdf"),
        ("comp.lang.python", "comp.lang.python"),
        (":-)", ":-)"),
        ("<3", "<3"),
        ("(8)", "( 8 )"),
        ("film:))", "film :))"),
        ("@user", "@user"),
        ("w/", "w/"),
        ("n/a,", "n/a ,"),
        ("@-@", "@-@"),
        ("A+", "A+"),
        ("(Dir:", "( Dir :"),
        ("😀\ufe0f😀", "😀\ufe0f 😀"),
        ("cafe\u0301s", "cafe\u0301s"),
    ],
)
def test_a_run_falls_into_words(run, words):
    assert " ".join(TOKENIZER(run).words) == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "It ended... And then? it went on... slowly.",
            ["It ended ...", "And then ?", "it went on ... slowly ."],
        ),
        ('"No!" he said. "Yes!" He left.', ['" No ! " he said .', '" Yes ! "', "He left ."]),
        ("(Really!) , he said. (It was.) Good.", ["( Really ! ) , he said .", "( It was . )", "Good ."]),
        ("A film.The end of it.", ["A film .", "The end of it ."]),
        ("1. First. 2. Second in 1995. Third.", ["1 . First .", "2 . Second in 1995 .", "Third ."]),
        ("Good. :) Mr. X at 5 p.m. saw U.S. films.", ["Good . :)", "Mr. X at 5 p.m. saw U.S. films ."]),
        (") a. b? ! c", [") a. b ? !", "c"]),
    ],
)
def test_sentences_end_at_end_marks(text, sentences):
    assert _sentences(text) == sentences


def _f1(words: list[tuple[str, ...]], others: list[tuple[str, ...]]) -> float:
    """F1 of the spans of characters, without spaces, that two tokenizers make words."""
    spans = [
        {(number, end - len(word), end) for number, text in enumerate(texts)
         for word, end in zip(text, accumulate(map(len, text)), strict=True)}
        for texts in (words, others)
    ]  # fmt: skip
    return 2 * len(spans[0] & spans[1]) / (len(spans[0]) + len(spans[1]))


@pytest.mark.data
def test_words_agree_with_those_of_a_treebank_better_than_spacys_do(data_folder):
    language = pytest.importorskip("spacy").blank("en")
    texts, gold = _treebank(data_folder / "ud-ewt" / "en_ewt-ud-test.conllu.gz")
    ours = [TOKENIZER(text).words for text in texts]
    spacys = [tuple(token.text for token in language(text) if not token.is_space) for text in texts]
    assert sum(map(len, gold)) == 25_094
    assert _f1(ours, gold) > 0.98 > 0.975 > _f1(spacys, gold)
    assert _f1(ours, spacys) > 0.985


def _treebank(file: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the sentences of a treebank as text, and their words; a contraction that is not its parts is one word."""
    texts, words = [], []
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        for block in stream.read().strip().split("\n\n"):
            lines = block.split("\n")
            texts.append(next(line[9:] for line in lines if line.startswith("# text = ")))
            rows = [
                line.split("\t")[:2] for line in lines if line[0].isdigit() and "." not in line.split("\t")[0]
            ]
            forms = {number: "".join(form.split()) for number, form in rows}
            for number, form in list(forms.items()):
                if "-" in number:
                    first, last = map(int, number.split("-"))
                    parts = [str(part) for part in range(first, last + 1)]
                    joined = "".join(forms[part] for part in parts) == form
                    for part in [number] if joined else parts:
                        del forms[part]
            words.append(tuple(forms.values()))
    return texts, words


def test_a_long_text_in_one_line():
    sentence = "It was a good film . "
    words, starts, _ = TOKENIZER(sentence * 60_000)
    assert len(words) == 6 * 60_000
    assert starts == tuple(range(0, 6 * 60_000, 6))


@pytest.mark.parametrize(
    "piece",
    [
        *"a(.@'-1_*é:<",
        "[(",
        "a.",
        "a-",
        "1,",
        "a@",
        "n't",
        "ab.",
        "a&",
        "www.",
        "a.com/)",
        "mailto:",
        "A.",
        "'s",
        "Ph.",
        "<3",
    ],
)
def test_the_time_grows_linearly_with_hostile_text(piece):
    text = piece * (100_000 // len(piece))
    begin = time.process_time()
    words = TOKENIZER(text).words
    assert time.process_time() - begin < 5  # linear: below one second
    assert "".join(words) == text
    assert text not in TOKENIZER._remembered


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
