"""Small documents, models, and a direct computation of what collect must find."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from txray.corpus import Corpus, Document
from txray.models import RecurrentLanguageModel, RecurrentModel, language_model
from txray.preferences import fold_of

WORDS = [
    "the",
    "river",
    "flows",
    "past",
    "an",
    "old",
    "mill",
    "and",
    "the",
    "miller",
    "sleeps",
    "while",
    "the",
    "film",
    "begins",
    "again",
    "today",
]


def documents(n: int = 30, seed: int = 0) -> list[Document]:
    """Documents of very different lengths, some with words that no model knows."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        words = tuple(str(word) for word in rng.choice([*WORDS, "Zebra", "THE"], size=rng.integers(1, 40)))
        made.append(
            Document(
                f"d{seed}/{i}",
                words,
                {"pos": tuple("DT" if word.lower() in ("the", "an") else "NN" for word in words)},
                {"label": "pos" if i % 2 else "neg"},
            )
        )
    return made


def corpus_of(made: list[Document]) -> Corpus:
    """A corpus in memory."""
    return Corpus.from_documents("test", made)


def small_model(cell: str = "lstm", **options: int) -> RecurrentLanguageModel:
    """An untrained model that knows the common words."""
    known = Corpus.from_documents("known", [Document("k", tuple(WORDS))])
    model = language_model(cell, known, embedding=8, hidden=16, seed=1, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        # Fresh embeddings are so small that one neuron would win nearly every word.
        model.embedding.weight.mul_(20)
    return model


def direct(model: RecurrentModel, made: list[Document]) -> dict[tuple[int, int, str], list[float]]:
    """Winning activations per (fold, neuron, token), one document at a time, without hooks or batches."""
    found: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    with torch.inference_mode():
        for document in made:
            ids = torch.tensor([model.encode(document.words)])
            outputs, _ = model.rnn(model.embedding(ids))
            for word, activation in zip(document.words, outputs[0, 1:-1], strict=True):
                value, neuron = activation.max(dim=0)
                form = model.vocabulary.form(word)
                if value > 0:
                    found[fold_of(document, 16), int(neuron), form].append(float(value))
    return found
