"""How a model reads documents: ids in, one window of activations after the other out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.capture.batching import Encoded
from txray.errors import UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier

_WINDOW = 2048
"""Time steps of one call of a recurrent layer; longer documents carry their state on."""

_DECODED = 2048
"""Positions decoded at a time: the logits over a 33k vocabulary are then 270 MB."""


@dataclass(frozen=True, eq=False)
class Window:
    """What one forward pass over part of a batch covers, as flat lists of words.

    Attributes:
        row: (n,) which document of the batch.
        position: (n,) which word of that document, from 0.
        place: (n,) where the word's activations lie in (documents * time, neurons).
        outputs: (n,) the model's output at each word; None where not asked for.
        probability: (n_documents,) of the class `pos`; None where the model is no classifier.
    """

    row: NDArray[np.int64]
    position: NDArray[np.int64]
    place: NDArray[np.int64]
    outputs: list[str] | None
    probability: NDArray[np.float64] | None


class Reader(Protocol):
    """How one kind of model reads documents."""

    def encode(self, words: Sequence[str]) -> list[int]:
        """Input ids of a document."""

    def forms(self, words: Sequence[str]) -> list[str]:
        """(n_words,) the words as the model sees them, lower-cased; `<unk>` for those it does not know."""

    def windows(self, batch: list[Encoded]) -> Iterator[Window]:
        """Run the model over a batch; the captured layers hold a window's activations when it is yielded."""


class RecurrentReader:
    """Reads for the word-level recurrent language models and classifiers.

    A document is `<eos> w1 ... wn <eos>`; the two ends are read and never counted.
    """

    def __init__(self, model: RecurrentModel, *, outputs: bool) -> None:
        """Read for `model`.

        Args:
            model: a language model or classifier.
            outputs: whether the model's outputs are wanted; a language model's decoder costs a multiple
                of its recurrent layer, so it runs only then.
        """
        self._model = model
        self._outputs = outputs
        self._words = np.array([word.lower() for word in model.vocabulary.words], dtype=object)

    def encode(self, words: Sequence[str]) -> list[int]:
        """Input ids of a document, with `<eos>` at both ends."""
        return self._model.encode(words)

    def forms(self, words: Sequence[str]) -> list[str]:
        """(n_words,) the words as the model sees them, lower-cased."""
        form = self._model.vocabulary.form
        return [form(word).lower() for word in words]

    def windows(self, batch: list[Encoded]) -> Iterator[Window]:
        """Run the model over a batch, window by window."""
        device = next(self._model.parameters()).device
        lengths = np.array([len(encoded.ids) for encoded in batch])
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(encoded.ids) for encoded in batch], batch_first=True
        ).to(device)
        steps = ids.shape[1] if isinstance(self._model, SentimentClassifier) else _WINDOW
        state = None
        for start in range(0, ids.shape[1], steps):
            hidden, state = self._model.hidden_states(ids[:, start : start + steps], state)
            time = start + np.arange(hidden.shape[1])
            is_word = (time[None, :] >= 1) & (time[None, :] < lengths[:, None] - 1)
            row, step = np.nonzero(is_word)
            place = row * hidden.shape[1] + step
            yield self._window(hidden, lengths, row, start + step - 1, place)

    def _window(
        self,
        hidden: Tensor,
        lengths: NDArray[np.int64],
        row: NDArray[np.int64],
        position: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> Window:
        outputs: list[str] | None = None
        probability: NDArray[np.float64] | None = None
        if isinstance(self._model, SentimentClassifier):
            pooled = self._model.pool(hidden, torch.from_numpy(lengths).to(hidden.device))
            score = self._model.head(pooled).squeeze(-1)
            probability = torch.sigmoid(score).double().cpu().numpy()
            if self._outputs:
                predicted = [self._model.classes[int(value)] for value in probability >= 0.5]
                outputs = [predicted[i] for i in row]
        elif self._outputs and isinstance(self._model, RecurrentLanguageModel):
            flat = hidden.reshape(-1, hidden.shape[-1])[torch.from_numpy(place).to(hidden.device)]
            best = [self._model.decoder(part).argmax(dim=-1) for part in torch.split(flat, _DECODED)]
            outputs = self._words[torch.cat(best).cpu().numpy()].tolist() if best else []
        return Window(row, position, place, outputs, probability)


def reader_of(model: nn.Module, *, outputs: bool) -> Reader:
    """How this model reads documents.

    Args:
        model: a model of `txray.models`.
        outputs: whether the model's outputs are wanted.

    Raises:
        UsageError: txray does not know how this kind of model reads documents.
    """
    if isinstance(model, RecurrentModel):
        return RecurrentReader(model, outputs=outputs)
    raise UsageError(
        f"model of type {type(model).__name__}: collect knows how txray's recurrent language models and "
        "classifiers read documents; load one with txray.load_model"
    )
