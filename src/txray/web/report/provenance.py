"""Where the numbers come from: one row per stage and layer, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from txray.plots.text import count, percent, sanitize
from txray.plots.theme import StageStyle
from txray.preferences import Stage


def stage_label(name: str, styles: Mapping[str, StageStyle]) -> str:
    """HTML of a stage's name with its colour.

    Args:
        name: of the stage.
        styles: of all stages.
    """
    dot = f'<span class="dot" style="background:{styles[name].color}"></span>'
    return f'<span class="stage">{dot}<bdi>{escape(sanitize(name))}</bdi></span>'


def provenance_table(stages: Iterable[Stage], styles: Mapping[str, StageStyle]) -> str:
    """HTML of the table.

    Args:
        stages: of the report, in order.
        styles: of all stages.
    """
    rows = []
    for stage in stages:
        for layer in stage.layers:
            of_layer = [p for (name, _), p in stage.collected.items() if name == layer]
            facts = (
                sanitize(layer),
                count(of_layer[0].n_neurons),
                ", ".join(sanitize(p.feature_type) for p in of_layer),
                sanitize(of_layer[0].selection),
                # Pieces of words would count for more than the words are.
                count(stage.manifest.get("words") or max(p.words for p in of_layer)),
                _share(stage.manifest.get("unknown_share")),
                count(of_layer[0].folds),
                _named(stage.manifest.get("corpus"), "name"),
                _named(stage.manifest.get("model"), "type"),
            )
            cells = "".join(f"<td>{escape(fact)}</td>" for fact in facts)
            rows.append(f'<tr><th scope="row">{stage_label(stage.name, styles)}</th>{cells}</tr>')
    heads = (
        "Stage",
        "Layer",
        "Neurons",
        "Features",
        "Selection",
        "Words",
        "Unknown words",
        "Folds",
        "Corpus",
        "Model",
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Stages">\n'
        f'<table class="sources"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>\n</div>'
    )


def _share(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "–"


def _named(entry: Any, key: str) -> str:
    """What a manifest says, as one short word and the beginning of its fingerprint."""
    if not isinstance(entry, Mapping):
        return sanitize(str(entry)) if entry else "–"
    name = sanitize(str(entry.get(key, "–")))
    fingerprint = str(entry.get("fingerprint", ""))[:8]
    return f"{name} ({sanitize(fingerprint)})" if fingerprint else name
