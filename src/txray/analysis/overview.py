"""Comparisons and timelines as a notebook shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.findings import changed_most_first, significant_label
from txray.analysis.shown_distance import CORRECTED, corrected_words, shown_distance
from txray.notebook import card, table

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison
    from txray.analysis.timelines import Timeline
    from txray.preferences import Preferences

_NEURONS = 10
_WORDS = 4


def comparison_html(comparison: Comparison) -> str:
    """Return what was found in sentences, and the neurons that changed most, with what they prefer."""
    summary = comparison.summary
    sentences = comparison.findings.sentences(comparison.before.stage, comparison.after.stage)
    distance = shown_distance(comparison)
    compared = distance.rows(comparison.neurons)
    if len(compared):
        sentences.append(f"Of {len(compared):,} shared neurons: {distance.means(compared)}.")
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    changed = shared[changed_most_first(shared, comparison.fdr).head(_NEURONS)]
    columns = ["neuron", distance.column]
    if distance.null is not None:
        columns += [distance.null, "z_score", "q_value"]
    before, after = (
        _strongest(side, changed["neuron"].to_list()) for side in (comparison.before, comparison.after)
    )
    rows = [
        (
            *(row[name] for name in columns),
            *((corrected_words(row),) if comparison.tested else ()),
            before[row["neuron"]],
            after[row["neuron"]],
        )
        for row in changed.iter_rows(named=True)
    ]
    names = {
        distance.column: distance.name,
        distance.null: "if nothing had changed",
        "z_score": "z-score",
        "q_value": "q-value",
    }
    headings = [names.get(name, name) for name in columns]
    if comparison.tested:
        headings.append(f"{CORRECTED} (95% interval)")
        sentences.append(f"{CORRECTED[0].upper()}{CORRECTED[1:]} of the layer {corrected_words(summary)}.")
    told = table(
        "Neurons that changed most, and what they prefer",
        [*headings, f"in {comparison.before.stage}", f"in {comparison.after.stage}"],
        rows,
    )
    title = f"{comparison.before.stage} → {comparison.after.stage}"
    where = f"layer {comparison.after.layer}, {comparison.after.feature_type}"
    return card(f"{title} ({where})", sentences, told if rows else "")


def timeline_html(timeline: Timeline) -> str:
    """A row per stage, and what became of the neurons since the one before."""
    headings = [
        "layer",
        "stage",
        "preferred",
        "mean length (of preferred neurons)",
        *timeline.scores,
        f"{CORRECTED} of the layer (95% interval)",
        "changed significantly",
    ]
    steps = {
        (row["layer"], row["after"]): row
        for row in timeline.changes.filter(pl.col("reference") == "previous").iter_rows(named=True)
    }
    rows = []
    for row in timeline.stages.iter_rows(named=True):
        step: dict[str, Any] = steps.get((row["layer"], row["stage"]), {})
        changed = None if step.get("changed") is None else f"{step['changed']:,} of {step['tested']:,}"
        scores = [row[score] for score in timeline.scores]
        told = (row["layer"], row["stage"], row["preferred"], row["length"], *scores)
        rows.append((*told, corrected_words(step) if step else None, changed))
    names = timeline.names
    tests = "observed, not tested" if timeline.fdr is None else significant_label(timeline.fdr)
    return card(
        f"Timeline {names[0]} … {names[-1]} ({timeline.feature_type})",
        [f"{len(names)} stages; changes are those since the stage before, {tests}."],
        table("Stages", headings, rows),
    )


def _strongest(side: Preferences, neurons: list[int]) -> dict[int, str]:
    """Neuron -> the features that it prefers most, beyond how often they occur."""
    totals, lifted = side.totals, side.lift()
    told = {}
    for neuron in neurons:
        start, end = np.searchsorted(totals.neuron, (neuron, neuron + 1))
        best = start + np.argsort(-lifted[start:end], kind="stable")[:_WORDS]
        told[neuron] = " · ".join(side.features[totals.feature_id[best]].tolist())
    return told
