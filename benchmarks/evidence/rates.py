"""False discoveries of changed win rates between texts of different size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.evidence.tables import Table, fewer_wins, percent
from benchmarks.texts import resampled
from txray import Corpus, Document, Stage, collect, compare, synthetic_pair
from txray.corpus import read_corpus
from txray.models import load_snapshot

RATIOS = (1, 2, 5, 10, 20)
RUNS = 6
_SEED = 7_000
_LARGER = 200_000
"""Words of the text that has more."""
_FEW = 5


def measured() -> Table:
    """Return the share of p < 0.05 among neurons that did not change, by ratio of the sizes of the texts."""
    rows = []
    for name, pairs in (("synthetic", _synthetic), ("trained LSTM, reviews", _reviews)):
        for ratio in RATIOS:
            counted = [_p_values(before, after, seed) for seed, (before, after) in enumerate(pairs(ratio))]
            neurons = pl.concat(counted)
            often = neurons.filter(pl.col("fewer") >= _FEW)
            row = [f"{name}, {ratio} : 1"]
            for some in (often, neurons):
                row += [f"{len(some):,}", percent(float((some["rate_p_value"] < 0.05).mean() or 0))]
            discovered = int((neurons["rate_q_value"] <= 0.05).sum())
            rows.append([*row, f"{discovered}"])
            print(rows[-1], flush=True)
    return Table(
        [
            "texts",
            f"neurons with {_FEW} wins in both",
            "p < 0.05",
            "all that respond",
            "p < 0.05",
            "false discoveries (q ≤ 0.05)",
        ],
        rows,
    )


def _p_values(before: Stage, after: Stage, seed: int) -> pl.DataFrame:
    # Only rates are evaluated here, so the permutations of distances are kept to a minimum.
    tested = (
        compare(before, after, permutations=0).test(permutations=1_000, splits=1, draws=1, seed=seed).neurons
    )
    return tested.filter(pl.col("rate_p_value").is_not_null()).select(
        "rate_p_value", "rate_q_value", fewer=fewer_wins()
    )


def _synthetic(ratio: int) -> Iterator[tuple[Stage, Stage]]:
    """The same module on two texts of the embedded corpus."""
    for run in range(RUNS):
        pair = synthetic_pair(changed=0, vanished=0, appeared=0, rarer=0, seed=_SEED + run)
        texts = [
            resampled("encyclopedia", words, seed=_SEED + 100 * run + side)
            for side, words in enumerate((_LARGER, _LARGER // ratio))
        ]
        before, after = (collect(pair.before, text, layers=[pair.layer], name="synthetic") for text in texts)
        yield before, after


def _reviews(ratio: int) -> Iterator[tuple[Stage, Stage]]:
    """A trained language model on two disjoint random sets of reviews."""
    model = load_snapshot(Path(os.environ["TXRAY_SNAPSHOT"]))
    reviews: list[Document] = list(
        read_corpus("imdb", Path(os.environ["TXRAY_DATA"]) / "imdb" / "aclImdb_subset.tar.gz", split="train")
    )
    for run in range(RUNS):
        order = np.random.default_rng([_SEED, run]).permutation(len(reviews))
        before, after = (
            collect(
                model,
                Corpus.from_documents("part", [reviews[i] for i in half]).take_words(words),
                name="part",
            )
            for half, words in ((order[::2], _LARGER), (order[1::2], _LARGER // ratio))
        )
        yield before, after
