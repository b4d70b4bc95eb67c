from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import UsageError
from txray.models.vocabulary import Vocabulary

WORDS = st.one_of(
    st.sampled_from(["<unk>", "<eos>", "<UNK>", "a", "A", "b", "Ab", "aB", "ΑΣ", "İ"]), st.text(min_size=1)
)
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=12).map(tuple), min_size=1, max_size=6)


def corpus_of(texts: list[tuple[str, ...]]) -> Corpus:
    return Corpus.from_documents("t", [Document(str(number), words) for number, words in enumerate(texts)])


@given(texts=TEXTS, size=st.one_of(st.none(), st.integers(3, 12)), lowercase=st.booleans())
def test_takes_the_most_frequent_words_with_ties_in_alphabetical_order(
    texts: list[tuple[str, ...]], size: int | None, lowercase: bool
) -> None:
    vocabulary = Vocabulary.from_corpus(corpus_of(texts), size, lowercase)
    flat = [word.lower() if lowercase else word for words in texts for word in words]
    counts = Counter(word for word in flat if word not in ("<unk>", "<eos>"))

    chosen = vocabulary.words[2:]
    assert vocabulary.words[:2] == ("<unk>", "<eos>")
    assert len(chosen) == (len(counts) if size is None else min(size - 2, len(counts)))
    ranks = [(-counts[word], word) for word in chosen]
    assert ranks == sorted(ranks)
    left_out = [(-counts[word], word) for word in counts.keys() - set(chosen)]
    assert not left_out or not ranks or max(ranks) < min(left_out)


@given(texts=TEXTS, size=st.one_of(st.none(), st.integers(3, 12)), lowercase=st.booleans(), word=WORDS)
def test_encode_and_form_tell_the_same(
    texts: list[tuple[str, ...]], size: int | None, lowercase: bool, word: str
) -> None:
    vocabulary = Vocabulary.from_corpus(corpus_of(texts), size, lowercase)
    (number,) = vocabulary.encode((word,))
    assert vocabulary.words[number] == vocabulary.form(word)
    assert vocabulary.form(vocabulary.form(word)) == vocabulary.form(word)
    if size is None:
        seen = {other.lower() if lowercase else other for words in texts for other in words} | {
            "<unk>",
            "<eos>",
        }
        assert (vocabulary.form(word) == "<unk>") == (
            (word.lower() if lowercase else word) not in seen - {"<unk>"}
        )


def test_ids_follow_the_order_of_the_words() -> None:
    vocabulary = Vocabulary(("<unk>", "<eos>", "the", "cat"))
    assert len(vocabulary) == 4
    assert vocabulary.encode(("The", "CAT", "sat", "<eos>", "<unk>")) == [2, 3, 0, 1, 0]
    assert [vocabulary.form(word) for word in ("The", "sat", "<eos>")] == ["the", "<unk>", "<eos>"]


def test_case_counts_when_asked() -> None:
    vocabulary = Vocabulary.from_corpus(corpus_of([("The", "the", "The")]), lowercase=False)
    assert vocabulary.words == ("<unk>", "<eos>", "The", "the")
    assert vocabulary.form("THE") == "<unk>"


def test_specials_in_the_text_take_no_place_of_their_own() -> None:
    vocabulary = Vocabulary.from_corpus(corpus_of([("<unk>", "<unk>", "<eos>", "a", "<UNK>")]), size=3)
    assert vocabulary.words == ("<unk>", "<eos>", "a")


def test_fingerprint_depends_on_words_order_and_case() -> None:
    prints = {
        Vocabulary(("<unk>", "<eos>", "a", "b")).fingerprint,
        Vocabulary(("<unk>", "<eos>", "b", "a")).fingerprint,
        Vocabulary(("<unk>", "<eos>", "a", "b"), lowercase=False).fingerprint,
        Vocabulary(("<unk>", "<eos>", "a")).fingerprint,
    }
    assert len(prints) == 4
    assert Vocabulary(("<unk>", "<eos>", "a")).fingerprint == Vocabulary(("<unk>", "<eos>", "a")).fingerprint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", "b"), r"begins with \['a', 'b'\]"),
        (("<eos>", "<unk>"), "the first two words must be"),
        (("<unk>", "<eos>", "a", "b", "a"), "'a' occurs more than once"),
        (("<unk>", "<eos>", "A"), "'A' can never be looked up"),
    ],
)
def test_refuses_words_that_cannot_be_a_vocabulary(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Vocabulary(words)


@pytest.mark.parametrize("size", [-1, 0, 2])
def test_refuses_a_size_without_room(size: int) -> None:
    with pytest.raises(UsageError, match=f"size={size} leaves no room"):
        Vocabulary.from_corpus(corpus_of([("a",)]), size)


def test_costs_no_torch() -> None:
    modules = "txray.models, txray.models.vocabulary, txray.training, txray.training.run"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
