from __future__ import annotations

import numpy as np
import pytest

from tests.builders.figures import Text, distribution, rows_of
from txray.plots.features import preferred, strongest
from txray.preferences import Preferences


@pytest.fixture
def tokens(text: Text) -> Preferences:
    return text.stage("s", seed=3, silent=[5])[0]


def test_a_neuron_is_told_by_falling_probability(tokens: Preferences) -> None:
    found = preferred(tokens, 7)
    expected = sorted(distribution(tokens, 7).items(), key=lambda item: (-item[1], item[0]))
    assert list(found.feature) == [feature for feature, _ in expected]
    np.testing.assert_allclose(found.probability, [p for _, p in expected], rtol=1e-12)
    rows = {feature: (n, total) for neuron, feature, n, total in rows_of(tokens) if neuron == 7}
    np.testing.assert_array_equal(found.count, [rows[feature][0] for feature in found.feature])
    np.testing.assert_allclose(found.mass, [rows[feature][1] for feature in found.feature], rtol=1e-12)
    np.testing.assert_allclose(found.mean, found.mass / found.count, rtol=1e-12)


def test_weights_differ(tokens: Preferences) -> None:
    mass = preferred(tokens, 7, "mass")
    assert list(mass.probability) == sorted(mass.probability, reverse=True)
    np.testing.assert_allclose(mass.probability, mass.mass / mass.mass.sum(), rtol=1e-12)
    assert mass.feature != preferred(tokens, 7).feature


def test_an_unpreferred_neuron_is_empty(tokens: Preferences) -> None:
    assert len(preferred(tokens, 5)) == 0
    assert strongest(tokens, 3)[5] == ()


def test_the_strongest_of_all_neurons_agree_with_each(tokens: Preferences) -> None:
    for neuron, top in enumerate(strongest(tokens, 4)):
        assert top == preferred(tokens, neuron).feature[:4]


def test_ties_go_by_name() -> None:
    tied = Preferences(
        *("s", "rnn", "token", "max-1", 1),
        features=np.array(["a", "b", "c"], dtype=object),
        corpus_counts=np.array([[1, 1, 1]]),
        fold=np.zeros(3, np.int64),
        neuron=np.zeros(3, np.int64),
        feature_id=np.arange(3),
        count=np.ones(3, np.int64),
        sum=np.array([0.5, 0.5, 0.0]),
        sum_sq=np.zeros(3),
        max=np.zeros(3),
    )
    assert preferred(tied, 0).feature == ("a", "b")
    assert strongest(tied, 5) == [("a", "b")]
