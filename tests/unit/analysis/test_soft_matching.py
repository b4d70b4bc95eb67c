from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linprog
from scipy.stats import ortho_group

from tests.unit.analysis.test_moments import gram_cka, layers, moments_of
from txray.analysis import best_matches, chance_similarity, procrustes, soft_match
from txray.analysis.layers import soft_matching
from txray.analysis.layers.soft_matching import _entropic_plan

Floats = NDArray[np.float64]


def best_plan(strength: Floats) -> float:
    """The value of the best plan, by linear programming."""
    n, m = strength.shape
    rows = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    sums = np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
    return float(-linprog(-strength.ravel(), A_eq=np.vstack(rows), b_eq=sums).fun)


@pytest.mark.parametrize("sizes", [(5, 5), (4, 6), (3, 12), (7, 5)])
def test_a_soft_matching_is_the_best_plan_with_equal_rows_and_columns(sizes: tuple[int, int]) -> None:
    cross, _, _ = moments_of(*layers(3, 200, *sizes))
    strength = np.abs(cross.correlation())
    assert soft_match(cross) == pytest.approx(best_plan(strength), abs=1e-9)
    assert soft_match(cross) == pytest.approx(soft_match(cross.transposed()))
    if sizes[0] == sizes[1]:
        assert soft_match(cross) == pytest.approx(best_matches(cross).one_to_one)


def test_large_layers_of_odd_sizes_get_a_plan_that_is_nearly_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cross, _, _ = moments_of(*layers(3, 200, 13, 11))
    strength = np.abs(cross.correlation())
    plan = _entropic_plan(strength)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 13, atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 11, atol=1e-12)
    assert plan.min() >= 0
    monkeypatch.setattr(soft_matching, "_COPIES", 10)
    assert best_plan(strength) - 0.01 < soft_match(cross) <= best_plan(strength) + 1e-12


def test_procrustes_is_the_cosine_after_the_best_rotation() -> None:
    x, y = layers(5, 300, 6, 6)
    cross, self_x, _ = moments_of(x, y)
    x, y = (side - side.mean(axis=0) for side in (x, y))
    rotation, _ = orthogonal_procrustes(x, y)
    expected = ((x @ rotation) * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)
    assert procrustes(cross) == pytest.approx(expected)
    distance = np.linalg.norm(x @ rotation / np.linalg.norm(x) - y / np.linalg.norm(y))
    assert np.sqrt(2 * (1 - procrustes(cross))) == pytest.approx(distance)
    rotated, _, _ = moments_of(x, x @ ortho_group.rvs(6, random_state=0))
    assert procrustes(rotated) == pytest.approx(1)
    assert soft_match(rotated) < 0.95
    assert (procrustes(self_x), soft_match(self_x)) == pytest.approx((1, 1))


def test_values_by_chance_are_those_of_permuted_words() -> None:
    x, y = layers(1, 60, 8, 12)
    chance = chance_similarity(*moments_of(x, y))
    random = np.random.default_rng(0)
    permuted = []
    for _ in range(300):
        shuffled = x[random.permutation(60)]
        cross, _, _ = moments_of(shuffled, y)
        permuted.append(
            (gram_cka(shuffled, y), procrustes(cross), best_matches(cross).one_to_one, soft_match(cross))
        )
    mean = np.mean(permuted, axis=0)
    assert chance.cka == pytest.approx(mean[0], rel=0.05)
    values = (chance.procrustes, chance.one_to_one, chance.soft_match)
    assert values == pytest.approx(tuple(mean[1:]), rel=0.12)


def test_constant_neurons_are_left_out() -> None:
    x, y = layers(1, 60, 4, 4)
    cross, self_x, self_y = moments_of(np.c_[x, np.ones(60)], y)
    assert soft_match(cross) == soft_match(moments_of(x, y)[0])
    assert procrustes(cross) == pytest.approx(procrustes(moments_of(x, y)[0]))
    assert np.isfinite(chance_similarity(cross, self_x, self_y).soft_match)
    constant = moments_of(np.ones((60, 4)), y)
    assert np.isnan(
        [procrustes(constant[0]), soft_match(constant[0]), chance_similarity(*constant).cka]
    ).all()
