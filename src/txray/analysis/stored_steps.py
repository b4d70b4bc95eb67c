"""Steps of a timeline as tables and stages, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from txray.analysis.comparison import Comparison, restored, stored_settings
from txray.analysis.result_folder import ResultFolder
from txray.analysis.subjects import stage_of
from txray.preferences.stage import Stage

Steps = Mapping[str, Sequence[Comparison]]


def stored_steps(steps: Steps) -> tuple[dict[str, Stage], pl.DataFrame, list[dict[str, Any]]]:
    """Return what `loaded_steps` needs: stages by folder, the table of neurons, and the settings of each comparison.

    The stages are reduced to what was compared; the table holds the neurons of all steps, with columns layer and step.
    """
    stages: dict[str, Stage] = {}
    tables, settings = [], []
    n_stages = 1 + max(map(len, steps.values()))
    for index in range(n_stages):
        sides = [_side(comparisons, index) for comparisons in steps.values()]
        parts = [part for side in sides for part in side.collected.values()]
        stages[f"stage-{index:03}"] = stage_of(*parts, tags=sides[0].tags)
    for layer, comparisons in steps.items():
        for index, comparison in enumerate(comparisons):
            tables.append(comparison.neurons.with_columns(layer=pl.lit(layer), step=pl.lit(index, pl.Int64)))
            settings.append(
                {
                    "layer": layer,
                    "step": index,
                    "summary": dict(comparison.summary),
                    **stored_settings(comparison),
                }
            )
    return stages, pl.concat(tables), settings


def _side(comparisons: Sequence[Comparison], index: int) -> Stage:
    """Return the stage of this index, with the parts of speech if there are any."""
    comparison, side = (comparisons[0], 0) if index == 0 else (comparisons[index - 1], 1)
    if comparison.tagged is not None:
        return comparison.tagged[side]
    return stage_of((comparison.before, comparison.after)[side])


def loaded_steps(folder: ResultFolder) -> dict[str, tuple[Comparison, ...]]:
    """Return the comparisons of `stored_steps`, read from a folder."""
    neurons, feature_type = folder.table("steps"), folder.settings["feature_type"]
    layers = list(dict.fromkeys(step["layer"] for step in folder.settings["steps"]))
    n_stages = 2 + max(step["step"] for step in folder.settings["steps"])
    stages = [folder.stage(f"stage-{index:03}") for index in range(n_stages)]
    steps: dict[str, list[Comparison]] = {layer: [] for layer in layers}
    for settings in folder.settings["steps"]:
        layer, index = settings["layer"], settings["step"]
        rows = neurons.filter(pl.col("layer") == layer, pl.col("step") == index).drop("layer", "step")
        steps[layer].append(
            restored(
                (stages[index], stages[index + 1]),
                rows,
                settings["summary"],
                {**settings, "feature_type": feature_type},
            )
        )
    return {layer: tuple(comparisons) for layer, comparisons in steps.items()}
