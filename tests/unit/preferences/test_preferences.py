from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.preferences import preferences_of, random_events
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.preferences import Distributions, document_key
from txray.preferences.distributions import aligned

EVENTS = [
    (0, 0, "river", 0.2),
    (1, 0, "river", 0.6),
    (0, 0, "bank", 0.4),
    (2, 1, "bank", 0.9),
]


def test_distribution_of_the_paper_by_hand() -> None:
    preferences = preferences_of(EVENTS, n_neurons=3)
    # neuron 0: mean of river 0.4, of bank 0.4: half and half, though river was won twice.
    assert preferences.features.tolist() == ["bank", "river"]
    np.testing.assert_allclose(
        preferences.distributions().matrix.toarray(), [[0.5, 0.5], [1, 0], [0, 0]], rtol=1e-12
    )
    np.testing.assert_allclose(
        preferences.distributions("mass").matrix.toarray()[0], [0.4 / 1.2, 0.8 / 1.2], rtol=1e-12
    )
    np.testing.assert_allclose(
        preferences.distributions("count").matrix.toarray()[0], [1 / 3, 2 / 3], rtol=1e-12
    )
    assert preferences.lengths().tolist() == [2, 1, 0]
    assert preferences.wins().tolist() == [3, 1, 0]
    np.testing.assert_allclose(preferences.mass(), [1.2, 0.9, 0])


@pytest.mark.parametrize("weight", ["mean", "mass", "count"])
def test_rows_sum_to_one_or_are_empty(weight: str) -> None:
    distributions = preferences_of(random_events(300, n_neurons=20), n_neurons=24).distributions(weight)  # type: ignore[arg-type]
    sums = np.asarray(distributions.matrix.sum(axis=1))
    preferred = distributions.lengths() > 0
    np.testing.assert_allclose(sums[preferred], 1.0, atol=1e-12)
    assert (sums[~preferred] == 0).all()
    assert (~preferred).any()


def test_table_lists_features_by_probability() -> None:
    table = preferences_of(EVENTS, n_neurons=3).table()
    assert table.columns == ["neuron", "feature", "count", "sum", "mean", "max", "probability", "lift", "pmi"]
    assert table["feature"].to_list() == ["bank", "river", "bank"]
    assert table["count"].to_list() == [1, 2, 1]
    np.testing.assert_allclose(table["probability"].to_numpy(), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(table["max"].to_numpy(), [0.4, 0.6, 0.9])


def test_table_of_one_neuron_is_its_part_of_the_whole() -> None:
    preferences = preferences_of(random_events(300))
    whole = preferences.table()
    for neuron in (0, 5, 11):
        assert preferences.table(neuron).equals(whole.filter(whole["neuron"] == neuron))


def test_table_of_an_unpreferred_neuron_is_empty() -> None:
    assert preferences_of(EVENTS, n_neurons=3).table(2).is_empty()


def test_unknown_neuron_and_weight_are_refused() -> None:
    preferences = preferences_of(EVENTS, n_neurons=3)
    with pytest.raises(UsageError, match="no neuron 3; pass an integer from 0 to 2"):
        preferences.table(3)
    with pytest.raises(UnknownNameError, match="'media'.*did you mean 'mean'"):
        preferences.distributions("media")  # type: ignore[arg-type]


def test_arrays_are_frozen() -> None:
    preferences = preferences_of(EVENTS, n_neurons=3)
    with pytest.raises(ValueError, match="read-only"):
        preferences.sum[0] = 5


def test_wrong_columns_are_refused() -> None:
    preferences = preferences_of(EVENTS, n_neurons=3)
    with pytest.raises(ShapeError, match="lengths"):
        replace(preferences, count=preferences.count[:-1])
    with pytest.raises(ShapeError, match="neuron from 0 to 1"):
        replace(preferences, n_neurons=1)
    with pytest.raises(ShapeError, match="corpus_counts"):
        replace(preferences, corpus_counts=preferences.corpus_counts[:, :1])


def test_alignment_keeps_every_probability_with_its_feature() -> None:
    one = preferences_of([(0, 0, "b", 1.0), (0, 1, "d", 1.0)], n_neurons=2).distributions()
    other = preferences_of([(0, 0, "a", 1.0), (0, 0, "d", 3.0)], n_neurons=2).distributions()
    left, right = aligned(one, other)
    assert left.features.tolist() == right.features.tolist() == ["a", "b", "d"]
    np.testing.assert_allclose(left.matrix.toarray(), [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(right.matrix.toarray(), [[0.25, 0, 0.75], [0, 0, 0]])


def test_alignment_onto_a_smaller_set_is_refused() -> None:
    one = preferences_of(EVENTS, n_neurons=3).distributions()
    with pytest.raises(ShapeError, match="every feature"):
        one.onto(np.array(["bank"], dtype=object))
    with pytest.raises(ShapeError, match="columns"):
        Distributions(one.matrix, one.features[:1])


def test_keys_of_documents_never_change() -> None:
    # Exemplars of equal strength are ordered by it, and training sets are divided by it.
    assert document_key("wiki/train/000001") == 3649781815176271989
