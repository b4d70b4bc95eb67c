from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.preferences import preferences_of, random_events
from tests.unit.analysis.test_fold_counts import FOLDS, divergence, pair
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import (
    Permutations,
    assignments,
    divergence_statistic,
    observed,
    q_values,
)

MEAN = divergence_statistic("mean")


def every_assignment(paired: bool) -> np.ndarray:
    if paired:
        kept = np.array(list(product((0.0, 1.0), repeat=FOLDS))).T
        return np.concatenate((kept, 1 - kept))
    columns = [np.isin(np.arange(2 * FOLDS), chosen) for chosen in combinations(range(2 * FOLDS), FOLDS)]
    return np.array(columns, dtype=float).T


@pytest.mark.parametrize("paired", [True, False])
def test_folds_are_dealt_out_again(paired: bool) -> None:
    dealt = assignments(FOLDS, 3_000, paired, np.random.default_rng(0))
    assert dealt.shape == (2 * FOLDS, 3_000)
    allowed = {tuple(column) for column in every_assignment(paired).T.tolist()}
    seen = [tuple(column) for column in dealt.T.tolist()]
    assert set(seen) == allowed
    counts = np.array([seen.count(column) for column in allowed])
    assert abs(counts / len(seen) * len(allowed) - 1).max() < 0.6


def permuted(paired: bool, most: int, fdr: float = 0.0, n: int = 400) -> Permutations:
    draws = [FoldCounts.of(*pair(n))]
    return Permutations(
        draws,
        MEAN,
        paired=paired,
        max_permutations=most,
        fdr=fdr,
        random=np.random.default_rng(0),
    )


@pytest.mark.parametrize("n", [400, 30])
@pytest.mark.parametrize("paired", [True, False])
def test_p_values_are_those_of_all_permutations(
    paired: bool, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.analysis.significance.permutation.FIRST_BATCH", 4_000)
    monkeypatch.setattr("txray.analysis.significance.fold_counts.CELLS", 50_000)
    found = permuted(paired, 4_000, n=n)
    folds = FoldCounts.of(*pair(n))
    dealt = every_assignment(paired)
    every = np.nan_to_num(divergence(folds, dealt, 1 - dealt, "mean"), nan=1.0)
    actual = divergence(folds, observed(FOLDS), 1 - observed(FOLDS), "mean")
    exact = (every >= actual - 1e-12).mean(axis=1)
    there = np.isfinite(actual[:, 0])
    assert there.sum() == 10
    assert (np.isnan(divergence(folds, dealt, 1 - dealt, "mean"))[there].any()) == (n == 30)
    np.testing.assert_allclose(found.p_value[there], exact[there], atol=0.03)
    np.testing.assert_allclose(found.null[there], every.mean(axis=1)[there], atol=0.01)
    np.testing.assert_allclose(found.null_std[there], every.std(axis=1)[there], atol=0.01)
    spread = there & (every.std(axis=1) > 0.01)
    z_score = (actual[spread, 0] - every.mean(axis=1)[spread]) / every.std(axis=1)[spread]
    np.testing.assert_allclose(found.z_score[spread], z_score, atol=0.15)
    assert np.isnan(found.p_value[~there]).all()


def test_settled_neurons_are_permuted_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.analysis.significance.permutation.FIRST_BATCH", 50)
    found = permuted(paired=False, most=800)
    settled = found.n_extreme >= 10
    tested = found.n_done > 0
    assert set(found.n_done[tested & settled]) <= {50, 100, 200, 400, 800}
    assert (found.n_done[tested & ~settled] == 800).all()
    assert (found.n_done[tested] < 800).any()
    # Where everything is a discovery, nothing is left to be decided.
    assert (permuted(paired=False, most=800, fdr=1.0).n_done[tested] == 50).all()


def test_a_small_p_value_that_may_be_luck_is_permuted_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.analysis.significance.permutation.STOP_AFTER_EXTREME", 10_000)
    first = permuted(paired=False, most=200)
    # One neuron alone, so that its q-value is its p-value.
    neuron = int(np.nanargmin(first.p_value))
    p_value = float(first.p_value[neuron])

    def done(fdr: float) -> int:
        draws = [FoldCounts.of(*pair(400)).subset(np.arange(12) == neuron)]
        random = np.random.default_rng(0)
        found = Permutations(draws, MEAN, paired=False, max_permutations=400, fdr=fdr, random=random)
        return int(found.n_done[neuron])

    assert done(p_value + 0.005) == 400
    # Where luck cannot have made it small enough, it is settled at once.
    assert done(p_value + 0.2) == 200


def test_a_stage_against_itself_is_never_a_change() -> None:
    same = preferences_of(random_events(300))
    found = Permutations(
        [FoldCounts.of(same, same)],
        MEAN,
        paired=True,
        max_permutations=500,
        fdr=0.05,
        random=np.random.default_rng(0),
    )
    assert (found.p_value[found.n_done > 0] == 1).all()
    assert np.nanmax(found.observed) < 1e-12


@given(st.lists(st.one_of(st.floats(1e-4, 1), st.just(float("nan"))), max_size=30))
def test_q_values_are_those_of_benjamini_and_hochberg(values: list[float]) -> None:
    p = np.array(values)
    tested = sorted(float(value) for value in p if np.isfinite(value))
    for value, q in zip(p, q_values(p), strict=True):
        if np.isnan(value):
            assert np.isnan(q)
            continue
        expected = min(
            1.0,
            *(len(tested) * other / (rank + 1) for rank, other in enumerate(tested) if other >= value),
            1.0,
        )
        assert q == pytest.approx(expected)
