"""The paper's figure of one neuron: tags as bars, tokens over their tag, before and after."""

from __future__ import annotations

import polars as pl

from txray.errors import UsageError
from txray.plots import neuron_detail, stage_styles
from txray.preferences.tags import usual_tags
from txray.web.dashboard.figures.figure_card import StyledFigure
from txray.web.dashboard.neuron_selection import NeuronSelection
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState


def draw(view: UrlState, store: ResultStore) -> StyledFigure:
    """Draw the preferences before and after.

    Raises:
        UsageError: no such neuron, or stages without tags.
    """
    selection = NeuronSelection.of(view, store)
    able = [stage for stage in selection.sides if {"token", "pos"} <= set(stage.feature_types)]
    if not able:
        raise UsageError(
            "This figure needs tokens and POS tags: collect them with '--feature-type token --feature-type pos'."
        )
    tokens, tags = (
        [
            stage.preferences_of_neuron(selection.neuron, layer=selection.layer, feature_type=kind)
            for stage in able
        ]
        for kind in ("token", "pos")
    )
    figure = neuron_detail(
        tokens,
        selection.neuron,
        pos=tags,
        token_tags=usual_tags(stage.tags for stage in able),
        weight=store.config.weight,
        styles=stage_styles(store.catalog.names),
    )
    tables = [
        side.table(selection.neuron).select(
            pl.lit(side.stage).alias("stage"), pl.lit(side.feature_type).alias("kind"), pl.all()
        )
        for side in (*tokens, *tags)
    ]
    return StyledFigure(figure, pl.concat(tables))
