"""The table and the summary of a comparison, computed from the preferences of both stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from txray.analysis.distances import (
    hellinger,
    hellinger_length,
    hellinger_published_code,
    published_code_distance,
)
from txray.analysis.mass_inequality import gini
from txray.analysis.states import STATES
from txray.preferences.distributions import aligned
from txray.preferences.preferences import Preferences, Weight


def neuron_table(before: Preferences, after: Preferences, weight: Weight) -> pl.DataFrame:
    """Return the table `Comparison.neurons` of two preferences of the same neurons, without tests."""
    # Aligned once: none of the distances below aligns again.
    p, q = aligned(before.distributions(weight), after.distributions(weight))
    union = hellinger_length(p, q)
    if weight == "mean":
        published = published_code_distance(before, after, p, q, union)
    else:
        published = hellinger_published_code(before, after)
    length_before, length_after = p.lengths(), q.lengths()
    state = np.select(
        [(length_before > 0) & (length_after > 0), length_before > 0, length_after > 0],
        STATES[:3],
        default=STATES[3],
    )
    return pl.DataFrame(
        {
            "neuron": np.arange(before.n_neurons),
            "state": pl.Series(state.tolist(), dtype=pl.Enum(STATES)),
            "length_before": length_before,
            "length_after": length_after,
            "hellinger_length": union,
            "mass_before": before.mass(),
            "mass_after": after.mass(),
            "wins_before": before.wins(),
            "wins_after": after.wins(),
            "hellinger": hellinger(p, q),
            "hellinger_published_code": published,
        }
    ).with_columns(pl.col("hellinger", "hellinger_published_code").fill_nan(None))


def summary_of(
    before: Preferences, after: Preferences, weight: Weight, neurons: pl.DataFrame
) -> dict[str, Any]:
    """Return `Comparison.summary`, without tests, as plain JSON values; `neurons` is from `neuron_table`."""
    counts = dict(neurons["state"].value_counts().iter_rows())
    shared = neurons.filter(pl.col("state") == "shared")
    return {
        "before": before.stage,
        "after": after.stage,
        "layer": after.layer,
        "feature": after.feature_type,
        "selection": after.selection,
        "weight": weight,
        "neurons": len(neurons),
        **{state: int(counts.get(state, 0)) for state in STATES},
        "words_before": before.words,
        "words_after": after.words,
        "features_before": len(before.features),
        "features_after": len(after.features),
        "mean_length_shared_before": shared["length_before"].mean(),
        "mean_length_shared_after": shared["length_after"].mean(),
        "length_change_shared": _change(shared["length_before"], shared["length_after"]),
        "mean_length_before": neurons["length_before"].mean(),
        "mean_length_after": neurons["length_after"].mean(),
        "length_change": _change(neurons["length_before"], neurons["length_after"]),
        "mean_hellinger": shared["hellinger"].mean(),
        "median_hellinger": shared["hellinger"].median(),
        "mean_hellinger_published_code": shared["hellinger_published_code"].mean(),
        "mass_before": float(neurons["mass_before"].sum()),
        "mass_after": float(neurons["mass_after"].sum()),
        "mass_gini_before": finite(gini(neurons["mass_before"].to_numpy())),
        "mass_gini_after": finite(gini(neurons["mass_after"].to_numpy())),
    }


def _change(before: pl.Series, after: pl.Series) -> float | None:
    """Return the relative change of the total; None if there was nothing before."""
    total = float(before.sum())
    return float(after.sum()) / total - 1 if total else None


def finite(value: float) -> float | None:
    """Return a number as a JSON value: None if it is not finite."""
    return float(value) if np.isfinite(value) else None
