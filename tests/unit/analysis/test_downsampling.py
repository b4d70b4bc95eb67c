from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, multivariate_hypergeom

from txray.analysis.significance.downsampling import downsample


@given(st.integers(0, 1_000_000))
def test_each_group_is_cut_to_its_size(seed: int) -> None:
    random = np.random.default_rng(seed)
    group = np.sort(random.integers(0, 5, int(random.integers(0, 30))))
    count = random.integers(1, 9, len(group))
    size = random.integers(0, 40, 5)
    kept = downsample(count, group, size, np.random.default_rng(seed))
    assert ((kept >= 0) & (kept <= count)).all()
    for number in range(5):
        assert kept[group == number].sum() == min(size[number], count[group == number].sum())
    assert (downsample(count, group, size, np.random.default_rng(seed)) == kept).all()


def test_every_choice_is_as_likely_as_by_drawing_one_by_one() -> None:
    count, size, draws = np.array([3, 1, 2, 4, 1]), 5, 40_000
    many = downsample(
        np.tile(count, draws),
        np.repeat(np.arange(draws), 5),
        np.full(draws, size),
        np.random.default_rng(0),
    ).reshape(draws, 5)
    seen = Counter(map(tuple, many.tolist()))
    expected = {kept: draws * multivariate_hypergeom.pmf(kept, count, size) for kept in seen}
    assert sum(expected.values()) > 0.999 * draws, "all outcomes were seen"
    common = [kept for kept, number in expected.items() if number >= 5]
    rest = draws - sum(seen[kept] for kept in common), draws - sum(expected[kept] for kept in common)
    found = chisquare(
        [*(seen[kept] for kept in common), rest[0]], [*(expected[kept] for kept in common), rest[1]]
    )
    assert found.pvalue > 0.001
