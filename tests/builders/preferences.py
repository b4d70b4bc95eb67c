"""Small stages and tallies to test with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from txray.preferences import ExemplarTally, Occurrence, Preferences, Stage, Tally
from txray.preferences.exemplars import CONTEXT

Events = list[tuple[int, int, str, float]]
"""(fold, neuron, feature, activation)."""


def random_events(
    n: int, *, n_neurons: int = 12, n_features: int = 40, folds: int = 4, seed: int = 0
) -> Events:
    """Events of a Zipf-like text."""
    rng = np.random.default_rng(seed)
    word = rng.zipf(1.4, n) % n_features
    return list(
        zip(
            rng.integers(0, folds, n).tolist(),
            rng.integers(0, n_neurons, n).tolist(),
            [f"w{i}" for i in word],
            (rng.random(n).astype(np.float32) + np.float32(0.01)).tolist(),
            strict=True,
        )
    )


def tally_of(events: Events, *, n_neurons: int = 12, folds: int = 4, batch: int = 7) -> Tally:
    """A tally fed batch by batch."""
    tally = Tally(n_neurons, folds)
    for start in range(0, len(events), batch):
        add(tally, events[start : start + batch])
    return tally


def add(tally: Tally, events: Events) -> None:
    """Feed one batch."""
    fold = np.array([event[0] for event in events], dtype=np.int64)
    ids = tally.feature_ids([event[2] for event in events])
    tally.count_occurrences(fold, ids)
    neuron = np.array([event[1] for event in events], dtype=np.int64)
    tally.update(fold, neuron, ids, np.array([event[3] for event in events], dtype=np.float64))


def frozen(tally: Tally, stage: str = "s", feature: str = "token") -> Preferences:
    """The preferences of a tally."""
    return tally.freeze(stage=stage, layer="rnn", feature_type=feature, selection="max-1")


def preferences_of(events: Events, stage: str = "s", *, n_neurons: int = 12, folds: int = 4) -> Preferences:
    """Preferences of these events."""
    return frozen(tally_of(events, n_neurons=n_neurons, folds=folds), stage)


def stage_of(events: Events, name: str = "s", *, n_neurons: int = 12) -> Stage:
    """A stage of one layer with exemplars."""
    exemplars = ExemplarTally(n_neurons, 3)
    exemplars.update(
        np.array([event[1] for event in events]),
        np.array([event[3] for event in events]),
        np.arange(len(events)),
        np.zeros(len(events), np.int64),
        lambda i: Occurrence(f"d{i}", 0, events[i][2], "before", "after"),
        lambda kept: contexts(np.array([event[3] for event in events])[kept]),
    )
    preferences = preferences_of(events, name, n_neurons=n_neurons)
    return Stage(name, {("rnn", "token"): preferences}, exemplars.table("rnn"), {"words": len(events)})


def contexts(activation: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 17) activations around words: of the word before there is none, after it comes half as much."""
    found = np.full((len(activation), 2 * CONTEXT + 1), np.nan)
    found[:, CONTEXT], found[:, CONTEXT + 1] = activation, activation / 2
    return found


def arrays(preferences: Preferences) -> dict[str, NDArray[np.generic]]:
    """The columns, and those of the runner-ups if they are known, for comparing two preferences."""
    names = ("features", "corpus_counts", "fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
    columns = {name: getattr(preferences, name) for name in names}
    if preferences.runner_ups is not None:
        columns |= {f"runner_ups.{name}": array for name, array in vars(preferences.runner_ups).items()}
    return columns
