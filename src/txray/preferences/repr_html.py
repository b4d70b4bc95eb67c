"""HTML of stages and preferences in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from txray.notebook import card, table

_LISTED = 10


def stage_html(name: str, overview: pl.DataFrame, manifest: Mapping[str, Any]) -> str:
    """Return a card of a stage: the text that was read, and one row per layer and feature type.

    Args:
        name: of the stage.
        overview: columns layer, feature type, neurons, in use, mean length, features.
        manifest: of the stage; what it lacks is left out.
    """
    sentences = []
    if "words" in manifest:
        corpus = manifest.get("corpus", {})
        sentences.append(
            f"{manifest['words']:,} words in {corpus.get('documents', 0):,} documents of {corpus.get('name')}, "
            f"selection {manifest.get('selection')}, {manifest.get('unknown_share', 0.0):.1%} unknown to the model."
        )
    sentences += [f"{warning}." for warning in manifest.get("warnings", [])]
    accounts = manifest.get("layers", {})
    skipped = [sum(accounts.get(layer, {}).get("skipped", {}).values()) for layer in overview["layer"]]
    rows = overview.with_columns(pl.Series("words skipped", skipped, pl.Int64))
    return card(f"Stage {name}", sentences, table("Collected preferences", rows.columns, rows.iter_rows()))


def preferences_html(origin: Mapping[str, str], n_neurons: int, rows: pl.DataFrame) -> str:
    """Return a card of preferences (rows of `Preferences.table`): how many neurons prefer anything, and the busiest."""
    by_neuron = rows.group_by("neuron").agg(
        pl.col("count").sum(),
        pl.len().alias("length"),
        pl.col("feature").sort_by(["lift", "feature"], descending=[True, False]).head(3).str.join(", "),
    )
    busiest = by_neuron.sort(["count", "neuron"], descending=[True, False]).head(_LISTED)
    sentence = (
        f"{len(by_neuron):,} of {n_neurons:,} neurons are in use, {rows['feature'].n_unique():,} features of type "
        f"{origin['feature_type']}, selection {origin['selection']}."
    )
    headings = ("neuron", "wins", "features", "most distinctive")
    return card(
        f"Preferences of stage {origin['stage']}, layer {origin['layer']}",
        [sentence],
        table("Neurons with most wins", headings, busiest.iter_rows()),
    )
