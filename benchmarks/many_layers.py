"""Stages of the size of a large model, made up: 48 layers of 4,096 neurons, to try what is interactive with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.preferences import Preferences, Stage
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.manifest import MANIFEST
from txray.preferences.tags import TAG_SCHEMA
from txray.progress import progress

LAYERS, NEURONS, STAGES = 48, 4_096, 12
VOCABULARY, TAGS, FOLDS = 20_000, 40, 16
WINS = 40
"""Selected activations of a neuron."""
_EXEMPLARS = 4


def make_stages(
    folder: Path, *, layers: int = LAYERS, neurons: int = NEURONS, stages: int = STAGES, seed: int = 0
) -> list[Path]:
    """Stage folders of a training run, made anew where they are not there yet.

    Every neuron prefers a topic of its own, more of it from stage to stage, beside words at their frequency; some
    neurons start or stop to be preferred on the way.

    Args:
        folder: that will hold the stage folders.
        layers, neurons, stages: how many; neurons per layer.
        seed: same seed, same stages.
    """
    folders = [folder / f"step-{number:02d}" for number in range(stages)]
    with progress("making stages", stages, unit="stages") as advance:
        for number, stage_folder in enumerate(folders):
            if not (stage_folder / MANIFEST).is_file():
                _stage(number, layers, neurons, stages, seed).save(stage_folder)
            advance()
    return folders


def _stage(number: int, layers: int, neurons: int, stages: int, seed: int) -> Stage:
    words = np.array([f"word{rank:05d}" for rank in range(VOCABULARY)], dtype=object)
    tags = np.array([f"TAG{rank:02d}" for rank in range(TAGS)], dtype=object)
    share = 1 / np.arange(1, VOCABULARY + 1)
    share /= share.sum()
    corpus = np.random.default_rng(seed).multinomial(2_000_000 // FOLDS, share, size=FOLDS) + 1
    tag_counts = np.zeros((FOLDS, TAGS), np.int64)
    np.add.at(tag_counts.T, np.arange(VOCABULARY) % TAGS, corpus.T)
    cumulative = np.cumsum(share)
    collected, exemplars = {}, []
    for layer in range(layers):
        random = np.random.default_rng([seed, number, layer])
        stable = np.random.default_rng([seed, layer])
        topic = stable.integers(0, VOCABULARY, size=(neurons, 6))
        born, died = stable.integers(-4, stages, neurons), stable.integers(stages // 2, 3 * stages, neurons)
        active = np.flatnonzero((born <= number) & (number < died))
        neuron = np.repeat(active, WINS)
        own = random.random(len(neuron)) < 0.2 + 0.5 * number / max(stages - 1, 1)
        word = np.where(
            own,
            topic[neuron, random.integers(0, 6, len(neuron))],
            np.searchsorted(cumulative, random.random(len(neuron))).clip(max=VOCABULARY - 1),
        )
        fold = random.integers(0, FOLDS, len(neuron))
        activation = random.gamma(4.0, 0.25, len(neuron))
        name = f"layers.{layer}.mlp"
        for kind, names, counts, feature in (
            ("token", words, corpus, word),
            ("pos", tags, tag_counts, word % TAGS),
        ):
            collected[name, kind] = _preferences(
                f"step-{number:02d}", name, kind, neurons, names, counts, fold, neuron, feature, activation
            )
        exemplars.append(_exemplars(name, active, words[word].reshape(-1, WINS)))
    tagged = pl.DataFrame(
        {
            "token": words.tolist(),
            "pos": tags[np.arange(VOCABULARY) % TAGS].tolist(),
            "count": corpus.sum(axis=0),
        },
        schema=TAG_SCHEMA,
    )
    return Stage(f"step-{number:02d}", collected, pl.concat(exemplars), {"words": int(corpus.sum())}, tagged)


def _preferences(
    stage: str,
    layer: str,
    kind: str,
    neurons: int,
    names: NDArray[np.object_],
    counts: NDArray[np.int64],
    fold: NDArray[np.int64],
    neuron: NDArray[np.int64],
    feature: NDArray[np.int64],
    activation: NDArray[np.float64],
) -> Preferences:
    key = (fold * neurons + neuron) * len(names) + feature
    order = np.argsort(key, kind="stable")
    key, value = key[order], activation[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    first = key[starts]
    return Preferences(
        stage=stage,
        layer=layer,
        feature_type=kind,
        selection="all",
        n_neurons=neurons,
        features=names.copy(),
        corpus_counts=counts.copy(),
        fold=first // (neurons * len(names)),
        neuron=first // len(names) % neurons,
        feature_id=first % len(names),
        count=np.diff(starts, append=len(key)),
        sum=np.add.reduceat(value, starts),
        sum_sq=np.add.reduceat(value**2, starts),
        max=np.maximum.reduceat(value, starts),
    )


def _exemplars(layer: str, active: NDArray[np.int64], words: NDArray[np.object_]) -> pl.DataFrame:
    def rows() -> Iterator[tuple[object, ...]]:
        for neuron, context in zip(active.tolist(), words.tolist(), strict=True):
            for rank in range(_EXEMPLARS):
                before, after = " ".join(context[rank : rank + 8]), " ".join(context[rank + 9 : rank + 17])
                yield (
                    layer,
                    neuron,
                    rank,
                    3.0 - rank / 10,
                    f"document-{rank}",
                    8,
                    context[rank + 8],
                    before,
                    after,
                )

    names = list(EXEMPLAR_SCHEMA)[:9]
    table = pl.DataFrame(list(rows()), schema={name: EXEMPLAR_SCHEMA[name] for name in names}, orient="row")
    return table.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in EXEMPLAR_SCHEMA.items() if name not in names
    )
