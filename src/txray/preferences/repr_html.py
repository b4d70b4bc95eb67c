"""A stage as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray.notebook import card, table

if TYPE_CHECKING:
    from txray.preferences.stage import Stage


def stage_html(stage: Stage) -> str:
    """What was read, and a row for each layer and feature type."""
    manifest = stage.manifest
    sentences = []
    if "words" in manifest:
        corpus = manifest.get("corpus", {})
        sentences.append(
            f"{manifest['words']:,} words in {corpus.get('documents', 0):,} documents of {corpus.get('name')}, "
            f"selection {manifest.get('selection')}, {manifest.get('unknown_share', 0.0):.1%} unknown to the model."
        )
    sentences += [f"{warning}." for warning in manifest.get("warnings", [])]
    rows = []
    for (layer, feature_type), preferences in stage.collected.items():
        lengths = preferences.lengths()
        preferred = int((lengths > 0).sum())
        skipped = manifest.get("layers", {}).get(layer, {}).get("skipped", {})
        mean = float(lengths[lengths > 0].mean()) if preferred else None
        row = (layer, feature_type, preferences.n_neurons, preferred, mean, len(preferences.features))
        rows.append((*row, sum(skipped.values())))
    headings = ("layer", "feature", "neurons", "preferred", "mean length", "features", "words skipped")
    return card(f"Stage {stage.name}", sentences, table("What was collected", headings, rows))
