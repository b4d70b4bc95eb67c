"""Texts are thinned to equal occurrences, activations with them, and unchanged neurons stay unchanged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import preferences_of
from txray import Comparison, Stage, collect, compare, synthetic_pair
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.text_matching import text_matched
from txray.errors import PowerWarning
from txray.preferences import Preferences
from txray.synthetic import synthetic_text


@cache
def stages(selection: str = "max-1") -> tuple[Stage, Stage]:
    """One model on two texts about different topics."""
    texts = [synthetic_text(20_000, shift=shift, seed=40 + int(shift)) for shift in (0.0, 1.0)]
    pair = synthetic_pair(
        60, corpus=texts[0].concat(texts[1]), changed=0, vanished=0, appeared=0, rarer=0, seed=3
    )
    one, other = (
        collect(pair.before, text, layers=[pair.layer], name=name, selection=selection)
        for text, name in zip(texts, ("one", "other"), strict=True)
    )
    return one, other


def sides(selection: str = "max-1") -> tuple[Preferences, Preferences]:
    one, other = (stage.preferences() for stage in stages(selection))
    return one, other


def occurrences(folds: FoldCounts) -> np.ndarray:
    """(n_features, 2): occurrences in both texts."""
    return folds.occurrences.toarray().reshape(-1, 2, folds.folds).sum(axis=2)


@pytest.mark.parametrize("selection", ["max-1", "max-3", "all"])
def test_every_feature_occurs_equally_often_and_as_often_as_in_the_smaller_text(selection: str) -> None:
    folds = FoldCounts.of(*sides(selection))
    (matched,) = text_matched(folds, 1, np.random.default_rng(0))
    before, after = occurrences(folds), occurrences(matched)
    assert (before[:, 0] != before[:, 1]).any()
    assert (after[:, 0] == before.min(axis=1)).all()
    assert (after[:, 1] == before.min(axis=1)).all()
    # No cell has more wins than occurrences, and the smaller text loses none of either.
    wins = matched.count.toarray()
    assert (wins <= matched.occurrences.toarray()[matched.feature]).all()
    smaller = before[:, 0] < before[:, 1]
    rows = smaller[folds.feature]
    np.testing.assert_array_equal(wins[rows][:, : folds.folds], folds.count.toarray()[rows][:, : folds.folds])


def test_wins_are_those_of_occurrences_drawn_one_by_one() -> None:
    # One neuron wins 30 of 40 and 5 of 60 occurrences of a word in two folds; the other text has 25 occurrences.
    events = [(fold, 0, "w", 1.0) for fold, wins in ((0, 30), (1, 5)) for _ in range(wins)]
    events += [(fold, 1, "w", 1.0) for fold, losses in ((0, 10), (1, 55)) for _ in range(losses)]
    before = preferences_of(events, n_neurons=2, folds=2)
    after = preferences_of([(0, 0, "w", 1.0)] * 25, n_neurons=2, folds=2)
    folds = FoldCounts.of(before, after)
    draws = [
        tuple(draw.count.toarray()[0, :2]) for draw in text_matched(folds, 4_000, np.random.default_rng(0))
    ]
    random = np.random.default_rng(1)
    fold = np.array([event[0] for event in events])
    neuron = np.array([event[1] for event in events])
    reference = []
    for _ in range(4_000):
        drawn = random.permutation(len(events))[:25]
        reference.append(tuple(float(((fold == i) & (neuron == 0))[drawn].sum()) for i in (0, 1)))
    seen, expected = Counter(draws), Counter(reference)
    distance = sum(abs(seen[key] - expected[key]) for key in seen | expected) / 8_000
    assert distance < 0.08
    assert np.mean(draws, axis=0) == pytest.approx(np.mean(reference, axis=0), abs=0.1)


def test_mean_activations_stay_the_same() -> None:
    folds = FoldCounts.of(*sides("all"))
    (matched,) = text_matched(folds, 1, np.random.default_rng(0))
    count, total = matched.count.toarray(), matched.sum.toarray()
    cells = count > 0
    np.testing.assert_allclose(
        (total[cells] / count[cells]), folds.sum.toarray()[cells] / folds.count.toarray()[cells]
    )
    assert count.sum() < folds.count.sum()


def test_equal_texts_stay_as_they_are() -> None:
    one, _ = sides()
    folds = FoldCounts.of(one, replace(one, stage="again"))
    (matched,) = text_matched(folds, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(matched.count.toarray(), folds.count.toarray())
    np.testing.assert_array_equal(matched.sum.toarray(), folds.sum.toarray())


def test_what_was_selected_more_often_than_it_occurs_is_thinned_to_the_occurrences() -> None:
    one, other = sides()
    few = replace(one, corpus_counts=one.corpus_counts // 2)
    folds = FoldCounts.of(few, other)
    (matched,) = text_matched(folds, 1, np.random.default_rng(0))
    assert (occurrences(matched)[:, 0] == occurrences(matched)[:, 1]).all()
    assert (matched.count.toarray() <= folds.count.toarray()).all()
    thinned = (matched.occurrences.toarray() < folds.occurrences.toarray())[matched.feature]
    wins, drawn = matched.count.toarray(), matched.occurrences.toarray()[matched.feature]
    assert (wins[thinned] <= drawn[thinned]).all()


@pytest.mark.parametrize("statistic", ["chi-square", "distance"])
def test_unchanged_neurons_on_other_topics_are_called_changed_only_without_matching(statistic: str) -> None:
    shares = {}
    for wanted in (False, None):
        comparison = compare(
            *stages(), weight="mass", permutations=300, statistic=statistic, text_matched=wanted
        )
        shares[wanted] = (comparison.neurons["p_value"] < 0.05).mean()
    if statistic == "distance":
        assert shares[False] > 0.25
    assert shares[None] < 0.12


def test_texts_that_differ_are_matched_by_default_and_every_sentence_says_so(tmp_path: Path) -> None:
    comparison = compare(*stages(), permutations=200)
    assert comparison.summary["text_matched"] is True
    assert comparison.text_matched
    assert comparison.neurons["text_matched"].all()
    row = comparison.neurons.with_columns(significant=pl.lit(value=False)).row(0, named=True)
    sentences = comparison.findings.sentences("one", "other")
    for text in (repr(comparison), comparison.findings.changes, sentences[1], comparison._repr_html_()):
        assert "text-matched" in text
    assert "text-matched" in neuron_sentence(row, "token", ("one", "other"), 0.05)
    comparison.save(tmp_path / "saved")
    loaded = Comparison.load(tmp_path / "saved")
    assert loaded.text_matched
    assert repr(loaded) == repr(comparison)


def test_equal_texts_are_not_matched_by_default() -> None:
    one, _ = stages()
    comparison = compare(one, one, permutations=200)
    assert comparison.summary["text_matched"] is False
    assert not comparison.text_matched
    assert "text-matched" not in " ".join([repr(comparison), *comparison.findings.sentences("one", "one")])
    # Asked for, it changes nothing: there is nothing to thin.
    matched = compare(one, one, permutations=200, text_matched=True)
    numbers = [table.neurons.drop("text_matched") for table in (comparison, matched)]
    assert numbers[0].equals(numbers[1])


def test_texts_without_a_word_in_common_warn() -> None:
    before = preferences_of([(i % 4, i % 12, f"a{i % 7}", 1.0) for i in range(200)])
    after = preferences_of([(i % 4, i % 12, f"b{i % 7}", 1.0) for i in range(200)])
    with pytest.warns(PowerWarning, match="no token in common"):
        comparison = compare(before, after, permutations=200)
    assert comparison.summary["tested"] == 0


@pytest.mark.filterwarnings("ignore::txray.errors.PowerWarning")
def test_neurons_without_activations_in_some_draws_are_not_tested() -> None:
    """A few wins among many occurrences of a word are sometimes all thinned away."""
    events = [(fold, 1, "w", 1.0) for fold in range(4) for _ in range(40)]
    events += [(fold, 0, "w", 1.0) for fold in range(2)]
    events += [(fold, neuron, "v", 1.0) for fold in range(4) for neuron in range(2) for _ in range(9)]
    other = [
        (fold, neuron, word, 1.0)
        for fold in range(4)
        for neuron in range(3)
        for word in "vw"
        for _ in range(3)
    ]
    rare = [(fold, 2, "w", 1.0) for fold in range(4)]
    before, after = (preferences_of(part, n_neurons=3, folds=4) for part in (events + rare, other))
    for seed in range(20):
        neurons = compare(before, after, text_matched=True, permutations=50, seed=seed).neurons
        tested = neurons["q_value"].is_not_null()
        for column in ("p_value", "z_score", "distance_matched", "distance_null"):
            assert (neurons[column].is_not_null() == tested).all(), (seed, column)
