"""Hover texts of the neurons of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.rules import state_in_words
from txray.analysis.shown_distance import CORRECTED, PLAIN, corrected_words, shown_distance
from txray.analysis.states import NOT_TESTED, STATE_NAMES
from txray.plots.features import labels, strongest
from txray.plots.frame import feature_noun
from txray.plots.text import format_number, hover_text, join_words, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_FEATURES = 8
_MAX_NAMED = 5_000
"""Neurons whose features are named; of more, the file would be too large."""


def hover_texts(comparison: Comparison, rows: pl.DataFrame) -> list[str]:
    """Return the hover texts of some rows of the table `neurons`, escaped; of many rows, without features."""
    sides = (comparison.before, comparison.after)
    named = len(rows) <= _MAX_NAMED
    words = [
        (strongest(side, _FEATURES, comparison.weight), labels(side, _FEATURES)) if named else None
        for side in sides
    ]
    noun = feature_noun(comparison.feature_type)
    states = rows.select(words=state_in_words()) if comparison.tested else None
    texts = []
    for index, row in enumerate(rows.iter_rows(named=True)):
        state = f"{STATE_NAMES[row['state']]}, {NOT_TESTED}" if states is None else states["words"][index]
        lines = _distances(comparison, row, noun)
        for name, side, lists in zip(("before", "after"), sides, words, strict=True):
            lines.append(
                f"{sanitize(side.stage)}: {plural(row[f'length_{name}'], noun)}, "
                f"activation mass {format_number(row[f'mass_{name}'])}, {plural(row[f'wins_{name}'], 'win')}"
            )
            if lists is not None:
                top, distinct = (of_neuron[row["neuron"]] for of_neuron in lists)
                lines.append(f"    {join_words(top)}" if top else "")
                lines.append(f"    most distinctive: {join_words(distinct)}" if distinct else "")
        texts.append(hover_text(f"neuron {row['neuron']}: {state}", *lines))
    return texts


def _distances(comparison: Comparison, row: Mapping[str, Any], noun: str) -> list[str]:
    """Return the lines about how far a neuron moved, as plain text."""
    lines = []
    if row["hellinger"] is not None:
        lines.append(f"{PLAIN.name} {row['hellinger']:.3f} over {plural(row['hellinger_length'], noun)}")
    if row.get("q_value") is not None:
        lines.append(
            f"{shown_distance(comparison).name} {row['distance_matched']:.3f}, {row['distance_null']:.3f} if nothing "
            f"had changed; q-value {format_number(row['q_value'])}"
        )
        lines.append(f"{CORRECTED} (95% interval): {corrected_words(row)}")
    return lines
