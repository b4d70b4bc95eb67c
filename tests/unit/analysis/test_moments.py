from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import ortho_group

from txray.analysis import BestMatches, CrossMoments, best_matches, cka, cka_debiased
from txray.errors import ShapeError

Floats = NDArray[np.float64]
Three = tuple[CrossMoments, CrossMoments, CrossMoments]


def moments_of(x: Floats, y: Floats, cuts: Sequence[int] = ()) -> Three:
    """Moments of both, of the first and of the second, block by block."""
    three = tuple(CrossMoments(a.shape[1], b.shape[1]) for a, b in ((x, y), (x, x), (y, y)))
    for block in np.split(np.arange(len(x)), sorted(cuts)):
        for moments, (a, b) in zip(three, ((x, y), (x, x), (y, y)), strict=True):
            moments.update(a[block], b[block])
    return three  # type: ignore[return-value]


def gram_cka(x: Floats, y: Floats) -> float:
    """By the centred matrices of inner products of words."""
    centring = np.eye(len(x)) - 1 / len(x)

    def hsic(k: Floats, m: Floats) -> float:
        return float(np.trace(k @ centring @ m @ centring))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def gram_cka_debiased(x: Floats, y: Floats) -> float:
    """By Song et al. 2012, equation 5, as it is written there."""
    n, one = len(x), np.ones(len(x))

    def hsic(k: Floats, m: Floats) -> float:
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        return float(
            np.trace(k @ m)
            + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ m @ one)
        ) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def layers(seed: int, words: int, n_first: int, n_second: int, shared: float = 0.7) -> tuple[Floats, Floats]:
    """Activations of two layers that have something in common, with skewed neurons of unequal scale."""
    random = np.random.default_rng(seed)
    common = random.gamma(1.0, size=(words, 3))
    x, y = (
        shared * common @ random.normal(size=(3, n)) + random.gamma(0.5, size=(words, n))
        for n in (n_first, n_second)
    )
    return x * random.uniform(0.1, 5, n_first), y - random.uniform(-3, 3, n_second)


LAYERS = st.builds(
    layers,
    st.integers(0, 10_000),
    st.integers(5, 40),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 2),
)
CUTS = st.lists(st.integers(0, 40), max_size=5)


@given(LAYERS, CUTS)
def test_both_alignments_equal_those_of_the_matrices_of_words(
    pair: tuple[Floats, Floats], cuts: list[int]
) -> None:
    three = moments_of(*pair, cuts)
    assert cka(*three) == pytest.approx(gram_cka(*pair), abs=1e-9)
    assert cka_debiased(*three) == pytest.approx(gram_cka_debiased(*pair), abs=1e-8)


@given(LAYERS, CUTS)
def test_correlation_equals_that_of_numpy(pair: tuple[Floats, Floats], cuts: list[int]) -> None:
    x, y = pair
    whole = np.atleast_2d(np.corrcoef(x, y, rowvar=False))
    expected = whole[: x.shape[1], x.shape[1] :]
    np.testing.assert_allclose(moments_of(x, y, cuts)[0].correlation(), expected, atol=1e-10)


@given(LAYERS)
def test_matches_equal_a_direct_computation(pair: tuple[Floats, Floats]) -> None:
    x, y = pair
    strength = np.array(
        [[abs(np.corrcoef(x[:, i], y[:, j])[0, 1]) for j in range(y.shape[1])] for i in range(x.shape[1])]
    )
    found = best_matches(moments_of(x, y)[0])
    assert found.best_before == pytest.approx(np.mean([max(row) for row in strength]))
    assert found.best_after == pytest.approx(np.mean([max(column) for column in strength.T]))
    assert found.one_to_one == pytest.approx(strength[linear_sum_assignment(-strength)].mean())
    assert found.one_to_one <= min(strength.shape) ** -1 * sum(sorted(strength.max(axis=1))[::-1]) + 1e-12


@given(LAYERS, CUTS)
def test_merging_in_any_grouping_equals_the_single_pass(pair: tuple[Floats, Floats], cuts: list[int]) -> None:
    whole = moments_of(*pair)[0]
    parts = [CrossMoments(*whole.products.shape)]  # an empty one
    for block in np.split(np.arange(len(pair[0])), sorted(cuts)):
        parts.append(CrossMoments(*whole.products.shape))
        parts[-1].update(pair[0][block], pair[1][block])
    right = CrossMoments(*whole.products.shape)
    for part in reversed(parts[1:]):
        part.merge(right)
        right = part
    parts[0].merge(right)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(parts[0], name), value, rtol=1e-10, atol=1e-9, err_msg=name)


def test_merging_leaves_the_other_as_it_is() -> None:
    one, other = (moments_of(*layers(seed, 9, 3, 4))[0] for seed in (1, 2))
    before = {name: np.copy(value) for name, value in vars(other).items()}
    one.merge(other)
    one.merge(other)
    for name, value in vars(other).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("offset", [1e3, 1e6, -1e6])
def test_a_large_common_offset_costs_nothing(offset: float) -> None:
    random = np.random.default_rng(0)
    # Multiples of 1/1024, which the offset does not round.
    x = random.integers(-3000, 3000, (400, 12)) / 1024
    y = (np.round(x @ random.normal(size=(12, 9)) * 1024) + random.integers(-2000, 2000, (400, 9))) / 1024
    plain, moved = moments_of(x, y, [7, 130]), moments_of(x + offset, y - offset, [7, 130])
    np.testing.assert_allclose(moved[0].products, plain[0].products, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(moved[0].correlation(), plain[0].correlation(), atol=1e-10)
    assert cka(*moved) == pytest.approx(gram_cka(x, y), abs=1e-10)
    assert cka_debiased(*moved) == pytest.approx(gram_cka_debiased(x, y), abs=1e-10)


@given(LAYERS)
def test_alignments_are_symmetric_and_bounded(pair: tuple[Floats, Floats]) -> None:
    cross, self_x, self_y = moments_of(*pair)
    value, debiased = cka(cross, self_x, self_y), cka_debiased(cross, self_x, self_y)
    assert 0 <= value <= 1
    assert -1 <= debiased <= 1
    turned = cross.transposed()
    assert cka(turned, self_y, self_x) == pytest.approx(value, abs=1e-12)
    assert cka_debiased(turned, self_y, self_x) == pytest.approx(debiased, abs=1e-12)
    one, other = best_matches(cross), best_matches(turned)
    assert (other.best_after, other.best_before) == pytest.approx((one.best_before, one.best_after))
    assert other.one_to_one == pytest.approx(one.one_to_one)
    assert all(0 <= each <= 1 for each in (one.best_before, one.best_after, one.one_to_one))


@given(LAYERS, CUTS)
def test_a_layer_is_wholly_like_itself(pair: tuple[Floats, Floats], cuts: list[int]) -> None:
    x = pair[0]
    for three in (moments_of(x, x, cuts), moments_of(x, x.copy(), cuts)):
        assert cka(*three) == pytest.approx(1, abs=1e-12)
        assert cka_debiased(*three) == pytest.approx(1, abs=1e-12)
        found = best_matches(three[0])
        assert (found.best_before, found.best_after, found.one_to_one) == pytest.approx((1, 1, 1), abs=1e-12)


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_rotations_scales_and_order_of_neurons_make_no_difference(seed: int, scale: float) -> None:
    x, y = layers(seed, 30, 6, 8)
    random = np.random.default_rng(seed)
    expected = moments_of(x, y)
    values = cka(*expected), cka_debiased(*expected)
    rotation = ortho_group.rvs(6, random_state=seed)
    for changed in (x @ rotation, x * scale, x[:, random.permutation(6)], -x + 17):
        three = moments_of(changed, y)
        assert (cka(*three), cka_debiased(*three)) == pytest.approx(values, abs=1e-9)
    found, shuffled = (
        best_matches(moments_of(x[:, order], y)[0]) for order in (np.arange(6), [5, 3, 0, 1, 4, 2])
    )
    assert found.best_before == pytest.approx(shuffled.best_before)
    assert found.one_to_one == pytest.approx(shuffled.one_to_one)
    # It is no invariant of every linear map, though: that is what tells it from canonical correlation.
    assert abs(cka(*moments_of(x * np.array([100, 1, 1, 1, 1, 1]), y)) - values[0]) > 1e-6


def test_few_words_raise_the_one_and_not_the_other() -> None:
    random = np.random.default_rng(0)
    pairs = [moments_of(random.normal(size=(20, 40)), random.normal(size=(20, 50))) for _ in range(200)]
    assert np.mean([cka(*three) for three in pairs]) > 0.6
    assert abs(np.mean([cka_debiased(*three) for three in pairs])) < 0.02


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_neurons_that_never_move_are_left_out_and_counted(dtype: type[np.floating]) -> None:
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(1000, 3)).astype(dtype) for _ in range(2))
    x[:, 1], y[:, 0], y[:, 2] = 0.1, -1234.567, 0
    cross, self_x, self_y = moments_of(x, y, [10, 11, 500])
    assert cross.constant_x.tolist() == [False, True, False]
    assert cross.constant_y.tolist() == [True, False, True]
    assert np.isnan(cross.correlation()).tolist() == [[True, False, True], [True] * 3, [True, False, True]]
    strength = [abs(np.corrcoef(x[:, i].astype(float), y[:, 1].astype(float))[0, 1]) for i in (0, 2)]
    found = best_matches(cross)
    assert found.best_before == pytest.approx(np.mean(strength))
    assert found.best_after == found.one_to_one == pytest.approx(max(strength))
    moving = moments_of(x[:, [0, 2]].astype(float), y[:, [1]].astype(float))
    assert cka(cross, self_x, self_y) == pytest.approx(cka(*moving), abs=1e-12)


@given(st.floats(-1e9, 1e9), st.integers(1, 3000), CUTS)
def test_no_rounding_of_a_constant_is_a_movement(value: float, words: int, cuts: list[int]) -> None:
    x = np.full((words, 1), value)
    assert moments_of(x, x, [cut for cut in cuts if cut < words])[0].constant_x.all()


def test_movements_of_a_coarse_number_type_are_movements() -> None:
    x = np.array([[1000.0], [1001.0], [999.0], [1000.5]], np.float16)
    assert not moments_of(x, x)[0].constant_x.any()


@given(LAYERS)
def test_transposed_is_the_other_way_round(pair: tuple[Floats, Floats]) -> None:
    x, y = pair
    turned, expected = moments_of(x, y)[0].transposed(), moments_of(y, x)[0]
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(turned, name), value, rtol=1e-12, atol=1e-12, err_msg=name)


def test_small_movements_around_a_large_number_are_movements() -> None:
    random = np.random.default_rng(0)
    x = 1e6 + random.integers(-20, 20, (500, 2)) / 16
    assert not moments_of(x.astype(np.float32), x)[0].constant_x.any()
    assert moments_of(x, x)[0].correlation()[0, 1] == pytest.approx(np.corrcoef(x.T - 1e6)[0, 1])


def test_where_nothing_moves_there_is_no_value() -> None:
    x, y = np.full((50, 3), 0.1), layers(0, 50, 2, 2)[0]
    for three in (moments_of(x, y, [3, 20]), moments_of(y, x, [3, 20]), moments_of(x, x, [9])):
        assert math.isnan(cka(*three))
        assert math.isnan(cka_debiased(*three))
        found = best_matches(three[0])
        assert all(map(math.isnan, (found.best_before, found.best_after, found.one_to_one)))
    assert isinstance(found, BestMatches)


def test_fewer_than_four_words_have_no_unbiased_estimate() -> None:
    x, y = layers(0, 4, 3, 3)
    for words in range(4):
        assert math.isnan(cka_debiased(*moments_of(x[:words], y[:words])))
    assert cka(*moments_of(x[:3], y[:3])) == pytest.approx(gram_cka(x[:3], y[:3]))
    assert cka_debiased(*moments_of(x, y)) == pytest.approx(gram_cka_debiased(x, y), abs=1e-9)


def test_what_does_not_fit_together_is_refused() -> None:
    x, y = layers(0, 10, 3, 4)
    cross, self_x, self_y = moments_of(x, y)
    for blocks in ((x, y[:5]), (y, x), (x[:, 0], y)):
        with pytest.raises(ShapeError, match="moments of 3 x 4 neurons: got blocks of shape"):
            cross.update(*blocks)
    with pytest.raises(ShapeError, match="cannot be merged"):
        cross.merge(self_x)
    with pytest.raises(ShapeError, match="of each of the two layers with itself"):
        cka(cross, self_y, self_x)
    self_x.update(x, x)
    with pytest.raises(ShapeError, match="over the same words"):
        cka_debiased(cross, self_x, self_y)
    assert repr(cross) == "CrossMoments(3 x 4 neurons, 10 words)"
