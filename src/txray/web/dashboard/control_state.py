"""State of the controls: their options and the current choices, as plain JSON values."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from txray.analysis import CONFIDENT_STATES, SHOWN_STATES
from txray.analysis.states import DISPLACED, UNTESTED, state_label
from txray.errors import TxrayError
from txray.plots.frame import feature_noun
from txray.plots.text import sanitize
from txray.plots.theme import stage_styles
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.jobs.tasks import shared_layers
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import RANGES, Range, UrlState

_MAX_TAGS = 200


def control_state(view: UrlState, store: ResultStore, warnings: list[str]) -> dict[str, Any]:
    """Return the options of all controls, how many neurons pass the filters, and warnings about the URL."""
    catalog = store.catalog
    styles = stage_styles(catalog.names)
    before, after = catalog[view.before], catalog[view.after]
    state: dict[str, Any] = {
        "stages": [{"name": name, "color": styles[name].color} for name in catalog.names],
        "featureTypes": catalog.feature_types,
        "layers": shared_layers(before, after),
        "layersBefore": list(before.layers),
        "layersAfter": list(after.layers),
        "before": view.before,
        "after": view.after,
        "featureType": view.feature_type,
        "noun": feature_noun(view.feature_type),
        "ranges": [{"column": bounds.column, "label": _range_label(bounds)} for bounds in view.ranges],
        "columns": [[name, title] for name, title in RANGES.items()],
        "warnings": warnings,
        "tags": _tags(view, store),
        "starts": [],
        "states": [],
        "picked": None,
        "total": None,
        "waiting": "",
        "problem": "",
        "tested": False,
        "untested": False,
    }
    store.prepare(before, after, view.feature_type)
    try:
        filtered = FilteredComparison.of(view, store)
        neurons = filtered.neurons
        numbers = _numbers(filtered)
    except JobPending as pending:
        return state | {"waiting": str(pending)}
    except TxrayError as error:
        return state | {"problem": str(error)}
    return state | {
        "starts": _starts(filtered),
        "states": [
            {
                "name": name,
                "label": state_label(name, tested=not filtered.observed, pending=filtered.pair.pending),
                "number": numbers.get(name, 0),
            }
            for name in _states(filtered)
        ],
        "picked": len(filtered.picked),
        "total": len(neurons),
        "tested": bool(filtered.pair.tested),
        "untested": filtered.findings.untested > 0,
        "note": filtered.pair.note,
    }


def _states(filtered: FilteredComparison) -> list[str]:
    """Return the states that neurons can be in, and selected ones, so that they can be deselected."""
    absent = set()
    if not filtered.pair.tested:
        absent.add("undecided")
    if not filtered.findings.states.get(DISPLACED):
        absent.add(DISPLACED)
    if filtered.findings.untested == 0 or filtered.observed:
        absent.add(UNTESTED)
    if not filtered.findings.tested_layers and not filtered.observed:
        # None of these layers is tested: all neurons are untested.
        absent |= set(CONFIDENT_STATES)
    return [state for state in SHOWN_STATES if state not in absent or state in filtered.view.states]


def _numbers(filtered: FilteredComparison) -> Counter[str]:
    """Return the number of neurons in each state among those that pass the other filters."""
    others = replace(filtered, view=filtered.view.replace(states=())).picked
    return Counter(dict(others["shown"].value_counts().iter_rows()))


def _starts(filtered: FilteredComparison) -> list[list[Any]]:
    """Return each layer and the row of its first neuron, by which the page finds the neuron of a mark."""
    runs = filtered.pair.neurons["layer"].rle()
    lengths = runs.struct.field("len").to_numpy()
    return [
        [layer, int(start)]
        for layer, start in zip(runs.struct.field("value"), np.cumsum(lengths) - lengths, strict=True)
    ]


def _tags(view: UrlState, store: ResultStore) -> list[str]:
    """Return the tags that the mass of a neuron can fall on."""
    sides = [store.catalog[name] for name in (view.before, view.after)]
    try:
        names = {tag for stage in sides if "pos" in stage.feature_types for tag in stage.vocabulary("pos")[0]}
    except TxrayError:
        return []
    return sorted(names)[:_MAX_TAGS]


def _range_label(bounds: Range) -> str:
    ends = [sanitize(f"{end:.3g}") for end in (bounds.low, bounds.high) if end is not None]
    if len(ends) == 2:
        return f"{RANGES[bounds.column]} {ends[0]} to {ends[1]}"
    return f"{RANGES[bounds.column]} {'at least' if bounds.low is not None else 'at most'} {ends[0]}"
