"""What the controls of every page show, as plain JSON values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from txray.analysis import CONFIDENT_STATES, SHOWN_STATES
from txray.analysis.findings import UNTESTED, state_label
from txray.errors import TxrayError
from txray.plots.frame import feature_noun
from txray.plots.text import sanitize
from txray.plots.theme import stage_styles
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.tasks import shared_layers
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import RANGES, UrlState

_MOST_TAGS = 200


def facts(view: UrlState, desk: ResultStore, remarks: list[str]) -> dict[str, Any]:
    """What there is to choose, and how much of it the view leaves.

    Args:
        view: completed.
        desk: for the stages.
        remarks: on what the view named wrongly.
    """
    library = desk.library
    styles = stage_styles(library.names)
    before, after = library[view.before], library[view.after]
    common = shared_layers(before, after)
    told: dict[str, Any] = {
        "stages": [{"name": name, "color": styles[name].color} for name in library.names],
        "features": library.feature_types,
        "layers": common,
        "layersBefore": list(before.layers),
        "layersAfter": list(after.layers),
        "before": view.before,
        "after": view.after,
        "feature": view.feature,
        "noun": feature_noun(view.feature),
        "ranges": [
            {"column": each.column, "told": _told(each.column, each.low, each.high)} for each in view.ranges
        ],
        "columns": [[name, text] for name, text in RANGES.items()],
        "remarks": remarks,
        "tags": _tags(view, desk),
        "starts": [],
        "states": [],
        "picked": None,
        "total": None,
        "waiting": "",
        "problem": "",
        "tested": False,
        "untested": False,
    }
    desk.prepare(before, after, view.feature)
    try:
        scene = FilteredComparison.of(view, desk)
        neurons = scene.neurons
        numbers = _numbers(scene)
    except JobPending as waiting:
        return told | {"waiting": str(waiting)}
    except TxrayError as error:
        return told | {"problem": str(error)}
    return told | {
        "starts": _starts(scene),
        "states": [
            {
                "name": state,
                "label": state_label(state, tested=not scene.observed, pending=scene.pair.pending),
                "number": numbers.get(state, 0),
            }
            for state in _states(scene)
        ],
        "picked": len(scene.picked),
        "total": len(neurons),
        "tested": bool(scene.pair.tested),
        "untested": scene.findings.untested > 0,
        "note": scene.pair.note,
    }


def _states(scene: FilteredComparison) -> list[str]:
    """Return the states that neurons can be in; one that is picked out stays, so that it can be taken off."""
    absent = set()
    if not scene.pair.tested:
        absent.add("unsure")
    if scene.findings.untested == 0 or scene.observed:
        absent.add(UNTESTED)
    if not scene.findings.tested_layers and not scene.observed:
        # Nothing of what is looked at is tested: all of it is untested.
        absent |= set(CONFIDENT_STATES)
    return [state for state in SHOWN_STATES if state not in absent or state in scene.view.states]


def _numbers(scene: FilteredComparison) -> Counter[str]:
    """Neurons in each state among those that the other filters leave."""
    others = FilteredComparison(
        scene.view.but(states=()), scene.desk, scene.before, scene.after, scene.pair, scene.styles
    ).picked
    return Counter(dict(others["shown"].value_counts().iter_rows()))


def _starts(scene: FilteredComparison) -> list[list[Any]]:
    """Layer and place of its first neuron: what a mark in a picture is found by."""
    runs = scene.pair.neurons["layer"].rle()
    lengths = runs.struct.field("len").to_numpy()
    return [
        [layer, int(start)]
        for layer, start in zip(runs.struct.field("value"), np.cumsum(lengths) - lengths, strict=True)
    ]


def _tags(view: UrlState, desk: ResultStore) -> list[str]:
    """Tags that a neuron's mass can fall on."""
    sides = [desk.library[name] for name in (view.before, view.after)]
    try:
        names = {tag for stage in sides if "pos" in stage.feature_types for tag in stage.vocabulary("pos")[0]}
    except TxrayError:
        return []
    return sorted(names)[:_MOST_TAGS]


def _told(column: str, low: float | None, high: float | None) -> str:
    ends = [sanitize(f"{end:.3g}") for end in (low, high) if end is not None]
    if len(ends) == 2:
        return f"{RANGES[column]} {ends[0]} to {ends[1]}"
    return f"{RANGES[column]} {'at least' if low is not None else 'at most'} {ends[0]}"
