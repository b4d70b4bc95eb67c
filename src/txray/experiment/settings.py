"""Settings of an experiment, and the presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from txray.errors import UnknownNameError, UsageError
from txray.models.recurrent import Cell
from txray.models.sentiment import Pooling


@dataclass(frozen=True)
class Settings:
    """Settings of an experiment.

    Attributes:
        preset: name of the preset that the settings are based on.
        cell, embedding, hidden, dropout, vocabulary_size: settings of the language model.
        shared_vocabulary: whether the vocabulary includes the words of the training reviews, so that the model reads
            them (with untrained embeddings) instead of `<unk>`.
        pretraining_words: words of pretraining text; None for all.
        evaluation_words: words of validation and of test text for the language model; None for all.
        epochs, batch_size, bptt, learning_rate, patience: settings of pretraining.
        training_reviews, validation_reviews, test_reviews: number of reviews for the classifier; None for all.
        classifier_epochs, classifier_learning_rate, classifier_patience, max_length: settings of fine-tuning;
            reviews are truncated to `max_length` words.
        pooling: input of the classifier's head; the paper's is `last`.
        collection_words: words of each corpus for collecting preferences.
        timeline_epochs: maximum number of epochs of pretraining in the timeline, evenly spaced.
        permutations: maximum number of permutations per neuron.
        pruning_reviews, curve_reviews: number of reviews that pruned classifiers are scored on: of each split for sets
            of neurons, and of the test split for sparsity curves.
        random_sets: number of random sets of each size, to compare with.
        seed: random seed.

    Raises:
        UsageError: a number that must be positive is not, or fewer than two random sets.
    """

    preset: str
    cell: Cell = "lstm"
    embedding: int = 300
    hidden: int = 1500
    dropout: float = 0.2
    vocabulary_size: int | None = None
    shared_vocabulary: bool = False
    pretraining_words: int | None = None
    evaluation_words: int | None = None
    epochs: int = 50
    batch_size: int = 20
    bptt: int = 35
    learning_rate: float = 2e-3
    patience: int | None = None
    training_reviews: int | None = None
    validation_reviews: int | None = None
    test_reviews: int | None = None
    classifier_epochs: int = 10
    classifier_learning_rate: float = 1e-3
    classifier_patience: int | None = 2
    max_length: int = 400
    pooling: Pooling = "last"
    collection_words: int = 400_000
    timeline_epochs: int = 13
    permutations: int = 10_000
    pruning_reviews: int = 5_000
    curve_reviews: int = 1_000
    random_sets: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in self.as_json().items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and name not in ("seed", "dropout") and value <= 0:
                raise UsageError(f"experiment: {name}={value}; it must be positive")
        if self.random_sets < 2:
            raise UsageError(f"experiment: random_sets={self.random_sets}; give at least 2, such as 200")

    def as_json(self) -> dict[str, Any]:
        """Return all settings as plain JSON values."""
        return asdict(self)


PRESETS = {
    # The embedded corpus, in about two minutes on two cores.
    "demo": Settings(
        preset="demo",
        embedding=64,
        hidden=128,
        dropout=0.1,
        shared_vocabulary=True,
        pretraining_words=120_000,
        evaluation_words=10_000,
        epochs=6,
        learning_rate=4e-3,
        classifier_learning_rate=3e-3,
        training_reviews=800,
        validation_reviews=200,
        test_reviews=400,
        classifier_epochs=5,
        collection_words=60_000,
        pruning_reviews=200,
        curve_reviews=100,
        random_sets=20,
    ),
    # Real text, in about an hour and a half on two cores.
    "small": Settings(
        preset="small",
        embedding=300,
        hidden=300,
        dropout=0.3,
        vocabulary_size=10_000,
        pretraining_words=600_000,
        evaluation_words=60_000,
        epochs=12,
        patience=3,
        training_reviews=12_500,
        test_reviews=5_000,
        classifier_epochs=6,
        collection_words=400_000,
        pruning_reviews=2_000,
        random_sets=20,
    ),
    # The size of the paper; meant for a GPU.
    "paper": Settings(preset="paper"),
}


def preset(name: str) -> Settings:
    """Return the settings of a preset.

    Raises:
        UnknownNameError: an unknown preset.
    """
    if name not in PRESETS:
        raise UnknownNameError.of("preset", name, PRESETS)
    return PRESETS[name]
