"""Evenly spaced indices."""

from __future__ import annotations

from itertools import pairwise

import pytest

from txray.sampling import even_sample


@pytest.mark.parametrize(
    ("size", "max_size"), [(0, 3), (1, 1), (5, 9), (10, 4), (10_000, 7), (8, 7), (100, 1)]
)
def test_an_even_sample_keeps_both_ends(size: int, max_size: int) -> None:
    sample = even_sample(size, max_size).tolist()
    assert len(sample) == min(size, max_size)
    assert sample == sorted(set(sample))
    if size and max_size > 1:
        assert (sample[0], sample[-1]) == (0, size - 1)
    gaps = {after - before for before, after in pairwise(sample)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_some_of_many() -> None:
    assert even_sample(51, 6).tolist() == [0, 10, 20, 30, 40, 50]
