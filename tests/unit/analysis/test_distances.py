from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.builders.preferences import preferences_of, random_events
from txray.analysis import hellinger, hellinger_length, hellinger_published_code
from txray.errors import ShapeError
from txray.preferences import Distributions, aligned

Plain = list[tuple[int, str, float]]
FEATURES = 6
ROW = st.lists(st.integers(0, 50), min_size=FEATURES, max_size=FEATURES)
TABLE = st.lists(ROW, min_size=4, max_size=4).map(lambda rows: np.array(rows, dtype=np.float64))


def distributions_of(weights: NDArray[np.float64], offset: int = 0) -> Distributions:
    neuron, feature = np.nonzero(weights)
    names = np.array([f"f{i + offset:03d}" for i in range(weights.shape[1])], dtype=object)
    return Distributions.from_weights(
        neuron, feature, weights[neuron, feature], n_neurons=len(weights), features=names
    )


def hellinger_by_hand(p: list[float], q: list[float]) -> float:
    if sum(p) == 0 or sum(q) == 0:
        return math.nan
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    return math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True))) / math.sqrt(
        2
    )


@given(TABLE, TABLE)
def test_hellinger_equals_the_formula(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    expected = [hellinger_by_hand(a.tolist(), b.tolist()) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(hellinger(distributions_of(p), distributions_of(q)), expected, atol=1e-12)


@given(TABLE, TABLE)
def test_hellinger_is_symmetric_and_bounded(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    there = hellinger(distributions_of(p), distributions_of(q))
    back = hellinger(distributions_of(q), distributions_of(p))
    np.testing.assert_array_equal(there, back)
    defined = there[~np.isnan(there)]
    assert ((defined >= 0) & (defined <= 1)).all()


@given(TABLE)
def test_distance_to_itself_is_exactly_zero(p: NDArray[np.float64]) -> None:
    distance = hellinger(distributions_of(p), distributions_of(p))
    empty = p.sum(axis=1) == 0
    assert (distance[~empty] == 0).all()
    assert np.isnan(distance[empty]).all()


@given(TABLE, TABLE)
def test_disjoint_distributions_are_one_apart(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    distance = hellinger(*aligned(distributions_of(p), distributions_of(q, offset=FEATURES)))
    np.testing.assert_allclose(distance[~np.isnan(distance)], 1.0, atol=1e-12)


def test_small_changes_keep_their_digits() -> None:
    # 1 - sum sqrt(p q) would lose half of the digits of this distance.
    step = 1e-9
    p = Distributions(sp.csr_array(np.array([[0.5, 0.5]])), np.array(["a", "b"], dtype=object))
    q = Distributions(sp.csr_array(np.array([[0.5 + step, 0.5 - step]])), np.array(["a", "b"], dtype=object))
    expected = step / 2  # first order: sqrt(1/2 * 2 * (step / (2 sqrt(1/2)))^2)
    assert hellinger(p, q)[0] == pytest.approx(expected * math.sqrt(2), rel=1e-6)


@given(TABLE, TABLE)
def test_hellinger_length_is_the_union(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    union = ((p > 0) | (q > 0)).sum(axis=1)
    assert hellinger_length(distributions_of(p), distributions_of(q)).tolist() == union.tolist()


@given(TABLE, TABLE, st.permutations(range(FEATURES)))
def test_names_of_features_do_not_matter(
    p: NDArray[np.float64], q: NDArray[np.float64], order: list[int]
) -> None:
    before = hellinger(distributions_of(p), distributions_of(q))
    after = hellinger(distributions_of(p[:, order]), distributions_of(q[:, order]))
    np.testing.assert_allclose(before, after, atol=1e-12)


def test_different_numbers_of_neurons_are_refused() -> None:
    p, q = distributions_of(np.ones((2, 3))), distributions_of(np.ones((3, 3)))
    for distance in (hellinger, hellinger_length):
        with pytest.raises(ShapeError, match="2 and 3 neurons"):
            distance(p, q)


def published_code_by_hand(before: Plain, after: Plain, neuron: int) -> float:
    """A transcription: activations over the neuron's mass, averaged per token, H over the union's size."""
    rows = []
    for events in (before, after):
        mine = [(feature, value) for n, feature, value in events if n == neuron]
        mass = sum(value for _, value in mine)
        normalised: dict[str, list[float]] = {}
        for feature, value in mine:
            normalised.setdefault(feature, []).append(value / mass)
        rows.append({feature: sum(values) / len(values) for feature, values in normalised.items()})
    union = rows[0].keys() | rows[1].keys()
    if not rows[0] or not rows[1]:
        return math.nan
    total = sum((math.sqrt(rows[0].get(f, 0)) - math.sqrt(rows[1].get(f, 0))) ** 2 for f in union)
    return math.sqrt(total) / math.sqrt(2) / len(union)


def test_published_code_variant_equals_its_transcription() -> None:
    events = [random_events(200, seed=seed, n_neurons=9) for seed in (1, 2)]
    plain = [[(neuron, feature, value) for _, neuron, feature, value in part] for part in events]
    result = hellinger_published_code(preferences_of(events[0]), preferences_of(events[1]))
    expected = [published_code_by_hand(plain[0], plain[1], neuron) for neuron in range(12)]
    np.testing.assert_allclose(result, expected, atol=1e-12)
    assert np.isnan(result[9:]).all()
    assert not np.isnan(result[:9]).any()


def test_published_code_variant_is_not_the_distance_of_the_paper() -> None:
    before, after = (preferences_of(random_events(200, seed=seed)) for seed in (1, 2))
    paper = hellinger(*aligned(before.distributions(), after.distributions()))
    assert (hellinger_published_code(before, after) < 0.2 * paper).all()


def test_distributions_over_other_features_are_refused() -> None:
    p = np.array([[0.5, 0.5]])
    for distance in (hellinger, hellinger_length):
        with pytest.raises(ShapeError, match=r"preferences\.aligned"):
            distance(distributions_of(p), distributions_of(p, offset=1))
