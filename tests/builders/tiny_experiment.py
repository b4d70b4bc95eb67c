"""An experiment small enough for a unit test."""

from __future__ import annotations

from dataclasses import replace

from txray.experiment import Settings, preset

TINY: Settings = replace(
    preset("demo"),
    embedding=12,
    hidden=20,
    vocabulary_size=400,
    pretraining_words=4_000,
    evaluation_words=600,
    epochs=3,
    batch_size=8,
    training_reviews=40,
    validation_reviews=20,
    test_reviews=20,
    classifier_epochs=2,
    collection_words=3_000,
    pruning_reviews=16,
    curve_reviews=12,
    random_sets=3,
)
