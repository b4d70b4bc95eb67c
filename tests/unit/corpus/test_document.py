from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.corpus import Document
from txray.errors import CorpusError


def test_a_document_without_words_is_refused():
    with pytest.raises(CorpusError, match="'empty': no words"):
        Document("empty", ())


def test_an_annotation_of_another_length_is_refused_with_both_lengths():
    with pytest.raises(CorpusError, match="'d': annotation 'pos' has 1 values for 2 words"):
        Document("d", ("a", "b"), annotations={"pos": ("DT",)})


@pytest.mark.parametrize("starts", [(), (1,), (0, 3), (0, 2, 1), (0, 1, 1)])
def test_sentence_starts_begin_with_0_ascend_and_stay_inside(starts):
    with pytest.raises(CorpusError, match="sentence_starts"):
        Document("d", ("a", "b", "c"), sentence_starts=starts)


def test_sentences_are_the_words_between_the_starts():
    document = Document("d", ("a", "b", "c", "d"), sentence_starts=(0, 1, 3))
    assert document.sentences() == [("a",), ("b", "c"), ("d",)]


def test_a_document_cannot_be_changed():
    document = Document("d", ("a",))
    with pytest.raises(AttributeError):
        document.words = ("b",)  # type: ignore[misc]
    with pytest.raises(TypeError):
        document.labels["label"] = "pos"  # type: ignore[index]


@given(st.integers(1, 30), st.integers(1, 40), st.sets(st.integers(1, 29)))
def test_cut_keeps_the_first_words_with_their_annotations_and_sentences(length, words, later_starts):
    starts = (0, *sorted(start for start in later_starts if start < length))
    document = Document(
        "d",
        tuple(f"w{place}" for place in range(length)),
        {"pos": tuple(f"t{place}" for place in range(length))},
        {"label": "pos"},
        starts,
    )
    cut = document.cut(words)
    kept = min(words, length)
    assert cut.words == document.words[:kept]
    assert cut.annotations["pos"] == document.annotations["pos"][:kept]
    assert (cut.id, cut.labels) == (document.id, document.labels)
    whole = [word for sentence in document.sentences() for word in sentence]
    assert [word for sentence in cut.sentences() for word in sentence] == whole[:kept]
    assert cut.sentence_starts == tuple(start for start in starts if start < kept)


@pytest.mark.parametrize(
    "parts",
    [
        {"words": ("fine", "\ud83d")},
        {"words": ("fine",), "annotations": {"pos": ("\udc00",)}},
        {"words": ("fine",), "labels": {"label": "a\ud800"}},
    ],
)
def test_half_a_surrogate_pair_is_refused_in_one_line(parts):
    with pytest.raises(CorpusError, match="half of a surrogate pair") as caught:
        Document("d", **parts)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")
    assert Document("d", ("👩‍🚀",)).words == ("👩‍🚀",)


def test_a_long_document_is_shown_by_its_beginning() -> None:
    document = Document("d" * 1_000, tuple(f"word{number}" * 50 for number in range(1_000)))
    assert len(repr(document)) < 250
    assert "1,000 words" in repr(document)
    assert repr(Document("a", ("one", "two"))) == "Document('a', 2 words: 'one two')"
