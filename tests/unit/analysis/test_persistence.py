from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import preferences_of, random_events
from tests.unit.analysis.test_significance import text
from txray import Persistence, Preferences, persistence
from txray.analysis import PERSISTENCE_STATES
from txray.analysis.subjects import stage_of
from txray.errors import ShapeError, UsageError
from txray.preferences import Stage


def exchanged(preferences: Preferences, pairs: list[tuple[int, int]], silent: list[int], name: str) -> Stage:
    """The same neurons, some of which have exchanged their indices, and some of which win nothing."""
    number = np.arange(preferences.n_neurons)
    for one, other in pairs:
        number[one], number[other] = other, one
    events = [
        (int(fold), int(number[neuron]), preferences.features[feature], float(total / n))
        for fold, neuron, feature, n, total in zip(
            preferences.fold,
            preferences.neuron,
            preferences.feature_id,
            preferences.count,
            preferences.sum,
            strict=True,
        )
        if neuron not in silent
        for _ in range(n)
    ]
    return stage_of(
        preferences_of(events, stage=name, n_neurons=preferences.n_neurons, folds=preferences.folds)
    )


@pytest.fixture(scope="module")
def result() -> Persistence:
    base = text(60, 30_000, 1)
    return persistence(
        [
            exchanged(base, [], [], "first"),
            exchanged(text(60, 30_000, 2), [(0, 1)], [], "second"),
            exchanged(text(60, 30_000, 3), [(0, 1), (2, 3), (4, 5)], [10], "third"),
            exchanged(text(60, 30_000, 4), [(2, 3), *((i, i + 1) for i in range(20, 50, 2))], [], "fourth"),
        ],
        weight="mass",
        shuffles=20,
    )


def test_neurons_that_exchange_their_preferences_are_displaced(result: Persistence) -> None:
    states = {
        (neuron, stage): state
        for neuron, stage, state in result.neurons.select("neuron", "stage", "state").rows()
    }
    assert {states[neuron, "second"] for neuron in (0, 1)} == {"displaced"}
    assert states[10, "third"] == "too few wins"
    # It came back, but it has not persisted.
    assert states[0, "fourth"] == "itself"
    assert result.stages["itself"].to_list()[0] >= 56


def test_survival_is_the_estimate_of_kaplan_and_meier(result: Persistence) -> None:
    wide = result.neurons.pivot("stage", index="neuron", values="state")
    lifetimes = []
    for row in wide.drop("neuron").iter_rows():
        ends = next((i for i, state in enumerate(row) if state != "itself"), len(row))
        lost = ends < len(row) and row[ends] != "too few wins"
        lifetimes.append((ends, lost))
    survival, variance = 1.0, 0.0
    for number, row in enumerate(result.stages.iter_rows(named=True)):
        # A neuron with too few wins is no longer at risk at that stage.
        at_risk = sum(end > number or (end == number and lost) for end, lost in lifetimes)
        deaths = sum(end == number and lost for end, lost in lifetimes)
        survival *= 1 - deaths / at_risk
        variance += deaths / (at_risk * (at_risk - deaths))
        assert (row["at_risk"], row["lost"]) == (at_risk, deaths)
        assert row["survival"] == pytest.approx(survival)
        spread = 1.959964 * np.sqrt(variance) / abs(np.log(survival))
        assert row["survival_low"] == pytest.approx(survival ** np.exp(spread))
        assert row["survival_high"] == pytest.approx(survival ** np.exp(-spread))
    assert result.half_life == 3
    assert "half-life 3" in result.sentence
    assert f"of {result.stages['neurons'][0]} neurons" in result.sentence


def test_unrelated_stages_keep_no_neuron() -> None:
    base = text(60, 30_000, 1)
    found = persistence(
        [exchanged(base, [], [], "first"), exchanged(base, [(i, i + 30) for i in range(30)], [], "other")],
        weight="mass",
    )
    assert found.stages["itself"][0] == 0
    assert found.half_life == 1
    assert found.stages["survival"][0] == 0
    # By chance one of 60 candidates is the nearest.
    assert 0 < found.stages["chance"][0] < 0.1


def test_persistence_is_saved_and_loaded(result: Persistence, tmp_path: Path) -> None:
    loaded = Persistence.load(result.save(tmp_path / "persistence"))
    assert loaded.stages.equals(result.stages)
    assert loaded.neurons.equals(result.neurons)
    assert (loaded.summary, repr(loaded)) == (result.summary, repr(result))
    assert "fourth" in result._repr_html_()
    assert loaded.neurons["state"].dtype == pl.Enum(PERSISTENCE_STATES)


def test_stages_that_do_not_fit_and_too_few_wins_are_said() -> None:
    base = text(20, 5_000, 1)
    first = exchanged(base, [], [], "first")
    with pytest.raises(UsageError, match="at least two"):
        persistence([first])
    with pytest.raises(ShapeError, match="20 neurons"):
        persistence([first, stage_of(preferences_of(random_events(50), stage="other", n_neurons=30))])
    with pytest.raises(UsageError, match="persistence: false_match_rate=2"):
        persistence([first, first], false_match_rate=2)
    rare = persistence([first, exchanged(base, [], [], "other")], min_wins=10_000)
    assert "enough wins" in rare.sentence
    assert rare.half_life is None
    assert rare.plot().layout.annotations
