from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from txray.capture.text.encoding import LONG_WORD, SHARED_PIECE, UNKNOWN_WORD, ModelInput, inputs
from txray.corpus import Document
from txray.errors import UnknownNameError, UsageError
from txray.models import Pieces, TextModel


def model(max_length: int | None, overlap: int = 0) -> TextModel:
    return TextModel(
        nn.Identity(), lambda words: [], prefix=(900,), suffix=(901,), max_length=max_length, overlap=overlap
    )


def pieces_of(sizes: list[int]) -> Pieces:
    owner = [word for word, size in enumerate(sizes) for _ in range(size)]
    return Pieces(list(range(len(owner))), owner, [f"p{i}" for i in range(len(owner))])


def counted(made: list[ModelInput]) -> list[int]:
    return [word for encoded in made for word in encoded.words.tolist()]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.one_of(st.none(), st.integers(3, 20)),
    st.data(),
)
def test_every_readable_word_is_counted_once_with_all_its_pieces(
    sizes: list[int], limit: int | None, data: st.DataObject
) -> None:
    room = None if limit is None else limit - 2
    overlap = 0 if room is None else data.draw(st.integers(0, room - 1))
    document = Document("d", tuple(f"W{i}" for i in range(len(sizes))))
    text, made = inputs(document, pieces_of(sizes), model(limit, overlap))
    readable = [word for word, size in enumerate(sizes) if 0 < size <= (room or 99)]
    assert counted(made) == readable
    assert text.readable == len(readable)
    assert text.skipped[UNKNOWN_WORD] == sizes.count(0)
    assert text.skipped[LONG_WORD] == len(sizes) - len(readable) - sizes.count(0)
    assert text.forms == [word.lower() for word in document.words]
    first = np.cumsum(sizes) - sizes
    for encoded in made:
        assert encoded.ids[0] == 900
        assert encoded.ids[-1] == 901
        assert limit is None or len(encoded.ids) <= limit
        ends = np.append(encoded.starts[1:], len(encoded.steps))
        for word, start, end in zip(encoded.words, encoded.starts, ends, strict=True):
            ids = [encoded.ids[step] for step in encoded.steps[start:end]]
            assert ids == list(range(first[word], first[word] + sizes[word]))
            assert encoded.pieces[start:end] == [f"p{i}" for i in ids]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=40),
    st.one_of(st.none(), st.integers(3, 14)),
    st.integers(0, 3),
)
def test_pieces_of_no_word_are_read_around_the_words_and_never_counted(
    sizes: list[tuple[int, int]], limit: int | None, after: int
) -> None:
    owner = [n for word, (free, size) in enumerate(sizes) for n in [-1] * free + [word] * size] + [-1] * after
    pieces = Pieces(list(range(len(owner))), owner, [f"p{i}" for i in range(len(owner))])
    text, made = inputs(Document("d", tuple(f"W{i}" for i in range(len(sizes)))), pieces, model(limit))
    room = len(owner) if limit is None else limit - 2
    readable = [word for word, (_, size) in enumerate(sizes) if 0 < size <= room]
    assert counted(made) == readable
    assert text.readable + sum(text.skipped.values()) == len(sizes)
    for encoded in made:
        ids = encoded.ids[1:-1]
        assert len(ids) <= room
        assert list(ids) == list(range(ids[0], ids[-1] + 1))
        ends = np.append(encoded.starts[1:], len(encoded.steps))
        for word, start, end in zip(encoded.words, encoded.starts, ends, strict=True):
            own = [i for i, number in enumerate(owner) if number == word]
            assert [encoded.ids[step] for step in encoded.steps[start:end]] == own
    if readable and len(owner) <= room:
        assert [list(encoded.ids[1:-1]) for encoded in made] == [list(range(len(owner)))]


def test_words_that_share_a_piece_have_their_own_reason() -> None:
    document = Document("d", ("a", "b", "c"))
    text, _ = inputs(document, Pieces([1], [0], shared=1), model(None))
    assert text.skipped == {UNKNOWN_WORD: 1, SHARED_PIECE: 1}
    with pytest.raises(UsageError, match="shared=3"):
        TextModel(nn.Identity(), lambda words: Pieces([1], [0], shared=3)).pieces(document)


def test_inputs_are_as_full_as_words_allow() -> None:
    _, made = inputs(Document("d", ("w",) * 10), pieces_of([1] * 10), model(max_length=6))
    assert [len(encoded.ids) for encoded in made] == [6, 6, 4]
    _, whole = inputs(Document("d", ("w",) * 10), pieces_of([1] * 10), model(max_length=None))
    assert len(whole) == 1


def test_words_at_a_cut_are_counted_where_they_have_more_context() -> None:
    _, made = inputs(Document("d", ("w",) * 12), pieces_of([1] * 12), model(max_length=10, overlap=4))
    assert [encoded.ids[1:-1] for encoded in made] == [list(range(8)), list(range(4, 12))]
    assert [encoded.words.tolist() for encoded in made] == [list(range(6)), list(range(6, 12))]


def test_nothing_readable_gives_no_input() -> None:
    text, made = inputs(Document("d", ("a", "b")), pieces_of([0, 0]), model(max_length=5))
    assert made == []
    assert text.readable == 0
    assert text.skipped == {UNKNOWN_WORD: 2}


def test_a_text_model_checks_what_it_is_given() -> None:
    with pytest.raises(UsageError, match="max_length=2 leaves no room beside 2"):
        model(max_length=2)
    with pytest.raises(UsageError, match="overlap=8"):
        model(max_length=10, overlap=8)
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        TextModel(nn.Identity(), lambda words: [], pooling="men")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 ids for 2 words"):
        TextModel(nn.Identity(), lambda words: [5]).pieces(["a", "b"])
    for owner in ([1, 0], [0, 2], [0]):
        with pytest.raises(UsageError, match="never decreasing"):
            TextModel(nn.Identity(), lambda words, owner=owner: Pieces([5, 6], owner)).pieces(["a", "b"])  # type: ignore[misc]


def test_pieces_of_one_word_stand_together() -> None:
    owners = [word for word, _ in groupby(pieces_of([2, 0, 3]).word)]
    assert owners == [0, 2]
