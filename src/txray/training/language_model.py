"""Training of language models: truncated back-propagation through a stream of documents."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import Tensor

from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.fingerprint import model_fingerprint
from txray.models.recurrent import HiddenState, RecurrentLanguageModel, detached
from txray.training.cross_entropy import next_word_loss
from txray.training.learner import Learner, Schedule, Scores
from txray.training.loop import run_training
from txray.training.run import TrainingRun
from txray.training.stream import IGNORED, Lanes, TokenStream

# Scoring reads in lanes too. A lane starts without context, so lanes are long, and their number
# depends on the text alone: the batch size does not change a score.
_WORDS_PER_LANE = 1_000
_MOST_LANES = 64
_WINDOW = 64


def train_language_model(
    model: RecurrentLanguageModel,
    train: Corpus,
    validation: Corpus,
    test: Corpus | None = None,
    *,
    folder: Path | str,
    epochs: int,
    batch_size: int = 20,
    bptt: int = 35,
    learning_rate: float = 2e-3,
    clip: float = 0.25,
    patience: int | None = None,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
) -> TrainingRun:
    """Train a language model; each epoch, the untrained model included, is kept as a snapshot and scored.

    The documents form one stream, `<eos> d1 <eos> d2 <eos> ... dn <eos>`, cut into `batch_size` lanes that
    are read side by side; the state is carried from window to window and starts afresh with each epoch.
    Scores are nats per word, and perplexity is their exponential, where every word and the `<eos>`
    of every document counts once. The split `train` is scored, without dropout, on as much of its
    beginning as there is validation text.

    The same call on the same folder goes on where an interrupted run stopped and ends with the same
    bytes (on a CPU, with the same number of threads); with more `epochs` it goes on from a finished run.

    Args:
        model: the untrained model; it stays as it is.
        train: text to learn from; read once.
        validation: text that the learning rate, the best epoch and patience depend on; read once.
        test: text that is only scored.
        folder: for snapshots `epoch-000`, `epoch-001`, ..., `curves.parquet` and `run.json`.
        epochs: at most.
        batch_size: lanes.
        bptt: steps that gradients go back.
        learning_rate: of Adam; a quarter of it after each epoch without a better validation loss.
        clip: largest norm of the gradient.
        patience: stop after so many epochs without a better validation loss; None: never.
        seed: of dropout.
        device: `auto`, `cpu` or `cuda`.
        callbacks: of Lightning, called once an epoch is complete on the disk, such as
            `txray.tracking.LightningCallback`.

    Returns:
        The run; `curves` has the columns epoch, split, loss, perplexity.

    Raises:
        UsageError: a number that cannot be, or `folder` belongs to another run.
        CorpusError: a corpus is empty or cannot be read.
        SnapshotError: `folder` is damaged.
        OutputError: `folder` cannot be written.
        TxrayError: the loss is no longer a number.

    Source:
        Rethmeier et al. 2020, section 3 (pretraining; 50 epochs on WikiText-2).
    """
    for name, value in (("batch_size", batch_size), ("bptt", bptt)):
        if value < 1:
            raise UsageError(f"train_language_model: {name}={value}; it must be at least 1")
    schedule = Schedule(epochs, learning_rate, clip, patience, seed)
    corpora = {"train": train, "validation": validation, "test": test}
    streams = {
        split: TokenStream.of(corpus, model.vocabulary)
        for split, corpus in corpora.items()
        if corpus is not None
    }
    settings = {
        "kind": "language-model",
        "model": model.config.as_json(),
        "vocabulary": model.vocabulary.fingerprint,
        "weights": model_fingerprint(model),
        "text": {split: stream.fingerprint for split, stream in streams.items()},
        "batch_size": batch_size,
        "bptt": bptt,
    }
    facts = {
        split: {
            "words": stream.words,
            "documents": stream.documents,
            "unknown_share": stream.unknown / stream.words,
        }
        for split, stream in streams.items()
    }
    learner = _LanguageModelLearner(copy.deepcopy(model), streams, batch_size, bptt, learning_rate)
    return run_training(
        learner,
        Path(folder),
        schedule,
        device=device,
        settings=settings,
        facts=facts,
        callbacks=callbacks,
    )


def language_model_loss(model: RecurrentLanguageModel, corpus: Corpus) -> float:
    """Nats per word of a corpus, each document's `<eos>` included; perplexity is its exponential.

    Args:
        model: on any device; it is scored without dropout and left as it was.
        corpus: read once, as one stream.

    Raises:
        CorpusError: the corpus is empty or cannot be read.
    """
    training = model.training
    model.eval()
    try:
        return _stream_loss(model, TokenStream.of(corpus, model.vocabulary).ids)
    finally:
        model.train(training)


class _LanguageModelLearner(Learner):
    model: RecurrentLanguageModel

    def __init__(
        self,
        model: RecurrentLanguageModel,
        streams: dict[str, TokenStream],
        batch_size: int,
        bptt: int,
        learning_rate: float,
    ) -> None:
        super().__init__(model, learning_rate)
        self._lanes = Lanes.of(streams["train"].ids, batch_size)
        self._bptt = bptt
        self._scored = {split: stream.ids for split, stream in streams.items()}
        self._scored["train"] = streams["train"].ids[: len(streams["validation"].ids)]
        self._state: HiddenState | None = None

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self._lanes.windows(self._bptt)

    def batch_count(self) -> int:
        return self._lanes.count(self._bptt)

    def words_of(self, batch: tuple[Tensor, Tensor]) -> int:
        return batch[0].numel()

    def words_per_epoch(self) -> int:
        return self._lanes.inputs.numel()

    def on_train_epoch_start(self) -> None:
        self._state = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss, state, _ = _window_loss(self.model, batch, self._state)
        self._state = detached(state)
        return loss

    def scores(self) -> Scores:
        losses = {split: _stream_loss(self.model, ids) for split, ids in self._scored.items()}
        return {
            split: {"loss": loss, "perplexity": math.exp(min(loss, 700.0))} for split, loss in losses.items()
        }


def _window_loss(
    model: RecurrentLanguageModel, window: tuple[Tensor, Tensor], state: HiddenState | None
) -> tuple[Tensor, HiddenState, int]:
    """Mean nats per word of one window, the state after it, and the number of words."""
    inputs, targets = window
    outputs, state = model.hidden_states(inputs, state)
    used = targets != IGNORED
    right = targets[used]
    loss = next_word_loss(model.dropout(outputs)[used], model.decoder.weight, model.decoder.bias, right)
    return loss, state, len(right)


@torch.no_grad()
def _stream_loss(model: RecurrentLanguageModel, ids: Tensor) -> float:
    """Mean nats per word of a stream; each of its positions but the first is predicted once."""
    device = model.embedding.weight.device
    lanes = Lanes.of(ids, min(_MOST_LANES, max(1, len(ids) // _WORDS_PER_LANE)))
    state: HiddenState | None = None
    total, words = 0.0, 0
    for inputs, targets in lanes.windows(_WINDOW):
        loss, state, count = _window_loss(model, (inputs.to(device), targets.to(device)), state)
        total += loss.item() * count
        words += count
    return total / words
