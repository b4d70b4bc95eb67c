"""Rankings of neurons by concept: scores of scikit-learn, intervals that cover, planted neurons that are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.builders.stages import stage_of, vocabulary
from txray.analysis import ConceptRanking, ConceptShift, rank_neurons
from txray.analysis.concepts.scores import ConceptScores, auroc, jackknife_error
from txray.errors import StageError, UnknownNameError, UsageError
from txray.preferences import Stage
from txray.preferences.histograms import HistogramTally, bin_edges

N_WORDS, N_NEURONS = 4_000, 6
RARE = 0.05


class Text:
    """Made-up words of documents: neuron 0 is high for A, neuron 1 low for A, neuron 2 high for B."""

    def __init__(self, seed: int = 0, *, moved: bool = False, plant: float = 2.0) -> None:
        random = np.random.default_rng(seed)
        self.document = np.arange(N_WORDS) // 20
        self.tags = random.choice(["A", "B", "C"], N_WORDS, p=[RARE, 0.3, 0.7 - RARE])
        self.group = random.integers(0, 64, N_WORDS)
        of_document = random.normal(size=(N_WORDS // 20, N_NEURONS))
        self.activations = random.normal(size=(N_WORDS, N_NEURONS)) + 0.5 * of_document[self.document]
        target = 3 if moved else 0
        self.activations[self.tags == "A", target] += plant
        self.activations[self.tags == "A", 1] -= plant / 2
        self.activations[self.tags == "B", 2] += plant / 2
        self.edges = bin_edges(self.activations)
        self.bins = np.stack(
            [
                np.searchsorted(e, a, side="right")
                for e, a in zip(self.edges, self.activations.T, strict=True)
            ],
            axis=1,
        )

    def stage(self, name: str = "s", *, digest: str = "0") -> Stage:
        tally = HistogramTally(N_NEURONS, "pos", 16)
        tally.update(self.bins, self.document % 16, self.tags.tolist(), self.group)
        base = stage_of(name, vocabulary(30), n_neurons=N_NEURONS)
        histograms = {("rnn", "pos"): tally.freeze(name, "rnn", self.edges)}
        manifest = {**base.manifest, "concepts": {"pos": []}, "corpus": {"documents_digest": digest}}
        return Stage(name, base.collected, base.exemplars, manifest, base.tags, histograms=histograms)


TEXT = Text()


def column(ranking: ConceptRanking, feature: str, name: str) -> NDArray[np.float64]:
    return ranking.neurons.filter(feature=feature).sort("neuron")[name].to_numpy()


@pytest.fixture(scope="module")
def ranking() -> ConceptRanking:
    return rank_neurons(TEXT.stage())


def test_scores_are_those_of_scikit_learn_on_the_bins(ranking: ConceptRanking) -> None:
    labels = TEXT.tags == "A"
    areas = [roc_auc_score(labels, TEXT.bins[:, i]) for i in range(N_NEURONS)]
    precisions = [
        average_precision_score(labels, TEXT.bins[:, i] * (1 if areas[i] >= 0.5 else -1))
        for i in range(N_NEURONS)
    ]
    assert_allclose(column(ranking, "A", "auroc"), areas, rtol=1e-12)
    assert_allclose(column(ranking, "A", "average_precision"), precisions, rtol=1e-12)


def test_bins_lose_next_to_nothing_of_the_auroc(ranking: ConceptRanking) -> None:
    exact = [roc_auc_score(TEXT.tags == "A", TEXT.activations[:, i]) for i in range(N_NEURONS)]
    assert_allclose(column(ranking, "A", "auroc"), exact, atol=2e-3)


def test_intervals_leave_out_each_block_of_documents(ranking: ConceptRanking) -> None:
    labels, block = TEXT.tags == "A", TEXT.document % 8
    left_out = [roc_auc_score(labels[block != b], TEXT.bins[block != b, 0]) for b in range(8)]
    error = np.sqrt(7 / 8 * np.sum((left_out - np.mean(left_out)) ** 2))
    row = ranking.neurons.filter(feature="A", neuron=0).row(0, named=True)
    assert_allclose(row["auroc"] - row["low"], 2.3646 * error, rtol=1e-3)


def test_the_planted_neurons_come_first_with_their_direction(ranking: ConceptRanking) -> None:
    top = ranking.top("A", 2)
    assert top["neuron"].to_list() == [0, 1]
    assert top["direction"].to_list() == ["high", "low"]
    assert ranking.top("B", 1)["neuron"].to_list() == [2]
    assert ranking.top_of_neuron(2)["feature"][0] == "B"
    assert (top["q_value"] < 0.01).all()
    assert (top["selectivity"] > 0.2).all()
    assert ranking.top("A", 6)["q_value"].tail(3).min() > 0.01  # type: ignore[operator]
    assert ranking.concepts.filter(feature="A")["words"].item() == int((TEXT.tags == "A").sum())


def test_p_values_hold_their_level_and_intervals_cover() -> None:
    """Nothing is planted, and activations depend on the document."""
    random = np.random.default_rng(5)
    p_values, covered = [], []
    for seed in range(60):
        text = Text(seed, plant=0.0)
        positive, others = (np.zeros((8, N_NEURONS, 128), np.uint32) for _ in range(2))
        for b in range(8):
            for i in range(N_NEURONS):
                rows = text.document % 8 == b
                for counts, mask in ((positive, text.tags == "A"), (others, text.tags != "A")):
                    counts[b, i] = np.bincount(text.bins[rows & mask, i], minlength=128)
        controls = np.stack([others.sum(axis=0)] * 2).astype(np.uint32)
        scores = ConceptScores.of(positive, others, controls, random)
        p_values += scores.p_value.tolist()
        covered += ((scores.low <= 0.5) & (scores.high >= 0.5)).tolist()
    # Of 360 neurons; three standard errors are 3.4%.
    assert 0.005 < np.mean(np.array(p_values) <= 0.05) < 0.085
    assert 0.91 < np.mean(covered) < 0.985


def test_a_random_group_of_words_is_as_strong_as_its_words_are_alike() -> None:
    """A neuron that prefers one form of 64 marks some random groups; one that prefers nothing marks none."""
    text = Text(3)
    text.activations[text.group % 8 == 0, 5] += 10
    text.edges = bin_edges(text.activations)
    text.bins = np.stack(
        [np.searchsorted(e, a, side="right") for e, a in zip(text.edges, text.activations.T, strict=True)],
        axis=1,
    )
    control = column(rank_neurons(text.stage(), feature="A"), "A", "control")
    assert control[5] > control[4] + 0.03
    assert control[4] < 0.54


def test_a_constant_neuron_and_a_text_of_one_document_are_no_evidence() -> None:
    text = Text(1)
    text.bins[:, 4] = 7
    text.document[:] = 0
    rows = rank_neurons(text.stage(), feature="A").neurons
    assert rows.filter(neuron=4)["auroc"].item() == 0.5
    assert rows["p_value"].null_count() == rows["low"].null_count() == N_NEURONS


def test_the_jackknife_needs_two_blocks() -> None:
    assert np.isnan(jackknife_error(np.array([[0.7], [np.nan]]))[0]).all()
    assert_allclose(jackknife_error(np.array([[0.7], [0.9]]))[0], [0.1])


def test_auroc_of_counts_is_symmetric() -> None:
    random = np.random.default_rng(2)
    a, b = random.integers(0, 9, (2, 5, 128))
    assert_allclose(auroc(a, b) + auroc(b, a), 1)


def test_a_concept_that_moved_is_reported_with_its_old_and_its_new_neuron() -> None:
    before, after = Text(0), Text(0, moved=True)
    shift = rank_neurons(before.stage("b")).compare(rank_neurons(after.stage("a")))
    row = shift.concepts.filter(feature="A").row(0, named=True)
    assert shift.paired
    assert (row["neuron_before"], row["neuron_after"]) == (0, 3)
    assert row["rank_before"] > 2
    assert row["changed"] >= 2
    moved = shift.neurons.filter(feature="A", neuron=3).row(0, named=True)
    assert moved["q_value"] < 0.01
    assert moved["low"] < moved["difference"] < moved["high"]
    # Paired: the difference of each leave-one-out pair.
    block, labels = before.document % 8, before.tags == "A"
    left_out = [
        roc_auc_score(labels[block != b], after.bins[block != b, 3])
        - roc_auc_score(labels[block != b], before.bins[block != b, 3])
        for b in range(8)
    ]
    error = np.sqrt(7 / 8 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert_allclose(moved["difference"] - moved["low"], 2.3646 * error, rtol=1e-3)


def test_a_stage_beside_itself_shows_no_change() -> None:
    one = rank_neurons(TEXT.stage())
    assert one.compare(one).concepts["changed"].sum() == 0


def test_stages_of_other_documents_are_compared_unpaired() -> None:
    shift = rank_neurons(Text(0).stage()).compare(rank_neurons(Text(1).stage(digest="1")))
    assert not shift.paired
    assert shift.concepts.filter(feature="A")["changed"].item() == 0


def test_rankings_and_shifts_are_saved_and_loaded(tmp_path: Path, ranking: ConceptRanking) -> None:
    ranking.save(tmp_path / "r")
    loaded = ConceptRanking.load(tmp_path / "r")
    assert loaded.neurons.equals(ranking.neurons)
    assert loaded.concepts.equals(ranking.concepts)
    shift = loaded.compare(ranking)
    shift.save(tmp_path / "s")
    assert ConceptShift.load(tmp_path / "s").neurons.equals(shift.neurons)
    assert "AUROC" in repr(ranking)
    assert "concepts" in repr(shift)
    assert "<table" in ranking._repr_html_()
    assert "<table" in shift._repr_html_()
    with pytest.raises(StageError):
        ConceptRanking.load(tmp_path / "s")


def test_figures_show_neurons_and_concepts(ranking: ConceptRanking) -> None:
    assert "0.893" in str(ranking.plot("A").layout.title.text)
    assert len(ranking.plot().layout.yaxis.ticktext) == 3
    assert "random groups of words" in ranking.plot("A").data[0].name
    shift = ranking.compare(rank_neurons(Text(0, moved=True).stage("later")))
    assert [trace.name for trace in shift.plot("A").data] == ["s", "later"]
    assert shift.plot().layout.title.text.startswith("<b>A: ")


def test_titles_have_three_decimals_and_the_direction(ranking: ConceptRanking) -> None:
    low = replace(
        ranking,
        feature_type="label",
        neurons=ranking.neurons.with_columns(auroc=pl.lit(0.00098), control=pl.lit(0.6)),
    )
    assert "AUROC 0.001 (low activations)" in low.plot().layout.title.text
    assert "random groups of documents" in low.plot().data[0].name


def test_mistakes_name_what_there_is(ranking: ConceptRanking) -> None:
    stage = TEXT.stage()
    with pytest.raises(UsageError, match="--concepts label"):
        rank_neurons(stage, feature_type="label")
    with pytest.raises(UsageError, match="has none"):
        rank_neurons(stage_of("s", vocabulary(30)))
    with pytest.raises(UnknownNameError, match="'A'"):
        rank_neurons(stage, feature="AA")
    with pytest.raises(UnknownNameError, match="rnn"):
        rank_neurons(stage, layer="rn")
    with pytest.raises(UsageError, match="seed=-1"):
        rank_neurons(stage, seed=-1)
    with pytest.raises(UsageError, match="fdr=5"):
        rank_neurons(stage, fdr=5)
    with pytest.raises(UnknownNameError, match="A, B, C"):
        ranking.top("NN")
    wrong: Any = {"fdr": "x"}, {"seed": 1.5}, {"feature": 3}, {"feature": []}
    for call in wrong:
        (setting,) = call
        with pytest.raises(UsageError, match=f"rank_neurons: {setting}="):
            rank_neurons(stage, **call)
    for draw in (ranking.top, ranking.plot, ranking.compare(ranking).plot):
        for k in (0, -1, "x"):
            with pytest.raises(UsageError, match="k"):
                draw("A", k=k)  # type: ignore[operator]
    with pytest.raises(UsageError, match="NoneType"):
        ranking.compare(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no neuron 99"):
        ranking.top_of_neuron(99)
