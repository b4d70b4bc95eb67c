"""Table of significant changes: one row per comparison and feature type."""

from __future__ import annotations

import polars as pl

from txray.analysis import Comparison
from txray.analysis.shown_distance import corrected_words
from txray.analysis.states import SAME_WEIGHTS
from txray.experiment.comparisons import PaperComparisons
from txray.experiment.paper_table import number

_PAIRS = {
    "first → best epoch": "first",
    "the epoch before the best → best": "last",
    "pretraining text → reviews": "domain",
    "before → after supervision": "supervision",
}


def significance_table(comparisons: PaperComparisons) -> str:
    """Return a Markdown table of changed neurons, tested states, distances and lengths.

    All means of a row are over the same neurons, those that were tested.

    Args:
        comparisons: tested comparisons.
    """
    lines = [
        "| stages | feature type | changed neurons | avoided, significant | gained, significant "
        "| distance at equal numbers of wins | expected without change "
        "| corrected distance of the layer (95% interval) | length at equal numbers of wins | length, of all wins "
        "| distance, of all wins |",
        "|" + " --- |" * 11,
    ]
    for stages, name in _PAIRS.items():
        for feature_type, comparison in getattr(comparisons, name).items():
            lines.append("| " + " | ".join((stages, feature_type, *_cells(comparison))) + " |")
    weights = [
        f"{stages}: {SAME_WEIGHTS}"
        for stages, name in _PAIRS.items()
        if any(comparison.only_text for comparison in getattr(comparisons, name).values())
    ]
    return "\n".join([*lines, *(line for sentence in weights for line in ("", sentence))]) + "\n"


def _cells(comparison: Comparison) -> tuple[str, ...]:
    summary = comparison.summary
    tested = comparison.neurons.filter(pl.col("p_value").is_not_null())

    def mean(column: str) -> float | None:
        value = tested[column].mean()
        return None if value is None else float(value)  # type: ignore[arg-type]  # columns of numbers

    return (
        f"{summary['changed']} of {summary['tested']}",
        f"{summary['confident_avoided']} of {summary['avoided']}",
        f"{summary['confident_gained']} of {summary['gained']}",
        *(number(mean(column), 2) for column in ("distance_matched", "distance_null")),
        corrected_words(summary),
        " → ".join(number(mean(f"rarefied_length_{side}"), 0) for side in ("before", "after")),
        " → ".join(number(mean(f"length_{side}"), 0) for side in ("before", "after")),
        number(mean("hellinger"), 2),
    )
