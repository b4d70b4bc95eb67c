from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from txray.corpus import Corpus, Document
from txray.errors import CorpusError, UsageError


def _document(name: str, text: str, **labels: str) -> Document:
    return Document(name, tuple(text.split()), labels=labels)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus.from_documents(
        "three", [_document("1", "a b c"), _document("2", "d e"), _document("3", "f g h i")]
    )


def _words(corpus: Corpus) -> list[tuple[str, ...]]:
    return [document.words for document in corpus]


def test_a_corpus_can_be_read_again_and_again(corpus):
    assert _words(corpus) == _words(corpus) == [("a", "b", "c"), ("d", "e"), ("f", "g", "h", "i")]


def test_two_passes_at_once_do_not_disturb_each_other(corpus):
    assert [(left.id, right.id) for left, right in zip(corpus, corpus, strict=True)] == [
        ("1", "1"),
        ("2", "2"),
        ("3", "3"),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (1, [("a",)]),
        (3, [("a", "b", "c")]),
        (4, [("a", "b", "c"), ("d",)]),
        (9, [("a", "b", "c"), ("d", "e"), ("f", "g", "h", "i")]),
        (100, [("a", "b", "c"), ("d", "e"), ("f", "g", "h", "i")]),
    ],
)
def test_take_gives_exactly_the_first_words(corpus, words, expected):
    assert _words(corpus.take_words(words)) == expected


def test_take_reads_no_further_than_it_needs():
    def documents(skipped: Counter[str]) -> Iterator[Document]:
        yield _document("1", "a b")
        raise AssertionError("read too far")

    corpus = Corpus("source", documents, fingerprint=lambda: "f")
    assert _words(corpus.take_words(2)) == [("a", "b")]


def test_first_gives_whole_documents(corpus):
    assert _words(corpus.head(2)) == [("a", "b", "c"), ("d", "e")]


@pytest.mark.parametrize("part", [lambda corpus: corpus.take_words(0), lambda corpus: corpus.head(-1)])
def test_a_part_with_nothing_in_it_is_refused(corpus, part):
    with pytest.raises(UsageError, match="'three'"):
        part(corpus)


def test_select_keeps_what_holds_and_names_the_part(corpus):
    part = corpus.select(lambda document: len(document.words) > 2, name="long")
    assert part.name == "three/long"
    assert [document.id for document in part] == ["1", "3"]


def test_a_pass_without_documents_is_an_error_that_says_what_was_skipped():
    def documents(skipped: Counter[str]) -> Iterator[Document]:
        skipped["no words"] += 2
        yield from ()

    corpus = Corpus("hollow", documents, fingerprint=lambda: "f")
    with pytest.raises(CorpusError, match=r"'hollow': no documents \(2 documents skipped\)"):
        list(corpus)


def test_skipped_counts_the_latest_pass_only_also_of_a_part():
    def documents(skipped: Counter[str]) -> Iterator[Document]:
        skipped["no words"] += 1
        yield _document("1", "a b")

    corpus = Corpus("source", documents, fingerprint=lambda: "f")
    list(corpus)
    list(corpus)
    part = corpus.take_words(1)
    list(part)
    assert corpus.skipped == part.skipped == {"no words": 1}


def test_the_fingerprint_is_computed_once_and_only_when_asked_for():
    calls = []
    corpus = Corpus("c", lambda skipped: iter(()), fingerprint=lambda: calls.append(1) or "f")
    part = corpus.take_words(3)
    assert calls == []
    assert corpus.fingerprint == corpus.fingerprint == "f"
    assert part.fingerprint
    assert calls == [1]


def test_corpora_are_added_in_order(corpus):
    other = Corpus.from_documents("other", [_document("4", "z")])
    both = corpus + other
    assert _words(both) == [*_words(corpus), ("z",)]
    assert both.name == "three+other"
    assert both.fingerprint == corpus.concat(other).fingerprint != (other + corpus).fingerprint
    with pytest.raises(TypeError):
        corpus + [1]  # noqa: RUF005


def test_a_cached_corpus_reads_its_source_once(corpus):
    passes = []

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        passes.append(1)
        skipped["no words"] += 2
        yield from corpus

    cached = Corpus("source", documents, fingerprint=lambda: "f").cache()
    next(iter(cached))  # an incomplete pass is not kept
    assert _words(cached) == _words(cached) == _words(corpus)
    assert (len(passes), cached.skipped, cached.fingerprint) == (2, {"no words": 2}, "f")


def test_everything_that_changes_the_documents_changes_the_fingerprint():
    documents = [_document("1", "a b"), _document("2", "c d")]
    corpus = Corpus.from_documents("c", documents)
    words = ("a", "b")
    variants = [
        corpus,
        corpus.take_words(1),
        corpus.take_words(2),
        corpus.head(1),
        corpus.head(2),
        corpus.select(lambda document: True, name="1"),
        Corpus.from_documents("c", documents[::-1]),
        Corpus.from_documents("c", documents[:1]),
        Corpus.from_documents("c", [Document("other", words)]),
        Corpus.from_documents("c", [Document("1", words, labels={"label": "pos"})]),
        Corpus.from_documents("c", [Document("1", words, annotations={"pos": ("DT", "NN")})]),
        Corpus.from_documents("c", [Document("1", words, sentence_starts=(0, 1))]),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_equal_documents_give_equal_fingerprints_whatever_the_name_and_the_kind_of_sequence():
    left = Corpus.from_documents(
        "left", [Document("1", ("a",), {"x": ("1",), "y": ("2",)}, {"b": "1", "a": "2"})]
    )
    right = Corpus.from_documents(
        "right", [Document("1", ("a",), {"y": ("2",), "x": ("1",)}, {"a": "2", "b": "1"})]
    )
    assert left.fingerprint == right.fingerprint
