"""Metrics of weighted documents against hand-made numbers, and intervals against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from txray.errors import ShapeError
from txray.pruning.bootstrap import bootstrap_counts, percentile_interval
from txray.pruning.predictions import ClassPredictions, UserMetrics, WordPredictions
from txray.pruning.random_comparison import BETTER, SAME, WORSE, compare_with_random


def classified(n: int, classes: int, seed: int, *, ties: bool = False) -> ClassPredictions:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes))
    if ties:
        logits = logits.round(0)
    target = random.integers(0, classes, n)
    return ClassPredictions(torch.from_numpy(logits).log_softmax(dim=1).numpy(), target)


@pytest.mark.parametrize(("seed", "ties"), [(0, False), (1, True), (2, True)])
def test_weights_are_repetitions_of_documents(seed: int, ties: bool) -> None:
    predictions = classified(60, 2, seed, ties=ties)
    weights = bootstrap_counts(np.arange(60), 30, "text")
    metrics = predictions.metrics(weights)
    for sample in range(30):
        repeated = np.repeat(np.arange(60), weights[sample].astype(int))
        log_probability, target = predictions.log_probability[repeated], predictions.target[repeated]
        once = ClassPredictions(log_probability, target).metrics(np.ones((1, len(repeated))))
        loss = torch.nn.functional.nll_loss(torch.from_numpy(log_probability), torch.from_numpy(target))
        assert metrics["loss"][sample] == pytest.approx(loss.item(), abs=1e-9)
        assert metrics["accuracy"][sample] == pytest.approx((log_probability.argmax(axis=1) == target).mean())
        for name, values in once.items():
            assert metrics[name][sample] == pytest.approx(values[0], abs=1e-9), (name, sample)


def test_metrics_of_a_few_documents() -> None:
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])
    metrics = ClassPredictions(np.log(probability), np.array([0, 0, 1, 1])).metrics(np.ones((1, 4)))
    assert metrics["accuracy"][0] == 0.5  # of equal probabilities, the first class is predicted
    assert metrics["f1"][0] == 0.5  # one hit, one false alarm, one miss
    assert metrics["auroc"][0] == 0.75  # 0.5 is below 0.6; the other three pairs are in order
    assert metrics["loss"][0] == pytest.approx(-np.log([0.9, 0.4, 0.5, 0.8]).mean())


def test_f1_of_several_classes_is_their_mean() -> None:
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    metrics = ClassPredictions(np.log(probability), np.array([0, 1, 2, 2])).metrics(np.ones((1, 4)))
    assert metrics["accuracy"][0] == 0.75
    assert metrics["f1"][0] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert "auroc" not in metrics


def test_auroc_of_one_class_is_no_number_and_f1_of_nothing_is_zero() -> None:
    one = ClassPredictions(np.log(np.array([[0.6, 0.4], [0.7, 0.3]])), np.array([0, 0]))
    metrics = one.metrics(np.ones((1, 2)))
    assert np.isnan(metrics["auroc"][0])
    assert metrics["f1"][0] == 0


def test_perplexity_is_over_words_and_not_over_documents() -> None:
    found = WordPredictions(np.array([2.0, 30.0]), np.array([1.0, 9.0]))
    metrics = found.metrics(np.array([[1.0, 1.0], [2.0, 0.0]]))
    np.testing.assert_allclose(metrics["loss"], [3.2, 2.0])
    np.testing.assert_allclose(metrics["perplexity"], np.exp([3.2, 2.0]))


def test_metrics_of_the_user_are_means_or_numbers() -> None:
    found = UserMetrics({"each": np.array([1.0, 3.0]), "all": np.array([7.0])})
    assert found.n_documents == 2
    metrics = found.metrics(np.array([[1.0, 1.0], [0.0, 2.0]]))
    np.testing.assert_allclose(metrics["each"], [2, 3])
    assert np.isnan(metrics["all"]).all()  # it has no documents to resample
    np.testing.assert_allclose(found.metrics(np.ones((1, 2)))["all"], [7])
    assert UserMetrics({"all": np.array([7.0])}).n_documents == 0
    with pytest.raises(ShapeError, match=r"\[2, 3\] numbers"):
        UserMetrics({"a": np.ones(2), "b": np.ones(3)})


def test_the_same_documents_are_resampled_in_the_same_way() -> None:
    np.testing.assert_array_equal(
        bootstrap_counts(np.arange(20), 5, "a"), bootstrap_counts(np.arange(20), 5, "a")
    )
    assert not np.array_equal(
        bootstrap_counts(np.arange(20), 5, "a"), bootstrap_counts(np.arange(20), 5, "b")
    )
    assert (bootstrap_counts(np.arange(20), 5, "a").sum(axis=1) == 20).all()


def test_bounds_are_percentiles_of_what_is_known() -> None:
    assert percentile_interval(np.append(np.arange(1001.0), np.nan)) == pytest.approx((25, 975))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_a_value_is_held_against_one_more_random_set() -> None:
    random = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = compare_with_random(9.0, random, None)
    spread = np.std(random, ddof=1) * np.sqrt(1.2)
    assert found.difference == 6
    assert found.high - found.difference == pytest.approx(
        2.776445 * spread, rel=1e-6
    )  # t of 4 degrees of freedom
    assert found.verdict(1) == BETTER
    assert found.verdict(-1) == WORSE
    assert found.p_value == pytest.approx(1 / 6)
    assert compare_with_random(6.0, random, None).verdict(1) == SAME
    # Few random sets that all do the same say nothing of how others scatter.
    assert compare_with_random(6.0, [3.0] * 3, None).verdict(1) == SAME
    assert compare_with_random(6.0, [3.0] * 20, None).verdict(1) == BETTER
    assert compare_with_random(6.0, [3.0], None).verdict(1) == SAME
    # What documents are unsure about widens the interval.
    documents = np.random.default_rng(0).normal(scale=4, size=1000)
    assert compare_with_random(9.0, random, documents).verdict(1) == SAME
