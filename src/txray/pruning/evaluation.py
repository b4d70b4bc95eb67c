"""Texts on which a model is scored, document by document, whatever is silenced in it."""

from __future__ import annotations

import hashlib
import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from txray.capture.encoding import inputs
from txray.capture.hooks import device_of, evaluating
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError, CorpusError, TxrayError, UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.preferences import document_key
from txray.pruning.held import Documents
from txray.pruning.outcomes import Classified, Outcomes, Predicted

LABEL = "label"
_POSITIONS = 16_384
"""Padded positions in a batch."""
_DECODED = 512
"""States decoded at a time."""

Model = nn.Module | TextModel


@dataclass(frozen=True, eq=False)
class Inputs:
    """Documents as a model reads them, in an order that their ids alone decide.

    Attributes:
        ids: per input, (length,) ids.
        document: (n_inputs,) number of the document that each belongs to.
        counted: per input, positions whose ids are predicted; empty where documents are classified.
        keys: (n_documents,) hash of the id of each document, ascending.
        targets: (n_documents,) number of the right class; of no meaning for language models.
        cut: documents that were longer than what is read of them.
        skipped: documents without anything to read or predict.
        digest: of all of this.
    """

    ids: Sequence[NDArray[np.int64]]
    document: NDArray[np.int64]
    counted: Sequence[NDArray[np.int64]]
    keys: NDArray[np.int64]
    targets: NDArray[np.int64]
    cut: int
    skipped: int
    digest: str

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.keys)

    @property
    def words(self) -> int:
        """Positions that are read in all."""
        return sum(map(len, self.ids))

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Numbers of the inputs of each batch, alike in length."""
        lengths = np.array([len(each) for each in self.ids])
        batch: list[int] = []
        for number in np.argsort(-lengths, kind="stable").tolist():
            if batch and (len(batch) + 1) * lengths[batch[0]] > _POSITIONS:
                yield np.array(batch)
                batch = []
            batch.append(number)
        if batch:
            yield np.array(batch)

    def padded(self, numbers: NDArray[np.int64], padding: int, shortest: int = 1) -> tuple[Tensor, Tensor]:
        """(n, longest) int64 ids and (n,) lengths of some inputs."""
        lengths = [len(self.ids[number]) for number in numbers]
        ids = torch.full((len(numbers), max(shortest, *lengths)), padding, dtype=torch.int64)
        for row, number in enumerate(numbers):
            ids[row, : lengths[row]] = torch.from_numpy(self.ids[number])
        return ids, torch.tensor(lengths)


class Evaluator(ABC):
    """Scores a model on one text.

    Attributes:
        model: that is scored.
        inputs: the text.
    """

    def __init__(self, model: Model, inputs: Inputs) -> None:
        self.model = model
        self.inputs = inputs

    @property
    def module(self) -> nn.Module:
        """What runs."""
        return self.model.module if isinstance(self.model, TextModel) else self.model

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
            for numbers in self.inputs.batches():
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
        device = device_of(self.module)
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
            hidden, _ = model.hidden_states(ids.to(device_of(self.module)))
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
        chosen = _chosen(corpus, documents)
        return ClassifierEvaluator(
            model, _labelled(corpus, chosen, _recurrent(model, max_length or 400), model.classes)
        )
    if isinstance(model, RecurrentLanguageModel):
        return LanguageEvaluator(model, _recurrent_text(model, corpus, documents, max_length))
    if isinstance(model, TextModel) and model.task == "classification":
        chosen = _chosen(corpus, documents)
        return ClassifierEvaluator(model, _labelled(corpus, chosen, _text(model, max_length), model.classes))
    if isinstance(model, TextModel) and model.task == "next-word":
        return LanguageEvaluator(model, _windows(model, corpus, documents, max_length))
    kind = type(model.module if isinstance(model, TextModel) else model).__name__
    raise UsageError(
        f"model of type {kind}: has no task, so nobody knows what is good for it; give a classifier or language model, "
        "a TextModel with a task, or a metric of your own"
    )


def _chosen(corpus: Corpus, documents: int | None) -> list[tuple[int, Document]]:
    """The documents of the smallest keys, in the order of their keys; of equal keys, in that of their text."""
    keyed = ((document_key(document.id), document) for document in corpus)

    def order(each: tuple[int, Document]) -> tuple[int, tuple[str, ...]]:
        return each[0], each[1].words

    return sorted(keyed, key=order) if documents is None else heapq.nsmallest(documents, keyed, key=order)


Encode = Callable[[Document], tuple[list[int], bool]]
"""Ids of a document, none where nothing of it can be read, and whether it was cut."""


def _recurrent(model: RecurrentModel, max_length: int | None) -> Encode:
    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        return model.encode(words), len(words) < len(document.words)

    return encode


def _text(model: TextModel, max_length: int | None) -> Encode:
    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        ids = list(model.pieces(words).ids)
        kept = ids if model.room is None else ids[: model.room]
        cut = len(kept) < len(ids) or len(words) < len(document.words)
        return [*model.prefix, *kept, *model.suffix] if kept else [], cut

    return encode


def _labelled(
    corpus: Corpus, chosen: Sequence[tuple[int, Document]], encode: Encode, classes: Sequence[str]
) -> Inputs:
    ids, keys, targets, cut = [], [], [], 0
    for key, document in chosen:
        label = document.labels.get(LABEL)
        if label not in classes:
            raise CorpusError(
                f"corpus {corpus.name!r}: document {document.id!r} has {LABEL} {label!r}; the model's classes are "
                f"{', '.join(classes)}"
            )
        encoded, was_cut = encode(document)
        if not encoded:
            continue
        ids.append(np.array(encoded, np.int64))
        keys.append(key)
        targets.append(classes.index(label))
        cut += was_cut
    if len(set(targets)) < 2:
        told = (
            f"all {len(targets)} documents have {LABEL} {classes[targets[0]]!r}"
            if targets
            else "nothing to read"
        )
        raise CorpusError(
            f"corpus {corpus.name!r}: {told}; at least two classes are needed to score a classifier"
        )
    numbers = np.arange(len(ids))
    return _inputs(ids, numbers, [], keys, targets, cut, len(chosen) - len(ids))


def _recurrent_text(
    model: RecurrentLanguageModel, corpus: Corpus, documents: int | None, max_length: int | None
) -> Inputs:
    encode = _recurrent(model, max_length)
    chosen = _chosen(corpus, documents)
    encoded = [encode(document) for _, document in chosen]
    ids = [np.array(each, np.int64) for each, _ in encoded]
    keys = [key for key, _ in chosen]
    counted = [np.arange(1, len(each)) for each in ids]
    return _inputs(ids, np.arange(len(ids)), counted, keys, [], sum(cut for _, cut in encoded), 0)


def _windows(model: TextModel, corpus: Corpus, documents: int | None, max_length: int | None) -> Inputs:
    ids: list[NDArray[np.int64]] = []
    counted: list[NDArray[np.int64]] = []
    document: list[int] = []
    keys: list[int] = []
    cut = skipped = 0
    for key, each in _chosen(corpus, documents):
        short = each if max_length is None else each.cut(max_length)
        _, made = inputs(short, model.pieces(short.words), model)
        # What stands at the very beginning of an input cannot be predicted.
        places = [encoded.steps[encoded.steps > 0] for encoded in made]
        if not any(map(len, places)):
            skipped += 1
            continue
        cut += len(short.words) < len(each.words)
        for encoded, place in zip(made, places, strict=True):
            ids.append(np.array(encoded.ids, np.int64))
            document.append(len(keys))
            counted.append(place)
        keys.append(key)
    if not keys:
        raise CorpusError(
            f"corpus {corpus.name!r}: no document of which the model predicts anything; give longer ones"
        )
    return _inputs(ids, np.array(document), counted, keys, [], cut, skipped)


def _inputs(
    ids: Sequence[NDArray[np.int64]],
    document: NDArray[np.int64],
    counted: Sequence[NDArray[np.int64]],
    keys: Sequence[int],
    targets: Sequence[int],
    cut: int,
    skipped: int,
) -> Inputs:
    digest = hashlib.sha256()
    arrays = (np.array(keys), np.array(targets), document, *ids, *counted)
    for each in arrays:
        digest.update(len(each).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(each, np.int64).tobytes())
    return Inputs(
        ids,
        document,
        counted,
        np.array(keys, np.int64),
        np.array(targets, np.int64),
        cut,
        skipped,
        digest.hexdigest(),
    )


def _text_logits(model: TextModel, inputs: Inputs, numbers: NDArray[np.int64]) -> Tensor:
    """What the model's forward pass returns, as logits."""
    rows = [inputs.ids[number] for number in numbers]
    if not model.padding_is_seen and len({len(row) for row in rows}) > 1:
        # It cannot tell padding from text, so inputs of one length at a time.
        parts = {len(row): [i for i, other in enumerate(rows) if len(other) == len(row)] for row in rows}
        found = [(places, _text_logits(model, inputs, numbers[places])) for places in parts.values()]
        longest = max(part.shape[1] for _, part in found)
        joined = found[0][1].new_zeros((len(rows), longest, *found[0][1].shape[2:]))
        for places, part in found:
            joined[places, : part.shape[1]] = part
        return joined
    ids, lengths = inputs.padded(numbers, model.padding, model.shortest)
    device = device_of(model.module)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(device)
    try:
        output = model.forward(model.module, ids.to(device), mask)
    except TxrayError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise CaptureError(
            f"model {model.name or type(model.module).__name__!r}: failed on {ids.shape[0]} inputs of {ids.shape[1]} "
            f"positions: {told}"
        ) from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise CaptureError(
            f"the model returned {type(output).__name__}; with a task, 'forward' returns logits, or a record with them"
        )
    return logits
