"""Statistics of change against known truth: they find what is there, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata

from txray import (
    Comparison,
    Corpus,
    Stage,
    SyntheticPair,
    collect,
    compare,
    demo_corpus,
    match,
    synthetic_pair,
)

WORDS = 80_000
QUICK: dict[str, Any] = {"permutations": 2_000}


def stages(pair: SyntheticPair, *, same: bool = True, words: int = WORDS) -> tuple[Stage, Stage]:
    documents = list(demo_corpus("encyclopedia", words=None, seed=1))
    sides = (documents, documents) if same else (documents[::2], documents[1::2])
    texts = [Corpus.from_documents("text", side).take_words(words) for side in sides]
    before, after = (
        collect(model, text, layers=[pair.layer], name="planted")
        for model, text in zip((pair.before, pair.after), texts, strict=True)
    )
    return before, after


def table(comparison: Comparison, pair: SyntheticPair) -> pl.DataFrame:
    return comparison.neurons.join(pair.truth, on="neuron").with_columns(
        fewer=pl.min_horizontal("wins_before", "wins_after")
    )


@cache
def found(effect: float, seed: int, *, same: bool = True) -> pl.DataFrame:
    pair = synthetic_pair(100, effect=effect, seed=seed)
    return table(compare(*stages(pair, same=same), permutations=0).test(**QUICK), pair)


def auc(score: pl.Series, positive: pl.Series) -> float:
    """How often one of the positives has the higher score than one of the others."""
    rank, chosen = rankdata(score.to_numpy()), positive.to_numpy()
    n, m = int(chosen.sum()), int((~chosen).sum())
    return float((rank[chosen].sum() - n * (n + 1) / 2) / (n * m))


def ranked(neurons: pl.DataFrame) -> pl.DataFrame:
    return neurons.filter(
        pl.col("group").is_in(["changed", "unchanged", "rarer"]) & pl.col("signal").is_not_null()
    )


def test_changed_neurons_rank_before_all_others() -> None:
    for same in (True, False):
        neurons = ranked(found(1.0, 1, same=same))
        assert len(neurons) > 70
        assert auc(neurons["signal"], neurons["group"] == "changed") > 0.98


def test_half_a_change_ranks_higher_than_by_the_plain_distance() -> None:
    for seed in (1, 2):
        neurons = ranked(found(0.5, seed))
        changed = neurons["group"] == "changed"
        assert auc(neurons["signal"], changed) > auc(neurons["hellinger"], changed) + 0.05


def test_what_is_called_changed_did_change() -> None:
    called = pl.concat([found(1.0, seed).filter(pl.col("q_value") <= 0.05) for seed in (1, 2)])
    changed = pl.concat([found(1.0, seed) for seed in (1, 2)]).filter(
        (pl.col("group") == "changed") & (pl.col("fewer") >= 20)
    )
    assert (called["group"] == "changed").mean() > 0.9  # type: ignore[operator]
    assert len(changed) > 25
    assert (changed["q_value"] <= 0.05).mean() > 0.95  # type: ignore[operator]


def test_avoided_and_gained_with_confidence_are_vanished_and_appeared() -> None:
    neurons = pl.concat([found(1.0, seed, same=same) for seed in (1, 2) for same in (True, False)])
    gained = neurons.filter(pl.col("confident_state") == "gained")
    assert len(gained) > 30
    assert (gained["group"] == "appeared").all()
    avoided = neurons.filter(pl.col("confident_state") == "avoided")
    assert (avoided["group"] == "vanished").sum() > 30
    assert (avoided["group"] == "vanished").mean() >= 0.95  # type: ignore[operator]
    rarer = neurons.filter(pl.col("group") == "rarer")
    assert len(rarer) >= 40
    assert (rarer["confident_state"] == "avoided").sum() <= 1
    # 30 wins are enough where they are spread evenly over documents; those of real text come in clusters.
    vanished = neurons.filter((pl.col("group") == "vanished") & (pl.col("wins_before") >= 60))
    assert len(vanished) > 20
    assert (vanished["confident_state"] == "avoided").mean() > 0.95  # type: ignore[operator]


def test_in_short_texts_states_without_confidence_are_often_wrong() -> None:
    pair = synthetic_pair(300, seed=1)
    neurons = table(compare(*stages(pair, words=10_000), permutations=0).test(**QUICK), pair)
    stayed = neurons.filter(pl.col("group").is_in(["unchanged", "changed"]))
    plain, confident = (
        int(stayed[state].is_in(["avoided", "gained"]).sum()) for state in ("state", "confident_state")
    )
    assert plain >= 10
    assert confident <= 1
    rarer = neurons.filter(pl.col("group") == "rarer")
    assert (rarer["state"] == "avoided").sum() >= 6
    assert (rarer["confident_state"] == "avoided").sum() == 0


def test_where_nothing_was_planted_nothing_is_found() -> None:
    small, discovered = [], 0
    for seed in range(4):
        pair = synthetic_pair(100, changed=0, vanished=0, appeared=0, rarer=0, seed=seed)
        neurons = table(compare(*stages(pair), permutations=0).test(**QUICK), pair)
        tested = neurons.filter(pl.col("p_value").is_not_null())
        small += (tested["p_value"] < 0.05).to_list()
        discovered += int((tested["q_value"] <= 0.05).sum())
        assert (tested["hellinger"] > 0.5).mean() > 0.2, "by the plain distance much would have changed"  # type: ignore[operator]
    assert len(small) > 380
    assert np.mean(small) < 0.07
    assert discovered <= 1


def test_moved_neurons_are_found_again() -> None:
    pair = synthetic_pair(100, changed=0, vanished=0, appeared=0, rarer=0, moved=1.0, lengths=(3, 60), seed=1)
    before, after = stages(pair)
    moved = pair.truth["neuron_after"].to_numpy()
    pairs = match(before, after).pairs.filter(pl.col("state") == "matched")
    right = moved[pairs["before"].to_numpy()] == pairs["after"].to_numpy()
    assert right.mean() > 0.97
    often = np.minimum(before.preferences().wins(), after.preferences().wins()[moved]) >= 100
    again = np.isin(np.flatnonzero(often), pairs["before"].to_numpy()[right])
    assert often.sum() > 50
    assert again.mean() > 0.97


def test_neurons_that_are_gone_match_none() -> None:
    pair = synthetic_pair(
        120, changed=0, vanished=0.25, appeared=0.25, rarer=0, moved=0.5, lengths=(10, 60), seed=1
    )
    before, after = stages(pair)
    matched = match(before, after).pairs.filter(pl.col("state") == "matched")["before"].to_list()
    truth = pair.truth.with_columns(wins=before.preferences().wins()).filter(pl.col("wins") >= 20)
    gone = truth.filter(pl.col("group") == "vanished")["neuron"]
    there = truth.filter(pl.col("group") == "moved")["neuron"]
    assert len(gone) > 15
    assert gone.is_in(matched).mean() < 0.2  # type: ignore[operator]
    assert there.is_in(matched).mean() > 0.8  # type: ignore[operator]
