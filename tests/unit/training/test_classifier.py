from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.builders.training_texts import RING, VOCABULARY, bytes_of, model, reviews
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CorpusError, UsageError
from txray.models import SentimentClassifier, classifier, load_model
from txray.models.fingerprint import model_fingerprint
from txray.training import TrainingRun, train_classifier
from txray.training.classifier import _ClassifierModule
from txray.training.reviews import Reviews

TRAIN, VALIDATION, TEST = (
    reviews("train", 120, 0),
    reviews("validation", 40, 1),
    reviews("test", 30, 2, noise=0.2),
)


def start(pooling: Any = "last+avg+max") -> SentimentClassifier:
    encoder = model(dropout=0.1)
    with torch.no_grad():
        encoder.embedding.weight.mul_(10)  # words as far apart as pretraining would move them
    return classifier(encoder, pooling)


def contrary(corpus: Corpus) -> Corpus:
    """The same documents with the other label each."""
    other = {"neg": "pos", "pos": "neg"}
    texts = [Document(d.id, d.words, labels={"label": other[d.labels["label"]]}) for d in corpus]
    return Corpus.from_documents("contrary", texts)


def train(folder: Path, **options: Any) -> TrainingRun:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.02,
        "device": "cpu",
        "max_length": 15,
        **options,
    }
    return train_classifier(start(), TRAIN, VALIDATION, TEST, folder=folder, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return train(tmp_path_factory.mktemp("classifier") / "run", epochs=6)


def scores_by_hand(trained: SentimentClassifier, corpus: list[Document]) -> dict[str, float]:
    """One document at a time; the metrics from their definitions."""
    pairs = []
    for document in corpus:
        ids = [1, *(VOCABULARY.words.index(word) for word in document.words[:15]), 1]
        with torch.no_grad():
            logit = trained(torch.tensor([ids]), torch.tensor([len(ids)])).item()
        pairs.append((1 / (1 + math.exp(-logit)), document.labels["label"] == "pos"))
    right = sum((probability > 0.5) == label for probability, label in pairs)
    true_positive = sum(probability > 0.5 and label for probability, label in pairs)
    wrong = len(pairs) - right
    ordered = [
        1.0 if good > bad else 0.5 if good == bad else 0.0
        for good, label in pairs
        if label
        for bad, other in pairs
        if not other
    ]
    nats = [-math.log(probability if label else 1 - probability) for probability, label in pairs]
    return {
        "loss": float(np.mean(nats)),
        "accuracy": right / len(pairs),
        "f1": 2 * true_positive / (2 * true_positive + wrong) if true_positive else 0.0,
        "auroc": float(np.mean(ordered)),
    }


@pytest.mark.parametrize("epoch", [0, 1, 6])
def test_scores_are_those_of_the_definitions(finished: TrainingRun, epoch: int) -> None:
    trained = load_model(finished.snapshots[epoch])
    assert isinstance(trained, SentimentClassifier)
    rows = finished.curves.filter(pl.col("epoch") == epoch)
    train_documents = list(TRAIN)
    texts = {
        "train": [train_documents[round(place)] for place in np.linspace(0, 119, 40)],
        "validation": list(VALIDATION),
        "test": list(TEST),
    }
    for split, documents in texts.items():
        (row,) = rows.filter(split=split).drop("epoch", "split").to_dicts()
        assert row == pytest.approx(scores_by_hand(trained, documents), rel=1e-4), split


def test_curves_and_snapshots_cover_every_epoch_and_split(finished: TrainingRun) -> None:
    assert finished.curves.columns == ["epoch", "split", "loss", "accuracy", "f1", "auroc"]
    assert finished.curves.select("epoch", "split").rows() == [
        (epoch, split) for epoch in range(7) for split in ("train", "validation", "test")
    ]
    assert sorted(finished.snapshots) == list(range(7))
    assert model_fingerprint(load_model(finished.snapshots[0])) == model_fingerprint(start())


def test_learns_to_tell_praise_from_blame(finished: TrainingRun) -> None:
    found = finished.curves.filter(split="validation").sort("epoch")
    assert found["auroc"][0] < 0.8
    assert found["accuracy"][-1] > 0.9
    assert found["f1"][-1] > 0.9
    assert finished.best_epoch == found["loss"].arg_min()


def test_learns_with_the_last_state_alone(tmp_path: Path) -> None:
    run = train_classifier(
        start("last"),
        TRAIN,
        VALIDATION,
        folder=tmp_path / "run",
        epochs=12,
        batch_size=8,
        learning_rate=0.02,
        device="cpu",
    )
    assert run.curves.filter(split="validation")["accuracy"].max() > 0.9


def test_embeddings_stay_frozen_while_encoder_and_head_learn(finished: TrainingRun) -> None:
    before, after = (load_model(finished.snapshots[epoch]).state_dict() for epoch in (0, 6))
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name == "embedding.weight"), name


def test_facts_tell_how_much_was_cut_and_unknown(tmp_path: Path, finished: TrainingRun) -> None:
    kept = [document.words[:15] for document in TRAIN]
    assert finished.facts["train"] == {
        "documents": 120,
        "words": sum(map(len, kept)),
        "documents_cut": sum(len(document.words) > 15 for document in TRAIN),
        "unknown_share": 0.0,
    }
    assert 0 < finished.facts["train"]["documents_cut"] < 120
    words = Corpus.from_documents(
        "t",
        [
            Document("1", ("a", "zz", "zz", "yy"), labels={"label": "pos"}),
            Document("2", ("b", "c"), labels={"label": "neg"}),
        ],
    )
    run = train_classifier(
        start(), words, VALIDATION, folder=tmp_path / "run", epochs=1, device="cpu", max_length=3
    )
    assert run.facts["train"] == {"documents": 2, "words": 5, "documents_cut": 1, "unknown_share": 2 / 5}


def test_words_beyond_the_length_do_not_matter(tmp_path: Path, finished: TrainingRun) -> None:
    def altered(corpus: Corpus) -> Corpus:
        texts = [Document(d.id, (*d.words[:15], *["h"] * len(d.words[15:])), labels=d.labels) for d in corpus]
        return Corpus.from_documents(corpus.name, texts)

    run = train_classifier(
        start(),
        altered(TRAIN),
        altered(VALIDATION),
        altered(TEST),
        folder=tmp_path / "run",
        epochs=6,
        batch_size=8,
        learning_rate=0.02,
        device="cpu",
        max_length=15,
    )
    assert bytes_of(run.folder) == bytes_of(finished.folder)


def test_every_document_is_in_one_batch_of_an_epoch_and_epochs_differ() -> None:
    documents = Reviews.of(TRAIN, start(), 100)
    expected = sorted(
        (tuple(ids.tolist()), float(positive))
        for ids, positive in zip(documents.ids, documents.positive, strict=True)
    )
    orders = []
    for epoch in (1, 2):
        seen, waste, total = [], 0, 0
        batches = list(documents.shuffled_batches(7, (0, epoch)))
        assert len(batches) == documents.batch_count(7) == 18
        for ids, lengths, positive in batches:
            assert len(ids) <= 7
            assert ids.shape[1] == lengths.max()
            waste += int((ids.shape[1] - lengths).sum())
            total += ids.numel()
            seen += [
                (tuple(row[:length].tolist()), float(label))
                for row, length, label in zip(ids, lengths, positive, strict=True)
            ]
        assert sorted(seen) == expected
        assert waste / total < 0.1, "documents of a batch are alike in length"
        orders.append(seen)
    assert orders[0] != orders[1]
    assert orders[0] == [
        (tuple(row[:length].tolist()), float(label))
        for ids, lengths, positive in documents.shuffled_batches(7, (0, 1))
        for row, length, label in zip(ids, lengths, positive, strict=True)
    ]


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    documents = {"train": Reviews.of(TRAIN, start(), 100), "validation": Reviews.of(VALIDATION, start(), 100)}
    orders = set()
    for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1)):
        module = _ClassifierModule(start(), documents, batch_size=7, learning_rate=0.1, seed=seed)
        orders.add(tuple(tuple(ids.flatten().tolist()) for ids, _, _ in module.batches(epoch)))
    assert len(orders) == 3


def test_patience_stops(tmp_path: Path) -> None:
    run = train_classifier(
        start(),
        TRAIN,
        contrary(VALIDATION),
        folder=tmp_path / "run",
        epochs=20,
        patience=2,
        batch_size=8,
        learning_rate=0.02,
        device="cpu",
    )
    losses = run.curves.filter(split="validation").sort("epoch")["loss"].to_list()
    assert run.best_epoch == losses.index(min(losses))
    assert len(losses) == run.best_epoch + 3 < 21


def test_leaves_model_and_random_state_alone(tmp_path: Path) -> None:
    given = start()
    before, state = model_fingerprint(given), torch.get_rng_state()
    train_classifier(given, TRAIN, VALIDATION, folder=tmp_path / "run", epochs=1, device="cpu")
    assert model_fingerprint(given) == before
    assert all(parameter.requires_grad for parameter in given.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("labels", [{}, {"label": "good"}, {"label": "1"}, {"rating": "pos"}])
def test_names_a_document_without_a_usable_label(tmp_path: Path, labels: dict[str, str]) -> None:
    texts = [*TRAIN, Document("odd-one", RING, labels=labels)]
    with pytest.raises(
        CorpusError,
        match=r"corpus 'bad': document 'odd-one' has label .*; a classifier needs one of neg, pos",
    ):
        train_classifier(
            start(),
            Corpus.from_documents("bad", texts),
            VALIDATION,
            folder=tmp_path / "run",
            epochs=1,
            device="cpu",
        )
    assert not (tmp_path / "run").exists()


def test_refuses_texts_of_one_class(tmp_path: Path) -> None:
    praise = TRAIN.select(lambda document: document.labels["label"] == "pos", name="praise")
    with pytest.raises(CorpusError, match="corpus 'train/praise': all 60 documents have label 'pos'"):
        train_classifier(start(), praise, VALIDATION, folder=tmp_path / "run", epochs=1, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epochs": 0}, "epochs=0"), ({"batch_size": 0}, "batch_size=0"), ({"max_length": 0}, "max_length=0")],
)
def test_refuses_numbers_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(tmp_path / "run", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_length": 14}, "the text of 'test' differs|max_length=15"), ({"batch_size": 9}, "batch_size=8")],
)
def test_refuses_a_folder_with_other_settings(
    finished: TrainingRun, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(finished.folder, epochs=6, **options)


def test_refuses_another_pooling(finished: TrainingRun) -> None:
    with pytest.raises(UsageError, match=r"pooling='last.avg.max' \(requested: 'last'\)"):
        train_classifier(
            start("last"),
            TRAIN,
            VALIDATION,
            TEST,
            folder=finished.folder,
            epochs=6,
            batch_size=8,
            learning_rate=0.02,
            device="cpu",
            max_length=15,
        )
