"""Planted changes are what the truth says, and competition changes nothing but how often neurons win."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from txray import SyntheticPair, synthetic_pair
from txray.errors import UsageError
from txray.synthetic import KINDS, synthetic_text

TEXT = synthetic_text(60_000, seed=5)

NONE: dict[str, Any] = {"changed": 0.0, "vanished": 0.0, "appeared": 0.0, "rarer": 0.0}


@cache
def pair(**settings: float) -> SyntheticPair:
    return synthetic_pair(40, corpus=TEXT, seed=2, **{**NONE, **dict.fromkeys(KINDS, 0.15), **settings})


def wins(found: SyntheticPair) -> dict[tuple[int, str], dict[str, float]]:
    """(neuron, side) -> expected wins of each word, computed from the text."""
    words = [word for document in TEXT for word in document.words]
    frequency = {word: count / len(words) for word, count in Counter(words).items()}
    table: dict[tuple[int, str], dict[str, float]] = {}
    for side, neuron, word, probability in found.profiles.iter_rows():
        table.setdefault((neuron, side), {})[word] = probability * frequency[word]
    return table


def sides(group: str) -> list[tuple[dict[str, float], dict[str, float]]]:
    table = wins(pair())
    neurons = pair().truth.filter(pl.col("group") == group)["neuron"].to_list()
    assert len(neurons) >= 5
    return [(table[neuron, "before"], table[neuron, "after"]) for neuron in neurons]


def test_a_neuron_that_loses_a_concept_loses_about_a_fifth_of_its_wins() -> None:
    shares = []
    for before, after in sides("lost"):
        assert after.items() < before.items(), "what is left is as it was"
        shares.append(1 - sum(after.values()) / sum(before.values()))
    assert 0.1 < np.mean(shares) < 0.3


def test_a_merged_neuron_keeps_its_words_and_wins_others_as_often() -> None:
    ratios = []
    for before, after in sides("merged"):
        assert before.items() < after.items()
        ratios.append(sum(after.values()) / sum(before.values()))
    assert np.median(ratios) == pytest.approx(2, abs=0.1)


def test_a_drifted_neuron_wins_every_word_less_often() -> None:
    for before, after in sides("drifted"):
        assert all(after[word] == pytest.approx(0.7 * before[word]) for word in before)
        assert len(after) > len(before)


def test_exchanged_ranks_and_sharpening_keep_the_words_and_the_number_of_wins() -> None:
    for group in ("reranked", "sharpened"):
        totals = []
        for before, after in sides(group):
            assert before.keys() == after.keys()
            totals.append(sum(after.values()) / sum(before.values()))
        assert max(totals) < 1 + 1e-9
        assert np.median(totals) > 0.8, "less only where other neurons leave too few occurrences"


def test_a_sharpened_neuron_concentrates_on_fewer_words() -> None:
    for before, after in sides("sharpened"):
        largest = [max(side.values()) / sum(side.values()) for side in (before, after)]
        assert largest[1] > largest[0]


def test_one_neuron_grows_to_its_share_and_the_others_keep_their_preferences() -> None:
    grown = pair(competition=0.3, **dict.fromkeys(KINDS, 0.0))
    truth = grown.truth
    assert (truth["group"] == "grown").sum() == 1
    assert set(truth["group"].to_list()) == {"grown", "unchanged"}
    rows = truth.filter(pl.col("group") == "grown")
    assert rows["rate_after"].item() / truth["rate_after"].sum() == pytest.approx(0.3)
    table = wins(grown)
    for neuron in truth.filter(pl.col("group") == "unchanged")["neuron"].to_list():
        before, after = (table[neuron, side] for side in ("before", "after"))
        ratios = np.array([after[word] / before[word] for word in before])
        assert ratios == pytest.approx(ratios[0])
        assert ratios[0] < 0.9


def test_competition_needs_an_unchanged_neuron_and_a_share_below_one() -> None:
    for settings in ({"competition": 1.0}, {"competition": 0.3, "changed": 1.0}):
        with pytest.raises(UsageError, match="competition"):
            synthetic_pair(20, corpus=TEXT, **{**NONE, **settings})


def test_shifted_text_has_other_frequencies_of_the_same_words() -> None:
    def frequencies(shift: float, seed: int) -> dict[str, float]:
        words = [
            word for document in synthetic_text(40_000, shift=shift, seed=seed) for word in document.words
        ]
        return dict(zip(*np.unique(words, return_counts=True), strict=True))

    def distance(one: dict[str, float], other: dict[str, float]) -> float:
        shares = [
            np.array([side.get(word, 0) for word in one.keys() | other.keys()]) for side in (one, other)
        ]
        return float(1 - np.sqrt(shares[0] / shares[0].sum() * shares[1] / shares[1].sum()).sum())

    same, half, other = (distance(frequencies(0, 1), frequencies(shift, 2)) for shift in (0.0, 0.5, 1.0))
    assert same < half < other
    assert 4 * same < other


def test_lengths_groups_and_sizes_are_as_asked() -> None:
    documents = list(synthetic_text(2_500, document_words=100, documents_per_group=4, seed=3))
    assert len(documents) == 28, "whole groups of four"
    assert {len(document.words) for document in documents} == {100}
    assert len({document.group for document in documents}) == 7
    assert documents == list(synthetic_text(2_500, document_words=100, documents_per_group=4, seed=3))


@pytest.mark.parametrize(
    "wrong", [{"words": 0}, {"shift": 1.5}, {"burst": -0.1}, {"document_words": True}, {"seed": -1}]
)
def test_numbers_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        synthetic_text(**{"words": 100, **wrong})
