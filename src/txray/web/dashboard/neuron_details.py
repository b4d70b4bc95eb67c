"""Details of one neuron, as plain JSON values for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from txray.analysis.neuron_sentence import neuron_sentence, preference_sentence
from txray.analysis.rules import is_significant, state_in_words
from txray.analysis.subjects import only_text
from txray.errors import TxrayError, UsageError
from txray.plots.features import Preferred
from txray.plots.frame import feature_noun
from txray.plots.text import count, plural, sanitize
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import StageFolder
from txray.preferences.names import name_scores
from txray.preferences.output_tokens import LISTED, PROMOTED, SUPPRESSED, agreement_sentence, tokens_of_side
from txray.web.compact import rounded, sanitized_words
from txray.web.dashboard.jobs.queue import JobPending
from txray.web.dashboard.neuron_selection import NeuronSelection
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import TestedPair
from txray.web.dashboard.url_state import UrlState

_MAX_FEATURES, _MAX_DISTINCTIVE, _MAX_EXEMPLARS = 60, 30, 8


def neuron_details(view: UrlState, store: ResultStore) -> dict[str, Any]:
    """Return what a neuron prefers, where it is active, and how it changed; see `Detail.show` in detail.js.

    Raises:
        UsageError: no such neuron.
        JobPending: a stage is being read.
    """
    selection = NeuronSelection.of(view, store)
    styles = stage_styles(store.catalog.names)
    weight = store.config.weight
    preferred = [selection.preferred(stage, selection.feature_type, weight) for stage in selection.sides]
    row, pair = _row(view, store, selection)
    in_use = any(map(len, preferred))
    state = str(row["shown"]) if row else "shared" if in_use else "unpreferred"
    return {
        "title": f"Neuron {selection.neuron}",
        "href": None,
        "state": state,
        "label": str(row["label"]) if row else "in use" if in_use else "not in use",
        "sentence": _sentence(selection, preferred, row, pair, store.config.fdr),
        "sides": [_side(stage, styles) for stage in selection.sides],
        "beyond": [],
        "writes": [{**_side(stage, styles), **_writes(stage, selection)} for stage in selection.sides],
        "tables": [
            *_tables(view, selection, preferred, weight),
            *_distinctive(view, selection, preferred, _name_notes(selection)),
        ],
        "exemplars": [
            {
                **_side(stage, styles),
                "items": _exemplars(stage.exemplars_of_neuron(selection.neuron, layer=selection.layer)),
            }
            for stage in selection.sides
        ],
        "stages": [_stage(stage, selection, store, styles) for stage in selection.stages],
    }


def _side(stage: StageFolder, styles: Mapping[str, StageStyle]) -> dict[str, str]:
    return {"name": sanitize(stage.name), "color": styles[stage.name].color}


def _row(
    view: UrlState, store: ResultStore, selection: NeuronSelection
) -> tuple[dict[str, Any] | None, TestedPair | None]:
    """Return the row of the neuron in the comparison of the two stages; None if they cannot be compared."""
    if len(selection.sides) < 2:
        return None, None
    try:
        before, after = selection.sides
        pair = store.pair(before, after, view.feature_type, selection.layer)
    except JobPending:
        raise
    except TxrayError:
        return None, None
    if selection.layer not in pair.layers:
        return None, None
    rows = pair.neurons.filter((pl.col("layer") == selection.layer) & (pl.col("neuron") == selection.neuron))
    words = {"label": state_in_words(pending=pair.pending), "significant": is_significant(store.config.fdr)}
    return rows.with_columns(**words).row(0, named=True), pair


def _sentence(
    selection: NeuronSelection,
    preferred: Sequence[Preferred],
    row: Mapping[str, Any] | None,
    pair: TestedPair | None,
    fdr: float,
) -> str:
    """Return what the neuron prefers and how it changed, in words."""
    noun = feature_noun(selection.feature_type)
    names = [sanitize(stage.name) for stage in selection.sides]
    if len(preferred) == 1:
        return f"Prefers {plural(len(preferred[0]), noun) if len(preferred[0]) else 'nothing'} in {names[0]}."
    if row is None or pair is None:
        lengths = len(preferred[0]), len(preferred[1])
        return preference_sentence(lengths, noun, (names[0], names[1]))
    untested = pair.problem or ("Not yet tested." if pair.pending else "Observed, not tested.")
    level = fdr if selection.layer in pair.tested else None
    before, after = selection.sides
    return neuron_sentence(
        row,
        noun,
        (names[0], names[1]),
        level,
        if_untested=untested,
        only_text=only_text(before, after, [selection.layer]),
    )


def _tables(
    view: UrlState, selection: NeuronSelection, preferred: Sequence[Preferred], weight: str
) -> list[dict[str, Any]]:
    """Return tables of features by probability, one per feature type."""
    tables = []
    for feature_type in dict.fromkeys((selection.feature_type, "token", "pos", "output", "label")):
        if not all(feature_type in stage.feature_types for stage in selection.sides):
            continue
        sides = (
            preferred
            if feature_type == selection.feature_type
            else [selection.preferred(stage, feature_type, weight) for stage in selection.sides]
        )
        shares = [dict(zip(side.feature, side.probability.tolist(), strict=True)) for side in sides]
        union = len({name for side in shares for name in side})
        if union:
            limit = f", {_MAX_FEATURES} strongest of {count(union)}" if union > _MAX_FEATURES else ""
            tables.append(
                {
                    "kind": feature_type,
                    "title": f"Preferred {feature_noun(feature_type)}s",
                    "note": f"by probability{limit}",
                    "unit": "percent",
                    **_joined(view, feature_type, shares, _MAX_FEATURES),
                }
            )
    return tables


def _name_notes(selection: NeuronSelection) -> list[str]:
    """Return how well the most distinctive features predict the wins on other documents, for each side."""
    notes = []
    for stage in selection.sides:
        preferences = stage.preferences_of_neuron(
            selection.neuron, layer=selection.layer, feature_type=selection.feature_type
        )
        facts = name_scores(preferences, [selection.neuron]).facts[0]
        notes += [f"in {sanitize(stage.name)}: {facts}"] if facts else []
    return notes


def _distinctive(
    view: UrlState, selection: NeuronSelection, preferred: Sequence[Preferred], notes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the table of features by lift; empty if none is more frequent than expected."""
    lifts = [
        {name: value for name, value in zip(side.feature, side.lift.tolist(), strict=True) if value > 1}
        for side in preferred
    ]
    if not any(lifts):
        return []
    table = {
        "kind": f"{selection.feature_type} lift",
        "title": f"Most distinctive {feature_noun(selection.feature_type)}s",
        "note": ". ".join(
            [
                "by lift: how many times more often than the frequency in the text predicts",
                *([f"Chosen on other documents, {'; '.join(notes)}"] if notes else []),
            ]
        ),
        "unit": "times",
        **_joined(view, selection.feature_type, lifts, _MAX_DISTINCTIVE),
    }
    return [table]


def _joined(
    view: UrlState, feature_type: str, sides: Sequence[Mapping[str, float]], limit: int
) -> dict[str, Any]:
    """Return `rows`, name and value of each side, largest first, and `links`, to the page of each feature."""
    best = {
        name: max(side.get(name, 0.0) for side in sides) for name in {name for side in sides for name in side}
    }
    names = sorted(best, key=lambda name: (-best[name], name))[:limit]
    page = view.replace(page="feature", feature_type=feature_type, neuron=None)
    return {
        "rows": [[sanitize(name), *(side.get(name, 0.0) for side in sides)] for name in names],
        "links": [page.replace(word=name).address for name in names],
    }


def _writes(stage: StageFolder, selection: NeuronSelection) -> dict[str, Any]:
    """Return the tokens that the neuron promotes and suppresses, and how its wins agree with them."""
    table = stage.output_tokens_of_neuron(selection.neuron, layer=selection.layer)
    agreement = stage.agreement_of_neuron(selection.neuron, layer=selection.layer)
    return {
        **{
            side: [sanitize(token) for token in tokens_of_side(table, side)["token"].head(LISTED)]
            for side in (PROMOTED, SUPPRESSED)
        },
        "agreement": None if agreement is None else agreement_sentence(agreement.row(0, named=True)) or None,
    }


def _exemplars(table: pl.DataFrame) -> list[dict[str, Any]]:
    items = []
    for row in table.head(_MAX_EXEMPLARS).iter_rows(named=True):
        item = {name: row[name] for name in ("activation", "position", "probability")}
        for name in ("document", "word", "before", "after", "output", "label"):
            item[name] = sanitized_words(row[name])
        values = row.get("activations")
        item["activations"] = None if values is None else [rounded(value, 3) for value in values]
        items.append(item)
    return items


def _stage(
    stage: StageFolder, selection: NeuronSelection, store: ResultStore, styles: Mapping[str, StageStyle]
) -> dict[str, Any]:
    of_layer = store.layer_table(stage, selection.feature_type, selection.layer)
    row = of_layer.row(selection.neuron, named=True)
    mass = float(of_layer["mass"].to_numpy().sum())
    return {
        **_side(stage, styles),
        "length": row["length"],
        "wins": row["wins"],
        "mass": row["mass"],
        "share": row["mass"] / mass if mass else None,
    }


def nearest(view: UrlState, store: ResultStore, limit: int = 8) -> list[dict[str, Any]]:
    """Return the neurons whose preferences are most similar to those of a neuron, in either stage.

    The neuron's own preferences are those after, or before if it is unused after.

    Returns:
        Per stage: `stage`, `color`, `layer` and `neurons`: neuron, affinity (1 - H^2, from 0 to 1), words.

    Raises:
        UsageError: no such neuron, or it prefers nothing.
        JobPending: a stage is being read.
    """
    selection = NeuronSelection.of(view, store)
    weight, styles = store.config.weight, stage_styles(store.catalog.names)
    sides = [(stage, selection.preferred(stage, selection.feature_type, weight)) for stage in selection.sides]
    active = [(stage, preferred) for stage, preferred in sides if len(preferred)]
    if not active:
        raise UsageError("The neuron responds to no word in either stage, so no other neuron is near it.")
    reference, preferred = active[-1]
    share_of = dict(zip(preferred.feature, preferred.probability.tolist(), strict=True))
    tables = []
    for stage in selection.sides:
        layer = stage[selection.layer, selection.feature_type].distributions(weight)
        vector = np.sqrt([share_of.get(name, 0.0) for name in layer.features])
        affinity = np.sqrt(layer.matrix) @ vector
        if stage is reference:
            affinity[selection.neuron] = -1
        words = store.preferred_words(stage, selection.feature_type, selection.layer)["beyond"]
        order = [int(i) for i in np.argsort(-affinity, kind="stable")[:limit] if affinity[i] > 0]
        tables.append(
            {
                "stage": sanitize(stage.name),
                "color": styles[stage.name].color,
                "layer": selection.layer,
                "neurons": [
                    {"neuron": i, "affinity": float(min(affinity[i], 1)), "words": words[i].to_list()}
                    for i in order
                ],
            }
        )
    return tables
