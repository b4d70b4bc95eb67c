"""Numbers that sum up a stage, or the change between two."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from txray.analysis.comparison import Comparison
from txray.analysis.comparison_tables import finite
from txray.analysis.effect_sizes import effect_size
from txray.analysis.mass_inequality import gini, half_mass
from txray.analysis.states import STATES
from txray.analysis.tag_mass_test import mass_match
from txray.arguments import checked_call
from txray.preferences.stage_like import StageLike, as_stage


@checked_call
def stage_measures(
    stage: StageLike, *, layer: str | None = None, feature_type: str = "token", seed: int = 0
) -> dict[str, Any]:
    """Return the measures of one layer of a stage: the numbers of a row of `Timeline.stages`, which explains them.

    Args:
        stage: a stage, or its folder.
        layer: required only if the stage has several layers.
        feature_type: the feature type.
        seed: random seed of the shuffled tags.

    Raises:
        UsageError: several layers, and none is named.
        UnknownNameError: an unknown layer or feature type.
    """
    stage = as_stage(stage)
    preferences = stage.preferences(layer=layer, feature_type=feature_type)
    lengths, mass = preferences.lengths(), preferences.mass()
    preferred = lengths > 0
    row: dict[str, Any] = {
        "words": preferences.words,
        "neurons": preferences.n_neurons,
        "preferred": int(preferred.sum()),
        "length": float(lengths[preferred].mean()) if preferred.any() else None,
        "mass": float(mass.sum()),
        "mass_gini": finite(gini(mass)),
        "half_mass": half_mass(mass),
    }
    if {"token", "pos"} <= set(stage.feature_types) and len(stage.tags) and preferred.any():
        match = mass_match(stage, layer=preferences.layer, seed=seed)
        low, middle, high = np.quantile(match.shuffled, [0.025, 0.5, 0.975]).tolist()
        row |= {
            "pos_divergence": match.divergence,
            "pos_shuffled": middle,
            "pos_shuffled_low": low,
            "pos_shuffled_high": high,
            "pos_noise": match.noise,
            "pos_p_value": match.p_value,
        }
    return row


def change_measures(comparison: Comparison, *, seed: int = 0) -> dict[str, Any]:
    """Return the measures of a comparison: the numbers of a row of `Timeline.changes`, which explains them.

    Args:
        comparison: of stages with the same number of folds. If it is untested, the results of the tests are missing.
        seed: random seed of the splits of the folds into halves, for an untested comparison.
    """
    summary = comparison.summary
    if comparison.tested:
        signal, of_layer = comparison.neurons["signal"], summary["hellinger_corrected"]
    else:
        sizes = effect_size(
            comparison.before, comparison.after, weight=comparison.weight, seed=seed, intervals=False
        )
        signal, of_layer = pl.Series(sizes.signal).fill_nan(None), finite(sizes.layer)
    row: dict[str, Any] = {
        "hellinger": summary["mean_hellinger"],
        "hellinger_corrected": of_layer,
        "signal": signal.mean(),
        **{state: summary[state] for state in STATES},
        "same_model": comparison.same_model,
    }
    if not comparison.tested:
        return row
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    counts = ("tested", "changed", "confident_avoided", "confident_gained", "undecided", "displaced")
    # Each distance with the reference that was estimated in the same way.
    distances = ("distance_matched", "distance_null", "distance_halves", "noise_floor")
    return {
        **row,
        **{name: summary[name] for name in ("hellinger_corrected_low", "hellinger_corrected_high", *counts)},
        "changed_share": summary["changed"] / summary["tested"] if summary["tested"] else None,
        **{
            name: summary.get(name)
            for name in ("min_effect", "median_corrected", "median_corrected_changed", "median_detectable")
        },
        **{name: summary[f"mean_{name}"] for name in distances},
        **{name: shared[name].mean() for name in ("rarefied_length_before", "rarefied_length_after")},
    }
