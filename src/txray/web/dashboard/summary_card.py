"""The card at the top of the overview: what changed between two stages, in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import html

from txray.analysis.shown_distance import CORRECTED, PLAIN, matched_distance
from txray.analysis.states import UNTESTED, state_label
from txray.plots.text import count, plural, sanitize
from txray.web.dashboard.filtered_comparison import FilteredComparison

_STATES = ("shared", "avoided", "gained", "undecided", "unpreferred", UNTESTED)


def summary_card(filtered: FilteredComparison) -> list[Any]:
    """Return a heading, numbers, a bar of states, and sentences.

    Args:
        filtered: of its filters only the layer counts.
    """
    findings = filtered.findings
    numbers = dict(filtered.neurons["shown"].value_counts().iter_rows())
    shown = [(state, numbers[state]) for state in _STATES if numbers.get(state)]
    labels = {
        state: state_label(state, tested=not filtered.observed, pending=filtered.pair.pending)
        for state, _ in shown
    }
    entries = [
        html.Div(
            [html.Dt([html.Span(className=f"dot {state}"), labels[state]]), html.Dd(count(number))],
            # The paper's word.
            title=state if state != labels[state] else "",
        )
        for state, number in shown
    ]
    if findings.tested:
        title = f"changed significantly, of {count(findings.tested)}"
        entries.append(html.Div([html.Dt(title), html.Dd(count(findings.changed))]))
    entries += [html.Div([html.Dt(name), html.Dd(value)]) for name, value in _distances(filtered)]
    return [
        html.H2(
            [
                html.Bdi(sanitize(filtered.before.name)),
                " → ",
                html.Bdi(sanitize(filtered.after.name)),
                " ",
                html.Small(_where(filtered)),
            ],
            id="summary-heading",
        ),
        html.Dl(entries, className="numbers"),
        html.Div(
            [html.Span(className=state, style={"flex": number}) for state, number in shown],
            className="proportions",
            **{"aria-hidden": "true"},
        ),
        html.P(" ".join(_sentences(filtered))),
    ]


def _distances(filtered: FilteredComparison) -> list[tuple[str, str]]:
    """Return names and values of how far shared neurons moved: of tested ones as soon as there are any."""
    findings = filtered.findings
    distance = matched_distance("hellinger") if findings.tested else PLAIN
    compared = distance.rows(filtered.shared)
    if not len(compared):
        return []
    where = "" if findings.finished or not findings.tested else f", {plural(len(compared), 'tested neuron')}"
    values = [(f"mean {distance.name}{where}", f"{compared[distance.column].to_numpy().mean():.2f}")]
    if distance.null is None:
        return values
    values.append(("the same if nothing had changed", f"{compared[distance.null].to_numpy().mean():.2f}"))
    known = compared["hellinger_corrected"].drop_nulls().to_numpy()
    if len(known):
        low, middle, high = (f"{value:.2f}" for value in np.quantile(known, [0.25, 0.5, 0.75]))
        values.append((f"median {CORRECTED}{where} (middle half)", f"{middle} ({low} to {high})"))
    return values


def _where(filtered: FilteredComparison) -> str:
    return (
        f"layer {sanitize(filtered.layers[0])}"
        if len(filtered.layers) == 1
        else f"{len(filtered.layers)} layers"
    )


def _sentences(filtered: FilteredComparison) -> list[str]:
    sentences = filtered.findings.sentences(sanitize(filtered.before.name), sanitize(filtered.after.name))
    if filtered.pair.problem and not filtered.tested:
        sentences.append(f"No tests: {filtered.pair.problem}")
    return sentences
