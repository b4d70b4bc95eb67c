"""Training of sentiment classifiers on a pretrained encoder with frozen embeddings."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.metrics import auroc, f1_score
from txray.models import SentimentClassifier
from txray.models.fingerprint import model_fingerprint
from txray.training._lightning import pl
from txray.training.loop import run_training
from txray.training.module import Metrics, TrainConfig, TrainingModule
from txray.training.reviews import Batch, Reviews
from txray.training.run import TrainingRun

_EVALUATION_BATCH = 64


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
    callbacks: Sequence[pl.Callback] = (),
    max_length: int = 400,
) -> TrainingRun:
    """Fine-tune a classifier; each epoch, including the initial model, is evaluated and stored as a snapshot.

    The embeddings are frozen; the recurrent layer and the head are trained with binary cross-entropy. Documents are
    truncated to their first `max_length` words in training and evaluation; `facts` counts those that were. The split
    `train` is evaluated, without dropout, on an even sample of the size of the validation text.

    If interrupted, the same call on the same folder resumes and ends with the same bytes (on a CPU, with the same
    number of threads). With more `epochs` it continues a finished run.

    Args:
        model: the initial model, see `txray.models.classifier`; it is not changed.
        train: documents with the label `label`, `pos` or `neg`, in any order; read once.
        validation: documents that determine the learning rate, the best epoch and early stopping; read once.
        test: documents that are only evaluated.
        folder: folder for the snapshots `epoch-000`, `epoch-001`, ..., `curves.parquet` and `run.json`.
        epochs: maximum number of epochs.
        batch_size: documents per step, of similar length.
        learning_rate: initial learning rate of Adam; divided by 4 after each epoch without a better validation loss.
        clip: maximum gradient norm.
        patience: number of epochs without a better validation loss after which training stops; None: no early stopping.
        seed: random seed of the order of the batches and of dropout.
        device: `auto`, `cpu` or `cuda`.
        callbacks: Lightning callbacks, called after an epoch is stored on disk, such as
            `txray.tracking.LightningCallback`.
        max_length: maximum number of words per document.

    Returns:
        The run; `curves` has the columns epoch, split, loss (nats per document), accuracy, f1 (of `pos`, at a
        probability of 0.5) and auroc, from 0 to 1.

    Raises:
        UsageError: a number is out of range, `folder` belongs to another run, or the extra `train` is missing.
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
    config = TrainConfig(epochs, learning_rate, clip, patience, seed)
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
    module = _ClassifierModule(copy.deepcopy(model), reviews, batch_size, learning_rate, seed)
    return run_training(
        module, Path(folder), config, device=device, settings=settings, facts=facts, callbacks=callbacks
    )


class _ClassifierModule(TrainingModule):
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
        self._evaluated = {**reviews, "train": self._train.sample(len(reviews["validation"]))}

    def batches(self, epoch: int) -> Iterator[Batch]:
        return self._train.shuffled_batches(self._batch_size, (self._seed, epoch))

    def batch_count(self) -> int:
        return self._train.batch_count(self._batch_size)

    def count_words(self, batch: Batch) -> int:
        return int(batch[1].sum()) - 2 * len(batch[1])

    def words_per_epoch(self) -> int:
        return self._train.words

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        ids, lengths, positive = batch
        return functional.binary_cross_entropy_with_logits(self.model(ids, lengths), positive)

    def evaluate(self) -> Metrics:
        return {split: self._metrics(reviews) for split, reviews in self._evaluated.items()}

    def _metrics(self, reviews: Reviews) -> dict[str, float]:
        device = self.model.head.weight.device
        batches = [
            (self.model(ids.to(device), lengths.to(device)).cpu(), positive)
            for ids, lengths, positive in reviews.batches(_EVALUATION_BATCH)
        ]
        logits, target = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        probability, positive = logits.sigmoid().numpy(), target.numpy() > 0
        predicted, once = probability > 0.5, np.ones((1, len(positive)))
        return {
            "loss": functional.binary_cross_entropy_with_logits(logits.double(), target.double()).item(),
            "accuracy": float((predicted == positive).mean()),
            "f1": float(f1_score(predicted, positive, once)[0]),
            # A sample of the training text may have one class only.
            "auroc": float(np.nan_to_num(auroc(probability, positive, once)[0])),
        }
