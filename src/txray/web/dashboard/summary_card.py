"""The card at the top of the overview: what changed between two stages, in words and numbers."""

from __future__ import annotations

from typing import Any

from txray.analysis.shown_distance import PLAIN, matched_distance
from txray.plots.text import plural, sanitize
from txray.web.dashboard.components import from_html
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.pair_card import change_numbers, pair_card


def summary_card(filtered: FilteredComparison) -> list[Any]:
    """Return the contents of the card; of the filters only the layer counts."""
    several = len(filtered.layers) > 1
    card = pair_card(
        filtered.before.name,
        filtered.after.name,
        f"{len(filtered.layers)} layers" if several else f"layer {sanitize(filtered.layers[0])}",
        counts=dict(filtered.neurons["shown"].value_counts().iter_rows()),
        tested=not filtered.observed,
        pending=filtered.pair.pending,
        numbers=_numbers(filtered),
        sentences=_sentences(filtered),
        level=2,
    )
    return from_html(card)


def _numbers(filtered: FilteredComparison) -> list[tuple[str, str]]:
    """Return names and values of how far shared neurons moved: of tested ones as soon as there are any."""
    findings = filtered.findings
    distance = matched_distance("hellinger") if findings.tested else PLAIN
    compared = distance.rows(filtered.shared)
    partial = findings.tested and not findings.finished
    note = f", {plural(len(compared), 'tested neuron')}" if partial else ""
    return change_numbers(findings, distance, compared, note)


def _sentences(filtered: FilteredComparison) -> list[str]:
    sentences = filtered.findings.sentences(sanitize(filtered.before.name), sanitize(filtered.after.name))
    if filtered.pair.problem and not filtered.tested:
        sentences.append(f"No tests: {filtered.pair.problem}")
    return sentences
