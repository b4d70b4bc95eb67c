"""Comparisons and timelines as a notebook shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.notebook import card, table
from txray.transfer.findings import changed_most_first, significant_label

if TYPE_CHECKING:
    from txray.preferences import Preferences
    from txray.transfer.comparison import Comparison
    from txray.transfer.timelines import Timeline

_NEURONS = 10
_WORDS = 4


def comparison_html(comparison: Comparison) -> str:
    """Return what was found in sentences, and the neurons that changed most, with what they prefer."""
    summary = comparison.summary
    sentences = comparison.findings.sentences(comparison.before.stage, comparison.after.stage)
    if summary["mean_hellinger"] is not None:
        sentences.append(f"Mean Hellinger distance of shared neurons {summary['mean_hellinger']:.3f}.")
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    changed = shared[changed_most_first(shared, comparison.fdr).head(_NEURONS)]
    tests = ["signal", "z_score", "q_value"] if comparison.tested else []
    columns = ["neuron", "hellinger", *tests]
    before, after = (
        _strongest(side, changed["neuron"].to_list()) for side in (comparison.before, comparison.after)
    )
    rows = [
        (*row.values(), before[row["neuron"]], after[row["neuron"]])
        for row in changed.select(columns).iter_rows(named=True)
    ]
    names = {
        "hellinger": "Hellinger distance",
        "signal": "change, H²",
        "z_score": "z-score",
        "q_value": "q-value",
    }
    headings = [names.get(name, name) for name in columns]
    told = table(
        "Neurons that changed most, and what they prefer",
        [*headings, f"in {comparison.before.stage}", f"in {comparison.after.stage}"],
        rows,
    )
    title = f"{comparison.before.stage} → {comparison.after.stage}"
    where = f"layer {comparison.after.layer}, {comparison.after.feature}"
    return card(f"{title} ({where})", sentences, told if rows else "")


def timeline_html(timeline: Timeline) -> str:
    """A row per stage, and what became of the neurons since the one before."""
    headings = [
        "layer",
        "stage",
        "preferred",
        "mean length",
        *timeline.scores,
        "change, H²",
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
        rows.append((*told, step.get("signal"), changed))
    names = timeline.names
    tests = "observed, not tested" if timeline.fdr is None else significant_label(timeline.fdr)
    return card(
        f"Timeline {names[0]} … {names[-1]} ({timeline.feature})",
        [f"{len(names)} stages; changes are those since the stage before, {tests}."],
        table("Stages", headings, rows),
    )


def _strongest(side: Preferences, neurons: list[int]) -> dict[int, str]:
    """Neuron -> the features that it prefers most, beyond how often they occur."""
    from txray.preferences import lift

    totals, lifted = side.totals, lift(side)
    told = {}
    for neuron in neurons:
        start, end = np.searchsorted(totals.neuron, (neuron, neuron + 1))
        best = start + np.argsort(-lifted[start:end], kind="stable")[:_WORDS]
        told[neuron] = " · ".join(side.features[totals.feature_id[best]].tolist())
    return told
