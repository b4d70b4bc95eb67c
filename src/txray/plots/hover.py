"""Hover texts of the neurons of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.findings import NOT_TESTED
from txray.analysis.shown_distance import CORRECTED, PLAIN, corrected_words, shown_distance
from txray.plots.features import distinctive, strongest
from txray.plots.frame import feature_noun
from txray.plots.text import format_number, hover_text, join_words, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_FEATURES = 8
_MAX_NAMED = 5_000
"""Neurons whose features are named; of more, the file would be too large."""


def hover_texts(comparison: Comparison, drawn: pl.DataFrame) -> list[str]:
    """Hover text of some neurons of a comparison, escaped.

    Args:
        comparison: of two stages.
        drawn: rows of its table `neurons`; of many, features are left out.
    """
    before, after = comparison.before, comparison.after
    named = len(drawn) <= _MAX_NAMED
    sides = [strongest(p, _FEATURES, comparison.weight) if named else None for p in (before, after)]
    beyond = [distinctive(p, _FEATURES) if named else None for p in (before, after)]
    return [
        _story(comparison, row, *(side[row["neuron"]] if side else () for side in (*sides, *beyond)))
        for row in drawn.iter_rows(named=True)
    ]


def _story(
    comparison: Comparison,
    row: Mapping[str, Any],
    top_before: tuple[str, ...],
    top_after: tuple[str, ...],
    beyond_before: tuple[str, ...],
    beyond_after: tuple[str, ...],
) -> str:
    """Hover text of one neuron: `top` features are the strongest, those `beyond` outdo their frequency."""
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    noun = feature_noun(comparison.before.feature_type)
    distance = row["hellinger"]
    lines = [
        ""
        if distance is None
        else f"{PLAIN.name} {distance:.3f} over {plural(row['hellinger_length'], noun)}"
    ]
    if row.get("q_value") is not None:
        tested = shown_distance(comparison)
        lines.append(
            f"{tested.name} {row['distance_matched']:.3f}, {row['distance_null']:.3f} if nothing had changed; "
            f"q-value {format_number(row['q_value'])}"
        )
        lines.append(f"{CORRECTED} (95% interval): {corrected_words(row)}")
    for side, stage, top, beyond in (
        ("before", before, top_before, beyond_before),
        ("after", after, top_after, beyond_after),
    ):
        lines.append(
            f"{stage}: {plural(row[f'length_{side}'], noun)}, activation mass {format_number(row[f'mass_{side}'])}, "
            f"{plural(row[f'wins_{side}'], 'win')}"
        )
        lines.append(f"    {join_words(top)}" if top else "")
        lines.append(f"    beyond frequency: {join_words(beyond)}" if beyond else "")
    state = row["confident_state"] if comparison.tested else f"{row['state']}, {NOT_TESTED}"
    return hover_text(f"neuron {row['neuron']}: {state}", *lines)
