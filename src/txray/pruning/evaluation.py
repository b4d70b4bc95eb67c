"""Evaluators: score a model on a text document by document, with or without masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from txray.capture.forward.hooks import evaluating
from txray.capture.forward.padding import scores_ignore_padding
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, TxrayError, UsageError, in_one_line
from txray.models.base_model import input_device
from txray.models.load import as_model
from txray.models.recurrent import RecurrentLanguageModel
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.activation_reuse import ActivationReuse
from txray.pruning.inputs import (
    Inputs,
    labelled_inputs,
    language_inputs,
    piece_encoder,
    window_encoder,
    word_encoder,
)
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget
from txray.pruning.predictions import ClassPredictions, Predictions, WordPredictions

_CLASSIFIER_LENGTH = 400
"""Default number of words per document for txray's classifiers, as in their training."""

_DECODED = 512
"""Number of hidden states decoded at a time."""

Model = nn.Module | TextModel


class Evaluator(ABC):
    """Scores a model on one text.

    Attributes:
        model: model to score.
        inputs: inputs of the model.
        padded: whether inputs of different length share a batch.
    """

    def __init__(self, model: Model, inputs: Inputs) -> None:
        self.model = model
        self.inputs = inputs
        self.padded = not isinstance(model, TextModel) or scores_ignore_padding(model)

    @property
    def module(self) -> nn.Module:
        """Return the torch module."""
        return self.model.module if isinstance(self.model, TextModel) else self.model

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of the inputs of each batch."""
        return self.inputs.batches(padded=self.padded)

    @abstractmethod
    def run(self, indices: NDArray[np.int64]) -> Tensor:
        """Run the model on some inputs, and return (n, classes) log-probabilities or (n,) nats."""

    @abstractmethod
    def losses(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the (n,) nats of some inputs, with gradients."""

    @property
    @abstractmethod
    def loss_denominator(self) -> float:
        """Return the number of units that a mean loss is over: documents, or predicted words."""

    @abstractmethod
    def predictions(self, by_document: NDArray[np.float64]) -> Predictions:
        """Return predictions from the results of `run` for all documents."""

    def by_document(self, by_input: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the results of each document from those of each input; by default they are the same."""
        return by_input

    def predict(self, batch_keys: BatchKeys, advance: Callable[[float], None]) -> Predictions:
        """Run the model on all inputs; sets the keys of the active masks for each batch.

        Raises:
            CaptureError: the model fails, or returns scores that are not finite.
        """
        order, results = [], []
        with evaluating(self.module):
            for indices in self.batches():
                order.append(indices)
                results.append(self._run_keyed(indices, batch_keys))
                advance(self._n_positions(indices))
        return self._finished(order, results)

    def predict_masked(
        self, target: MaskTarget, masks: Sequence[Mask], advance: Callable[[float], None]
    ) -> list[Predictions]:
        """Run the model on all inputs with each of several masks of one layer.

        The activations before the layer are computed once for all masks. On the first batch, the second mask is run
        without this, too; if the two differ, the activations are not reused.

        Args:
            target: layer of the masks.
            masks: masks with neurons that the layer has, of one scope.
            advance: called with the number of positions read.

        Raises:
            CaptureError: the model fails, or returns scores that are not finite.
        """
        batch_keys, reuses = BatchKeys(), len(masks) > 1
        order: list[NDArray[np.int64]] = []
        results: list[list[NDArray[np.float64]]] = [[] for _ in masks]
        with evaluating(self.module):
            for indices in self.batches():
                reuse = ActivationReuse(self.module, target, masks[0])
                for i, mask in enumerate(masks):
                    result = None
                    if reuses and reuse.works:
                        with reuse.run(), target.ablated(mask, batch_keys):
                            result = self._run_keyed(indices, batch_keys)
                    if result is None or not reuse.works or (i == 1 and not order):
                        with target.ablated(mask, batch_keys):
                            computed = self._run_keyed(indices, batch_keys)
                        reuses &= reuse.works and (result is None or np.array_equal(result, computed))
                        result = computed
                    results[i].append(result)
                    advance(self._n_positions(indices))
                order.append(indices)
        return [self._finished(order, of_mask) for of_mask in results]

    def _run_keyed(self, indices: NDArray[np.int64], batch_keys: BatchKeys) -> NDArray[np.float64]:
        batch_keys.keys = self.inputs.keys[self.inputs.document[indices]].astype(np.uint64)
        result: NDArray[np.float64] = self.run(indices).double().cpu().numpy()
        batch_keys.keys = None
        return result

    def _n_positions(self, indices: NDArray[np.int64]) -> int:
        return sum(len(self.inputs.ids[index]) for index in indices)

    def _finished(
        self, order: Sequence[NDArray[np.int64]], results: Sequence[NDArray[np.float64]]
    ) -> Predictions:
        """Return the predictions from the results of all batches."""
        in_batch_order = np.concatenate(results)
        by_input = np.empty_like(in_batch_order)
        by_input[np.concatenate(order)] = in_batch_order
        if not np.isfinite(by_input).all():
            raise CaptureError(
                "the model's scores are not finite; its weights are broken, or its activations overflow"
            )
        return self.predictions(self.by_document(by_input))


class ClassifierEvaluator(Evaluator):
    """Scores models that classify documents."""

    def run(self, indices: NDArray[np.int64]) -> Tensor:
        """Return (n, classes) log-probabilities."""
        if isinstance(self.model, TextModel):
            logits = _text_logits(self.model, self.inputs, indices)
            if logits.dim() != 2 or logits.shape != (len(indices), len(self.model.classes)):
                raise CaptureError(
                    f"the model returned {tuple(logits.shape)} for {len(indices)} documents of "
                    f"{len(self.model.classes)} classes; 'forward' must return (documents, classes) logits"
                )
            return logits.float().log_softmax(dim=1)
        ids, lengths = self.inputs.padded(indices, 0)
        device = input_device(self.module)
        # In double precision: differences of nearly equal scores decide ranks.
        score = self.module(ids.to(device), lengths.to(device)).double()
        return torch.stack((functional.logsigmoid(-score), functional.logsigmoid(score)), dim=1)

    def losses(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the (n,) nats of each document."""
        log_probability = self.run(indices)
        targets = torch.from_numpy(self.inputs.targets[self.inputs.document[indices]])
        return -log_probability.gather(1, targets.to(log_probability.device)[:, None]).squeeze(1)

    @property
    def loss_denominator(self) -> float:
        """Return the number of documents."""
        return float(self.inputs.n_documents)

    def predictions(self, by_document: NDArray[np.float64]) -> Predictions:
        """Return predictions from (n_documents, classes) log-probabilities."""
        return ClassPredictions(by_document, self.inputs.targets)


class LanguageEvaluator(Evaluator):
    """Scores models that predict the next word; each document starts with a new hidden state."""

    def run(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the (n,) nats of all predicted words of each input."""
        return self.losses(indices)

    def losses(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the (n,) nats of all predicted words of each input."""
        row = np.repeat(np.arange(len(indices)), [len(self.inputs.predicted[index]) for index in indices])
        position = np.concatenate([self.inputs.predicted[index] for index in indices])
        if isinstance(self.model, TextModel):
            logits = _text_logits(self.model, self.inputs, indices)
            ids, _ = self.inputs.padded(indices, self.model.padding)
            if logits.dim() != 3 or tuple(logits.shape[:2]) != tuple(ids.shape):
                raise CaptureError(
                    f"the model returned {tuple(logits.shape)} for {tuple(ids.shape)} ids; 'forward' must return "
                    "(documents, time, ids) logits"
                )
            states, decoder = logits[row, position - 1], None
        else:
            model: RecurrentLanguageModel = self.model  # type: ignore[assignment]  # `evaluator` checked it
            ids, _ = self.inputs.padded(indices, 0)
            hidden, _ = model.hidden_states(ids.to(input_device(self.module)))
            states, decoder = hidden[row, position - 1], model.decoder
        targets = ids[row, position].to(states.device)
        blocks = []
        for start in range(0, len(targets), _DECODED):
            block = states[start : start + _DECODED]
            scores = block.float() if decoder is None else decoder(block)
            blocks.append(
                functional.cross_entropy(scores, targets[start : start + _DECODED], reduction="none")
            )
        if not blocks:  # inputs of a single position
            return states.new_zeros(len(indices), dtype=torch.float64)
        nats = torch.cat(blocks).double()
        return nats.new_zeros(len(indices)).index_add_(0, torch.from_numpy(row).to(nats.device), nats)

    @property
    def loss_denominator(self) -> float:
        """Return the number of predicted words."""
        return float(self._words().sum())

    def predictions(self, by_document: NDArray[np.float64]) -> Predictions:
        """Return predictions from (n_documents,) nats."""
        return WordPredictions(by_document, self._words())

    def by_document(self, by_input: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the inputs of each document; a long one may be several inputs."""
        return self._sum(by_input)

    def _words(self) -> NDArray[np.float64]:
        return self._sum(np.array([len(positions) for positions in self.inputs.predicted], np.float64))

    def _sum(self, by_input: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.inputs.document, by_input, self.inputs.n_documents).astype(np.float64)


def evaluator(
    model: Model, corpus: Corpus, *, max_documents: int | None = None, max_length: int | None = None
) -> Evaluator:
    """Return the evaluator of a model on a text.

    Args:
        model: a classifier or language model of `txray.models`, or a `TextModel` with a task.
        corpus: text; for a classifier, documents with the label `label`.
        max_documents: maximum number of documents, chosen by a hash of their ids; all by default.
        max_length: maximum number of words per document; by default all that the model can read, for txray's
            classifiers 400.

    Raises:
        UsageError: the model has no task, or a number is out of range.
        CorpusError: there is nothing to score, a label is not a class, or there is only one class.
    """
    model = as_model(model)
    for name, value in (("max_documents", max_documents), ("max_length", max_length)):
        if value is not None and value < 1:
            raise UsageError(f"pruning: {name}={value}; it must be at least 1")
    if isinstance(model, SentimentClassifier):
        encode = word_encoder(model, max_length or _CLASSIFIER_LENGTH)
        return ClassifierEvaluator(model, labelled_inputs(corpus, max_documents, encode, model.classes))
    if isinstance(model, RecurrentLanguageModel):
        encode = word_encoder(model, max_length)
        return LanguageEvaluator(model, language_inputs(corpus, max_documents, encode))
    if isinstance(model, TextModel) and model.task == "classification":
        encode = piece_encoder(model, max_length)
        return ClassifierEvaluator(model, labelled_inputs(corpus, max_documents, encode, model.classes))
    if isinstance(model, TextModel) and model.task == "next-word":
        encode = window_encoder(model, max_length)
        return LanguageEvaluator(model, language_inputs(corpus, max_documents, encode))
    name = type(model.module if isinstance(model, TextModel) else model).__name__
    raise UsageError(
        f"model of type {name}: has no task to score; pass a classifier or language model, a TextModel with a task, "
        "or a metric of your own"
    )


def _text_logits(model: TextModel, inputs: Inputs, indices: NDArray[np.int64]) -> Tensor:
    """Return the logits of the model's forward pass."""
    ids, lengths = inputs.padded(indices, model.padding, model.min_length)
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
            f"the model returned {type(output).__name__}; with a task, 'forward' must return logits, or an object "
            "with the attribute 'logits'"
        )
    return logits
