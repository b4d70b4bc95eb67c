"""Effects of pruning: what is ablated, how it is compared with random sets, and resuming."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from tests.builders.classifiers import (
    recurrent_classifier,
    recurrent_model,
    reviews,
    synthetic_classifier,
    text_classifier,
    text_predictor,
)
from txray import Mask, TextModel, masked, prune
from txray.errors import ShapeError, StageError, UnknownNameError, UsageError
from txray.pruning import (
    ActivationStats,
    Evaluator,
    NeuronSet,
    Pruning,
    ablation_runner,
    evaluator,
    pool_runs,
)
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.evaluation import ClassifierEvaluator
from txray.pruning.neuron_sets import random_orders

SETS = [
    NeuronSet("few", "rnn", (1, 4)),
    NeuronSet("many", "rnn", (0, 2, 5, 7, 9)),
    NeuronSet("none", "rnn", ()),
]


@pytest.fixture(scope="module")
def found() -> Pruning:
    texts = {"train": reviews(40, 1), "test": reviews(50, 2)}
    return prune(recurrent_classifier(), SETS, texts, n_random_sets=6, resamples=200)


def score(model: object, text: Evaluator, neurons: tuple[int, ...], layer: str = "rnn") -> dict[str, float]:
    with masked(model, Mask(layer, neurons)):  # type: ignore[arg-type]
        predictions = text.predict(BatchKeys(), lambda amount: None)
    metrics = predictions.metrics(np.ones((1, predictions.n_documents)))
    return {name: float(each[0]) for name, each in metrics.items()}


def test_every_value_is_that_of_the_masked_model(found: Pruning) -> None:
    model = recurrent_classifier()
    for split, corpus in (("train", reviews(40, 1)), ("test", reviews(50, 2))):
        text = evaluator(model, corpus)
        whole = score(model, text, ())
        for each in SETS[:2]:
            pruned = score(model, text, each.neurons)
            rows = found.effects.filter((pl.col("set") == each.name) & (pl.col("split") == split))
            for row in rows.iter_rows(named=True):
                assert row["value"] == pytest.approx(pruned[row["metric"]], abs=1e-9)
                assert row["unpruned"] == pytest.approx(whole[row["metric"]], abs=1e-9)
                assert row["change"] == pytest.approx(row["value"] - row["unpruned"])
                assert row["relative"] == (
                    pytest.approx(row["change"] / row["unpruned"]) if row["unpruned"] else None
                )
                assert row["change_low"] <= row["change"] <= row["change_high"]
                assert (row["neurons"], row["share"]) == (len(each), len(each) / 12)


def test_random_sets_are_of_the_same_size_and_model_and_the_same_for_every_text(found: Pruning) -> None:
    model = recurrent_classifier()
    orders = random_orders(12, 6, 0)
    text = evaluator(model, reviews(50, 2))
    for size in (2, 5):
        # Each set counts once, however often it is drawn.
        drawn = list(dict.fromkeys(tuple(sorted(order[:size].tolist())) for order in orders))
        assert len(drawn) > 3
        for draw, neurons in enumerate(drawn):
            wanted = score(model, text, neurons)
            row = found.random.filter(
                (pl.col("neurons") == size) & (pl.col("draw") == draw) & (pl.col("split") == "test")
            )
            assert dict(row.select("metric", "value").iter_rows()) == pytest.approx(wanted, abs=1e-9)
    for row in found.effects.filter(pl.col("value").is_not_null()).iter_rows(named=True):
        values = found.random.filter(*(pl.col(name) == row[name] for name in ("neurons", "split", "metric")))[
            "value"
        ]
        assert row["random_mean"] == pytest.approx(values.mean())
        assert row["versus_random"] == pytest.approx(row["value"] - row["random_mean"])
        inside = row["versus_random_low"] <= 0 <= row["versus_random_high"]
        assert (row["verdict"] == "not distinguishable") == inside


def test_an_empty_set_has_rows_without_numbers(found: Pruning) -> None:
    rows = found.effects.filter(pl.col("set") == "none")
    assert len(rows) == 8
    assert rows["value"].is_null().all()
    assert rows["verdict"].is_null().all()
    assert rows["unpruned"].is_not_null().all()


def test_same_seed_same_numbers_and_the_order_of_documents_and_sets_leaves_no_trace(found: Pruning) -> None:
    from txray import Corpus

    texts = {
        name: Corpus.from_documents(name, list(corpus)[::-1])
        for name, corpus in (("train", reviews(40, 1)), ("test", reviews(50, 2)))
    }
    again = prune(recurrent_classifier(), SETS[::-1], texts, n_random_sets=6, resamples=200)
    key = ["set", "split", "metric"]
    assert again.effects.sort(key).equals(found.effects.sort(key))
    other = prune(recurrent_classifier(), SETS, texts, n_random_sets=6, resamples=200, seed=1)
    assert not other.random["value"].equals(found.random["value"])
    assert other.effects["value"].equals(found.effects["value"])


def test_the_model_is_left_as_it_was(found: Pruning) -> None:
    model = recurrent_classifier().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = torch.random.get_rng_state()
    prune(model, SETS, {"test": reviews()}, n_random_sets=2, resamples=10)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_what_is_saved_comes_back(found: Pruning, tmp_path: Path) -> None:
    loaded = Pruning.load(found.save(tmp_path / "out"))
    for name in ("effects", "random", "sets", "resamples"):
        assert getattr(loaded, name).equals(getattr(found, name))
    assert loaded.summary == found.summary
    assert loaded.neuron_sets() == SETS
    assert loaded.layer == "rnn"
    assert "3 sets, 16 verdicts, 6 random sets" in repr(loaded)
    with pytest.raises(StageError, match=r"has no pruning\.json"):
        Pruning.load(tmp_path)
    summary = (tmp_path / "out" / "pruning.json").read_text()
    for content in ("{", "[]", "{}", "[" * 100_000, summary.replace('"texts"', '"tests"')):
        (tmp_path / "out" / "pruning.json").write_text(content)
        with pytest.raises(StageError, match="damaged"):
            Pruning.load(tmp_path / "out")
    (tmp_path / "out" / "pruning.json").write_text(summary)
    found.random.drop("draw").write_parquet(tmp_path / "out" / "random.parquet")
    with pytest.raises(StageError, match=r"random\.parquet has other columns"):
        Pruning.load(tmp_path / "out")
    (tmp_path / "out" / "effects.parquet").write_bytes(b"x")
    with pytest.raises(StageError, match="damaged"):
        Pruning.load(tmp_path / "out")


def test_an_interrupted_pruning_goes_on_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = prune(recurrent_classifier(), SETS, {"test": reviews()}, n_random_sets=3, resamples=20)
    runs: list[int] = []
    real = ClassifierEvaluator.run
    monkeypatch.setattr(ablation_runner, "_TOGETHER", 1)

    def counted(self: ClassifierEvaluator, indices: NDArray[np.int64]) -> torch.Tensor:
        if len(runs) == 4:
            raise KeyboardInterrupt
        runs.append(1)
        return real(self, indices)

    monkeypatch.setattr(ClassifierEvaluator, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        prune(
            recurrent_classifier(), SETS, {"test": reviews()}, n_random_sets=3, resamples=20, folder=tmp_path
        )
    monkeypatch.setattr(
        ClassifierEvaluator, "run", lambda self, indices: (runs.append(1), real(self, indices))[1]
    )
    found = prune(
        recurrent_classifier(), SETS, {"test": reviews()}, n_random_sets=3, resamples=20, folder=tmp_path
    )
    assert len(runs) == 1 + 2 + 6 + 1  # the whole model runs again, to see that it is the same
    assert found.effects.equals(wanted.effects)
    assert found.resamples.equals(wanted.resamples)


def test_runs_that_are_kept_are_of_this_model_text_and_mask(tmp_path: Path) -> None:
    model, few = recurrent_classifier(), SETS[:1]
    for options in (
        {},
        {"ablation": "mean"},
        {"ablation": "resample"},
        {"ablation": "resample", "seed": 1},
        {"scope": "final-state"},
    ):
        fresh = prune(model, few, {"test": reviews()}, n_random_sets=2, resamples=5, **options)  # type: ignore[arg-type]
        kept = prune(
            model, few, {"test": reviews()}, n_random_sets=2, resamples=5, folder=tmp_path, **options
        )  # type: ignore[arg-type]
        assert kept.effects.equals(fresh.effects)
    # Another model, another text, other means.
    other = ActivationStats.measure(model, reviews(20, 9))
    for pruned, text, options in (
        (recurrent_classifier(seed=1), reviews(), {}),
        (model, reviews(40, 3), {}),
        (model, reviews(), {"ablation": "mean", "activation_stats": other}),
    ):
        fresh = prune(pruned, few, {"test": text}, n_random_sets=2, resamples=5, **options)  # type: ignore[arg-type]
        kept = prune(pruned, few, {"test": text}, n_random_sets=2, resamples=5, folder=tmp_path, **options)  # type: ignore[arg-type]
        assert kept.effects.equals(fresh.effects)
    few_documents, no_number = io.BytesIO(), io.BytesIO()
    np.savez(few_documents, log_probability=np.zeros((3, 2)))
    np.savez(no_number, log_probability=np.full((40, 2), np.nan))
    for content in (b"PK", few_documents.getvalue(), no_number.getvalue()):
        for file in tmp_path.glob("*.npz"):
            file.write_bytes(content)
        with pytest.raises(StageError, match="damaged"):
            prune(model, few, {"test": reviews()}, n_random_sets=2, resamples=5, folder=tmp_path)


def test_runs_of_a_model_that_computes_something_else_are_refused(tmp_path: Path) -> None:
    model, few = text_classifier(), [NeuronSet("two", "act", (0, 3))]
    prune(model, few, {"test": reviews()}, n_random_sets=2, resamples=5, folder=tmp_path)
    other = TextModel(
        model.module,
        model.encode,
        lambda module, ids, mask: -module(ids, mask),
        task="classification",
        classes=model.classes,
    )
    with pytest.raises(StageError, match="computes something else with the same weights"):
        prune(other, few, {"test": reviews()}, n_random_sets=2, resamples=5, folder=tmp_path)


def test_ablations_do_different_things(found: Pruning) -> None:
    model, text = recurrent_classifier(), {"test": reviews(50, 2)}
    values = {
        ablation: prune(model, SETS[1:2], text, ablation=ablation, n_random_sets=0).effects["value"].to_list()  # type: ignore[arg-type]
        for ablation in ("zero", "mean", "resample")
    }
    assert len({tuple(each) for each in values.values()}) == 3


def test_language_models_and_text_models_are_pruned_by_the_same_call() -> None:
    for model, layer, metrics in (
        (recurrent_model(), "rnn", ["perplexity", "loss"]),
        (text_predictor(), "act", ["perplexity", "loss"]),
        (text_classifier(), "act", ["accuracy", "f1", "auroc", "loss"]),
        (text_classifier(("a", "b", "c")), "hidden", ["accuracy", "f1", "loss"]),
    ):
        classes = getattr(model, "classes", ()) or ("neg", "pos")
        corpus = reviews(30, classes=classes)
        found = prune(
            model, [NeuronSet("two", layer, (0, 3))], {"test": corpus}, n_random_sets=3, resamples=50
        )
        assert found.effects["metric"].to_list() == metrics
        assert found.effects["change"].abs().max() > 0  # type: ignore[operator]
        assert found.summary["better"]["loss"] == -1


def test_a_metric_of_the_user_measures_the_masked_model() -> None:
    model = text_classifier()
    ids = torch.arange(30).reshape(5, 6)
    everything = torch.ones_like(ids, dtype=torch.bool)

    def each() -> list[float]:
        return list(model.module(ids, everything)[:, 0].tolist())

    sets = [NeuronSet("two", "act", (0, 3))]
    found = prune(
        model, sets, metric=lambda: {"each": each(), "all": sum(each())}, n_random_sets=3, resamples=100
    )
    with masked(model, Mask("act", (0, 3))):
        wanted = each()
    rows = {row["metric"]: row for row in found.effects.iter_rows(named=True)}
    assert rows["each"]["value"] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert rows["all"]["value"] == pytest.approx(sum(wanted), abs=1e-5)
    assert rows["each"]["change_low"] < rows["each"]["change_high"]
    assert rows["all"]["change_low"] is None  # one number in all has no documents to resample
    assert rows["each"]["split"] == "metric"
    assert found.summary["better"] == {"each": 1, "all": 1}
    lower = prune(model, sets, metric=lambda: sum(each()), higher_is_better=False, n_random_sets=0)
    assert lower.summary["better"] == {"metric": -1}
    assert lower.effects["change_low"].is_null().all()


def test_metrics_that_fail_are_told_in_one_line() -> None:
    model, sets = text_classifier(), [NeuronSet("two", "act", (0, 3))]

    def broken() -> float:
        raise RuntimeError("no\nluck")

    counts = iter([3, 2])
    names = iter([{"a": 1.0}, {"b": 1.0}])
    for metric, text in (
        (broken, "metric: failed with nothing pruned: RuntimeError: no luck"),
        (lambda: float("nan"), "a number that is not finite"),
        (lambda: "high", "could not convert string"),
        (list, "it returns no number"),
        (dict, "it returns no number"),
        (lambda: [1.0] * next(counts), "returned 2 numbers, but 3 for the unpruned model"),
        (lambda: next(names), "returned b, but a for the unpruned model"),
    ):
        with pytest.raises(UsageError) as raised:
            prune(model, sets, metric=metric, n_random_sets=2)  # type: ignore[arg-type]
        assert text in str(raised.value)
        assert "\n" not in str(raised.value)


def test_what_cannot_be_pruned_is_told_in_one_line() -> None:
    model, text = recurrent_classifier(), {"test": reviews()}
    few = SETS[:1]

    def named(neurons: range, layer: str = "rnn") -> list[NeuronSet]:
        return [NeuronSet("set", layer, tuple(neurons))]

    for make, error, told in (
        (lambda: prune(model, [], text), UsageError, "nothing to prune: no sets"),
        (lambda: prune(model, SETS[2:], text), UsageError, "nothing to prune: 'none' have no neurons"),
        (
            lambda: prune(model, named(range(12)), text),
            UsageError,
            "set 'set': 12 neurons of layer 'rnn', which has 12",
        ),
        (
            lambda: prune(model, named(range(90)), text),
            UsageError,
            "set 'set': 90 neurons of layer 'rnn', which has 12",
        ),
        (lambda: prune(model, named(range(10, 14)), text), UsageError, "no neuron 12"),
        (lambda: prune(model, named(range(2), "rn"), text), UnknownNameError, "unknown layer 'rn'"),
        (lambda: prune(model, [*few, *few], text), UsageError, "several sets are named 'few'"),
        (lambda: prune(model, few), UsageError, "pass either texts"),
        (lambda: prune(model, few, text, metric=lambda: 1.0), UsageError, "pass either texts"),
        (
            lambda: prune(model, few, text, n_random_sets=1),
            UsageError,
            "n_random_sets=1; one random set does not show",
        ),
        (lambda: prune(model, few, text, n_random_sets=-3), UsageError, "n_random_sets=-3"),
        (
            lambda: prune(model, few, text, resamples=1),
            UsageError,
            "resamples=1; pass an integer from 2 to 1,000,000",
        ),
        (lambda: prune(model, few, text, seed=-1), UsageError, "seed=-1"),
        (lambda: prune(model, few, text, seed=1.5), UsageError, "seed=1.5; pass an integer"),  # type: ignore[arg-type]
        (lambda: prune(model, few, text, n_random_sets=10**8), UsageError, "n_random_sets=100000000"),
        (lambda: prune(model, few, reviews()), UsageError, "texts of type Corpus; pass them by name"),  # type: ignore[arg-type]
        (
            lambda: prune(model, few, {"test": evaluator(recurrent_classifier(), reviews())}),
            UsageError,
            "text 'test' is an evaluator of another model",
        ),
        (
            lambda: prune(model, few, {"test": evaluator(model, reviews())}, max_documents=3),
            UsageError,
            "has selected its documents",
        ),
        (
            lambda: prune(
                model,
                few,
                text,
                ablation="mean",
                activation_stats=ActivationStats("rnn", 1, np.ones(9), None, np.ones(9), None),
            ),
            ShapeError,
            "activation statistics of 9 neurons of layer 'rnn', the model has 12",
        ),
        (lambda: prune(model, few, text, ablation="one"), UnknownNameError, "unknown ablation 'one'"),  # type: ignore[arg-type]
        (lambda: prune(model, few, text, scope="never"), UnknownNameError, "unknown scope"),  # type: ignore[arg-type]
        (
            lambda: prune(model, few, {"test": evaluator(model, reviews())}, ablation="mean"),
            UsageError,
            "pass activation_stats of the layer",
        ),
        (
            lambda: prune(
                model,
                few,
                text,
                ablation="mean",
                activation_stats=ActivationStats("other", 1, np.ones(12), None, np.ones(12), None),
            ),
            UsageError,
            "activation statistics of layer 'other'",
        ),
    ):
        with pytest.raises(error) as raised:
            make()
        assert told in str(raised.value)
        assert "\n" not in str(raised.value)


def test_planted_neurons_are_told_apart_from_random_ones() -> None:
    from benchmarks.evidence.pruning import known_sets

    classifier = synthetic_classifier()
    sets = known_sets()
    found = prune(classifier.model, sets, {"test": classifier.documents(1_000, 3)}).effects
    rows = {(row["set"], row["metric"]): row for row in found.iter_rows(named=True)}
    whole, *truth = classifier.truth([(), *(each.neurons for each in sets)])
    for each, wanted in zip(sets, truth, strict=True):
        for metric, value in wanted.items():
            row = rows[each.name, metric]
            # Two thousand documents: within four standard errors of what is true of all documents.
            error = (row["change_high"] - row["change_low"]) / 3.92
            assert abs(row["change"] - (value - whole[metric])) <= 4 * error + 1e-9, (each.name, metric)
    for metric in ("accuracy", "f1", "auroc", "loss"):
        assert rows["strong", metric]["verdict"] == "worse"
        assert rows["nothing", metric]["change"] == 0
    assert rows["noise", "accuracy"]["change_low"] > 0


def test_several_trainings_are_pooled(found: Pruning) -> None:
    texts = {"train": reviews(40, 1), "test": reviews(50, 2)}
    second = prune(recurrent_classifier(seed=5), SETS, texts, n_random_sets=6, resamples=200, seed=5)
    both = pool_runs([found, second])
    assert both["trainings"].unique().to_list() == [2]
    assert len(both) == 16  # the empty set is left out
    for row in both.iter_rows(named=True):
        ones = [
            each.effects.filter(*(pl.col(name) == row[name] for name in ("set", "split", "metric"))).row(
                0, named=True
            )
            for each in (found, second)
        ]
        for name in ("unpruned", "change", "versus_random"):
            assert row[name] == pytest.approx(np.mean([one[name] for one in ones]))
        # The same documents: resampled together, so the mean of the resamples is that of pairs.
        drawn = np.mean(
            [
                each.resamples.filter(*(pl.col(name) == row[name] for name in ("set", "split", "metric")))[
                    "change"
                ]
                for each in (found, second)
            ],
            axis=0,
        )
        assert row["change_low"] == pytest.approx(np.quantile(drawn, 0.025))
        versus = np.mean(
            [
                each.resamples.filter(*(pl.col(name) == row[name] for name in ("set", "split", "metric")))[
                    "versus"
                ]
                for each in (found, second)
            ],
            axis=0,
        )
        draws = [
            each.random.filter(*(pl.col(name) == one[name] for name in ("neurons", "split", "metric"))).height
            for each, one in zip((found, second), ones, strict=True)
        ]
        of_sets = [one["random_deviation"] ** 2 * (1 + 1 / n) for one, n in zip(ones, draws, strict=True)]
        spread = np.sqrt(sum(of_sets) / 4 + np.var(versus, ddof=1))
        weighed = sum(each**2 / (n - 1) for each, n in zip(of_sets, draws, strict=True))
        freedom = sum(of_sets) ** 2 / weighed if weighed else np.inf
        reach = student.ppf(0.975, freedom) * spread
        assert row["versus_random_high"] - row["versus_random"] == pytest.approx(reach)
        assert row["versus_random"] - row["versus_random_low"] == pytest.approx(reach)
        assert row["better"] + row["worse"] <= 2
    third = recurrent_classifier(seed=6)
    other = [NeuronSet("other", "rnn", (1,))]
    for others, text in (
        ([found], "1 pruning; pass those of at least 2"),
        ([found, second, found], "two of the prunings are of the same model"),
        ([found, prune(third, SETS, texts, n_random_sets=0, resamples=200)], "without random sets"),
        ([found, prune(third, SETS, texts, n_random_sets=2, resamples=50)], r"with resamples \[200, 50\]"),
        (
            [found, prune(third, SETS, texts, n_random_sets=2, resamples=200, scope="final-state")],
            "with scope",
        ),
        ([found, prune(recurrent_model(), SETS, texts, n_random_sets=2, resamples=200)], "with better"),
        (
            [found, prune(third, other, texts, n_random_sets=2, resamples=200)],
            "no set is in two of the prunings",
        ),
    ):
        with pytest.raises(UsageError, match=text):
            pool_runs(others)


def test_numbers_without_documents_or_scatter_are_not_pooled() -> None:
    def measured(seed: int) -> Pruning:
        model = recurrent_classifier(seed=seed)

        def metric() -> dict[str, object]:
            ids = torch.arange(30).reshape(5, 6) % 11
            each = model(ids, torch.full((5,), 6)).tolist()
            return {"each": each, "all": sum(each)}

        return prune(model, SETS[:1], metric=metric, n_random_sets=4, resamples=30)  # type: ignore[arg-type]

    first, second = measured(0), measured(1)
    second = replace(second, summary={**second.summary, "model": "other"})
    assert pool_runs([first, second])["metric"].to_list() == ["each"]


def test_a_pruning_shows_itself_in_a_notebook_and_as_a_figure(found: Pruning) -> None:
    hostile = replace(found, effects=found.effects.with_columns(set=pl.lit("<script>")))
    html = hostile._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    for text in (
        "Pruning of 3 sets",
        "Ablation zero (every-step) in rnn",
        "6 random sets",
        "20 of 24 effects",
    ):
        assert text in html
    assert "loss" in found.plot("loss").layout.title.text
    assert replace(found, summary={**found.summary, "layers": {"a": 3, "b": 4}}).layer is None
