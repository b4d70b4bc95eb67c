"""Where nothing changed: how often something is said to have."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.evidence.tables import Table, fewer_wins, percent, ratio
from benchmarks.texts import resampled
from txray import Corpus, Document, Stage, collect, compare, synthetic_pair
from txray.experiment import RealSources
from txray.models import load_snapshot

KINDS = ("token", "pos")
RUNS = 20
WORDS = 200_000
"""On either side."""

_SYNTHETIC_WORDS = 100_000
_OFTEN = 20


@dataclass
class Counted:
    """Counts of the comparisons of one feature type, summed over runs."""

    often: list[float] = field(default_factory=list)
    every: list[float] = field(default_factory=list)
    discovered: list[int] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    top_wins: list[float] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    confident: list[int] = field(default_factory=list)

    def add(self, before: Stage, after: Stage, kind: str, seed: int) -> None:
        """One more comparison of stages between which nothing changed."""
        neurons = compare(before, after, feature_type=kind, seed=seed).neurons
        tested = neurons.filter(pl.col("p_value").is_not_null()).with_columns(fewer=fewer_wins())
        often = tested.filter(pl.col("fewer") >= _OFTEN)
        self.often += (often["p_value"] < 0.05).to_list()
        self.every += (tested["p_value"] < 0.05).to_list()
        self.discovered.append(int((tested["q_value"] <= 0.05).sum()))
        self.far += (tested["hellinger"] > 0.5).to_list()
        self.top_wins += tested.top_k(10, by="hellinger")["fewer"].to_list()
        self.states.append(int(neurons["state"].is_in(["avoided", "gained"]).sum()))
        self.confident.append(int(neurons["confident_state"].is_in(["avoided", "gained"]).sum()))

    def row(self, what: str) -> list[str]:
        """As a row of the table."""
        return [
            what,
            percent(float(np.mean(self.often))),
            percent(float(np.mean(self.every))),
            f"{sum(n > 0 for n in self.discovered)} of {len(self.discovered)}",
            percent(ratio(sum(self.discovered), len(self.every)), 2),
            percent(float(np.mean(self.far))),
            f"{np.median(self.top_wins):.0f}",
            f"{np.mean(self.states):.1f}",
            f"{np.mean(self.confident):.2f}",
        ]


def measured() -> Table:
    """Compare one snapshot on random halves of real text, and synthetic pairs without any change."""
    rows = []
    for name, pairs in (
        ("trained LSTM, random halves", _halves()),
        ("synthetic, same documents", _synthetic()),
    ):
        counted = {kind: Counted() for kind in KINDS}
        for seed, (before, after) in enumerate(pairs):
            for kind in KINDS:
                counted[kind].add(before, after, kind, seed)
            print(name, seed, [rates.row(kind) for kind, rates in counted.items()], flush=True)
        rows += [rates.row(f"{name}, `{kind}`") for kind, rates in counted.items()]
    return Table(
        [
            "",
            f"p < 0.05, at least {_OFTEN} wins",
            "p < 0.05, all tested",
            "runs with a false discovery",
            "neurons falsely called changed",
            "plain H > 0.5",
            "median wins of the ten largest plain H",
            "avoided or gained",
            "significant",
        ],
        rows,
    )


def _halves() -> Iterator[tuple[Stage, Stage]]:
    """The same snapshot on two disjoint random sets of documents, collected anew for each seed."""
    try:
        snapshot, data = Path(os.environ["TXRAY_SNAPSHOT"]), Path(os.environ["TXRAY_DATA"])
    except KeyError as error:
        raise SystemExit(
            f"set {error}: TXRAY_SNAPSHOT is the folder of a language model, TXRAY_DATA that of the text"
        ) from error
    model = load_snapshot(snapshot)
    documents = _documents(data)
    # Whole articles: paragraphs of one article on both sides would resemble each other more than chance has it.
    articles: dict[int, list[Document]] = {}
    for document in documents:
        articles.setdefault(document.fold_key, []).append(document)
    whole = list(articles.values())
    for seed in range(RUNS):
        order = np.random.default_rng(seed).permutation(len(whole))
        halves = [
            Corpus.from_documents("half", [document for i in half for document in whole[i]]).take_words(WORDS)
            for half in (order[::2], order[1::2])
        ]
        before, after = (collect(model, half, feature_types=KINDS, name="half") for half in halves)
        yield before, after


def _documents(data: Path) -> list[Document]:
    """Twice as many words as are read, half of them articles and half of them reviews, with tags."""
    sources = RealSources(data / "wikitext-2", data / "imdb", data / "ud-ewt")
    with tempfile.TemporaryDirectory() as folder:
        text = (
            sources.pretraining("train")
            .take_words(2 * WORDS)
            .concat(sources.reviews("train").take_words(2 * WORDS))
        )
        return list(sources.tagged(text, Path(folder)))


def _synthetic() -> Iterator[tuple[Stage, Stage]]:
    """Pairs of modules without any change, both on the same documents."""
    for seed in range(RUNS):
        pair = synthetic_pair(changed=0, vanished=0, appeared=0, rarer=0, seed=seed)
        text = resampled("encyclopedia", _SYNTHETIC_WORDS, seed=1 + seed)
        before, after = (
            collect(model, text, layers=[pair.layer], feature_types=KINDS, name="synthetic")
            for model in (pair.before, pair.after)
        )
        yield before, after
