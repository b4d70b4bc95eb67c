"""What changed between two stages, in words and numbers: the card at the top of the overview."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import html

from txray.analysis.findings import UNTESTED, state_label
from txray.analysis.shown_distance import CORRECTED, PLAIN, matched_distance
from txray.plots.text import count, plural, sanitize
from txray.web.dashboard.filtered_comparison import FilteredComparison

_STATES = ("shared", "avoided", "gained", "unsure", "unpreferred", UNTESTED)


def headline(scene: FilteredComparison) -> list[Any]:
    """Numbers, a bar of states, and sentences.

    Args:
        scene: what is looked at; of its filters only the layer counts.
    """
    findings = scene.findings
    numbers = dict(scene.neurons["shown"].value_counts().iter_rows())
    shown = [(state, numbers[state]) for state in _STATES if numbers.get(state)]
    facts = [
        html.Div(
            [
                html.Dt(
                    [
                        html.Span(className=f"dot {state}"),
                        state_label(state, tested=not scene.observed, pending=scene.pair.pending),
                    ]
                ),
                html.Dd(count(number)),
            ]
        )
        for state, number in shown
    ]
    if findings.tested:
        title = f"changed significantly, of {count(findings.tested)}"
        facts.append(html.Div([html.Dt(title), html.Dd(count(findings.changed))]))
    facts += [html.Div([html.Dt(name), html.Dd(value)]) for name, value in _distances(scene)]
    return [
        html.H2(
            [
                html.Bdi(sanitize(scene.before.name)),
                " → ",
                html.Bdi(sanitize(scene.after.name)),
                " ",
                html.Small(_where(scene)),
            ],
            id="headline-heading",
        ),
        html.Dl(facts, className="numbers"),
        html.Div(
            [html.Span(className=state, style={"flex": number}) for state, number in shown],
            className="proportions",
            **{"aria-hidden": "true"},
        ),
        html.P(" ".join(_sentences(scene))),
    ]


def _distances(scene: FilteredComparison) -> list[tuple[str, str]]:
    """Return names and values of how far shared neurons moved: of the tested ones as soon as there are any."""
    findings = scene.findings
    distance = matched_distance("hellinger") if findings.tested else PLAIN
    compared = distance.rows(scene.shared)
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


def _where(scene: FilteredComparison) -> str:
    return f"layer {sanitize(scene.layers[0])}" if len(scene.layers) == 1 else f"{len(scene.layers)} layers"


def _sentences(scene: FilteredComparison) -> list[str]:
    sentences = scene.findings.sentences(sanitize(scene.before.name), sanitize(scene.after.name))
    if scene.pair.problem and not scene.tested:
        sentences.append(f"No tests: {scene.pair.problem}")
    return sentences
