"""Similarity of the layers of two models: by their activations, and by what their neurons prefer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from txray.analysis.layers.result import CHANCE_MEASURES
from txray.errors import UnknownNameError
from txray.plots.frame import caption as frame_caption
from txray.plots.matrix import Side, matrix_figure, shortened
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, hover_text, percent, plural, sanitize
from txray.preferences.stage_like import as_stage

if TYPE_CHECKING:
    from txray.analysis.layers.result import LayerSimilarity
    from txray.preferences.stage_like import StageLike

_NAMES: Mapping[str, tuple[str, str]] = {
    "cka": (
        "CKA",
        "linear centred kernel alignment: whether words that are similar in one layer are similar in the other",
    ),
    "cka_debiased": ("debiased CKA", "centred kernel alignment from unbiased estimates"),
    "procrustes": (
        "Procrustes similarity",
        "cosine of the two layers after the best rotation of one of them",
    ),
    "best_match_before": (
        "mean best |correlation|",
        "mean over the neurons of the row's layer of the largest |correlation| with one of the column's",
    ),
    "best_match_after": (
        "mean best |correlation|",
        "mean over the neurons of the column's layer of the largest |correlation| with one of the row's",
    ),
    "one_to_one": ("mean |correlation|", "mean |correlation| of neurons paired one to one"),
    "soft_match": (
        "soft matching",
        "mean |correlation| of the best soft matching, all neurons of both layers alike",
    ),
}
"""Measure -> what it is called, what it says."""


@checked_subjects
def layer_similarity(similarity: LayerSimilarity, column: str = "cka") -> go.Figure:
    """Draw every layer of one model against every layer of the other; darker cells are more similar.

    Args:
        similarity: result of `txray.layer_similarity`.
        column: which measure: `cka`, `cka_debiased`, `best_match_before`, `best_match_after` or `one_to_one`.

    Raises:
        UnknownNameError: no such measure.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited, figure 2.
    """
    if column not in _NAMES:
        raise UnknownNameError.of("measure", column, _NAMES)
    values = similarity.matrix(column)
    measure, meaning = _NAMES[column]
    by_chance = similarity.matrix(f"{column}_chance") if column in CHANCE_MEASURES else None
    constant = [similarity.matrix(f"constant_{side}") for side in ("before", "after")]

    def hover(i: int, j: int) -> str:
        value = "no value" if np.isnan(values[i, j]) else f"{values[i, j]:.4f}"
        return hover_text(
            _pair(similarity, i, j),
            f"{measure}: {value}"
            + (
                "" if by_chance is None or np.isnan(by_chance[i, j]) else f", by chance {by_chance[i, j]:.4f}"
            ),
            f"neurons that are constant: {constant[0][i, j]:.0f} and {constant[1][i, j]:.0f}",
        )

    return matrix_figure(
        values,
        Side(f"layer of {sanitize(similarity.before)}", similarity.layers_before),
        Side(f"layer of {sanitize(similarity.after)}", similarity.layers_after),
        measure=measure,
        hover=hover,
        title=_finding(similarity, values, column),
        subtitle=f"Each cell is a pair of layers: {meaning}",
        caption=_caption(similarity),
        empty=f"There is no {measure} to draw: no neuron moves, or there are too few words.",
    )


@checked_subjects
def layer_affinity(
    before: StageLike, after: StageLike, table: pl.DataFrame, feature_type: str = "token"
) -> go.Figure:
    """Draw every layer of one stage against every layer of another, by what their neurons prefer.

    Args:
        before, after: the stages, or their folders.
        table: result of `txray.analysis.layer_affinity` for them.
        feature_type: the feature type of the table.
    """
    before, after = as_stage(before), as_stage(after)
    layers = [table[name].unique(maintain_order=True).to_list() for name in ("layer_before", "layer_after")]
    shape = len(layers[0]), len(layers[1])
    values, chance, mutual = (
        table[name].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(shape)
        for name in ("affinity", "chance", "mutual_share")
    )
    names = sanitize(before.name), sanitize(after.name)

    def hover(i: int, j: int) -> str:
        return hover_text(
            f"{shortened(layers[0][i])} of {names[0]}, {shortened(layers[1][j])} of {names[1]}",
            "no neuron with enough wins"
            if np.isnan(values[i, j])
            else f"affinity with the nearest neuron {values[i, j]:.3f}, by chance {chance[i, j]:.3f}; "
            f"{percent(mutual[i, j])} are nearest to one another",
        )

    return matrix_figure(
        values,
        Side(f"layer of {names[0]}", layers[0]),
        Side(f"layer of {names[1]}", layers[1]),
        measure="affinity with the nearest neuron",
        hover=hover,
        title=_nearest_layers(names, layers, values - chance, values),
        subtitle="Mean over the neurons of the row's layer of the overlap with the nearest one of the column's",
        caption=frame_caption(
            *(stage[layer, feature_type] for stage in (before, after) for layer in stage.layers)
        ),
        empty="No layer has neurons with enough wins.",
    )


def _nearest_layers(
    names: tuple[str, str],
    layers: list[list[str]],
    excess: NDArray[np.float64],
    values: NDArray[np.float64],
) -> str:
    if np.isnan(excess).all():
        return f"No layers of {names[0]} and {names[1]} can be compared"
    i, j = (int(k) for k in np.unravel_index(np.nanargmax(excess), excess.shape))
    known = np.isfinite(excess)
    above = int((excess[known] > 0).sum())
    medians = (
        f"median affinity {np.median(values[known]):.2f}, {np.median((values - excess)[known]):.2f} by chance"
    )
    pairs = plural(int(known.sum()), "pair")
    which = f"{count(above)} of {pairs} of layers of {names[0]} and {names[1]}"
    title = f"{which} are more similar than by chance ({medians})"
    if above == 0 or known.sum() == 1:
        return title
    return (
        f"{title}; farthest above it {shortened(layers[0][i])} and {shortened(layers[1][j])}: affinity "
        f"{values[i, j]:.2f}, {values[i, j] - excess[i, j]:.2f} by chance"
    )


def _pair(similarity: LayerSimilarity, i: int, j: int) -> str:
    """Return the names of layer i of the first model and layer j of the second."""
    first, second = similarity.layers_before[i], similarity.layers_after[j]
    return (
        f"{shortened(first)} of {sanitize(similarity.before)} and "
        f"{shortened(second)} of {sanitize(similarity.after)}"
    )


def _finding(similarity: LayerSimilarity, values: NDArray[np.float64], column: str) -> str:
    measure = _NAMES[column][0]
    first, second = sanitize(similarity.before), sanitize(similarity.after)
    if np.isnan(values).all():
        return f"No {measure} of the layers of {first} and {second}: 0 of {plural(values.size, 'pair')} have a value"
    head = measure[0].upper() + measure[1:]
    same = first == second and similarity.layers_before == similarity.layers_after
    if same and values.size > 1:
        # Of a layer with itself there is nothing to find.
        others = np.where(np.eye(len(values), dtype=bool), np.nan, values)
        if not np.isnan(others).all():
            i, j = sorted(int(k) for k in np.unravel_index(np.nanargmin(others), others.shape))
            return (
                f"{head} between two layers of {first}: median {np.nanmedian(others):.2f} of {_pairs_of(others) // 2}, "
                f"lowest {values[i, j]:.2f}{_reference(similarity, column, i, j)} for "
                f"{shortened(similarity.layers_before[i])} and "
                f"{shortened(similarity.layers_after[j])}"
            )
    i, j = (int(k) for k in np.unravel_index(np.nanargmax(values), values.shape))
    pair = _pair(similarity, i, j)
    if values.size == 1:
        return f"{pair} have a {measure} of {values[i, j]:.2f}{_reference(similarity, column, i, j)}"
    return (
        f"{head} of layers of {first} and {second}: median {np.nanmedian(values):.2f} of {_pairs_of(values)} pairs, "
        f"highest {values[i, j]:.2f}{_reference(similarity, column, i, j)} for {pair}"
    )


def _reference(similarity: LayerSimilarity, column: str, i: int, j: int) -> str:
    """Return the reference of a pair, in brackets: with few words, most measures are high whatever the layers do."""
    columns = {name: (f"{name}_chance", "by chance") for name in CHANCE_MEASURES} | {
        "cka": ("cka_debiased", "debiased")
    }
    if column not in columns:
        return ""
    reference, name = columns[column]
    value = similarity.matrix(reference)[i, j]
    return "" if np.isnan(value) else f" ({name} {value:.2f})"


def _pairs_of(values: NDArray[np.float64]) -> int:
    """Return how many pairs of layers have a value."""
    return int(np.isfinite(values).sum())


def _caption(similarity: LayerSimilarity) -> str:
    skipped = sum(similarity.skipped.values())
    facts = [
        f"text {sanitize(similarity.corpus)}",
        f"{count(similarity.words)} words",
        f"{plural(len(similarity.layers_before), 'layer')} of {sanitize(similarity.before)}, "
        f"{plural(len(similarity.layers_after), 'layer')} of {sanitize(similarity.after)}",
    ]
    if skipped:
        facts.append(f"{count(skipped)} words skipped ({percent(skipped / (skipped + similarity.words))})")
    return " · ".join(facts)
