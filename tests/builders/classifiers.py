"""Models with a task, and documents for them."""

from __future__ import annotations

import numpy as np
import torch
from benchmarks.evidence.pruning import SyntheticClassifier
from torch import Tensor, nn

from tests.builders.text_models import SIZE, letter_pieces, seeded, word_ids
from txray import Corpus, Document, TextModel
from txray.models import RecurrentLanguageModel, SentimentClassifier, classifier, language_model
from txray.models.vocabulary import Vocabulary

WORDS = ("good", "bad", "film", "the", "plot", "was", "it", "fine", "poor")


def reviews(n: int = 40, seed: int = 0, classes: tuple[str, ...] = ("neg", "pos")) -> Corpus:
    """Documents of different length with a label each."""
    random = np.random.default_rng(seed)
    return Corpus.from_documents(
        f"reviews-{seed}",
        [
            Document(
                f"{seed}-{i}",
                tuple(random.choice(WORDS, random.integers(2, 15)).tolist()),
                labels={"label": classes[i % len(classes)]},
            )
            for i in range(n)
        ],
    )


def recurrent_classifier(hidden: int = 12, seed: int = 0) -> SentimentClassifier:
    return classifier(recurrent_model(hidden, seed), seed=seed)


def recurrent_model(hidden: int = 12, seed: int = 0) -> RecurrentLanguageModel:
    model = language_model(
        "lstm", Vocabulary(("<unk>", "<eos>", *WORDS)), embedding=6, hidden=hidden, seed=seed
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


class Tagged(nn.Module):
    """Embeddings, a hidden layer, and a head over the mean (classes) or over every position (next word)."""

    def __init__(self, outputs: int = 2, pooled: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.hidden = nn.Linear(6, 9)
        self.act = nn.Tanh()
        self.head = nn.Linear(9, outputs)
        self.pooled = pooled

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.act(self.hidden(self.embedding(ids)))
        if self.pooled:
            hidden = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        logits: Tensor = self.head(hidden)
        return logits


def with_mask(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    return module(ids, mask)


def text_classifier(classes: tuple[str, ...] = ("neg", "pos"), **options: object) -> TextModel:
    module = seeded(lambda: Tagged(len(classes)))  # type: ignore[arg-type]
    return TextModel(module, letter_pieces, with_mask, task="classification", classes=classes, **options)  # type: ignore[arg-type]


def text_predictor(**options: object) -> TextModel:
    module = seeded(lambda: Tagged(SIZE, pooled=False))  # type: ignore[arg-type]
    return TextModel(module, word_ids, with_mask, task="next-word", **options)  # type: ignore[arg-type]


def synthetic_classifier() -> SyntheticClassifier:
    return SyntheticClassifier.create()
