"""Layers against stages: which layers are in use, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray.plots import theme
from txray.plots.text import escape, fitted, hover_text, percent, plural, sanitize, text_width
from txray.preferences import StageFolder
from txray.sampling import even_sample
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.filtered_comparison import FilteredComparison

_ROWS, _COLUMNS = 48, 24
_ROW = 12
_LONGEST = 120


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw a cell per layer and stage; the more neurons are in use, the darker."""
    stages = [stage for stage in filtered.store.catalog if filtered.view.feature_type in stage.feature_types]
    stages = [stages[index] for index in even_sample(len(stages), _COLUMNS)]
    shares = pl.concat(
        [_summary(filtered, stage).select(pl.lit(stage.name).alias("stage"), pl.all()) for stage in stages]
    )
    every = shares["layer"].unique(maintain_order=True).to_list()
    layers = [every[index] for index in even_sample(len(every), _ROWS)]
    row_of = {(row["layer"], row["stage"]): row for row in shares.iter_rows(named=True)}
    names = [stage.name for stage in stages]
    values = [
        [row_of[layer, name]["share"] if (layer, name) in row_of else None for name in names]
        for layer in layers
    ]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(range(len(names))),
            y=list(range(len(layers))),
            zmin=0,
            zmax=1,
            colorscale=theme.SEQUENTIAL,
            xgap=1,
            ygap=1,
            customdata=[[[layer, name] for name in names] for layer in layers],
            hovertext=[
                [_hover_text(layer, name, row_of.get((layer, name)), filtered.noun) for name in names]
                for layer in layers
            ],
            hoverinfo="text",
            colorbar={"thickness": 12, "outlinewidth": 0, "tickformat": ".0%"},
        )
    )
    labels = [fitted(sanitize(layer), _LONGEST, theme.CAPTION_SIZE) for layer in layers]
    under = [fitted(sanitize(name), _LONGEST, theme.CAPTION_SIZE) for name in names]
    step = max(1, len(layers) // 24)
    figure.update_yaxes(
        range=[len(layers) - 0.5, -0.5],
        tickvals=list(range(0, len(layers), step)),
        ticktext=[escape(label) for label in labels[::step]],
        tickfont={"size": theme.CAPTION_SIZE},
        showgrid=False,
    )
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=[escape(name) for name in under],
        tickangle=-90 if len(names) > 4 else 0,
        tickfont={"size": theme.CAPTION_SIZE},
        showgrid=False,
    )
    figure.update_layout(dragmode=False)
    # Of all layers, drawn or not.
    low, high = (float(end) for end in np.quantile(shares["share"].to_numpy(), [0, 1]))
    wide = max(text_width(name, theme.CAPTION_SIZE) for name in under)
    return FigureCard(
        figure,
        f"{percent(low)} to {percent(high)} of a layer's neurons are in use, over {plural(len(every), 'layer')} "
        f"and {plural(len(names), 'stage')}",
        "Share of neurons in use. Click a cell to see its layer, and its stage compared with the previous one.",
        shares,
        left=round(max(text_width(label, theme.CAPTION_SIZE) for label in labels)) + 16,
        below=round(wide) + 18 if len(names) > 4 else 36,
        height=max(330, _ROW * len(layers) + 140),
    )


def _summary(filtered: FilteredComparison, stage: StageFolder) -> pl.DataFrame:
    """Return one row per layer: share of neurons in use, neurons, mean length of those in use."""
    feature_type = filtered.view.feature_type
    neuron_table = filtered.store.neuron_table(stage, feature_type)

    def make() -> pl.DataFrame:
        preferred = pl.col("length") > 0
        # Stages of other models have other layers: as text they fit into one table.
        layer = pl.col("layer").cast(pl.String)
        return neuron_table.group_by(layer, maintain_order=True).agg(
            share=preferred.mean(), neurons=pl.len(), length=pl.col("length").filter(preferred).mean()
        )

    return filtered.store.memoize(
        ("layers", stage.fingerprint, feature_type), make, lambda table: int(table.estimated_size())
    )


def _hover_text(layer: str, stage: str, row: dict[str, Any] | None, noun: str) -> str:
    head = f"{sanitize(layer)} in {sanitize(stage)}"
    if row is None:
        return hover_text(head, "not collected")
    return hover_text(
        head,
        f"{percent(row['share'])} of {plural(row['neurons'], 'neuron')} are in use",
        "" if row["length"] is None else f"{row['length']:.1f} {noun}s on average",
    )
