"""Documents that depend on each other are bootstrap_counts together, and counted as one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.builders.classifiers import (
    recurrent_classifier,
    recurrent_model,
    reviews,
    text_classifier,
    text_predictor,
)
from txray import Corpus, Document, Pruning, prune
from txray.errors import StageError, UsageError
from txray.plots.metrics import caption_of_pruning
from txray.pruning import Evaluator, NeuronSet, evaluator, pool_runs
from txray.pruning.bootstrap import bootstrap_counts, group_numbers, percentile_interval
from txray.pruning.predictions import ClassPredictions

FEW = [NeuronSet("few", "rnn", (1, 4))]
ACT = [NeuronSet("few", "act", (1, 4))]


def in_books(corpus: Corpus, books: int) -> Corpus:
    """Two documents in a row are of one label each, so that every book has both."""
    return Corpus.from_documents(
        "books", [replace(each, group=f"book {i // 2 % books}") for i, each in enumerate(corpus)]
    )


def repeated(corpus: Corpus, times: int) -> Corpus:
    return Corpus.from_documents(
        "repeated", [replace(each, id=f"{each.id}/{copy}") for copy in range(times) for each in corpus]
    )


def one_by_one(corpus: Corpus) -> Corpus:
    """Each document in a group of its own, whatever its words."""
    return Corpus.from_documents("alone", [replace(each, group=each.id) for each in corpus])


def widths(pruning: Pruning) -> dict[str, float]:
    rows = pruning.effects.select("metric", "change_low", "change_high").iter_rows()
    return {metric: high - low for metric, low, high in rows}


def metrics_by_hand(outcomes: ClassPredictions, chosen: NDArray[np.int64]) -> list[float]:
    log_probability, target = outcomes.log_probability[chosen], outcomes.target[chosen]
    score = log_probability[:, 1] - log_probability[:, 0]
    pairs = score[target == 1][:, None] - score[target == 0]
    return [
        float((log_probability.argmax(axis=1) == target).mean()),
        float((pairs > 0).mean() + (pairs == 0).mean() / 2),
        float(-log_probability[np.arange(len(chosen)), target].mean()),
    ]


def test_it_is_a_cluster_bootstrap() -> None:
    random = np.random.default_rng(0)
    members = random.integers(0, 25, 150)  # of 25 books
    target = random.integers(0, 2, 150)
    # A book is easy or hard as a whole.
    easy = random.normal(0.5, 1, size=25)[members]
    score = (2 * target - 1) * easy + random.normal(size=150) * 0.3
    log_odds = np.stack((np.zeros(150), score), axis=1)
    outcomes = ClassPredictions(log_odds - np.logaddexp(0, log_odds[:, 1:]), target)
    weights = bootstrap_counts(group_numbers(members.tolist()), 1_000, "text")
    found = outcomes.metrics(weights)
    ours = np.stack([found[name] for name in ("accuracy", "auroc", "loss")])
    # What was drawn, taken apart: as many books as there are, each with all of its documents.
    for sample in range(20):
        counts = np.array([weights[sample][members == book] for book in range(25)], dtype=object)
        assert all(len(set(each)) == 1 for each in counts)
        assert sum(each[0] for each in counts) == 25
        chosen = np.concatenate(
            [np.flatnonzero(members == book) for book in range(25) for _ in range(int(counts[book][0]))]
        )
        np.testing.assert_allclose(ours[:, sample], metrics_by_hand(outcomes, chosen), atol=1e-12)
    # Drawn on its own, by other numbers: the same interval, and another one than that of single documents.
    books = [np.flatnonzero(members == book) for book in range(25)]
    plain = np.array(
        [
            metrics_by_hand(outcomes, np.concatenate([books[i] for i in random.integers(0, 25, 25)]))
            for _ in range(1_000)
        ]
    ).T
    alone = outcomes.metrics(bootstrap_counts(np.arange(150), 1_000, "text"))
    for name, one, other in zip(("accuracy", "auroc", "loss"), ours, plain, strict=True):
        (low, high), wanted = percentile_interval(one), np.quantile(other, [0.025, 0.975])
        np.testing.assert_allclose([low, high], wanted, atol=0.12 * (wanted[1] - wanted[0]))
        assert high - low > 1.2 * np.subtract(*percentile_interval(alone[name])[::-1])


def test_documents_without_a_group_are_drawn_one_by_one() -> None:
    seed = int.from_bytes(hashlib.sha256(b"text").digest()[:8], "little")
    wanted = np.random.default_rng([seed, 30]).multinomial(30, [1 / 30] * 30, size=40)
    found = bootstrap_counts(group_numbers(range(900, 930)), 40, "text")
    np.testing.assert_array_equal(found, wanted)
    assert found.flags.c_contiguous  # sums of other layouts differ in their last digits
    np.testing.assert_array_equal(group_numbers([7, 3, 7, 9, 3]), [0, 1, 0, 2, 1])


@pytest.mark.parametrize("kind", ["classifier", "language", "text", "predictor"])
def test_a_text_that_is_there_four_times_has_the_intervals_of_the_text(kind: str) -> None:
    model, sets = {
        "classifier": (recurrent_classifier(), FEW),
        "language": (recurrent_model(), FEW),
        "text": (text_classifier(), ACT),
        "predictor": (text_predictor(max_length=6), ACT),
    }[kind]
    corpus = reviews(50, 2)
    once, four, apart = (
        prune(model, sets, {"test": each}, n_random_sets=0, resamples=2_000)
        for each in (corpus, repeated(corpus, 4), one_by_one(repeated(corpus, 4)))
    )
    assert [
        [pruning.summary["texts"]["test"][name] for name in ("documents", "groups")]
        for pruning in (once, four, apart)
    ] == [[50, 50], [200, 50], [200, 200]]
    for metric, width in widths(once).items():
        if metric not in ("accuracy", "f1"):  # which have few values
            assert widths(four)[metric] == pytest.approx(width, rel=0.12)
            assert widths(apart)[metric] == pytest.approx(width / 2, rel=0.12)
    np.testing.assert_allclose(four.effects["change"], once.effects["change"], atol=1e-6)


def test_groups_of_one_change_nothing() -> None:
    found, alone = (
        prune(recurrent_classifier(), FEW, {"test": each}, n_random_sets=3, resamples=100)
        for each in (reviews(50, 2), one_by_one(reviews(50, 2)))
    )
    for name in ("effects", "random", "resamples"):
        assert getattr(alone, name).equals(getattr(found, name))
    assert alone.summary == found.summary
    assert "group" not in caption_of_pruning(found)


def test_of_one_group_there_is_no_interval() -> None:
    found = prune(
        recurrent_classifier(), FEW, {"test": in_books(reviews(20), 1)}, n_random_sets=3, resamples=100
    )
    assert found.summary["texts"]["test"]["groups"] == 1
    assert found.effects["documents"].unique().to_list() == [20]
    assert found.effects["change"].is_not_null().all()
    assert found.effects["change_low"].is_null().all()
    assert found.resamples.is_empty()
    assert "test 20 documents in 1 group ·" in caption_of_pruning(found)


def test_cutting_leaves_groups_as_they_are() -> None:
    labels = [{"label": name} for name in ("neg", "pos")]
    long = Document("long", ("good", "bad", "film", "the", "plot"), labels=labels[0])
    corpus = Corpus.from_documents(
        "cut",
        [
            long,
            replace(long.cut(3), id="beginning"),
            Document("other", ("good", "bad", "film", "was"), labels=labels[1]),
            Document("in a book", ("good", "bad", "film"), labels=labels[1], group="book").cut(1),
            Document("also", ("plot", "was"), labels=labels[0], group="book"),
        ],
    )
    for model in (recurrent_classifier(), recurrent_model(), text_classifier(), text_predictor(max_length=2)):
        for max_length in (None, 3, 2):
            inputs = evaluator(model, corpus, max_length=max_length).inputs
            keys = dict(zip(inputs.keys.tolist(), inputs.groups.tolist(), strict=True))
            groups = [keys.get(document_number(each)) for each in corpus]
            assert groups[0] == groups[1] != groups[2]
            assert len({*groups[:3]} | {groups[4]}) == 3
            # A text predictor predicts nothing of a single word.
            assert groups[3] in (groups[4], None)
            assert inputs.n_groups == 3


def document_number(document: Document) -> int:
    from txray.preferences import document_key

    return document_key(document.id)


def test_groups_do_not_depend_on_the_order_of_documents() -> None:
    books = in_books(reviews(30), 7)
    backwards = Corpus.from_documents("backwards", list(books)[::-1])
    model = recurrent_classifier()
    one, other = (evaluator(model, each).inputs for each in (books, backwards))
    assert one.groups_digest == other.groups_digest
    assert one.groups_digest != evaluator(model, in_books(reviews(30), 8)).inputs.groups_digest
    assert one.digest == evaluator(model, reviews(30)).inputs.digest


def test_finished_runs_serve_other_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"n_random_sets": 3, "resamples": 100}
    prune(recurrent_classifier(), FEW, {"test": reviews()}, folder=tmp_path, **options)  # type: ignore[arg-type]
    books = {"test": in_books(reviews(), 5)}
    fresh = prune(recurrent_classifier(), FEW, books, **options)  # type: ignore[arg-type]
    runs: list[int] = []
    real = Evaluator.predict
    monkeypatch.setattr(Evaluator, "predict", lambda self, *rest: (runs.append(1), real(self, *rest))[1])
    again = prune(recurrent_classifier(), FEW, books, folder=tmp_path, **options)  # type: ignore[arg-type]
    assert len(runs) == 1  # the whole model, which always runs
    assert again.effects.equals(fresh.effects)
    assert again.summary == fresh.summary


def test_trainings_are_pooled_over_the_same_groups() -> None:
    def pruned(seed: int, books: int) -> Pruning:
        texts = {"test": in_books(reviews(48, 2), books)}
        return prune(recurrent_classifier(seed=seed), FEW, texts, n_random_sets=4, resamples=100)

    first, second = pruned(0, 8), pruned(1, 8)
    for row in pool_runs([first, second]).iter_rows(named=True):
        drawn = np.mean(
            [each.resamples.filter(pl.col("metric") == row["metric"])["change"] for each in (first, second)],
            axis=0,
        )
        assert [row["change_low"], row["change_high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    with pytest.raises(UsageError, match=r"'test': the same documents in 8 and 6 groups"):
        pool_runs([first, pruned(1, 6)])
    # Other documents are in groups of their own.
    other = prune(
        recurrent_classifier(seed=1),
        FEW,
        {"test": in_books(reviews(48, 3), 6)},
        n_random_sets=4,
        resamples=100,
    )
    assert pool_runs([first, other])["trainings"].unique().to_list() == [2]


def test_a_pruning_that_does_not_say_its_groups_is_refused(tmp_path: Path) -> None:
    out = prune(recurrent_classifier(), FEW, {"test": reviews()}, n_random_sets=2, resamples=5).save(
        tmp_path / "out"
    )
    summary = (out / "pruning.json").read_text()
    for old, new in (
        ('"groups": 40', '"other": 40'),
        ('"groups": 40', '"groups": "40"'),
        ('"groups_digest": ', '"groups_digest": 7, "other": '),
        ('"digest": ', '"digest": [], "other": '),
    ):
        assert summary.count(old) == 1
        (out / "pruning.json").write_text(summary.replace(old, new))
        with pytest.raises(StageError, match="damaged"):
            Pruning.load(out)
