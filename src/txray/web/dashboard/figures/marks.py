"""The neurons of a filtered comparison as marks: where they are drawn, their hover texts and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.rules import state_in_words
from txray.plots.marks import Canvas
from txray.plots.text import escape_word, sanitize
from txray.web.dashboard.figures.figure_card import HEIGHT, NARROW
from txray.web.dashboard.filtered_comparison import FilteredComparison

# Of a panel: what can be distinguished in it, and drawn without WebGL. WebGL scatters are compiled by `eval`, which the
# page forbids, take one of some sixteen contexts each, and are saved as pixels. Filters act on all neurons.
PANEL = Canvas(
    width=NARROW - 80,
    height=HEIGHT - 102,
    max_marks=2_500,
    max_labels=9,
    label_width=150,
    max_obstacles=400,
    ids="place",
)
"""The plotting area of a panel."""


def names(filtered: FilteredComparison) -> pl.Expr:
    """Return the name of each neuron, escaped: its number, with the layer if there are several."""
    if len(filtered.layers) == 1:
        return pl.format("neuron {}", "neuron")
    escaped_layers = {layer: escape_word(layer) for layer in filtered.layers}
    layer = pl.col("layer").cast(pl.String).replace_strict(escaped_layers)
    return pl.format("{}, neuron {}", layer, "neuron")


def escaped(text: pl.Expr) -> pl.Expr:
    """Return plain text as plotly must receive it."""
    return text.str.replace_many(["&", "<", ">", "$"], ["&amp;", "&lt;", "&gt;", "&#36;"])


def hover_texts(filtered: FilteredComparison, rows: pl.DataFrame, *lines: pl.Expr) -> NDArray[np.object_]:
    """Return the hover texts of rows: name and state, lines of the panel, most distinctive words of either stage.

    `lines` are escaped.
    """
    parts = [
        pl.format("<b>{}: {}</b>", names(filtered), state_in_words(pending=filtered.pair.pending)),
        *lines,
    ]
    for side, stage in (("before", filtered.before), ("after", filtered.after)):
        words = escaped(pl.col(f"beyond_{side}").list.join(", "))
        parts.append(
            pl.when(pl.col(f"beyond_{side}").list.len() > 0).then(
                pl.format("{}: {}", pl.lit(escape_word(stage.name)), words)
            )
        )
    # An array, because plotly checks every entry of a list.
    text = pl.concat_str(parts, separator="<br>", ignore_nulls=True)
    return rows.select(text.alias("hover"))["hover"].to_numpy()


def label(filtered: FilteredComparison, row: Mapping[str, Any]) -> str:
    """Return the label of a neuron, as plain text: its number and its most distinctive words after."""
    layer = "" if len(filtered.layers) == 1 else f"{sanitize(row['layer'])} · "
    words = ", ".join(row["beyond_after"][:3])
    return f"{layer}{row['neuron']}: {words}" if words else f"{layer}{row['neuron']}"
