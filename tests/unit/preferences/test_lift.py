from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma, poisson

from tests.builders.preferences import preferences_of, random_events
from txray.errors import UsageError
from txray.preferences import Preferences


def rows(preferences: Preferences, shrinkage: float) -> dict[tuple[int, str], float]:
    totals = preferences.totals
    names = preferences.features[totals.feature_id].tolist()
    return dict(
        zip(zip(totals.neuron.tolist(), names, strict=True), preferences.lift(shrinkage), strict=True)
    )


def test_lift_by_hand() -> None:
    # "the" is 4 of 6 words, "cat" 2 of 6; neuron 0 has 3 activations of mean 0.6, neuron 1 has 3 of mean 0.4.
    events = [(0, 0, "the", 0.3), (0, 0, "the", 0.3), (1, 0, "cat", 1.2)]
    events += [(0, 1, "the", 0.4), (1, 1, "the", 0.4), (1, 1, "cat", 0.4)]
    found = rows(preferences_of(events), 0.0)
    # observed in units of the mean activation: 0.6 / 0.6 = 1 of an expected 3 * 4/6 = 2, and 1.2 / 0.6 of 1.
    assert found[0, "the"] == pytest.approx(0.5)
    assert found[0, "cat"] == pytest.approx(2.0)
    assert found[1, "the"] == found[1, "cat"] == pytest.approx(1.0)
    assert rows(preferences_of(events), 5.0)[0, "cat"] == pytest.approx((2 + 5) / (1 + 5))


def test_lift_is_the_posterior_mean_of_a_gamma_prior() -> None:
    events = [(0, 0, "rare", 1.0)] * 3 + [(0, 0, "often", 1.0)] * 5 + [(0, 1, "often", 1.0)] * 40
    shrinkage, expected = 2.0, 8 * 3 / 48

    def joint(rate: float, power: int) -> float:
        prior = gamma.pdf(rate, shrinkage, scale=1 / shrinkage)
        return float(rate**power * prior * poisson.pmf(3, rate * expected))

    oracle = quad(joint, 0, 60, args=(1,))[0] / quad(joint, 0, 60, args=(0,))[0]
    assert rows(preferences_of(events), shrinkage)[0, "rare"] == pytest.approx(oracle, rel=1e-6)


def test_what_is_met_once_stays_near_one() -> None:
    events = (
        [(0, 0, f"w{i}", 1.0) for i in range(500)] + [(0, 0, "often", 1.0)] * 60 + [(0, 1, "w0", 1.0)] * 1000
    )
    found = rows(preferences_of(events), 5.0)
    assert found[0, "w7"] == pytest.approx(1.1, abs=0.1)
    assert max(found, key=found.__getitem__) == (0, "often")
    assert max(rows(preferences_of(events), 0.0).values()) == pytest.approx(1560 / 560)


def test_the_table_tells_it_in_bits() -> None:
    preferences = preferences_of(random_events(400))
    table = preferences.table(3)
    whole = rows(preferences, 5.0)
    assert [whole[3, name] for name in table["feature"]] == pytest.approx(table["lift"].to_list())
    np.testing.assert_allclose(2 ** table["pmi"].to_numpy(), table["lift"].to_numpy())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_lift_is_that_of_any_unit_of_activation_and_order_of_neurons(seed: int, unit: float) -> None:
    preferences = preferences_of(random_events(200, seed=seed))
    scaled = replace(preferences, sum=preferences.sum * unit)
    np.testing.assert_allclose(scaled.lift(), preferences.lift(), rtol=1e-9)
    assert (preferences.lift() > 0).all()
    # The mean over the corpus is 1 without shrinkage: observed and expected both add up to the activations.
    totals = preferences.totals
    share = preferences.feature_counts()[totals.feature_id] / preferences.words
    expected = preferences.wins()[totals.neuron] * share
    by_neuron = np.bincount(totals.neuron, preferences.lift(0.0) * expected, preferences.n_neurons)
    np.testing.assert_allclose(by_neuron, preferences.wins(), rtol=1e-9)


def test_a_negative_shrinkage_is_refused() -> None:
    for wrong in (-1.0, float("nan")):
        with pytest.raises(UsageError, match="shrinkage"):
            preferences_of(random_events(20)).lift(wrong)
