"""Histograms of activations: exact counts, whatever the order and the shards."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.builders.stages import stage_of, vocabulary
from txray.errors import ShapeError, StageError, UsageError
from txray.preferences import Stage, StageFolder
from txray.preferences.histogram_files import HistogramFolder
from txray.preferences.histograms import (
    BINS,
    CONTROL_GROUPS,
    ConceptHistograms,
    HistogramTally,
    bin_edges,
    control_group_of,
    feature_lists,
    merged_histograms,
)

TAGS = ("NN", "DT", "VBZ")


def words(
    n: int, seed: int, n_neurons: int = 3
) -> tuple[NDArray[np.int32], NDArray[np.int64], list[str], NDArray[np.int64]]:
    """Return bins, folds, tags and control groups of random words."""
    random = np.random.default_rng(seed)
    return (
        random.integers(0, BINS, (n, n_neurons)).astype(np.int32),
        random.integers(0, 16, n),
        random.choice(TAGS, n).tolist(),
        random.integers(0, CONTROL_GROUPS, n),
    )


EDGES = np.sort(np.random.default_rng(0).normal(size=(3, BINS - 1)), axis=1).astype(np.float32)


def frozen(*parts: tuple[object, ...], features: tuple[str, ...] = ()) -> ConceptHistograms:
    tally = HistogramTally(3, "pos", 16, features)
    for part in parts:
        tally.update(*part)  # type: ignore[arg-type]
    return tally.freeze("s", "rnn", EDGES)


def same(one: ConceptHistograms, other: ConceptHistograms) -> bool:
    return (
        one.features.tolist() == other.features.tolist()
        and np.array_equal(one.counts, other.counts)
        and np.array_equal(one.controls, other.controls)
        and np.array_equal(one.edges, other.edges)
    )


def test_counts_are_those_of_a_loop() -> None:
    bins, fold, tags, group = words(200, 1)
    histograms = frozen((bins, fold, tags, group))
    counts, controls = np.zeros_like(histograms.counts), np.zeros_like(histograms.controls)
    names = sorted(set(tags))
    for i, tag in enumerate(tags):
        for neuron in range(3):
            counts[fold[i] % 8, names.index(tag), neuron, bins[i, neuron]] += 1
            controls[group[i], neuron, bins[i, neuron]] += 1
    assert histograms.features.tolist() == names
    assert np.array_equal(histograms.counts, counts)
    assert np.array_equal(histograms.controls, controls)
    assert histograms.words.sum() == 200


def test_words_of_features_that_nobody_named_are_the_others() -> None:
    bins, fold, tags, group = words(200, 2)
    histograms = frozen((bins, fold, tags, group), features=("NN",))
    assert histograms.features.tolist() == ["NN"]
    assert histograms.words.sum(axis=0).tolist() == [tags.count("NN"), 200 - tags.count("NN")]


def test_neither_the_order_of_the_words_nor_their_shards_matter() -> None:
    bins, fold, tags, group = words(300, 3)
    whole = frozen((bins, fold, tags, group))
    order = np.random.default_rng(0).permutation(300)
    shuffled = frozen((bins[order], fold[order], [tags[i] for i in order], group[order]))
    without = np.array(tags) != "DT"  # the first feature in the alphabet
    first, second = (
        frozen((bins[part], fold[part], [tags[i] for i in part], group[part]))
        for part in (
            np.flatnonzero(without)[:50],
            np.append(np.flatnonzero(without)[50:], np.flatnonzero(~without)),
        )
    )
    assert first.features.tolist() == ["NN", "VBZ"]
    assert same(whole, shuffled)
    assert same(whole, merged_histograms([second, first], "s"))


def test_histograms_of_other_bins_are_not_merged() -> None:
    one = frozen(words(10, 4))
    other = ConceptHistograms("t", "rnn", "pos", one.features, EDGES + 1, one.counts, one.controls)
    with pytest.raises(ShapeError, match="bins"):
        merged_histograms([one, other], "s")


def test_a_tally_resumes_from_its_state() -> None:
    tally = HistogramTally(3, "pos", 16)
    tally.update(*words(50, 5))
    resumed = HistogramTally(3, "pos", 16)
    resumed.load_state_dict(tally.state_dict())
    for one in (tally, resumed):
        one.update(*words(50, 6))
    assert same(tally.freeze("s", "rnn", EDGES), resumed.freeze("s", "rnn", EDGES))


def test_too_many_features_are_refused_with_the_remedy() -> None:
    tally = HistogramTally(1, "token", 1)
    features = [f"w{i}" for i in range(257)]
    with pytest.raises(UsageError, match="--concepts token="):
        tally.update(np.zeros((257, 1), np.int32), np.zeros(257, int), features, np.zeros(257, int))


def test_bins_depend_on_the_sample_alone_and_ascend() -> None:
    sample = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    edges = bin_edges(sample)
    assert edges.shape == (4, BINS - 1)
    assert (np.diff(edges) >= 0).all()
    assert np.array_equal(edges, bin_edges(sample[::-1]))
    sizes = np.histogram(sample[:, 0], [-np.inf, *np.unique(edges[0]), np.inf])[0]
    assert sizes.max() <= 0.02 * 500


def test_bins_separate_the_few_activations_of_a_sparse_unit_from_zero_and_from_each_other() -> None:
    sample = np.zeros((1_000, 1), np.float32)
    sample[:20, 0] = np.linspace(1, 2, 20)
    bins = np.searchsorted(bin_edges(sample)[0], sample[:, 0], side="right")
    assert len(set(bins[:20].tolist())) >= 12
    assert len(set(bins[20:].tolist())) == 1
    assert bins[20] < bins[:20].min()


@pytest.mark.parametrize("sample", [np.zeros((0, 2)), np.ones((5, 2))])
def test_a_neuron_without_differences_has_one_bin(sample: NDArray[np.float64]) -> None:
    assert len(np.unique(bin_edges(sample)[0])) == 1


def test_concepts_are_lists_by_feature_type() -> None:
    assert feature_lists(None) == {}
    assert feature_lists("pos") == {"pos": ()}
    assert feature_lists(["pos", "label"]) == {"pos": (), "label": ()}
    assert feature_lists({"token": ["the", "of", "the"], "pos": None}) == {"token": ("the", "of"), "pos": ()}
    for wrong in (3, ["pos", "pos"], {"pos": []}, {"token": map(str, range(300))}):
        with pytest.raises(UsageError, match="concepts"):
            feature_lists(wrong)


def test_control_groups_are_spread_evenly() -> None:
    groups = np.bincount([control_group_of(f"word{i}") for i in range(6_400)], minlength=CONTROL_GROUPS)
    assert len(groups) == CONTROL_GROUPS
    assert 60 < groups.min() <= groups.max() < 145


def stage_with_histograms() -> Stage:
    stage = stage_of("s", vocabulary(30), n_neurons=3)
    manifest = {**stage.manifest, "concepts": {"pos": []}}
    histograms = {("rnn", "pos"): frozen(words(100, 7))}
    return Stage("s", stage.collected, stage.exemplars, manifest, stage.tags, histograms=histograms)


def test_a_stage_folder_holds_its_histograms_and_reads_them_on_demand(tmp_path: Path) -> None:
    stage = stage_with_histograms()
    stage.save(tmp_path / "s")
    loaded = Stage.load(tmp_path / "s")
    assert isinstance(loaded.histograms, HistogramFolder)
    assert len(loaded.histograms) == 1
    for opened in (loaded, StageFolder.open(tmp_path / "s")):
        assert same(opened.histograms["rnn", "pos"], stage.histograms["rnn", "pos"])
        assert np.array_equal(opened.bin_edges()["rnn"], EDGES)
    copied = deepcopy(loaded)  # as to a worker of Ray
    assert same(copied.histograms["rnn", "pos"], stage.histograms["rnn", "pos"])
    loaded.save(tmp_path / "s")
    assert same(Stage.load(tmp_path / "s").histograms["rnn", "pos"], stage.histograms["rnn", "pos"])


def test_a_stage_without_concepts_has_no_files_of_histograms(tmp_path: Path) -> None:
    stage_of("s", vocabulary(30), n_neurons=3).save(tmp_path / "s")
    assert not [*(tmp_path / "s").glob("histograms*"), *(tmp_path / "s").glob("bins*")]
    assert dict(Stage.load(tmp_path / "s").histograms) == {}


@pytest.mark.parametrize("concepts", [3, ["pos"], {"../pos": []}, {"token": []}, {"pos": 1}])
def test_a_manifest_with_other_concepts_than_were_written_is_damaged(
    concepts: object, tmp_path: Path
) -> None:
    stage_with_histograms().save(tmp_path / "s")
    file = tmp_path / "s" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "concepts": concepts}))
    with pytest.raises(StageError, match="lacks c"):
        StageFolder.open(tmp_path / "s")
