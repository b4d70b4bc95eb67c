"""The neuron or the text: the effects of model, text and interaction, for a layer and for its neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.analysis.decomposition_tables import COMPARED, INTERACTION, MARGINS
from txray.analysis.shown_distance import CORRECTED, corrected_words
from txray.analysis.states import fdr_label
from txray.arrays import Floats
from txray.plots import theme
from txray.plots.features import distinctive
from txray.plots.frame import add_frame, caption, empty_figure
from txray.plots.labels import Box, Label, place_labels
from txray.plots.marks import PAPER, add_marks, needs_webgl, sample
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, fitted, join_words, plural, sanitize

if TYPE_CHECKING:
    from txray.analysis.decomposition import Decomposition

_EFFECT_COLORS = {"model": "#D55E00", "text": "#0072B2", INTERACTION: "#AA4499"}
"""Kind of effect -> colour."""
_VERDICTS = (
    ("both", "model and text", "#AA4499", "circle"),
    ("model", "the model alone", "#D55E00", "diamond"),
    ("text", "the text alone", "#0072B2", "square"),
    ("neither", "neither", "#BBBBBB", "circle-open"),
    ("unknown", "unknown", "#BBBBBB", "x-thin-open"),
)
"""Verdict -> name, colour and marker."""
_ROW, _LEFT, _LABEL_SIZE, _LABEL_FEATURES, _MAX_NAME = 64, 330, 11, 2, 290
_AXIS = "(0 same, 1 disjoint)"


@checked_subjects
def decomposition(decomposition: Decomposition, layer: str | None = None) -> go.Figure:
    """Draw how far model and text move a layer: one row per effect.

    A mark is the corrected Hellinger distance of the layer with its 95% interval; the bar behind it covers the middle
    half of the neurons, and the tick in it is their median.

    Args:
        decomposition: of two models on two texts.
        layer: required only if there are several.
    """
    name = decomposition.layer(layer)
    rows = {row["margin"]: row for row in decomposition.margins.filter(layer=name).iter_rows(named=True)}
    figure = go.Figure()
    of_neurons = decomposition.neurons.filter(layer=name)
    for position, margin in enumerate(MARGINS):
        row, color = rows[margin], _EFFECT_COLORS[margin.split("_")[0]]
        distances = of_neurons.filter(margin=margin)["hellinger_corrected"].drop_nulls().to_numpy()
        if len(distances):
            _add_neurons(figure, distances, position, color)
        if row["hellinger_corrected"] is not None:
            _add_layer(figure, row["hellinger_corrected"], row, position, color)
        tested = f"{count(row['significant'])} of {count(row['tested'])}" if row["tested"] else "unknown"
        figure.add_annotation(
            x=1.03, y=position, text=tested, showarrow=False, xanchor="left", font={"size": theme.SIZE}
        )
    figure.add_annotation(
        x=1.03,
        y=-0.75,
        text="significant neurons",
        showarrow=False,
        xanchor="left",
        font={"color": theme.MUTED},
    )
    names = [
        "<br>".join(
            escape(fitted(sanitize(part), _MAX_NAME, theme.SIZE))
            for part in decomposition.margin_parts(margin)
            if part
        )
        for margin in MARGINS
    ]
    figure.update_xaxes(
        range=[-0.02, 1.2], tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1], title_text=f"{CORRECTED} {_AXIS}"
    )
    figure.update_yaxes(
        range=[len(MARGINS) - 0.4, -1.05],
        tickvals=list(range(len(MARGINS))),
        ticktext=names,
        showgrid=False,
    )
    return add_frame(
        figure,
        title=_finding(decomposition, rows),
        subtitle="Marks: the layer with its 95% interval. Bars: the middle half of its neurons, with their median",
        caption=_caption(decomposition, name),
        plot_height=_ROW * len(MARGINS) + 30,
        left=_LEFT,
    )


def _add_neurons(figure: go.Figure, distances: Floats, position: int, color: str) -> None:
    low, median, high = np.quantile(distances, [0.25, 0.5, 0.75]).tolist()
    figure.add_scatter(
        x=[low, high],
        y=[position, position],
        mode="lines",
        line={"color": color, "width": 16},
        opacity=0.25,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[median],
        y=[position],
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 16, "color": color, "line": {"width": 2}},
        hovertext=f"median of {plural(len(distances), 'neuron')} {median:.2f} (middle half {low:.2f} to {high:.2f})",
        hoverinfo="text",
        showlegend=False,
    )


def _add_layer(
    figure: go.Figure, value: float, row: dict[str, float | None], position: int, color: str
) -> None:
    low, high = row["hellinger_corrected_low"], row["hellinger_corrected_high"]
    bar = None
    if low is not None and high is not None:
        bar = {
            "type": "data",
            "symmetric": False,
            "array": [high - value],
            "arrayminus": [value - low],
            "color": color,
            "thickness": 2,
            "width": 5,
        }
    figure.add_scatter(
        x=[value],
        y=[position],
        mode="markers",
        marker={"symbol": "diamond", "size": 11, "color": color, "line": {"color": theme.PAPER, "width": 1}},
        error_x=bar,
        hovertext=f"layer {corrected_words(row)}, p = {row['p_value']:.3g}",
        hoverinfo="text",
        showlegend=False,
    )


def _finding(decomposition: Decomposition, rows: dict[str, dict[str, float | None]]) -> str:
    def value(margin: str) -> str:
        number = rows[margin]["hellinger_corrected"]
        return "unknown" if number is None else f"{number:.2f}"

    return (
        f"The model moves the layer by {value('model_on_a')} and {value('model_on_b')}, the text by "
        f"{value('text_in_a')} and {value('text_in_b')}; interaction {value(INTERACTION)}"
    )


def _caption(decomposition: Decomposition, layer: str) -> str:
    sides = [
        stage.preferences(layer=layer, feature_type=decomposition.feature_type)
        for stage in decomposition.stages
    ]
    matched = "texts matched" if decomposition.margins["text_matched"].any() else "equal texts"
    return caption(
        *sides,
        note=f"weight {decomposition.settings['weight']} · {fdr_label(decomposition.fdr)} within each effect · "
        f"{matched}",
    )


@checked_subjects
def model_and_text(decomposition: Decomposition, layer: str | None = None) -> go.Figure:
    """Draw each neuron by how far the model and how far the text moves it.

    The axes are corrected Hellinger distances: of the text, the mean over both models; of the model, the mean over both
    texts. Colours say what is significant. Above the diagonal, the model moves a neuron farther than the text. Labels
    are the most distinctive words of model b on text b.

    Args:
        decomposition: of two models on two texts.
        layer: required only if there are several.
    """
    name = decomposition.layer(layer)
    neurons = _points(decomposition, name)
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": theme.GRID}, hoverinfo="skip", showlegend=False
    )
    drawn = sample(neurons, PAPER.max_marks)
    for verdict, label, color, symbol in _VERDICTS:
        rows = drawn.filter(verdict=verdict)
        if not len(rows):
            continue
        add_marks(
            figure,
            rows,
            np.array([_hover(row) for row in rows.iter_rows(named=True)], dtype=object),
            name=f"{label} ({count(len(rows))})",
            x="text",
            y="model",
            marker={"color": color, "symbol": symbol, "size": 9, "opacity": 0.75},
            canvas=PAPER,
            webgl=needs_webgl(drawn),
        )
    if len(drawn):
        figure.add_trace(_labels(decomposition, name, drawn))
    else:
        empty_figure(figure, "No neuron is in use in all four stages with enough wins to be compared.")
    figure.update_xaxes(range=[-0.03, 1.03], title_text=f"moved by the text: {CORRECTED} {_AXIS}")
    figure.update_yaxes(range=[-0.03, 1.03], title_text="moved by the model")
    by = {verdict: count(int((neurons["verdict"] == verdict).sum())) for verdict in ("model", "text", "both")}
    title = (
        f"Of {plural(len(neurons), 'neuron')}, {by['model']} differ by the model alone, {by['text']} by the text alone "
        f"and {by['both']} by both"
        if len(neurons)
        else "No neuron can be compared in all four stages"
    )
    models, texts = (
        " → ".join(map(sanitize, names)) for names in (decomposition.models, decomposition.texts)
    )
    return add_frame(
        figure,
        title=title,
        subtitle=f"Model {models}; text {texts}. Significant differences ({fdr_label(decomposition.fdr)}) by:",
        caption=_caption(decomposition, name),
    )


def _points(decomposition: Decomposition, layer: str) -> pl.DataFrame:
    """Return one row per neuron with known distances in all four comparisons: neuron, model, text, verdict, words."""
    wide = (
        decomposition.neurons.filter(pl.col("layer") == layer, pl.col("margin") != INTERACTION)
        .with_columns(pl.col("margin").cast(pl.String))
        .pivot("margin", index="neuron", values="hellinger_corrected")
        .drop_nulls()
    )
    return wide.select(
        "neuron",
        *COMPARED,
        model=pl.mean_horizontal("model_on_a", "model_on_b"),
        text=pl.mean_horizontal("text_in_a", "text_in_b"),
    ).join(
        decomposition.verdicts.filter(layer=layer).select(
            "neuron", pl.col("verdict").cast(pl.String), "interaction"
        ),
        on="neuron",
        maintain_order="left",
    )


def _hover(row: dict[str, object]) -> str:
    joint = {True: "significant", False: "not significant", None: "unknown"}[row["interaction"]]  # type: ignore[index]
    return (
        f"<b>neuron {row['neuron']}</b><br>model: {row['model_on_a']:.2f} on the first text, {row['model_on_b']:.2f} "
        f"on the second<br>text: {row['text_in_a']:.2f} in the model before, {row['text_in_b']:.2f} in the model after"
        f"<br>interaction {joint}"
    )


def _labels(decomposition: Decomposition, layer: str, drawn: pl.DataFrame) -> go.Scatter:
    """Return labels of the neurons farthest from the diagonal whose larger effect is significant, as many as fit."""
    after = decomposition.stages[3].preferences(layer=layer, feature_type=decomposition.feature_type)
    names = distinctive(after, _LABEL_FEATURES)
    points = drawn.select("text", "model").to_numpy()
    share = (points + 0.03) / 1.06
    pixels = np.stack((share[:, 0] * PAPER.width, (1 - share[:, 1]) * PAPER.height), axis=1)
    order = np.argsort(-np.abs(points[:, 1] - points[:, 0]), kind="stable").tolist()
    larger = np.where(points[:, 1] > points[:, 0], "model", "text").tolist()
    supported = [verdict in ("both", side) for verdict, side in zip(drawn["verdict"], larger, strict=True)]
    chosen = [i for i in order if supported[i]][: PAPER.max_labels]
    others = [i for i in order if i not in set(chosen)]
    numbers = drawn["neuron"].to_list()
    labels = [
        Label(
            fitted(f"{numbers[i]}: {join_words(names[numbers[i]])}", PAPER.label_width, _LABEL_SIZE),
            x=float(pixels[i, 0]),
            y=float(pixels[i, 1]),
        )
        for i in chosen
    ]
    sides = place_labels(
        labels,
        area=Box(0, 0, PAPER.width, PAPER.height),
        size=_LABEL_SIZE,
        radius=4.5,
        others=[(x, y) for x, y in pixels[others].tolist()],
    )
    placed = [(i, label.text, side) for i, label, side in zip(chosen, labels, sides, strict=True) if side]
    return go.Scatter(
        x=[float(points[i, 0]) for i, _, _ in placed],
        y=[float(points[i, 1]) for i, _, _ in placed],
        mode="markers+text",
        marker={"size": 9, "opacity": 0},
        text=[escape(text) for _, text, _ in placed],
        textposition=[side for _, _, side in placed],
        textfont={"size": _LABEL_SIZE, "color": theme.INK},
        showlegend=False,
        hoverinfo="skip",
        meta="labels",
    )
