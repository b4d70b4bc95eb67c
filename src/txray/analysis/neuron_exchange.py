"""Words that one neuron loses to others, and wins from them."""

from __future__ import annotations

import numpy as np
import polars as pl

from txray.preferences.preferences import Preferences

EXCHANGE_SCHEMA: dict[str, pl.DataType] = {
    "neuron": pl.Int64(),
    "taken_before": pl.Int64(),
    "taken_after": pl.Int64(),
    "won_before": pl.Int64(),
    "won_after": pl.Int64(),
}
"""Columns of `NeuronChange.exchanged`: words that another neuron wins with this one next behind it, and words that this
one wins with the other next behind it."""


def exchanged_words(before: Preferences, after: Preferences, number: int) -> pl.DataFrame:
    """Return the words that a neuron shares with each other neuron, those whose part changed most first.

    Args:
        before, after: preferences of the two stages.
        number: index of the neuron.

    Returns:
        Columns of `EXCHANGE_SCHEMA`; without rows if the runner-ups of a stage are unknown.
    """
    if before.runner_ups is None or after.runner_ups is None:
        return pl.DataFrame(schema=EXCHANGE_SCHEMA)
    columns = {"neuron": np.arange(after.n_neurons)}
    for name, side in (("before", before.runner_ups), ("after", after.runner_ups)):
        for verb, own, other in (("taken", side.neuron, side.winner), ("won", side.winner, side.neuron)):
            rows = own == number
            words = np.bincount(other[rows], side.count[rows], after.n_neurons)
            columns[f"{verb}_{name}"] = words.astype(np.int64)
    table = pl.DataFrame(columns, schema=EXCHANGE_SCHEMA)
    names = list(EXCHANGE_SCHEMA)[1:]
    rate = [
        pl.col(f"{verb}_after") / max(after.words, 1) - pl.col(f"{verb}_before") / max(before.words, 1)
        for verb in ("taken", "won")
    ]
    return table.filter(pl.any_horizontal(pl.col(*names) > 0)).sort(
        [rate[0].abs(), rate[1].abs(), "neuron"], descending=[True, True, False]
    )
