"""Texts on which a model is scored, document by document, whatever is silenced in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from txray.capture.hooks import evaluating
from txray.capture.padding import scores_ignore_padding
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, TxrayError, UsageError, in_one_line
from txray.models.base_model import input_device
from txray.models.recurrent import RecurrentLanguageModel
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.pruning.held import Documents
from txray.pruning.inputs import (
    Inputs,
    by_pieces,
    by_words,
    chosen_documents,
    labelled,
    recurrent_text,
    windows_of,
)
from txray.pruning.outcomes import Classified, Outcomes, Predicted

_LONGEST = 400
"""Words that txray's classifiers read of a document, as in their training."""

_DECODED = 512
"""States decoded at a time."""

Model = nn.Module | TextModel


class Evaluator(ABC):
    """Scores a model on one text.

    Attributes:
        model: that is scored.
        inputs: the text.
        padded: whether inputs of different length are read together.
    """

    def __init__(self, model: Model, inputs: Inputs) -> None:
        self.model = model
        self.inputs = inputs
        self.padded = not isinstance(model, TextModel) or scores_ignore_padding(model)

    @property
    def module(self) -> nn.Module:
        """What runs."""
        return self.model.module if isinstance(self.model, TextModel) else self.model

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Go through all inputs: yield the numbers of those that are read together."""
        return self.inputs.batches(padded=self.padded)

    @abstractmethod
    def run(self, numbers: NDArray[np.int64]) -> Tensor:
        """Run the model over some inputs: (n, classes) log-probabilities, or (n,) nats of all that is predicted."""

    @abstractmethod
    def losses(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n,) nats of each input, through which gradients go."""

    @property
    @abstractmethod
    def units(self) -> float:
        """What losses are divided by: documents, or words predicted."""

    @abstractmethod
    def read(self, arrays: Mapping[str, NDArray[np.float64]]) -> Outcomes:
        """Outcomes from their arrays."""

    @abstractmethod
    def collected(self, by_input: NDArray[np.float64]) -> Outcomes:
        """Outcomes from what `run` gave for all inputs, in their order."""

    def outcomes(self, documents: Documents, advance: Callable[[float], None]) -> Outcomes:
        """Score the model as it is now.

        Args:
            documents: of the masks that are on.
            advance: told positions read.

        Raises:
            CaptureError: the model fails, or gives no numbers.
        """
        rows: list[NDArray[np.float64]] = []
        order = []
        with evaluating(self.module):
            for numbers in self.batches():
                documents.keys = self.inputs.keys[self.inputs.document[numbers]].astype(np.uint64)
                rows.append(self.run(numbers).double().cpu().numpy())
                order.append(numbers)
                advance(sum(len(self.inputs.ids[number]) for number in numbers))
        documents.keys = None
        found = np.concatenate(rows)
        by_input = np.empty_like(found)
        by_input[np.concatenate(order)] = found
        if not np.isfinite(by_input).all():
            raise CaptureError(
                "the model's scores are no numbers; its weights are broken, or its activations overflow"
            )
        return self.collected(by_input)


class ClassifierEvaluator(Evaluator):
    """Of models that tell classes of documents apart."""

    def run(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n, classes) log-probabilities."""
        if isinstance(self.model, TextModel):
            logits = _text_logits(self.model, self.inputs, numbers)
            if logits.dim() != 2 or logits.shape != (len(numbers), len(self.model.classes)):
                raise CaptureError(
                    f"the model gave {tuple(logits.shape)} for {len(numbers)} documents of "
                    f"{len(self.model.classes)} classes; 'forward' must return (documents, classes) logits"
                )
            return logits.float().log_softmax(dim=1)
        ids, lengths = self.inputs.padded(numbers, 0)
        device = input_device(self.module)
        # In double precision: differences of nearly equal scores decide ranks.
        score = self.module(ids.to(device), lengths.to(device)).double()
        return torch.stack((functional.logsigmoid(-score), functional.logsigmoid(score)), dim=1)

    def losses(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n,) nats of each document."""
        found = self.run(numbers)
        targets = torch.from_numpy(self.inputs.targets[self.inputs.document[numbers]]).to(found.device)
        return -found.gather(1, targets[:, None]).squeeze(1)

    @property
    def units(self) -> float:
        """Documents."""
        return float(self.inputs.documents)

    def read(self, arrays: Mapping[str, NDArray[np.float64]]) -> Outcomes:
        """From log-probabilities."""
        return Classified(arrays["log_probability"], self.inputs.targets)

    def collected(self, by_input: NDArray[np.float64]) -> Outcomes:
        """Every document is one input."""
        return Classified(by_input, self.inputs.targets)


class LanguageEvaluator(Evaluator):
    """Of models that predict the next word; every document is read from a fresh state."""

    def run(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n,) nats of all that is predicted of each input."""
        return self.losses(numbers)

    def losses(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n,) nats of all that is predicted of each input."""
        row = np.repeat(np.arange(len(numbers)), [len(self.inputs.counted[number]) for number in numbers])
        place = np.concatenate([self.inputs.counted[number] for number in numbers])
        if isinstance(self.model, TextModel):
            logits = _text_logits(self.model, self.inputs, numbers)
            ids, _ = self.inputs.padded(numbers, self.model.padding)
            if logits.dim() != 3 or tuple(logits.shape[:2]) != tuple(ids.shape):
                raise CaptureError(
                    f"the model gave {tuple(logits.shape)} for {tuple(ids.shape)} ids; 'forward' must return "
                    "(documents, time, ids) logits"
                )
            states, decoder = logits[row, place - 1], None
        else:
            model: RecurrentLanguageModel = self.model  # type: ignore[assignment]  # `evaluator` chose it
            ids, _ = self.inputs.padded(numbers, 0)
            hidden, _ = model.hidden_states(ids.to(input_device(self.module)))
            states, decoder = hidden[row, place - 1], model.decoder
        targets = ids[row, place].to(states.device)
        parts = []
        for start in range(0, len(targets), _DECODED):
            part = states[start : start + _DECODED]
            scores = part.float() if decoder is None else decoder(part)
            parts.append(
                functional.cross_entropy(scores, targets[start : start + _DECODED], reduction="none")
            )
        if not parts:  # inputs of a single position
            return states.new_zeros(len(numbers), dtype=torch.float64)
        nats = torch.cat(parts).double()
        return nats.new_zeros(len(numbers)).index_add_(0, torch.from_numpy(row).to(nats.device), nats)

    @property
    def units(self) -> float:
        """Words predicted."""
        return float(self._words().sum())

    def read(self, arrays: Mapping[str, NDArray[np.float64]]) -> Outcomes:
        """From nats."""
        return Predicted(arrays["nats"], self._words())

    def collected(self, by_input: NDArray[np.float64]) -> Outcomes:
        """A long document may be several inputs."""
        nats = np.bincount(self.inputs.document, by_input, self.inputs.documents).astype(np.float64)
        return Predicted(nats, self._words())

    def _words(self) -> NDArray[np.float64]:
        sizes = np.array([len(each) for each in self.inputs.counted], np.float64)
        return np.bincount(self.inputs.document, sizes, self.inputs.documents).astype(np.float64)


def evaluator(
    model: Model, corpus: Corpus, *, documents: int | None = None, max_length: int | None = None
) -> Evaluator:
    """What scores a model on a text.

    Args:
        model: a classifier or language model of `txray.models`, or a `TextModel` with a task.
        corpus: for a classifier, documents with the label `label`.
        documents: at most so many, chosen by a hash of their ids; all by default.
        max_length: words read of each document; by default all that the model can read, for txray's classifiers 400.

    Raises:
        UsageError: a model without a task, or a number that cannot be.
        CorpusError: nothing to score, a label that is no class, or one class only.
    """
    for name, value in (("documents", documents), ("max_length", max_length)):
        if value is not None and value < 1:
            raise UsageError(f"pruning: {name}={value}; it must be at least 1")
    if isinstance(model, SentimentClassifier):
        chosen = chosen_documents(corpus, documents)
        return ClassifierEvaluator(
            model, labelled(corpus, chosen, by_words(model, max_length or _LONGEST), model.classes)
        )
    if isinstance(model, RecurrentLanguageModel):
        return LanguageEvaluator(model, recurrent_text(model, corpus, documents, max_length))
    if isinstance(model, TextModel) and model.task == "classification":
        chosen = chosen_documents(corpus, documents)
        return ClassifierEvaluator(
            model, labelled(corpus, chosen, by_pieces(model, max_length), model.classes)
        )
    if isinstance(model, TextModel) and model.task == "next-word":
        return LanguageEvaluator(model, windows_of(model, corpus, documents, max_length))
    kind = type(model.module if isinstance(model, TextModel) else model).__name__
    raise UsageError(
        f"model of type {kind}: has no task, so nobody knows what is good for it; give a classifier or language model, "
        "a TextModel with a task, or a metric of your own"
    )


def _text_logits(model: TextModel, inputs: Inputs, numbers: NDArray[np.int64]) -> Tensor:
    """What the model's forward pass returns, as logits."""
    ids, lengths = inputs.padded(numbers, model.padding, model.min_length)
    device = input_device(model.module)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(device)
    try:
        output = model.forward(model.module, ids.to(device), mask)
    except TxrayError:
        raise
    except Exception as error:
        raise CaptureError(
            f"model {model.name or type(model.module).__name__!r}: failed on {ids.shape[0]} inputs of {ids.shape[1]} "
            f"positions: {in_one_line(error)}"
        ) from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise CaptureError(
            f"the model returned {type(output).__name__}; with a task, 'forward' returns logits, or a record with them"
        )
    return logits
