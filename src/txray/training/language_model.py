"""Training of language models: truncated backpropagation through a stream of documents."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.fingerprint import model_fingerprint
from txray.models.recurrent import HiddenState, RecurrentLanguageModel, detached
from txray.training._lightning import pl
from txray.training.loop import run_training
from txray.training.module import Metrics, TrainConfig, TrainingModule
from txray.training.run import TrainingRun
from txray.training.stream import StreamBatches, TokenStream
from txray.training.stream_loss import stream_loss, window_loss


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
    callbacks: Sequence[pl.Callback] = (),
) -> TrainingRun:
    """Train a language model; each epoch, including the untrained model, is evaluated and stored as a snapshot.

    The documents form one stream, `<eos> d1 <eos> d2 <eos> ... dn <eos>`, cut into `batch_size` rows that are read in
    parallel. The hidden state is carried from window to window and reset at the start of each epoch. Losses are in nats
    per word, and perplexity is their exponential; every word and the `<eos>` of every document counts once. The split
    `train` is evaluated, without dropout, on its beginning, as long as the validation text.

    If interrupted, the same call on the same folder resumes and ends with the same bytes (on a CPU, with the same
    number of threads). With more `epochs` it continues a finished run.

    Args:
        model: the untrained model; it is not changed.
        train: training text; read once.
        validation: text that determines the learning rate, the best epoch and early stopping; read once.
        test: text that is only evaluated.
        folder: folder for the snapshots `epoch-000`, `epoch-001`, ..., `curves.parquet` and `run.json`.
        epochs: maximum number of epochs.
        batch_size: number of rows.
        bptt: number of time steps that gradients are propagated back.
        learning_rate: initial learning rate of Adam; divided by 4 after each epoch without a better validation loss.
        clip: maximum gradient norm.
        patience: number of epochs without a better validation loss after which training stops; None: no early stopping.
        seed: random seed of dropout.
        device: `auto`, `cpu` or `cuda`.
        callbacks: Lightning callbacks, called after an epoch is stored on disk, such as
            `txray.tracking.LightningCallback`.

    Returns:
        The run; `curves` has the columns epoch, split, loss, perplexity.

    Raises:
        UsageError: a number is out of range, `folder` belongs to another run, or the extra `train` is missing.
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
    config = TrainConfig(epochs, learning_rate, clip, patience, seed)
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
    module = _LanguageModelModule(copy.deepcopy(model), streams, batch_size, bptt, learning_rate)
    return run_training(
        module, Path(folder), config, device=device, settings=settings, facts=facts, callbacks=callbacks
    )


class _LanguageModelModule(TrainingModule):
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
        self._train = StreamBatches.of(streams["train"].ids, batch_size)
        self._bptt = bptt
        self._evaluated = {split: stream.ids for split, stream in streams.items()}
        self._evaluated["train"] = streams["train"].ids[: len(streams["validation"].ids)]
        self._state: HiddenState | None = None

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self._train.windows(self._bptt)

    def batch_count(self) -> int:
        return self._train.window_count(self._bptt)

    def count_words(self, batch: tuple[Tensor, Tensor]) -> int:
        return batch[0].numel()

    def words_per_epoch(self) -> int:
        return self._train.inputs.numel()

    def on_train_epoch_start(self) -> None:
        self._state = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss, state, _ = window_loss(self.model, batch, self._state)
        self._state = detached(state)
        return loss

    def evaluate(self) -> Metrics:
        losses = {split: stream_loss(self.model, ids) for split, ids in self._evaluated.items()}
        return {
            split: {"loss": loss, "perplexity": math.exp(min(loss, 700.0))} for split, loss in losses.items()
        }
