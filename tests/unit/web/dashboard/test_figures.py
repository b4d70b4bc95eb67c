"""Each panel sets a number beside a reference of the same estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tests.builders.layered_stages import LOW, stage_of
from tests.unit.web.dashboard.conftest import StoreMaker, settled
from txray.analysis import mass_divergence
from txray.preferences import Stage
from txray.web.dashboard.figures import features, scatter, tags
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import ComparisonConfig
from txray.web.dashboard.url_state import UrlState


def test_a_tested_pair_shows_matched_distances_beside_their_null(store: ResultStore, view: UrlState) -> None:
    filtered = settled(FilteredComparison.of, view, store)
    drawing = scatter.draw(filtered)
    rows = filtered.shared
    marks = [y for trace in drawing.figure.data if trace.customdata is not None for y in trace.y]
    assert sorted(marks) == sorted(rows["distance_matched"].to_list())
    matched, null, plain = (
        np.median(rows[name].to_numpy()) for name in ("distance_matched", "distance_null", "hellinger")
    )
    assert f"{matched:.2f}, {null:.2f} if nothing had changed" in drawing.finding
    assert f"{matched:.2f}" != f"{plain:.2f}"
    assert "equal numbers of wins" in drawing.figure.layout.yaxis.title.text


def test_an_untested_pair_shows_plain_distances_alone(tmp_path: Path, store_over: StoreMaker) -> None:
    folders = [
        stage_of(name, layers={LOW: 8}, seed=seed).save(tmp_path / name)
        for name, seed in (("a", 1), ("b", 2))
    ]
    store = store_over(folders, tmp_path / "cache", ComparisonConfig(permutations=0))
    filtered = settled(FilteredComparison.of, UrlState(before="a", after="b", feature_type="token"), store)
    drawing = scatter.draw(filtered)
    marks = [y for trace in drawing.figure.data if trace.customdata is not None for y in trace.y]
    assert sorted(marks) == sorted(filtered.shared["hellinger"].to_list())
    assert "nothing had changed" not in drawing.finding + str(drawing.figure.to_dict())


def test_mass_is_set_beside_the_text_that_its_own_stage_read(tmp_path: Path, store_over: StoreMaker) -> None:
    made = [
        stage_of(name, layers={LOW: 8}, seed=1, n_words=words) for name, words in (("a", 1_600), ("b", 60))
    ]
    store = store_over(
        [each.save(tmp_path / each.name) for each in made],
        tmp_path / "cache",
        ComparisonConfig(permutations=0),
    )
    filtered = settled(FilteredComparison.of, UrlState(before="a", after="b", feature_type="token"), store)
    settled(store.neuron_table, filtered.before, "pos")
    settled(store.neuron_table, filtered.after, "pos")
    drawing = tags.draw(filtered)
    bars = [trace for trace in drawing.figure.data if trace.type == "bar"]
    assert [bar.name for bar in bars] == ["share of the words of a", "share of the words of b"]
    for stage in made:
        pos = stage.preferences(feature_type="pos")
        assert f"{mass_divergence(pos):.3f} in {stage.name}" in drawing.finding
    same = settled(FilteredComparison.of, UrlState(before="a", after="a", feature_type="token"), store)
    assert [t.name for t in tags.draw(same).figure.data if t.type == "bar"] == ["share of the words"]


def test_a_words_neurons_are_counted_beside_all_and_beside_its_frequency(
    store: ResultStore, view: UrlState, stages: dict[str, Stage]
) -> None:
    asked = view.replace(page="feature", word="word3")
    finding = settled(features.draw, asked, store).finding
    for name in list(store.catalog.names)[:1]:
        rows = pl.concat(
            [
                stages[name].preferences(layer=layer).table().filter(pl.col("feature") == "word3")
                for layer in stages[name].layers
            ]
        )
        neurons = sum(stages[name].preferences(layer=layer).n_neurons for layer in stages[name].layers)
        lifted = int((rows["lift"] >= 2).sum())
        assert f"{len(rows)} of {neurons} neurons in {name}, {lifted} at least 2 times" in finding
