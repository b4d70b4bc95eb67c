"""Small stages of several layers, with tags, exemplars and words that try to be more than words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tests.builders.hostile import IN_CORPORA
from txray.preferences import ExemplarTally, Occurrence, Preferences, Stage, Tally
from txray.preferences.exemplars import CONTEXT
from txray.preferences.tags import tag_table

FOLDS = 16
TAGS = ("NN", "IN", "DT", "VB", "<b>", "$")
LOW, HIGH = "low", "high <i>$2$"
LAYERS = {LOW: 12, HIGH: 9}
BEFORE, AFTER = "unsup", "sup <b>&$x$"
SILENT = 4
"""A neuron of the lower layer that wins nothing in any stage."""
GONE, COME = 2, 3
"""Neurons of the lower layer that win nothing after, and nothing before."""
RARE = 5
"""A neuron of the lower layer that wins a single word before, and nothing after."""


def stage_of(
    name: str,
    *,
    layers: Mapping[str, int] = LAYERS,
    silent: Sequence[int] = (SILENT,),
    rare: Sequence[int] = (),
    seed: int = 0,
    n_words: int = 1_600,
    kinds: Sequence[str] = ("token", "pos"),
    hostile: bool = True,
    selection: str = "max-1",
) -> Stage:
    """A stage over a text that is the same for all; every word has a favourite neuron, which wins it mostly.

    Args:
        name: of the stage.
        layers: name -> neurons.
        silent: neurons of the first layer that win nothing.
        rare: neurons of the first layer that win one word.
        seed: of which neurons win what.
        n_words: of the text.
        kinds: feature types, of token and pos.
        hostile: whether some frequent words are hostile.
        selection: by which it says it was collected.
    """
    words = [*(IN_CORPORA if hostile else ()), *(f"word{i}" for i in range(60))]
    text_of = np.random.default_rng(0)
    rank = np.minimum(text_of.zipf(1.25, n_words) - 1, len(words) - 1)
    text = [words[i] for i in rank]
    values = {"token": text, "pos": [TAGS[(i * 5 + i // 4) % len(TAGS)] for i in rank]}
    document = np.arange(n_words) // 20
    fold = document * 7 % FOLDS
    collected: dict[tuple[str, str], Preferences] = {}
    exemplars = []
    for number, (layer, size) in enumerate(layers.items()):
        rng = np.random.default_rng((seed, number))
        awake = np.setdiff1d(np.arange(size), [*silent, *rare] if number == 0 else ())
        favourite = rng.permutation(awake)[rank % len(awake)]
        winner = np.where(rng.random(n_words) < 0.8, favourite, rng.choice(awake, n_words))
        if number == 0:
            winner[: len(rare)] = rare
        activation = rng.uniform(0.05, 1.0, n_words)
        for kind in kinds:
            tally = Tally(size, FOLDS)
            ids = tally.feature_ids(values[kind])
            tally.count_occurrences(fold, ids)
            tally.update(fold, winner, ids, activation)
            collected[layer, kind] = tally.freeze(
                stage=name, layer=layer, feature_type=kind, selection=selection
            )
        exemplars.append(_exemplars(layer, size, text, document, winner, activation))
    manifest: dict[str, Any] = {
        "model": {"type": "Model"},
        "corpus": {"name": "text", "documents_digest": "same"},
        "words": n_words,
    }
    pairs = Counter(zip(text, values["pos"], strict=True))
    return Stage(name, collected, pl.concat(exemplars), manifest, tag_table(pairs))


def _exemplars(
    layer: str,
    size: int,
    text: Sequence[str],
    document: np.ndarray[Any, Any],
    winner: np.ndarray[Any, Any],
    activation: np.ndarray[Any, Any],
) -> pl.DataFrame:
    strongest = ExemplarTally(size, 3)

    def occurrence(i: int) -> Occurrence:
        before, after = (
            " ".join(word.replace(" ", "␣") for word in text[part])
            for part in (slice(max(0, i - 2), i), slice(i + 1, i + 3))
        )
        return Occurrence(f"d{document[i]}", i % 20, text[i], before, after)

    def around(kept: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found = np.full((len(kept), 2 * CONTEXT + 1), np.nan)
        found[:, CONTEXT] = activation[kept]
        return found

    strongest.update(winner, activation, document, np.arange(len(text)) % 20, occurrence, around)
    return strongest.table(layer)


def story() -> list[Stage]:
    """Three stages of the same two layers, and one of other layers; the last two but one are looked at most."""
    return [
        stage_of("start", seed=1),
        stage_of(BEFORE, seed=2, silent=(SILENT, COME), rare=(RARE,)),
        stage_of(AFTER, seed=3, silent=(SILENT, GONE, RARE)),
        stage_of("wide", layers={"wide": 14, HIGH: 7}, seed=4, silent=(), kinds=("token",)),
    ]
