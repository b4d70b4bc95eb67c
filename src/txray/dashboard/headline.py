"""What changed between two stages, in words and numbers: the card at the top of the overview."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from dash import html

from txray.dashboard.scene import Scene
from txray.plots.text import count, percent, plural, visible
from txray.transfer.shown_distance import CORRECTED

_STATES = ("shared", "avoided", "gained", "unsure", "unpreferred")


def headline(scene: Scene) -> list[Any]:
    """Numbers, a bar of states, and sentences.

    Args:
        scene: what is looked at; of its filters only the layer counts.
    """
    neurons = scene.neurons
    numbers = dict(neurons["shown"].value_counts().iter_rows())
    shown = [(state, numbers[state]) for state in _STATES if numbers.get(state)]
    facts = [
        html.Div([html.Dt([html.Span(className=f"dot {state}"), state]), html.Dd(count(number))])
        for state, number in shown
    ]
    tested = neurons.filter(pl.col("q_value").is_not_null())
    if scene.pair.tested:
        changed = int((tested["q_value"] <= scene.desk.choices.level).sum())
        facts.append(html.Div([html.Dt(f"changed, of {count(len(tested))} tested"), html.Dd(count(changed))]))
    distance = scene.distance
    compared = distance.rows(scene.shared)
    if len(compared):
        mean = float(compared[distance.column].to_numpy().mean())
        facts.append(html.Div([html.Dt(f"mean {distance.name}"), html.Dd(f"{mean:.2f}")]))
    if len(compared) and distance.null is not None:
        mean = float(compared[distance.null].to_numpy().mean())
        facts.append(html.Div([html.Dt("the same if nothing had changed"), html.Dd(f"{mean:.2f}")]))
        known = compared["hellinger_corrected"].drop_nulls().to_numpy()
        if len(known):
            low, middle, high = (f"{value:.2f}" for value in np.quantile(known, [0.25, 0.5, 0.75]))
            facts.append(
                html.Div(
                    [html.Dt(f"median {CORRECTED} (middle half)"), html.Dd(f"{middle} ({low} to {high})")]
                )
            )
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
        html.P(" ".join(_sentences(scene, numbers, tested))),
    ]


def _where(scene: Scene) -> str:
    return f"layer {visible(scene.layers[0])}" if len(scene.layers) == 1 else f"{len(scene.layers)} layers"


def _sentences(scene: Scene, numbers: dict[str, int], tested: pl.DataFrame) -> list[str]:
    before, after = visible(scene.before.name), visible(scene.after.name)
    total, choices = len(scene.neurons), scene.desk.choices
    shared = numbers.get("shared", 0)
    told = [
        f"{percent(shared / total)} of {plural(total, 'neuron')} stay preferred from {before} to {after}."
    ]
    if scene.pair.tested:
        changed = int((tested["q_value"] <= choices.level).sum())
        told.append(
            f"At {100 * choices.level:g} % false discoveries, {count(changed)} of "
            f"{plural(len(tested), 'tested neuron')} changed what they prefer; {count(numbers.get('avoided', 0))} "
            f"avoided and {count(numbers.get('gained', 0))} gained neurons are more than chance."
        )
    waiting = len(scene.layers) - len(set(scene.layers) & set(scene.pair.tested))
    if scene.pair.problem:
        told.append(f"Not tested: {scene.pair.problem}")
    elif choices.permutations and waiting:
        told.append(f"{plural(waiting, 'layer')} still to be tested; numbers fill in by themselves.")
    if len(scene.layers) > 1 and scene.pair.tested:
        told.append("False discoveries are counted layer by layer.")
    return told
