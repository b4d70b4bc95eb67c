"""The tables of a timeline: their columns, the scores that join them, and the flows between states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from txray.analysis.comparison import Comparison
from txray.analysis.states import CONFIDENT_STATES, DISPLACED, OBSERVED_STATES, STATES
from txray.errors import UsageError

REFERENCES = ("previous", "first", "last")
"""Stages that each stage of a timeline is compared with."""

CHANGES = ("signal", "hellinger_corrected", "hellinger", "changed_share")
"""Measures of a step: cross-validated H^2, corrected and plug-in distance, share of the tested neurons that changed."""

DISTANCES = ("hellinger", "hellinger_corrected", "signal")
"""Measures of a pair of stages."""


Schema = dict[str, pl.DataType]

_PAIR: Schema = dict.fromkeys(("layer", "before", "after"), pl.String())
DISTANCE_SCHEMA: Schema = {**_PAIR, **dict.fromkeys(DISTANCES, pl.Float64())}
FLOW_SCHEMA: Schema = {
    **_PAIR,
    "state": pl.Enum(CONFIDENT_STATES),
    "observed": pl.Enum(STATES),
    "neurons": pl.Int64(),
}
CHANGE_SCHEMA: Schema = {
    "layer": pl.String(),
    "reference": pl.Enum(REFERENCES),
    **DISTANCE_SCHEMA,
    **dict.fromkeys(("hellinger_corrected_low", "hellinger_corrected_high"), pl.Float64()),
    **dict.fromkeys(STATES, pl.Int64()),
    **dict.fromkeys(
        ("tested", "changed", "confident_avoided", "confident_gained", "undecided", "displaced"), pl.Int64()
    ),
    **dict.fromkeys(
        (
            *(
                "changed_share",
                "min_effect",
                "median_corrected",
                "median_corrected_changed",
                "median_detectable",
            ),
            *("distance_matched", "distance_null", "distance_halves", "noise_floor"),
            *("rarefied_length_before", "rarefied_length_after"),
        ),
        pl.Float64(),
    ),
    "same_model": pl.Boolean(),
}
STAGE_SCHEMA: Schema = {
    "layer": pl.String(),
    "stage": pl.String(),
    **dict.fromkeys(("words", "neurons", "preferred"), pl.Int64()),
    **dict.fromkeys(("length", "mass", "mass_gini"), pl.Float64()),
    "half_mass": pl.Int64(),
    **dict.fromkeys(
        (
            "pos_divergence",
            "pos_shuffled",
            "pos_shuffled_low",
            "pos_shuffled_high",
            "pos_noise",
            "pos_p_value",
        ),
        pl.Float64(),
    ),
}


def table_of(rows: Iterable[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Return rows as a table; missing values are null."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def score_table(scores: pl.DataFrame | None, names: Sequence[str]) -> pl.DataFrame:
    """Return one row per stage that has scores: the column `stage`, then the scores passed to `timeline`, if any.

    Raises:
        UsageError: scores without stages, of other stages, or that are not numbers.
    """
    if scores is None:
        return pl.DataFrame({"stage": names}, schema={"stage": pl.String})
    if STAGE_SCHEMA.keys() <= set(scores.columns):
        scores = scores.select("stage", pl.exclude(*STAGE_SCHEMA)).unique("stage", maintain_order=True)
    if "stage" not in scores.columns or not scores["stage"].is_unique().all():
        raise UsageError(
            f"timeline: scores with the columns {scores.columns}; one column must be 'stage', each stage once"
        )
    if not set(names) & set(scores["stage"].cast(pl.String)):
        raise UsageError(
            f"timeline: scores are of the stages {scores['stage'].to_list()[:8]}, none of which is "
            f"among {names}; pass rows of these stages"
        )
    reserved = [name for name in scores.columns if name != "stage" and name in STAGE_SCHEMA]
    if reserved:
        raise UsageError(
            f"timeline: scores {reserved} have the names of columns of the timeline itself; rename them"
        )
    words = [name for name in scores.columns if name != "stage" and not scores[name].dtype.is_numeric()]
    if words:
        raise UsageError(f"timeline: scores {words} are not numbers; drop them")
    numbers = pl.exclude("stage").cast(pl.Float64)
    finite = pl.when(numbers.is_finite()).then(numbers)
    return scores.select(pl.col("stage").cast(pl.String), finite)


def flow_rows(steps: Mapping[str, Sequence[Comparison]]) -> Iterator[dict[str, Any]]:
    """Yield rows of `Timeline.flows` from the comparisons of each stage with the previous one, per layer."""
    for layer, comparisons in steps.items():
        for comparison in comparisons:
            neurons = comparison.neurons
            observed = neurons["state"].cast(pl.String).to_list()
            tested = neurons["confident_state"].cast(pl.String).to_list() if comparison.tested else observed
            number = Counter(zip(tested, observed, strict=True))
            for state in CONFIDENT_STATES:
                for observed_state in OBSERVED_STATES.get(state, (state,)):
                    if state == DISPLACED and not number[state, observed_state]:
                        continue
                    yield {
                        "layer": layer,
                        "before": comparison.before.stage,
                        "after": comparison.after.stage,
                        "state": state,
                        "observed": observed_state,
                        "neurons": number[state, observed_state],
                    }
