"""One mark per neuron: which are drawn, what they say, and how those that are not picked out fade."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.findings import state_in_words
from txray.plots.text import escape_word, sanitize
from txray.sampling import even_sample
from txray.web.dashboard.filtered_comparison import FilteredComparison

MARKS = 2_500
"""Of a panel: as many as can be told apart in it, and drawn without WebGL.

WebGL scatters are compiled by `eval`, which the page forbids, hold one of some sixteen contexts each, and are saved as
pixels; the filters act on all neurons, and those that are picked out are drawn first.
"""
FAINT = 0.08
"""Opacity of neurons that are not picked out."""


def sample(rows: pl.DataFrame, most: int = MARKS) -> pl.DataFrame:
    """At most so many rows, those that are picked out first, evenly spread, in their order."""
    if len(rows) <= most:
        return rows
    mask = rows["picked"].to_numpy()
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    first = inside[even_sample(len(inside), most if len(outside) == 0 else most * 4 // 5)]
    room = min(len(outside), most - len(first))
    rest = outside[even_sample(len(outside), room)] if room else outside[:0]
    return rows[np.sort(np.concatenate((first, rest)))]


def selected(rows: pl.DataFrame) -> NDArray[np.int64] | None:
    """Places of the rows that are picked out, as plotly's `selectedpoints`; None where all are."""
    mask = rows["picked"].to_numpy()
    return None if mask.all() else np.flatnonzero(mask)


def dim_unselected(rows: pl.DataFrame) -> dict[str, object]:
    """What a trace of marks needs, so that neurons that are not picked out fade."""
    return {"selectedpoints": selected(rows), "unselected": {"marker": {"opacity": FAINT}}}


def names(filtered: FilteredComparison) -> pl.Expr:
    """What a neuron is called, as markup: its number, with the layer where there are several."""
    if len(filtered.layers) == 1:
        return pl.format("neuron {}", "neuron")
    told = {layer: escape_word(layer) for layer in filtered.layers}
    return pl.format("{}, neuron {}", pl.col("layer").cast(pl.String).replace_strict(told), "neuron")


def escaped(text: pl.Expr) -> pl.Expr:
    """Plain text as plotly must receive it."""
    return text.str.replace_many(["&", "<", ">", "$"], ["&amp;", "&lt;", "&gt;", "&#36;"])


def hover_texts(filtered: FilteredComparison, rows: pl.DataFrame, *lines: pl.Expr) -> NDArray[np.object_]:
    """Hover text of neurons: name and state, lines of the panel, what they prefer beyond its frequency.

    Args:
        filtered: that they are of.
        rows: of its neurons.
        lines: further lines, as markup.
    """
    told = [
        pl.format("<b>{}: {}</b>", names(filtered), state_in_words(pending=filtered.pair.pending)),
        *lines,
    ]
    for side, stage in (("before", filtered.before), ("after", filtered.after)):
        listed = escaped(pl.col(f"beyond_{side}").list.join(", "))
        told.append(
            pl.when(pl.col(f"beyond_{side}").list.len() > 0).then(
                pl.format("{}: {}", pl.lit(escape_word(stage.name)), listed)
            )
        )
    # An array, because plotly looks at every entry of a list.
    text = pl.concat_str(told, separator="<br>", ignore_nulls=True)
    return rows.select(text.alias("told"))["told"].to_numpy()


def label(filtered: FilteredComparison, row: dict[str, object], preferred_words: str) -> str:
    """A neuron's name beside its mark, as plain text."""
    features = row[preferred_words]
    assert isinstance(features, list)
    told = ", ".join(features[:3])
    where = "" if len(filtered.layers) == 1 else f"{sanitize(str(row['layer']))} · "
    return f"{where}{row['neuron']}: {told}" if told else f"{where}{row['neuron']}"
