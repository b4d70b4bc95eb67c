"""Where the numbers come from: one row per stage and layer, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from txray.plots.text import count, percent, sanitize
from txray.plots.theme import StageStyle
from txray.preferences import Stage
from txray.web.templates import render


def provenance_table(stages: Iterable[Stage], styles: Mapping[str, StageStyle]) -> Markup:
    """Return the table of all stages of the report as HTML."""
    rows = [
        (stage.name, styles[stage.name].color, _cells(stage, layer))
        for stage in stages
        for layer in stage.layers
    ]
    return render("sources.html", rows=rows)


def _cells(stage: Stage, layer: str) -> dict[str, str]:
    """Return head -> text of the cells behind the name of the stage."""
    collected = [preferences for (name, _), preferences in stage.collected.items() if name == layer]
    first, manifest = collected[0], stage.manifest
    return {
        "Layer": sanitize(layer),
        "Neurons": count(first.n_neurons),
        "Features": ", ".join(sanitize(preferences.feature_type) for preferences in collected),
        "Selection": sanitize(first.selection),
        # Pieces of words would count for more than the words are.
        "Words": count(manifest.get("words") or max(preferences.words for preferences in collected)),
        "Unknown words": _share(manifest.get("unknown_share")),
        "Folds": count(first.folds),
        "Corpus": _named(manifest.get("corpus"), "name"),
        "Model": _named(manifest.get("model"), "type"),
    }


def _share(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "–"


def _named(entry: Any, key: str) -> str:
    """Return an entry of a manifest as one short word and the beginning of its fingerprint."""
    if not isinstance(entry, Mapping):
        return sanitize(str(entry)) if entry else "–"
    name = sanitize(str(entry.get(key, "–")))
    fingerprint = str(entry.get("fingerprint", ""))[:8]
    return f"{name} ({sanitize(fingerprint)})" if fingerprint else name
