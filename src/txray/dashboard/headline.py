"""What changed between two stages, in words and numbers: the card at the top of the overview."""

from __future__ import annotations

from typing import Any

from dash import html

from txray.dashboard.scene import Scene
from txray.plots.text import count, visible
from txray.transfer.findings import UNTESTED, state_label

_STATES = ("shared", "avoided", "gained", "unsure", "unpreferred", UNTESTED)


def headline(scene: Scene) -> list[Any]:
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
    if len(scene.shared):
        mean = float(scene.shared["hellinger"].to_numpy().mean())
        where = ", all layers" if findings.tested_layers and not findings.finished else ""
        facts.append(html.Div([html.Dt(f"mean Hellinger distance{where}"), html.Dd(f"{mean:.2f}")]))
    return [
        html.H2(
            [
                html.Bdi(visible(scene.before.name)),
                " → ",
                html.Bdi(visible(scene.after.name)),
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


def _where(scene: Scene) -> str:
    return f"layer {visible(scene.layers[0])}" if len(scene.layers) == 1 else f"{len(scene.layers)} layers"


def _sentences(scene: Scene) -> list[str]:
    sentences = scene.findings.sentences(visible(scene.before.name), visible(scene.after.name))
    if scene.pair.problem and not scene.tested:
        sentences.append(f"No tests: {scene.pair.problem}")
    return sentences
