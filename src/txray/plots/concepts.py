"""Figures of concepts: the neurons that mark them best, and how that changes between stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from txray.analysis.states import significant_label
from txray.checks import is_integer
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame, feature_noun
from txray.plots.subjects import checked_subjects
from txray.plots.text import escape, escape_word, format_number, hover_text, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.concepts.ranking import ConceptRanking
    from txray.analysis.concepts.shift import ConceptShift

_ROW = 26
_LEFT = 190
"""Pixels of the names of neurons, or of concepts."""
_AXIS = "AUROC of high activations (0.5: tells nothing)"


@checked_subjects
def concept_neurons(ranking: ConceptRanking, feature: str | None = None, k: int = 15) -> go.Figure:
    """Draw the AUROC of the best neurons of a concept, or of the best neuron of each concept.

    With 95% intervals over documents, beside the mean for random concepts of the same size.

    Args:
        ranking: of `txray.rank_neurons`.
        feature: the concept; all by default.
        k: maximum number of rows.
    """
    _require_rows(k)
    noun = feature_noun(ranking.feature_type)
    if feature is None:
        rows = ranking.neurons.filter(rank=1).head(k)
        names = [
            f"{sanitize(row['feature'])}: {_neuron(row, ranking.layers)}"
            for row in rows.iter_rows(named=True)
        ]
        best = rows.row(0, named=True)
        title = (
            f"{sanitize(best['feature'])} is the {noun} that a single neuron marks best: "
            f"AUROC {_auroc(best['auroc'])}"
        )
        subtitle = (
            f"Best neuron of {_number(len(rows), len(ranking.concepts), noun)}, 95% intervals over documents"
        )
    else:
        rows = ranking.top(feature, k)
        names = [_neuron(row, ranking.layers) for row in rows.iter_rows(named=True)]
        concept = ranking.concepts.filter(feature=feature).row(0, named=True)
        title = (
            f"{sanitize(feature)}: {plural(concept['significant'], 'neuron')} of {concept['tested']:,} "
            f"{'tells' if concept['significant'] == 1 else 'tell'} it from other words better than chance; the best "
            f"has an AUROC of {_auroc(concept['auroc'])}"
        )
        subtitle = f"Best {plural(len(rows), 'neuron')} of the {noun}, with 95% intervals over documents"
    figure = go.Figure()
    heights = list(range(len(rows)))
    mirrored = [
        0.5 + (control - 0.5) * (1 if auroc >= 0.5 else -1)
        for control, auroc in zip(rows["control"], rows["auroc"], strict=True)
    ]
    figure.add_scatter(
        name=f"random groups of {'documents' if ranking.feature_type == 'label' else 'words'} of the same size, mean",
        x=mirrored,
        y=heights,
        mode="markers",
        marker={"symbol": "line-ns", "size": 13, "line": {"color": theme.MUTED, "width": 2}},
        hoverinfo="skip",
    )
    color, symbol = theme.LINES[0]
    _add_points(figure, rows, "", "neurons", (color, symbol), heights)
    return _framed(
        figure,
        names,
        title=title,
        subtitle=subtitle,
        caption=f"{sanitize(ranking.stage)} · {', '.join(map(sanitize, ranking.layers[:3]))}"
        f"{', ...' if len(ranking.layers) > 3 else ''}"
        f"{'' if feature is None else f' · better than chance: {significant_label(ranking.fdr)}'}",
    )


@checked_subjects
def concept_shift(shift: ConceptShift, feature: str, k: int = 12) -> go.Figure:
    """Draw the AUROC of the best neurons of a concept before and after, with 95% intervals over documents.

    Args:
        shift: of `ConceptRanking.compare`.
        feature: the concept.
        k: maximum number of neurons: the strongest of either stage.
    """
    _require_rows(k)
    rows = shift.neurons.filter(feature=feature).head(k)
    moved = shift.concepts.filter(feature=feature).row(0, named=True)
    figure = go.Figure()
    heights = [float(i) for i in range(len(rows))]
    for side, stage, style, offset in (
        ("_before", shift.before, theme.LINES[0], -0.14),
        ("_after", shift.after, theme.LINES[1], 0.14),
    ):
        _add_points(figure, rows, side, stage, style, [height + offset for height in heights])
    same = (moved["layer_before"], moved["neuron_before"]) == (moved["layer_after"], moved["neuron_after"])
    fate = (
        "the best neuron stays the best"
        if same
        else f"the best neuron before has rank {moved['rank_after']:,} after"
    )
    return _framed(
        figure,
        [_neuron(row, shift.layers) for row in rows.iter_rows(named=True)],
        title=f"{sanitize(feature)}: {fate}; {plural(moved['changed'], 'neuron')} of {moved['tested']:,} changed",
        subtitle=f"The {plural(len(rows), 'neuron')} that mark it best before or after, 95% intervals over documents",
        caption=f"{sanitize(shift.before)} → {sanitize(shift.after)} · changed: {significant_label(shift.fdr)} · "
        f"{'the same documents' if shift.paired else 'different documents'}",
    )


def _add_points(
    figure: go.Figure,
    rows: pl.DataFrame,
    side: str,
    name: str,
    style: tuple[str, str],
    heights: list[float] | list[int],
) -> None:
    """Draw the AUROC of neurons with intervals, in place."""
    color, symbol = style
    auroc, low, high = (rows[f"{column}{side}"] for column in ("auroc", "low", "high"))
    figure.add_scatter(
        name=escape_word(name),
        x=auroc.to_list(),
        y=heights,
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (high - auroc).fill_null(0).to_list(),
            "arrayminus": (auroc - low).fill_null(0).to_list(),
            "color": color,
            "thickness": 1.5,
            "width": 3,
        },
        hovertext=[
            hover_text(
                f"{sanitize(row['feature'])}, neuron {row['neuron']} of {sanitize(row['layer'])}",
                f"AUROC {format_number(row[f'auroc{side}'])}" + _interval(row, side),
            )
            for row in rows.iter_rows(named=True)
        ],
        hoverinfo="text",
    )


def _interval(row: dict[str, float | None], side: str) -> str:
    low, high = row[f"low{side}"], row[f"high{side}"]
    if low is None or high is None:
        return ", interval unknown: too few documents"
    return f" ({format_number(low)} to {format_number(high)})"


def _require_rows(k: int) -> None:
    if not is_integer(k) or k < 1:
        raise UsageError(f"figure of concepts: k={k!r}; pass the maximum number of rows, at least 1")


def _auroc(value: float) -> str:
    return f"{value:.3f}{' (low activations)' if value < 0.5 else ''}"


def _neuron(row: dict[str, object], layers: tuple[str, ...]) -> str:
    """Return the name of a neuron, with its layer if there are several: its end, where names of layers differ."""
    if len(layers) == 1:
        return f"neuron {row['neuron']}"
    layer = str(row["layer"])
    return f"{sanitize(layer if len(layer) <= 18 else '…' + layer[-17:])} {row['neuron']}"


def _number(drawn: int, total: int, noun: str) -> str:
    return plural(total, noun) if drawn == total else f"{drawn} of {plural(total, noun)}"


def _framed(figure: go.Figure, names: list[str], *, title: str, subtitle: str, caption: str) -> go.Figure:
    figure.add_vline(0.5, line={"color": theme.INK, "width": 1})
    figure.update_xaxes(title_text=_AXIS, range=[-0.02, 1.02], dtick=0.25)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[escape(name) for name in names],
        range=[len(names) - 0.4, -0.6],
        showgrid=False,
    )
    return add_frame(
        figure,
        title=title,
        subtitle=subtitle,
        caption=caption,
        plot_height=max(_ROW * len(names), 110),
        left=_LEFT,
    )
