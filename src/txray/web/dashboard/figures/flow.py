"""Picked neurons that start and stop being in use, stage by stage."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.plots.flow import Flow, traces
from txray.plots.frame import empty_figure
from txray.preferences import StageFolder
from txray.sampling import even_sample
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.filtered_comparison import FilteredComparison, stage_rows
from txray.web.dashboard.result_store import common_layers

_MAX_STAGES = 10
"""Stages side by side."""


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw the neurons in use and not in use in every stage, and the streams between them."""
    stages = _along(filtered)
    if len(stages) < 2:
        return FigureCard.empty(
            "No flow between stages",
            "Only one stage has these layers and features. Serve several stages to see neurons move.",
        )
    # Stages of one model have the same layers, so their neurons have the same rows.
    at: dict[tuple[tuple[str, int], ...], NDArray[np.int64]] = {}
    preferred = []
    for stage in stages:
        layers = tuple(stage.n_neurons.items())
        if layers not in at:
            at[layers] = stage_rows(stage, filtered.picked)
        length = filtered.store.neuron_table(stage, filtered.view.feature_type)["length"].to_numpy()
        preferred.append(length[at[layers]] > 0)
    links = []
    for (first, before), (second, after) in pairwise(zip(stages, preferred, strict=True)):
        for state, number in (
            ("shared", before & after),
            ("avoided", before & ~after),
            ("gained", ~before & after),
            ("unpreferred", ~before & ~after),
        ):
            if number.any():
                links.append((first.name, second.name, state, state, int(number.sum())))
    flow = Flow(
        tuple(stage.name for stage in stages),
        tuple(int(in_use.sum()) for in_use in preferred),
        len(filtered.picked),
        tuple(links),
        tested=False,
    )
    drawn = "" if len(stages) == len(filtered.store.catalog.names) else f" {len(stages)} stages are drawn."
    return FigureCard(
        traces(flow)
        if len(filtered.picked)
        else empty_figure(go.Figure(), "No neuron matches. Clear filters."),
        flow.finding,
        "Observed, not tested: neurons with few activations can appear or disappear by chance. "
        "Dark bars: in use (number below)." + drawn,
        pl.DataFrame(links, schema=["before", "after", "state", "observed", "neurons"], orient="row").drop(
            "observed"
        ),
        left=24,
        below=44,
    )


def _along(filtered: FilteredComparison) -> list[StageFolder]:
    """Return stages that have all of these layers, an even sample of many."""
    able = [
        stage
        for stage in filtered.store.catalog
        if filtered.view.feature_type in stage.feature_types
        and set(filtered.layers) <= set(common_layers([filtered.before, filtered.after, stage]))
    ]
    indices = set(even_sample(len(able), _MAX_STAGES).tolist()) | {
        index for index, stage in enumerate(able) if stage in (filtered.before, filtered.after)
    }
    return [able[index] for index in sorted(indices)]
