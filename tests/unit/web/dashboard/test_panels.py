"""Words and small tables that pages are filled with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dash.development.base_component import Component
from plotly.utils import PlotlyJSONEncoder

from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, GONE, HIGH, LAYERS, LOW, SILENT
from tests.unit.web.dashboard.calls import Callbacks
from tests.unit.web.dashboard.conftest import settled
from txray.analysis.states import state_label
from txray.errors import UsageError
from txray.plots.text import sanitize
from txray.preferences import Stage
from txray.pruning import Pruning
from txray.pruning.effect_table import EFFECT_SCHEMA, RANDOM_SCHEMA, RESAMPLE_SCHEMA, SET_SCHEMA
from txray.web.dashboard.app import build
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.panels import feature_rows, nearest_rows, pruned_rows, sources
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.security import Guard
from txray.web.dashboard.summary_card import summary_card
from txray.web.dashboard.url_state import Range, UrlState


def plain(parts: Any) -> str:
    """All text of some components, in order."""
    if isinstance(parts, str):
        return parts
    if isinstance(parts, list | tuple):
        return " ".join(filter(None, map(plain, parts)))
    return plain(getattr(parts, "children", None)) if isinstance(parts, Component) else ""


def links(parts: Any) -> list[UrlState]:
    """Where the links of some components lead."""
    if isinstance(parts, list | tuple):
        return [view for part in parts for view in links(part)]
    if not isinstance(parts, Component):
        return []
    own = [UrlState.parse(*parts.href.partition("?")[::2])] if hasattr(parts, "href") else []
    return own + links(getattr(parts, "children", None))


def test_the_headline_counts_states_whatever_the_filters(store: ResultStore, view: UrlState) -> None:
    filtered = FilteredComparison.of(view.unfiltered(), store)
    rows = filtered.pair.neurons
    text = plain(summary_card(filtered))
    for state in ("shared", "avoided", "gained", "undecided", "unpreferred"):
        label = state_label(state, tested=True)
        assert f"{label} {rows.filter(pl.col('confident_state').cast(pl.String) == state).height}" in text
    changed, tested = rows.filter(pl.col("q_value") <= 0.05).height, rows["q_value"].count()
    assert f"changed significantly, of {tested} {changed}" in text
    assert f"{BEFORE}  →  {sanitize(AFTER)}   2 layers" in text
    mean, null = (rows[name].mean() for name in ("distance_matched", "distance_null"))
    assert f"at equal numbers of wins {mean:.2f} the same if nothing had changed {null:.2f}" in text
    assert "are in use in both unsup and" in text
    assert "not yet tested" not in text
    assert f"layer {HIGH}" in plain(summary_card(FilteredComparison.of(view.replace(layer=HIGH), store)))


def test_the_neurons_of_a_feature_kept_stopped_or_started(
    store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    for word in ("word3", IN_CORPORA[0]):
        parts = feature_rows(view.replace(page="feature", word=word), store)
        holders = [
            {
                (layer, neuron)
                for layer in LAYERS
                for neuron in stages[name].preferences(layer=layer).table().filter(feature=word)["neuron"]
            }
            for name in (BEFORE, AFTER)
        ]
        kept, left, came = holders[0] & holders[1], holders[0] - holders[1], holders[1] - holders[0]
        plural = "neuron" if len(kept) == 1 else "neurons"
        text = plain(parts)
        assert (
            f"{len(kept)} {plural} kept responding to it, {len(left)} stopped and {len(came)} started."
            in text
        )
        assert {(each.layer, each.neuron) for each in links(parts)} == kept | left | came
        assert {each.page for each in links(parts)} == {"neuron"}
        assert text.split().count("started") == len(came)
    alone = feature_rows(view.replace(page="feature", word="word3", layer=HIGH), store)
    assert {each.layer for each in links(alone)} == {HIGH}


def test_no_feature_is_a_request_to_type_one(store: ResultStore, view: UrlState) -> None:
    with pytest.raises(UsageError, match="Type a token above"):
        feature_rows(view.replace(page="feature", word=""), store)


def test_nearest_neurons_link_to_their_pages(store: ResultStore, view: UrlState) -> None:
    parts = settled(nearest_rows, view.replace(page="neuron", layer=LOW, neuron=GONE), store)
    assert all((each.page, each.layer) == ("neuron", LOW) for each in links(parts))
    assert GONE not in [each.neuron for each in links(parts)][:8]
    assert SILENT not in [each.neuron for each in links(parts)]
    assert len(links(parts)) > 8


def test_sources_tell_the_choices_and_where_results_lie(
    store: ResultStore, folders: list[Path], cache: Path
) -> None:
    text = plain(sources(store))
    assert all(str(folder) in text for folder in folders)
    assert f"Results are cached in {cache}." in text
    assert "tested at 5% FDR, with up to 200 permutations" in text
    assert f"{sanitize(LOW)} and 1 more 21" in text


def pruning_of(*sets: tuple[str, str, str, float | None]) -> Pruning:
    """Effects of some sets: name, layer, neurons, change; on two splits."""
    effects = [
        dict.fromkeys(EFFECT_SCHEMA)
        | {"set": name, "layer": layer, "neurons": len(neurons.split()), "split": split, "metric": "<i>f1"}
        | {"change": change, "change_low": None if change is None else change - 0.1}
        | {
            "change_high": None if change is None else change + 0.1,
            "verdict": None if change is None else "worse",
        }
        for name, layer, neurons, change in sets
        for split in ("train", "test")
    ]
    return Pruning(
        pl.DataFrame(effects, schema=EFFECT_SCHEMA),
        pl.DataFrame(schema=RANDOM_SCHEMA),
        pl.DataFrame(
            [(name, "r", layer, neurons) for name, layer, neurons, _ in sets], schema=SET_SCHEMA, orient="row"
        ),
        pl.DataFrame(schema=RESAMPLE_SCHEMA),
        {
            "random": 1,
            "texts": {
                "test": {
                    "chance": {
                        "auroc": {"value": 0.52, "chance": 0.5, "low": -0.04, "high": 0.08, "above": False}
                    }
                }
            },
        },
    )


@pytest.mark.parametrize("layer", [LOW, HIGH, ""])
def test_effects_of_pruning_are_those_of_the_neurons_own_sets(
    layer: str, store: ResultStore, view: UrlState
) -> None:
    pruning = pruning_of(
        ("a<b>", LOW, "0 3", -0.25), ("b", LOW, "1 2", -0.5), ("c", HIGH, "3", 0.125), ("d", LOW, "3 4", None)
    )
    text = plain(pruned_rows(view.replace(page="neuron", layer=layer, neuron=3), store, [pruning]))
    if layer == HIGH:
        assert "c 1 <i>f1 +0.125 (+0.025 to +0.225) worse" in text
        assert "-0.25" not in text
    else:
        # Without a layer the page is about the first.
        assert "On test the whole model is not better than chance (AUROC 0.520, by chance 0.500" in text
        assert "a<b> 2 <i>f1 -0.250 (-0.350 to -0.150) worse" in text
        assert "d 2 <i>f1 – –" in text
        assert "+0.125" not in text
        assert text.count("<i>f1") == 2
    assert "-0.5" not in text
    assert pruned_rows(view.replace(page="neuron", layer=LOW, neuron=9), store, [pruning]) == []
    assert pruned_rows(view.replace(page="neuron", layer=LOW), store, []) == []


def test_the_page_of_a_neuron_is_told_of_its_pruning(store: ResultStore, view: UrlState) -> None:
    pruning = pruning_of(("set", LOW, "0", -0.5))
    calls = Callbacks(build(store, Guard(None), [pruning]).server.test_client())
    found = calls.call("pruned.children", view.replace(page="neuron", neuron=0))
    assert found is not None
    assert found["pruned"]["hidden"] is False
    assert "-0.500" in json.dumps(found)
    other = calls.call("pruned.children", view.replace(page="neuron", neuron=1))
    assert other is not None
    assert other["pruned"] == {"children": [], "hidden": True}


def test_words_stay_text_in_every_component(store: ResultStore, view: UrlState) -> None:
    for word in IN_CORPORA:
        if word:
            parts = feature_rows(view.replace(page="feature", word=word), store)
            text = json.dumps(parts, cls=PlotlyJSONEncoder)
            assert "dangerously" not in text
            assert not set(plain(parts)) & set("\n\x00\x07\u202e")


def test_a_filter_does_not_change_the_headline(store: ResultStore, view: UrlState) -> None:
    calls = Callbacks(build(store, Guard(None)).server.test_client())
    filtered = view.replace(states=("gained",), ranges=(Range("hellinger", 0, 0.1),))
    assert calls.call("summary.children", filtered) == calls.call("summary.children", view)
