"""Verdicts of equivalence, against plain formulas and simulations; totals of stages, against counts without a fold."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from tests.builders.stages import story
from txray.analysis import Equivalence, compare, compare_totals
from txray.analysis.equivalence import of_differences, of_ratio
from txray.analysis.totals import totals_sentence
from txray.errors import UsageError
from txray.preferences import Preferences


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.02, 0.02, "same"),
        (0.001, 0.02, "same"),
        (0.01, 0.04, "different"),
        (-0.04, -0.01, "different"),
        (-0.01, 0.04, "cannot tell"),
        (-0.5, 0.5, "cannot tell"),
        (np.nan, np.nan, "cannot tell"),
    ],
)
def test_the_whole_interval_must_lie_within_the_margin(low: float, high: float, verdict: str) -> None:
    result = Equivalence((low + high) / 2, low, high, margin=0.03)
    assert result.verdict == verdict
    assert (verdict == "same") == ("the same within 3%" in str(result) and "cannot" not in str(result))


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(UsageError, match="margin"):
        Equivalence(0.0, -0.1, 0.1, margin=margin)


def test_paired_differences_are_the_same_if_both_one_sided_tests_say_so() -> None:
    random = np.random.default_rng(0)
    verdicts = set()
    for shift, n in product((0.0, 0.04, 0.06, 0.1), (5, 30, 200)):
        values = random.normal(shift, 0.1, n)
        result = of_differences(values, margin=0.05)
        larger = stats.ttest_1samp(values, -0.05, alternative="greater").pvalue
        smaller = stats.ttest_1samp(values, 0.05, alternative="less").pvalue
        assert (result.verdict == "same") == (max(larger, smaller) < 0.05)
        verdicts.add(result.verdict)
    assert verdicts == {"same", "different", "cannot tell"}


def test_a_difference_of_just_the_margin_is_rarely_called_the_same() -> None:
    random = np.random.default_rng(1)
    calls = [
        of_differences(random.normal(0.05, 0.2, 60), margin=0.05).verdict == "same" for _ in range(2_000)
    ]
    assert 0.03 < np.mean(calls) < 0.07


def test_too_few_values_have_no_verdict() -> None:
    assert of_differences(np.array([0.0]), margin=0.1).verdict == "cannot tell"
    assert of_differences(np.array([]), margin=0.1).verdict == "cannot tell"
    assert of_ratio(np.ones(2), np.ones(2), paired=True).verdict == "cannot tell"
    assert of_ratio(np.zeros(9), np.ones(9), paired=True).verdict == "cannot tell"


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_contains_the_truth(paired: bool) -> None:
    random = np.random.default_rng(2)
    inside = []
    for _ in range(400):
        common = random.gamma(30, size=16) if paired else 30.0
        sides = [random.gamma(common * factor) for factor in (np.ones(16), np.full(16, 1.1))]
        values = [np.concatenate(([side.sum()], side.sum() - side)) for side in sides]
        result = of_ratio(*values, margin=0.03, paired=paired)
        inside.append(result.low <= 0.1 <= result.high)
    assert 0.85 < np.mean(inside) < 0.95


def without_fold(side: Preferences, fold: int) -> Preferences:
    rows = side.fold != fold
    counts = side.corpus_counts.copy()
    counts[fold] = 0
    columns = ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
    return replace(side, corpus_counts=counts, **{name: getattr(side, name)[rows] for name in columns})


def fewer_rows(side: Preferences) -> Preferences:
    """The same documents, of which a third of the wins are missing."""
    rows = np.random.default_rng(0).random(len(side.fold)) < 2 / 3
    columns = ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
    return replace(side, **{name: getattr(side, name)[rows] for name in columns})


@pytest.mark.parametrize("same_documents", [True, False])
def test_totals_are_counts_and_their_intervals_leave_out_folds(same_documents: bool) -> None:
    before, after = (stage.preferences(layer="rnn") for stage in story()[:2])
    after = fewer_rows(before) if same_documents else after
    in_both = (before.lengths() > 0) & (after.lengths() > 0)

    def quantities(side: Preferences) -> dict[str, float]:
        return {
            "win_rate": side.count.sum() / side.corpus_counts.sum(),
            "mass_per_word": side.sum.sum() / side.corpus_counts.sum(),
            "neurons_in_use": float((side.lengths() > 0).sum()),
            "features": float(len(set(side.feature_id.tolist()))),
            "length": side.lengths()[in_both].sum() / in_both.sum(),
        }

    table = compare_totals(before, after)
    assert len(table) == (5 if same_documents else 2)
    for row in table.iter_rows(named=True):
        name = row["quantity"]
        whole = [quantities(side)[name] for side in (before, after)]
        assert [row["before"], row["after"]] == pytest.approx(whole)
        logs = [
            np.log([quantities(without_fold(side, fold))[name] for fold in range(side.folds)])
            for side in (before, after)
        ]
        parts = [logs[1] - logs[0]] if len(table) == 5 else logs
        variance = sum((len(part) - 1) / len(part) * ((part - part.mean()) ** 2).sum() for part in parts)
        reach = stats.t.ppf(0.95, before.folds - 1) * np.sqrt(variance)
        centre = np.log(whole[1] / whole[0])
        assert [row["low"], row["high"]] == pytest.approx(
            np.expm1([centre - reach, centre + reach]).tolist(), abs=1e-9
        )


def test_a_stage_is_the_same_as_itself() -> None:
    stage = story()[0]
    table = compare_totals(stage, stage)
    assert set(table["verdict"]) == {"same"}
    assert len(table) == 5


def test_a_sentence_leaves_out_what_the_selection_fixes() -> None:
    before, after = story()[:2]
    comparison = compare(before, after, permutations=20)
    sentence = totals_sentence(comparison)
    assert sentence.startswith("Mass per word: ")
    assert "wins per word" not in sentence.lower()  # one per word in both, by max-1
    assert totals_sentence(compare(before, before, permutations=20)) == ""
    assert totals_sentence(compare(before, after, permutations=0)) == ""
