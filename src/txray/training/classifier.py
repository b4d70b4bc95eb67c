"""Training of sentiment classifiers upon a pretrained encoder with frozen embeddings."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import binary_accuracy, binary_auroc, binary_f1_score

from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models import SentimentClassifier
from txray.models.fingerprint import model_fingerprint
from txray.training.learner import Learner, Schedule, Scores
from txray.training.loop import run_training
from txray.training.reviews import Batch, Reviews
from txray.training.run import TrainingRun

_SCORING_BATCH = 64


def train_classifier(
    model: SentimentClassifier,
    train: Corpus,
    validation: Corpus,
    test: Corpus | None = None,
    *,
    folder: Path | str,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    clip: float = 1.0,
    patience: int | None = None,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    max_length: int = 400,
) -> TrainingRun:
    """Tune a classifier; each epoch, the untuned model included, is kept as a snapshot and scored.

    The embeddings stay frozen; the recurrent layer and the head learn, by binary cross-entropy. Of
    longer documents the first `max_length` words count, in training and in scoring alike; `facts` tell how
    many were cut. The split `train` is scored, without dropout, on as many documents, spread
    over all of them, as there are for validation.

    The same call on the same folder goes on where an interrupted run stopped and ends with the same
    bytes (on a CPU, with the same number of threads); with more `epochs` it goes on from a finished run.

    Args:
        model: the untuned model, see `txray.models.classifier`; it stays as it is.
        train: documents with the label `label`, `pos` or `neg`, in any order; read once.
        validation: documents that the learning rate, the best epoch and patience depend on; read once.
        test: documents that are only scored.
        folder: for snapshots `epoch-000`, `epoch-001`, ..., `curves.parquet` and `run.json`.
        epochs: at most.
        batch_size: documents per step, of similar length.
        learning_rate: of Adam; a quarter of it after each epoch without a better validation loss.
        clip: largest norm of the gradient.
        patience: stop after so many epochs without a better validation loss; None: never.
        seed: of the order of the batches and of dropout.
        device: `auto`, `cpu` or `cuda`.
        callbacks: of Lightning, called once an epoch is complete on the disk, such as
            `txray.tracking.LightningCallback`.
        max_length: words kept of each document.

    Returns:
        The run; `curves` has the columns epoch, split, loss (nats per document), accuracy, f1 (of `pos`, at a
        probability of one half) and auroc (of the probabilities), from 0 to 1.

    Raises:
        UsageError: a number that cannot be, or `folder` belongs to another run.
        CorpusError: a document has no label `pos` or `neg`, one class is missing, or a corpus cannot be read.
        SnapshotError: `folder` is damaged.
        OutputError: `folder` cannot be written.
        TxrayError: the loss is no longer a number.

    Source:
        Rethmeier et al. 2020, section 3 (supervision).
    """
    for name, value in (("batch_size", batch_size), ("max_length", max_length)):
        if value < 1:
            raise UsageError(f"train_classifier: {name}={value}; it must be at least 1")
    schedule = Schedule(epochs, learning_rate, clip, patience, seed)
    corpora = {"train": train, "validation": validation, "test": test}
    reviews = {
        split: Reviews.of(corpus, model, max_length)
        for split, corpus in corpora.items()
        if corpus is not None
    }
    settings = {
        "kind": "sentiment-classifier",
        "model": {**model.config.as_json(), "pooling": model.pooling},
        "vocabulary": model.vocabulary.fingerprint,
        "weights": model_fingerprint(model),
        "text": {split: documents.fingerprint for split, documents in reviews.items()},
        "batch_size": batch_size,
        "max_length": max_length,
    }
    facts = {
        split: {
            "words": documents.words,
            "documents": len(documents),
            "documents_cut": documents.cut,
            "unknown_share": documents.unknown / documents.words,
        }
        for split, documents in reviews.items()
    }
    learner = _ClassifierLearner(copy.deepcopy(model), reviews, batch_size, learning_rate, seed)
    return run_training(
        learner,
        Path(folder),
        schedule,
        device=device,
        settings=settings,
        facts=facts,
        callbacks=callbacks,
    )


class _ClassifierLearner(Learner):
    model: SentimentClassifier

    def __init__(
        self,
        model: SentimentClassifier,
        reviews: dict[str, Reviews],
        batch_size: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        super().__init__(model, learning_rate)
        model.embedding.requires_grad_(False)
        self._train = reviews["train"]
        self._batch_size = batch_size
        self._seed = seed
        self._scored = {**reviews, "train": self._train.sample(len(reviews["validation"]))}

    def batches(self, epoch: int) -> Iterator[Batch]:
        return self._train.shuffled_batches(self._batch_size, (self._seed, epoch))

    def batch_count(self) -> int:
        return self._train.batch_count(self._batch_size)

    def words_of(self, batch: Batch) -> int:
        return int(batch[1].sum()) - 2 * len(batch[1])

    def words_per_epoch(self) -> int:
        return self._train.words

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        ids, lengths, positive = batch
        return functional.binary_cross_entropy_with_logits(self.model(ids, lengths), positive)

    def scores(self) -> Scores:
        return {split: self._scores(reviews) for split, reviews in self._scored.items()}

    def _scores(self, reviews: Reviews) -> dict[str, float]:
        device = self.model.head.weight.device
        pieces = [
            (self.model(ids.to(device), lengths.to(device)).cpu(), positive)
            for ids, lengths, positive in reviews.batches(_SCORING_BATCH)
        ]
        logits, positive = (torch.cat(each) for each in zip(*pieces, strict=True))
        probability, target = logits.sigmoid(), positive.int()
        return {
            "loss": functional.binary_cross_entropy_with_logits(logits.double(), positive.double()).item(),
            "accuracy": binary_accuracy(probability, target).item(),
            "f1": binary_f1_score(probability, target).item(),
            "auroc": binary_auroc(probability, target).item(),
        }
