"""Verdicts on many sets: rank p-values of curves, equivalence, power, and trainings as a random sample."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from tests.builders.classifiers import recurrent_classifier, reviews, synthetic_classifier
from txray import Pruning, prune
from txray.errors import UsageError
from txray.pruning import NeuronSet, curve_sets
from txray.pruning.max_t import family_p_values, step_down
from txray.pruning.meta_analysis import random_effects
from txray.pruning.neuron_sets import random_orders


def plain_step_down(observed: Any, random: Any) -> list[float]:
    """Westfall and Young's step-down max-T, one test at a time."""
    distances = []
    for value, draws in zip(observed, random, strict=True):
        both = [value, *draws]
        mean = sum(both) / len(both)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in both) / len(both)) or 1.0
        distances.append([abs(one - mean) / deviation for one in both])
    remaining = sorted(range(len(observed)), key=lambda i: -distances[i][0])
    adjusted, previous = [0.0] * len(observed), 0.0
    while remaining:
        i = remaining[0]
        count = sum(
            max(distances[k][1 + draw] for k in remaining) >= distances[i][0] - 1e-9
            for draw in range(len(random[0]))
        )
        previous = max(previous, (1 + count) / (1 + len(random[0])))
        adjusted[i] = previous
        remaining = remaining[1:]
    return adjusted


def test_step_down_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        random = rng.normal(size=(5, 30)).round(1) + rng.normal(size=(1, 30)).round(1)
        observed = rng.normal(size=5).round(1) * 3
        assert step_down(observed, random).tolist() == pytest.approx(plain_step_down(observed, random))
    assert step_down(np.ones(2), np.ones((2, 9))).tolist() == [1.0, 1.0]


def test_curves_of_random_orders_are_rarely_called_different_and_the_error_is_used_up() -> None:
    # 40 dependent tests along a curve, at 5%: uncorrected, most curves would have a false finding.
    rng = np.random.default_rng(1)
    corrected = uncorrected = 0
    for _ in range(400):
        curves = np.cumsum(rng.normal(size=(40, 100)), axis=0)
        p_values = step_down(curves[:, 0], curves[:, 1:])
        corrected += p_values.min() <= 0.05
        distance = np.abs(curves - curves.mean(axis=1, keepdims=True))
        uncorrected += bool(((distance[:, 1:] >= distance[:, :1]).mean(axis=1) < 0.05).any())
    assert uncorrected > 60
    assert 10 <= corrected <= 32  # 20 expected; 4.4 standard deviation


@pytest.fixture(scope="module")
def curve() -> Pruning:
    synthetic = synthetic_classifier()
    known = np.concatenate((np.full(6, 4.0), np.full(10, 1.0), np.full(24, 0.5)))
    importance = {"known": -known, "noise": np.random.default_rng(3).normal(size=40)}
    sets = curve_sets(importance, "rnn", shares=(0.05, 0.1, 0.3))
    sets.append(NeuronSet("ignored", "rnn", (30, 35)))
    return prune(
        synthetic.model, sets, {"test": synthetic.documents(300, 1)}, n_random_sets=60, resamples=300
    )


def test_a_curve_is_compared_with_the_curves_of_the_same_random_orders(curve: Pruning) -> None:
    table = family_p_values(curve)
    names = [neurons.name for neurons in curve.neuron_sets() if neurons.ranking == "known"]
    rows = curve.effects.filter(pl.col("set").is_in(names))
    orders = random_orders(40, 60, 0)
    random = []
    for row in rows.iter_rows(named=True):
        of_size = curve.random.filter(
            *(pl.col(key) == row[key] for key in ("neurons", "split", "metric"))
        ).sort("draw")["value"]
        unique = list(dict.fromkeys(tuple(sorted(order[: row["neurons"]])) for order in orders))
        random.append([of_size[unique.index(tuple(sorted(order[: row["neurons"]])))] for order in orders])
    wanted = plain_step_down(rows["value"].to_list(), random)
    joined = rows.join(table, on=["set", "split", "metric"], maintain_order="left")
    # Three chains: two curves and a single set.
    assert joined["family_p_value"].to_list() == pytest.approx([min(1.0, 3 * p) for p in wanted])
    assert len(table) == curve.effects["value"].is_not_null().sum()
    assert joined["family_p_value"].min() == pytest.approx(3 / 61)


def test_verdicts_say_what_is_known_and_what_could_have_been_seen(curve: Pruning) -> None:
    table = curve.verdicts(smallest_effect=2.0)
    assert len(table) == len(curve.effects)
    joined = table.join(curve.effects, on=["set", "split", "metric"], maintain_order="left", suffix="_effect")
    for row in joined.iter_rows(named=True):
        factor = 100.0 if row["metric"] != "loss" else 100 / row["unpruned"]
        samples = (
            factor
            * curve.resamples.filter(*(pl.col(key) == row[key] for key in ("set", "split", "metric")))[
                "change"
            ].to_numpy()
        )
        low, high = np.quantile(samples, [0.05, 0.95])
        verdict = row["change_verdict"]
        assert (verdict == f"the same within 2 {row['unit']}") == (low > -2 and high < 2)
        if verdict in ("better", "worse"):
            assert row["change_low"] > 0 or row["change_high"] < 0
            assert (verdict == "better") == ((row["change"] > 0) != (row["metric"] == "loss"))
        assert row["change_detectable"] == pytest.approx(
            (norm.ppf(0.975) + norm.ppf(0.8)) * samples.std(ddof=1)
        )
        half = factor * (row["versus_random_high"] - row["versus_random_low"]) / 2
        of_size = curve.random.filter(*(pl.col(key) == row[key] for key in ("neurons", "split", "metric")))
        freedom = len(of_size) - 1  # equal random sets count once
        spread = half / student.ppf(0.975, freedom)
        assert row["versus_random_detectable"] == pytest.approx(half + student.ppf(0.8, freedom) * spread)
        against = row["versus_random_verdict"]
        if against.endswith("than random sets"):
            assert row["family_p_value"] <= 0.05
            assert against == f"{row['verdict']} than random sets"
    # Neurons that the head ignores change nothing; neurons that carry the labels do.
    ignored = table.filter(pl.col("set") == "ignored")
    assert set(ignored["change_verdict"]) == {"the same within 2 points", "the same within 2 percent"}
    strongest = table.filter((pl.col("set") == "known 10%") & (pl.col("metric") == "auroc")).row(
        0, named=True
    )
    assert strongest["change_verdict"] == "worse"
    assert "cannot tell" in set(table["versus_random_verdict"])
    assert set(curve.verdicts()["change_verdict"]) <= {"better", "worse", "cannot tell"}
    for smallest in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="smallest_effect"):
            curve.verdicts(smallest)


def test_without_random_sets_only_changes_are_judged() -> None:
    pruning = prune(
        recurrent_classifier(),
        [NeuronSet("a", "rnn", (1,))],
        {"test": reviews()},
        n_random_sets=0,
        resamples=50,
    )
    table = pruning.verdicts(0.5)
    assert table["versus_random_verdict"].is_null().all()
    assert table["change_verdict"].is_not_null().all()


def test_small_layers_in_which_random_sets_are_drawn_repeatedly_have_p_values() -> None:
    sets = [NeuronSet("one", "rnn", (1,)), NeuronSet("two", "rnn", (1, 2))]
    pruning = prune(recurrent_classifier(), sets, {"test": reviews()}, n_random_sets=40, resamples=20)
    assert pruning.random.filter(pl.col("neurons") == 1)["draw"].max() == 11
    table = pruning.verdicts()
    assert table["family_p_value"].is_between(2 / 41, 1.0).all()


def hartung_knapp(effects: Any, variances: Any) -> tuple[float, float, float]:
    """Mean, its standard error and the variance between runs, by bisection and sums."""
    low, high = 0.0, 1e6
    for _ in range(200):
        between = (low + high) / 2
        weights = [1 / (v + between) for v in variances]
        mean = sum(w * e for w, e in zip(weights, effects, strict=True)) / sum(weights)
        q = sum(w * (e - mean) ** 2 for w, e in zip(weights, effects, strict=True))
        low, high = (between, high) if q > len(effects) - 1 else (low, between)
    error = math.sqrt(q / (len(effects) - 1) / sum(weights))
    return mean, error, between


def test_random_effects_are_those_of_hartung_and_knapp() -> None:
    # Trials of BCG vaccines (Colditz et al. 1994), log risk ratios; Paule-Mandel gives 0.318 and -0.715.
    effects = np.array(
        [-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694, -1.3713, -0.3394,
         0.4459, -0.0173]
    )  # fmt: skip
    variances = np.array(
        [0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730, 0.0124, 0.5325, 0.0714]
    )  # fmt: skip
    result = random_effects(effects, np.diag(variances))
    mean, error, between = hartung_knapp(effects, variances)
    assert (result.mean, result.deviation**2) == pytest.approx((mean, between), rel=1e-6)
    assert result.deviation**2 == pytest.approx(0.318, abs=2e-3)
    assert result.mean == pytest.approx(-0.715, abs=2e-3)
    assert result.low == pytest.approx(mean - student.ppf(0.975, 12) * error)
    assert result.p_value == pytest.approx(2 * student.sf(abs(mean) / error, 12))


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_intervals_of_three_trainings_contain_the_mean_of_all_trainings(shared: float) -> None:
    rng = np.random.default_rng(5)
    covered = 0
    n = 1_000
    for _ in range(n):
        documents = rng.normal() * shared
        effects = 1.0 + rng.normal(size=3) + documents + 0.5 * rng.normal(size=3)
        covariance = np.full((3, 3), shared) + 0.25 * np.eye(3)
        result = random_effects(effects, covariance)
        covered += result.low <= 1.0 <= result.high
    assert 0.93 <= covered / n <= 0.985


def test_equal_trainings_have_no_spread_and_three_show_only_large_effects() -> None:
    same = random_effects(np.full(3, 0.4), np.zeros((3, 3)))
    assert (same.low, same.high, same.deviation, same.p_value) == pytest.approx(
        (0.4, 0.4, 0.0, 0.0), abs=1e-9
    )
    three = random_effects(np.array([0.0, 1.0, 2.0]), np.full((3, 3), 0.0))
    assert three.detectable == pytest.approx((student.ppf(0.975, 2) + student.ppf(0.8, 2)) / math.sqrt(3))
    assert three.low < 0 < three.mean


def test_orders_of_chains_do_not_matter(curve: Pruning) -> None:
    one = family_p_values(curve).sort("set", "split", "metric")
    for columns in itertools.islice(itertools.permutations(range(3)), 2):
        shuffled = Pruning(
            curve.effects.sample(fraction=1, shuffle=True, seed=sum(columns)),
            curve.random,
            curve.sets.reverse(),
            curve.resamples,
            curve.summary,
        )
        assert family_p_values(shuffled).sort("set", "split", "metric").equals(one)
