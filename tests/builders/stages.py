"""Stages of a made-up model over made-up text, with tokens, POS tags and exemplars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from txray.preferences import ExemplarTally, Occurrence, Stage, Tally
from txray.preferences.exemplars import CONTEXT
from txray.preferences.tags import tag_table

TAGS = ("NN", "DT", "VBZ", "JJ", "IN", "$", ".")
FOLDS = 16


def vocabulary(size: int, seed: int = 0) -> list[str]:
    """Distinct made-up words, the frequent ones short."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwyp"))
    words: dict[str, None] = {}
    while len(words) < size:
        words["".join(rng.choice(letters, 2 + int(rng.integers(0, 3 + len(words) // 1000 + 4))))] = None
    return list(words)


def stage_of(
    name: str,
    words: Sequence[str],
    *,
    n_words: int = 2_000,
    n_neurons: int = 20,
    silent: Sequence[int] = (),
    rare: Sequence[int] = (),
    layer: str = "rnn",
    classifier: bool = False,
    exemplars: int = 8,
    tags: Sequence[str] = TAGS,
    preference: float = 0,
    seed: int = 0,
) -> Stage:
    """A stage whose neurons win words at random, or prefer some.

    Args:
        name: of the stage.
        words: the vocabulary, the frequent first; every word occurs at least once.
        n_words: words of the text.
        n_neurons: of the layer.
        silent: neurons that win nothing.
        rare: neurons that win one word.
        layer: its name.
        classifier: exemplars carry a probability and a label instead of a predicted word, and no activations of
            the words around them.
        exemplars: kept per neuron.
        tags: that words carry in turn.
        preference: share of the words that go to the neuron that prefers the word, instead of any.
        seed: of the text and the wins.
    """
    rng = np.random.default_rng(seed)
    drawn = (rng.zipf(1.3, n_words) - 1) % len(words)
    drawn[: len(words)] = np.arange(min(len(words), n_words))
    text = [words[i] for i in drawn]
    carried = [tags[i % len(tags)] for i in drawn]
    able = np.setdiff1d(np.arange(n_neurons), [*silent, *rare])
    neuron = able[rng.integers(0, len(able), n_words)]
    if preference:
        preferring = rng.random(n_words) < preference
        neuron[preferring] = able[drawn[preferring] % len(able)]
    neuron[: len(rare)] = rare
    activation = rng.random(n_words) * 0.98 + 0.01
    document = np.arange(n_words) // 50
    fold = document % FOLDS
    collected = {}
    for kind, features in (("token", [word.lower() for word in text]), ("pos", carried)):
        tally = Tally(n_neurons, FOLDS)
        ids = tally.feature_ids(features)
        tally.count_occurrences(fold, ids)
        tally.update(fold, neuron, ids, activation)
        collected[layer, kind] = tally.freeze(stage=name, layer=layer, feature_type=kind, selection="max-1")

    def occurrence(i: int) -> Occurrence:
        return Occurrence(
            document=f"{name}/{document[i]}",
            position=i % 50,
            word=text[i],
            before=" ".join(text[max(i - 8, 0) : i]),
            after=" ".join(text[i + 1 : i + 9]),
            output=None if classifier else text[(i + 1) % n_words],
            probability=float(activation[i]) if classifier else None,
            label=("pos" if activation[i] > 0.5 else "neg") if classifier else None,
        )

    def around(kept: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m, 17) of every neighbour less than of the word itself, of every third less than nothing."""
        place = kept[:, None] + np.arange(-CONTEXT, CONTEXT + 1)
        value = activation[kept][:, None] * np.where(place % 3, 1 - np.abs(place - kept[:, None]) / 10, -0.1)
        value[:, CONTEXT] = activation[kept]
        return np.where((place >= 0) & (place < n_words), value, np.nan)

    strongest = ExemplarTally(n_neurons, exemplars)
    position = np.arange(n_words) % 50
    strongest.update(neuron, activation, document, position, occurrence, None if classifier else around)
    manifest = {
        "model": {"type": "Model", "fingerprint": "ab12cd34ef"},
        "corpus": {"name": "text", "fingerprint": "0123456789"},
        "words": n_words,
    }
    tokens = zip((word.lower() for word in text), carried, strict=True)
    return Stage(name, collected, strongest.table(layer), manifest, tag_table(Counter(tokens)))


def story() -> list[Stage]:
    """Four stages of 60 neurons with shared, avoided, gained and un-preferred ones in every step."""
    words = vocabulary(400)
    return [
        stage_of("epoch-01", words, n_neurons=60, silent=range(9), seed=1),
        stage_of("epoch-48", words, n_neurons=60, silent=range(4, 12), seed=2),
        stage_of("zero-shot", words, n_neurons=60, silent=range(8, 20), seed=3),
        stage_of("sup", words, n_neurons=60, silent=range(15, 40), rare=(8,), seed=4, classifier=True),
    ]
