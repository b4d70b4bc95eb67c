"""The strongest and the weakest gained neurons, and what they prefer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.analysis.rules import changed_most_first, is_significant
from txray.analysis.states import test_label
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.features import distinctive, strongest
from txray.plots.frame import add_frame, caption_of, empty_figure, feature_noun
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, filled_lines, format_number, percent, sanitize

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

FEATURES = 10
"""Features listed per neuron."""
_MAX_K = 50
_LINE = 18
_EDGE = 14
_COLUMNS = (126, 70, 118, 80, theme.WIDTH - theme.RIGHT - _EDGE - 394)
"""Widths in pixels."""


@checked_subjects
def gained_neurons(comparison: Comparison, k: int = 3, *, features: int = FEATURES) -> pl.DataFrame:
    """Return the k strongest and the k weakest gained neurons by activation mass, every neuron once.

    If the comparison is tested (`Comparison.test`), significantly gained neurons come first.

    Args:
        comparison: of two stages.
        k: neurons at either end.
        features: features listed per neuron, the most probable first.

    Returns:
        Columns end (`strongest` or `weakest`), neuron, mass (sum of its selected activations in the later
        stage), length, features (list), distinctive (list: those of highest lift), confident (whether
        it is gained significantly; null if it was not tested). Largest mass first, ties by neuron; no rows if
        nothing was gained.

    Raises:
        UsageError: `k` or `features` below 1.

    Source:
        Rethmeier et al. 2020, table 1.
    """
    if k < 1 or features < 1:
        raise UsageError(f"gained neurons: k={k}, features={features}; both must be at least 1")
    fdr = comparison.fdr
    gained = comparison.neurons.filter(pl.col("state") == "gained").with_columns(
        confident=pl.lit(None, pl.Boolean) if fdr is None else is_significant(fdr)
    )
    gained = gained[changed_most_first(gained, fdr)]
    weakest = min(k, max(0, len(gained) - k))
    listed = pl.concat([gained.head(k), gained.tail(weakest)])
    top = strongest(comparison.after, features, comparison.weight)
    beyond = distinctive(comparison.after, features)
    return pl.DataFrame(
        {
            "end": pl.Series(
                ["strongest"] * (len(listed) - weakest) + ["weakest"] * weakest, dtype=pl.String
            ),
            "neuron": listed["neuron"],
            "mass": listed["mass_after"],
            "length": listed["length_after"],
            "features": _lists(top, listed["neuron"]),
            "distinctive": _lists(beyond, listed["neuron"]),
            "confident": listed["confident"],
        }
    )


def _lists(of_neuron: Sequence[tuple[str, ...]], neurons: pl.Series) -> pl.Series:
    return pl.Series([list(of_neuron[neuron]) for neuron in neurons], dtype=pl.List(pl.String))


@checked_subjects
def gained_table(comparison: Comparison, k: int = 3, *, features: int = FEATURES) -> go.Figure:
    """Draw a table of the strongest and weakest gained neurons with their features.

    Args:
        comparison: of two stages.
        k: neurons at either end, at most 50.
        features: preferred features listed per neuron.

    Raises:
        UsageError: `k` or `features` below 1, or `k` above 50.

    Source:
        Rethmeier et al. 2020, table 1.
    """
    if k > _MAX_K:
        raise UsageError(f"gained table: k={k}; a table of more than {2 * _MAX_K} rows is for gained_neurons")
    rows = gained_neurons(comparison, k, features=features)
    noun = feature_noun(comparison.after.feature_type)
    before, after = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    gained = int(comparison.summary["gained"])
    figure = go.Figure()
    height = 150
    if len(rows):
        notes = comparison.after.name_scores.notes
        cells = [
            _cell(row["features"], row["length"]) + _distinctive(row["distinctive"], notes[row["neuron"]])
            for row in rows.iter_rows(named=True)
        ]
        undecided = [confident is False for confident in rows["confident"]]
        figure.add_table(
            columnwidth=_COLUMNS,
            header={
                "values": [
                    f"<b>{escape(head)}</b>"
                    for head in (
                        "",
                        "neuron",
                        "activation sum",
                        f"{noun}s",
                        f"strongest {noun}s",
                    )
                ],
                "align": ["left", "right", "right", "right", "left"],
                "fill": {"color": theme.PAPER},
                "line": {"color": theme.FAINT, "width": [0, 0, 0, 0, 0]},
                "height": 30,
            },
            cells={
                "values": [
                    [
                        f"{end}, undecided" if is_undecided else end
                        for end, is_undecided in zip(rows["end"], undecided, strict=True)
                    ],
                    [str(neuron) for neuron in rows["neuron"]],
                    [format_number(mass) for mass in rows["mass"]],
                    [count(length) for length in rows["length"]],
                    ["<br>".join(map(escape, cell)) for cell in cells],
                ],
                "align": ["left", "right", "right", "right", "left"],
                "font": {
                    "color": [[theme.FAINT if is_undecided else theme.INK for is_undecided in undecided]]
                },
                "fill": {
                    "color": [["#EAF5FC" if end == "strongest" else theme.PAPER for end in rows["end"]]]
                },
                "line": {"color": theme.GRID},
                "height": _LINE + 10,
            },
        )
        height = 30 + sum(_LINE * len(cell) + 10 for cell in cells) + 6
    else:
        empty_figure(
            figure,
            f"No neuron is gained: every neuron in use in {after} was in use in {before} already "
            f"({count(comparison.summary['shared'])} in both, {count(comparison.summary['avoided'])} only before).",
        )
    return add_frame(
        figure,
        title=_finding(comparison, gained),
        subtitle=f"Gained: in use only after ({after}), not before ({before})",
        caption=caption_of(comparison),
        plot_height=height,
        below=0,
        left=_EDGE,
    )


def _finding(comparison: Comparison, gained: int) -> str:
    after = sanitize(comparison.after.stage)
    total = float(comparison.neurons["mass_after"].sum())
    if gained == 0 or total == 0:
        return f"No neuron is gained from {sanitize(comparison.before.stage)} to {after}"
    neurons = comparison.neurons.filter(pl.col("state") == "gained")
    n_all = count(len(comparison.neurons))
    verb = "neuron is" if gained == 1 else "neurons are"
    finding = f"{count(gained)} of {n_all} {verb} gained in {after}"
    if comparison.fdr is None:
        share = percent(float(neurons["mass_after"].sum()) / total)
        return f"{finding}, with {share} of its activation mass (observed, not tested)"
    significant = neurons.filter(is_significant(comparison.fdr))
    label = test_label(comparison.fdr, text_matched=comparison.text_matched)
    label += ", same weights" if comparison.only_text else ""
    if not len(significant):
        return f"{finding}, none of them significantly ({label})"
    share = percent(float(significant["mass_after"].sum()) / total)
    return (
        f"{finding}, {count(len(significant))} of them significantly ({label}), "
        f"with {share} of its activation mass"
    )


def _cell(names: list[str], length: int) -> list[str]:
    """Return the lines of a cell: words are not broken; the number of those that are not listed comes last."""
    words = [sanitize(name) for name in names]
    if length > len(words):
        words.append(f"... {count(length - len(words))} more")
    return _lines(words)


def _distinctive(names: list[str], note: str) -> list[str]:
    """Return the lines of the most distinctive features, or of the note on features that do not hold."""
    if note:
        return _lines([note])
    return _lines(["most distinctive:", *map(sanitize, names)]) if names else []


def _lines(words: list[str]) -> list[str]:
    """Return words in lines that fit the cell, with commas between them."""
    pieces = [word if word.endswith(":") else f"{word}," for word in words[:-1]] + words[-1:]
    return filled_lines(pieces, _COLUMNS[-1] - 24, theme.SIZE)
