from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.capture.text.batching import batches
from txray.capture.text.encoding import ModelInput
from txray.corpus import Document
from txray.errors import UsageError


def encoded(lengths: list[int]) -> list[ModelInput]:
    return [
        ModelInput.word_by_word(Document(str(i), ("w",)), ["w"], [0] * length, first=0)
        for i, length in enumerate(lengths)
    ]


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(1, 120))
def test_every_document_once_and_no_batch_too_large(lengths: list[int], positions: int) -> None:
    made = list(batches(encoded(lengths), positions))
    seen = [one.encoded.document.id for batch in made for one in batch]
    assert sorted(seen) == sorted(str(i) for i in range(len(lengths)))
    for batch in made:
        longest = max(len(one.ids) for one in batch)
        assert len(batch[0].ids) == longest
        assert len(batch) == 1 or len(batch) * longest <= positions


@given(st.lists(st.integers(1, 9), max_size=80), st.integers(1, 60))
def test_without_padding_a_batch_has_one_length(lengths: list[int], positions: int) -> None:
    made = list(batches(encoded(lengths), positions, padded=False))
    assert sum(map(len, made)) == len(lengths)
    assert all(len({len(one.ids) for one in batch}) == 1 for batch in made)


def test_padding_stays_small_on_a_mixed_text() -> None:
    lengths = [1 + (i * 37) % 300 for i in range(3_000)]
    made = list(batches(encoded(lengths), 4_096))
    padded = sum(len(batch) * len(batch[0].ids) for batch in made)
    assert sum(lengths) / padded > 0.9


def test_documents_are_read_only_as_they_are_needed() -> None:
    read = []

    def endless() -> Iterator[ModelInput]:
        for i in range(10_000):
            read.append(i)
            yield from encoded([10])

    next(iter(batches(endless(), 100)))
    assert len(read) <= 400


def test_an_impossible_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="batch of 0 positions"):
        list(batches([], 0))
