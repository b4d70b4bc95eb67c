"""Everything about one neuron, as the plain record that the page's details are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from txray.analysis.findings import fdr_label, is_significant, state_in_words
from txray.analysis.shown_distance import CORRECTED, corrected_words
from txray.errors import TxrayError, UsageError
from txray.plots.features import Preferred
from txray.plots.frame import feature_noun
from txray.plots.text import count, figure_of, plural, visible
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import StageFolder
from txray.web.dashboard.jobs.worker import JobPending
from txray.web.dashboard.neuron_selection import NeuronSelection, hellinger_of
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import TestedPair
from txray.web.dashboard.url_state import UrlState

_FEATURES = 60
_LIFTED = 30
_EXEMPLARS = 8


def record(view: UrlState, desk: ResultStore) -> dict[str, Any]:
    """What the neuron of a view prefers, where it fires, and what became of it.

    Args:
        view: that names a neuron.
        desk: for the stages.

    Raises:
        UsageError: no such neuron.
        NotReady: a stage is being read.
    """
    look = NeuronSelection.of(view, desk)
    styles = stage_styles(desk.library.names)
    weight = desk.choices.weight
    own = [look.preferred(stage, look.feature_type, weight) for stage in look.sides]
    row, pair = _row(view, desk, look)
    state = str(row["shown"]) if row else "shared" if len(own) == 1 and len(own[0]) else "unpreferred"
    return {
        "title": f"Neuron {look.neuron}",
        "href": None,
        "state": state,
        "label": str(row["label"]) if row else state,
        "sentence": _sentence(look, own, row, pair, desk.choices.level),
        "sides": [_side(stage, styles) for stage in look.sides],
        "beyond": [],
        "tables": [*_tables(view, look, own, weight), *_lifted(view, look, own)],
        "exemplars": [
            {
                **_side(stage, styles),
                "items": _exemplars(stage.exemplars_of_neuron(look.neuron, layer=look.layer)),
            }
            for stage in look.sides
        ],
        "stages": [_stage(stage, look, desk, styles) for stage in look.stages],
    }


def _side(stage: StageFolder, styles: Mapping[str, StageStyle]) -> dict[str, str]:
    return {"name": visible(stage.name), "color": styles[stage.name].color}


def _row(
    view: UrlState, desk: ResultStore, look: NeuronSelection
) -> tuple[dict[str, Any] | None, TestedPair | None]:
    """The neuron's row in the comparison of the two stages; None where they cannot be compared."""
    if len(look.sides) < 2:
        return None, None
    try:
        before, after = look.sides
        pair = desk.pair(before, after, view.feature, look.layer)
    except JobPending:
        raise
    except TxrayError:
        return None, None
    if look.layer not in pair.layers:
        return None, None
    found = pair.neurons.filter((pl.col("layer") == look.layer) & (pl.col("neuron") == look.neuron))
    words = {
        "label": state_in_words(pending=pair.pending),
        "significant": is_significant(desk.choices.level),
    }
    return found.with_columns(**words).row(0, named=True), pair


def _sentence(
    look: NeuronSelection,
    own: Sequence[Preferred],
    row: Mapping[str, Any] | None,
    pair: TestedPair | None,
    level: float,
) -> str:
    """What happened to the neuron, in words."""
    noun = feature_noun(look.feature_type)
    names = [visible(stage.name) for stage in look.sides]
    lengths = [plural(len(side), noun) if len(side) else "nothing" for side in own]
    if len(own) == 1:
        return f"Prefers {lengths[0]} in {names[0]}."
    told = f"Prefers {lengths[0]} in {names[0]}, {lengths[1]} in {names[1]}."
    distance = hellinger_of(own[0], own[1])
    if distance is not None:
        told += f" Hellinger distance {distance:.3f}."
    if row is None or pair is None:
        return told
    if look.layer not in pair.tested:
        return f"{told} {pair.problem or ('Not yet tested.' if pair.pending else 'Observed, not tested.')}"
    verdict = f"{'' if row['significant'] else 'not '}significant at {fdr_label(level)}"
    if row["q_value"] is not None:
        told += (
            f" At equal numbers of activations {row['distance_matched']:.3f}, where nothing changed "
            f"{row['distance_null']:.3f}: {verdict} (q = {figure_of(row['q_value'])})."
        )
        told += f" {CORRECTED[0].upper()}{CORRECTED[1:]}, with its 95% interval: {corrected_words(row)}."
    elif row["shown"] == "unsure":
        told += f" {verdict.capitalize()}: it is active too rarely to tell it from chance."
    elif row["state"] in ("avoided", "gained"):
        told += f" {str(row['state']).capitalize()}: {verdict} (q = {figure_of(row['rate_q_value'])})."
    elif row["state"] == "shared":
        told += " Too rarely active to be tested."
    return told


def _tables(
    view: UrlState, look: NeuronSelection, own: Sequence[Preferred], weight: str
) -> list[dict[str, Any]]:
    """Features by probability, kind by kind."""
    found = []
    feature_types = [
        look.feature_type,
        *(
            feature_type
            for feature_type in ("token", "pos", "output", "label")
            if feature_type != look.feature_type
        ),
    ]
    for feature_type in feature_types:
        if not all(feature_type in stage.feature_types for stage in look.sides):
            continue
        sides = (
            own
            if feature_type == look.feature_type
            else [look.preferred(stage, feature_type, weight) for stage in look.sides]
        )
        shares = [dict(zip(s.feature, s.probability.tolist(), strict=True)) for s in sides]
        union = len({name for side in shares for name in side})
        if union:
            told = (
                f"by probability, {_FEATURES} strongest of {count(union)}"
                if union > _FEATURES
                else "by probability"
            )
            found.append(
                {
                    "kind": feature_type,
                    "title": f"Preferred {feature_noun(feature_type)}s",
                    "note": told,
                    "unit": "percent",
                    **_joined(view, feature_type, shares, _FEATURES),
                }
            )
    return found


def _lifted(view: UrlState, look: NeuronSelection, own: Sequence[Preferred]) -> list[dict[str, Any]]:
    """Features by how much they outdo their frequency."""
    lifts = [
        {name: value for name, value in zip(side.feature, side.lift.tolist(), strict=True) if value > 1}
        for side in own
    ]
    if not any(lifts):
        return []
    table = {
        "kind": f"{look.feature_type} lift",
        "title": "Beyond frequency",
        "note": "by lift: times as strongly as its frequency in the text would make it",
        "unit": "times",
        **_joined(view, look.feature_type, lifts, _LIFTED),
    }
    return [table]


def _joined(
    view: UrlState, feature_type: str, sides: Sequence[Mapping[str, float]], most: int
) -> dict[str, Any]:
    """`rows`: name and value of each side, the largest first; `links`: the page of each feature."""
    best = {
        name: max(side.get(name, 0.0) for side in sides) for name in {name for side in sides for name in side}
    }
    names = sorted(best, key=lambda name: (-best[name], name))[:most]
    page = view.but(page="feature", feature=feature_type, neuron=None)
    return {
        "rows": [[visible(name), *(side.get(name, 0.0) for side in sides)] for name in names],
        "links": [page.but(word=name).address for name in names],
    }


def _exemplars(table: pl.DataFrame) -> list[dict[str, Any]]:
    items = []
    for row in table.head(_EXEMPLARS).iter_rows(named=True):
        item = {name: row[name] for name in ("activation", "position", "probability")}
        for name in ("document", "word", "before", "after", "output", "label"):
            item[name] = (
                None
                if row[name] is None
                else " ".join(map(visible, row[name].split(" ")))
                if row[name]
                else ""
            )
        values = row.get("activations")
        item["activations"] = (
            None
            if values is None
            else [
                None if value is None or not np.isfinite(value) else float(f"{value:.3g}") for value in values
            ]
        )
        items.append(item)
    return items


def _stage(
    stage: StageFolder, look: NeuronSelection, desk: ResultStore, styles: Mapping[str, StageStyle]
) -> dict[str, Any]:
    of_layer = desk.digest_of(stage, look.feature_type, look.layer)
    row = of_layer.row(look.neuron, named=True)
    mass = float(of_layer["mass"].to_numpy().sum())
    return {
        **_side(stage, styles),
        "length": row["length"],
        "wins": row["wins"],
        "mass": row["mass"],
        "share": row["mass"] / mass if mass else None,
    }


def nearest(view: UrlState, desk: ResultStore, most: int = 8) -> list[dict[str, Any]]:
    """Neurons that prefer most nearly the same as the neuron of a view, in either stage.

    Args:
        view: that names a neuron; it is looked up in the stage after, or before where it is un-preferred after.
        desk: for the stages.
        most: neurons per stage.

    Returns:
        Per stage: `stage`, `color`, and `neurons`: neuron, affinity (1 - H^2, from 0 to 1), words.

    Raises:
        UsageError: no such neuron.
        NotReady: a stage is being read.
    """
    look = NeuronSelection.of(view, desk)
    weight, styles = desk.choices.weight, stage_styles(desk.library.names)
    held = [(stage, look.preferred(stage, look.feature_type, weight)) for stage in look.sides]
    preferred = [(stage, side) for stage, side in held if len(side)]
    if not preferred:
        raise UsageError("The neuron prefers nothing in either stage, so none is near it.")
    own_stage, own = preferred[-1]
    found = []
    for stage in look.sides:
        layer = stage.preferences(layer=look.layer, feature_type=look.feature_type).distributions(weight)
        vector = np.zeros(len(layer.features))
        # As objects: as an array of text, every word would take as much memory as the longest.
        places = np.searchsorted(layer.features, np.array(own.feature, dtype=object))
        for place, name, share in zip(places, own.feature, own.probability, strict=True):
            if place < len(layer.features) and layer.features[place] == name:
                vector[place] = np.sqrt(share)
        affinity = np.sqrt(layer.matrix) @ vector
        if stage is own_stage:
            affinity[look.neuron] = -1
        names = desk.names_of(stage, look.feature_type, look.layer)["beyond"]
        order = [int(i) for i in np.argsort(-affinity, kind="stable")[:most] if affinity[i] > 0]
        found.append(
            {
                "stage": visible(stage.name),
                "color": styles[stage.name].color,
                "own": visible(own_stage.name),
                "layer": look.layer,
                "neurons": [
                    {"neuron": i, "affinity": float(min(affinity[i], 1)), "words": names[i].to_list()}
                    for i in order
                ],
            }
        )
    return found
