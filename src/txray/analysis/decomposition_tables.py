"""The tables of a decomposition: rows of neurons and layers of each margin, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from txray.analysis.comparison import Comparison
from txray.analysis.comparison_tables import finite
from txray.analysis.effect_sizes import EffectSize
from txray.analysis.rules import is_significant, q_value_is_significant
from txray.analysis.significance.chi_square import chi_square
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.interaction import TwoModels, interaction_statistic
from txray.analysis.significance.permutation import Permutations, layer_p_value, q_values
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.split_half import Halves, matched_draws, split_in_halves
from txray.analysis.significance.tests import SignificanceSettings
from txray.analysis.states import CONFIDENT_STATES
from txray.preferences.preferences import Preferences, Weight

INTERACTION = "interaction"
COMPARED: Mapping[str, tuple[int, int]] = {
    "model_on_a": (0, 2),
    "model_on_b": (1, 3),
    "text_in_a": (0, 1),
    "text_in_b": (2, 3),
}
"""Margin -> the two stages that it compares, of model a on text a and on text b, then model b on both."""
MARGINS = (*COMPARED, INTERACTION)
"""The effects of a decomposition."""

VERDICTS = ("model", "text", "both", "neither", "unused", "unknown")
"""What explains the differences of a neuron."""

LAYER_PERMUTATIONS = 999
"""Maximum number of permutations of the test of a layer."""

_BOUNDS = ("hellinger_corrected", "hellinger_corrected_low", "hellinger_corrected_high")
_MARGIN = pl.Enum(MARGINS)
NEURON_SCHEMA = {
    "layer": pl.String(),
    "margin": _MARGIN,
    "neuron": pl.Int64(),
    "state": pl.Enum(CONFIDENT_STATES),
    **dict.fromkeys((*_BOUNDS, "p_value", "q_value", "z_score"), pl.Float64()),
    "significant": pl.Boolean(),
}
MARGIN_SCHEMA = {
    "layer": pl.String(),
    "margin": _MARGIN,
    **dict.fromkeys((*_BOUNDS, "p_value", "median_corrected"), pl.Float64()),
    **dict.fromkeys(("tested", "significant"), pl.Int64()),
    "significant_share": pl.Float64(),
    "unknown": pl.Int64(),
    "text_matched": pl.Boolean(),
}


def neuron_rows(comparison: Comparison, layer: str, margin: str) -> pl.DataFrame:
    """Return the rows of `Decomposition.neurons` of one comparison."""
    neurons, fdr = comparison.neurons, float(comparison.summary["fdr"])
    significant = is_significant(fdr)
    # A neuron in use in neither stage did not change; one that is too rarely active may have.
    known = significant | pl.col("q_value").is_not_null() | (pl.col("state").cast(pl.String) == "unpreferred")
    return neurons.select(
        pl.lit(layer).alias("layer"),
        pl.lit(margin, dtype=_MARGIN).alias("margin"),
        pl.col("neuron").cast(pl.Int64),
        pl.col("confident_state").cast(NEURON_SCHEMA["state"]).alias("state"),
        *_BOUNDS,
        "p_value",
        "q_value",
        "z_score",
        pl.when(known).then(significant).alias("significant"),
    )


def layer_rows(
    comparison: Comparison, neurons: pl.DataFrame, layer: str, margin: str, settings: SignificanceSettings
) -> dict[str, Any]:
    """Return the row of `Decomposition.margins` of one comparison, whose rows of neurons are given."""
    summary = comparison.summary
    folds = FoldCounts.of(comparison.before, comparison.after)
    draw = matched_draws(
        folds, 1, settings.seed, match_text=summary["text_matched"], paired=bool(summary["paired"])
    )[0]
    p_value = layer_p_value(
        draw,
        chi_square,
        paired=bool(summary["paired"]),
        n=min(LAYER_PERMUTATIONS, settings.permutations),
        random=generator_for(settings.seed, "permutations"),
    )
    return {
        "layer": layer,
        "margin": margin,
        **{name: summary[name] for name in _BOUNDS},
        "p_value": finite(p_value),
        **_counts(neurons),
        "text_matched": bool(summary["text_matched"]),
    }


def interaction_rows(
    sides: Sequence[Preferences], layer: str, weight: Weight, settings: SignificanceSettings
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the rows of neurons of the interaction, and its row of the layer."""
    models = TwoModels.of(sides)
    tests = Permutations(
        [models],
        interaction_statistic,
        paired=False,
        max_permutations=settings.permutations,
        fdr=settings.fdr,
        random=generator_for(settings.seed, "interaction"),
    )
    of_layer = layer_p_value(
        models,
        interaction_statistic,
        paired=False,
        n=min(LAYER_PERMUTATIONS, settings.permutations),
        random=generator_for(settings.seed, "permutations"),
    )
    draws = models.diagonals(settings.draws, settings.seed)
    splits = split_in_halves(models.folds, settings.splits, generator_for(settings.seed, "splits"))
    size = EffectSize.of(draws, Halves.of(draws, *splits, weight), splits, weight)
    p_value, q_value = tests.p_value, q_values(tests.p_value)
    if settings.min_effect:
        of_size = np.where(np.isfinite(p_value), size.p_values(settings.min_effect), np.nan)
        p_value, q_value = np.maximum(p_value, of_size), np.maximum(q_value, q_values(of_size))
    values = {
        "hellinger_corrected": size.distance,
        "hellinger_corrected_low": size.low,
        "hellinger_corrected_high": size.high,
        "p_value": p_value,
        "q_value": q_value,
        "z_score": tests.z_score,
    }
    neurons = pl.DataFrame(
        {
            "layer": np.repeat(layer, len(q_value)),
            "margin": pl.Series(np.repeat(INTERACTION, len(q_value)), dtype=_MARGIN),
            "neuron": np.arange(len(q_value)),
            "state": pl.Series([None] * len(q_value), dtype=NEURON_SCHEMA["state"]),
            **{name: pl.Series(value).fill_nan(None) for name, value in values.items()},
        }
    )
    # A neuron in use in none of the stages did not change; one that is too rarely active in one of them may have.
    unused = pl.Series(np.sum([side.wins() for side in sides], axis=0) == 0)
    tested_significant = pl.when(pl.col("q_value").is_not_null()).then(q_value_is_significant(settings.fdr))
    significant = pl.when(unused).then(pl.lit(value=False)).otherwise(tested_significant)
    neurons = neurons.with_columns(significant=significant)
    return neurons, {
        "layer": layer,
        "margin": INTERACTION,
        "hellinger_corrected": finite(size.layer),
        "hellinger_corrected_low": finite(size.layer_low),
        "hellinger_corrected_high": finite(size.layer_high),
        "p_value": finite(of_layer),
        **_counts(neurons),
        "text_matched": True,
    }


def _counts(neurons: pl.DataFrame) -> dict[str, Any]:
    """Return how many neurons of a margin are significant, of how many, and their median distance."""
    tested = neurons.filter(pl.col("q_value").is_not_null() | pl.col("significant"))
    significant = int(tested["significant"].sum())
    return {
        "median_corrected": neurons["hellinger_corrected"].median(),
        "tested": len(tested),
        "significant": significant,
        "significant_share": significant / len(tested) if len(tested) else None,
        "unknown": int(neurons["significant"].is_null().sum()),
    }


def table_of_margins(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the table `Decomposition.margins`."""
    return pl.DataFrame(rows, schema=MARGIN_SCHEMA)


def verdict_table(neurons: pl.DataFrame) -> pl.DataFrame:
    """Return the table `Decomposition.verdicts` from `Decomposition.neurons`."""

    def significant(*margins: str) -> pl.Expr:
        of_margins = pl.col("significant").filter(pl.col("margin").is_in(margins))
        # True if one of them is, False if none is and all can be known.
        return (
            pl.when(of_margins.any(ignore_nulls=True))
            .then(True)
            .when(of_margins.is_null().any())
            .then(None)
            .otherwise(False)
        )

    model, text = pl.col("_model"), pl.col("_text")
    return (
        neurons.group_by("layer", "neuron", maintain_order=True)
        .agg(
            significant("model_on_a", "model_on_b").alias("_model"),
            significant("text_in_a", "text_in_b").alias("_text"),
            significant(INTERACTION).alias("interaction"),
            # Neither stage of any comparison prefers anything.
            pl.col("state").filter(pl.col("margin") != INTERACTION).eq("unpreferred").all().alias("_unused"),
        )
        .select(
            "layer",
            "neuron",
            pl.when("_unused")
            .then(pl.lit("unused"))
            .when(model.is_null() | text.is_null())
            .then(pl.lit("unknown"))
            .when(model & text)
            .then(pl.lit("both"))
            .when(model)
            .then(pl.lit("model"))
            .when(text)
            .then(pl.lit("text"))
            .otherwise(pl.lit("neither"))
            .cast(pl.Enum(VERDICTS))
            .alias("verdict"),
            "interaction",
        )
    )
