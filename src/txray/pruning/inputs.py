"""Documents as model inputs for scoring: selected, truncated, labelled, in an order that depends on their ids alone."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.encoding import inputs
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CorpusError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.text_model import TextModel
from txray.preferences import document_key
from txray.pruning.bootstrap import group_numbers

LABEL = "label"
_POSITIONS = 16_384
"""Maximum number of padded positions per batch."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of a model.

    Attributes:
        ids: for each input, (length,) ids.
        document: (n_inputs,) index of the document of each input.
        predicted: for each input, the positions whose ids are predicted; empty for classification.
        keys: (n_documents,) hash of each document id, ascending.
        groups: (n_documents,) group number of each document; documents with the same `fold_key` depend on each other
            and are resampled together.
        targets: (n_documents,) index of the right class; empty for language models.
        n_truncated: number of truncated documents.
        n_skipped: number of documents without anything to read or predict.
        digest: hash of everything that determines the predictions; the groups do not.
        documents_digest: hash of the document ids alone.
    """

    ids: Sequence[NDArray[np.int64]]
    document: NDArray[np.int64]
    predicted: Sequence[NDArray[np.int64]]
    keys: NDArray[np.int64]
    groups: NDArray[np.int64]
    targets: NDArray[np.int64]
    n_truncated: int
    n_skipped: int
    digest: str
    documents_digest: str

    @property
    def n_documents(self) -> int:
        """Return the number of documents."""
        return len(self.keys)

    @property
    def n_groups(self) -> int:
        """Return the number of groups, at most that of documents."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def groups_digest(self) -> str:
        """Return a hash of the assignment of documents to groups."""
        return hashlib.sha256(self.groups.tobytes()).hexdigest()

    @property
    def n_positions(self) -> int:
        """Return the total length of all inputs."""
        return sum(map(len, self.ids))

    def batches(self, *, padded: bool = True) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of the inputs of each batch, of similar length.

        Args:
            padded: whether inputs of different length may share a batch.
        """
        lengths = np.array([len(ids) for ids in self.ids])
        batch: list[int] = []
        for index in np.argsort(-lengths, kind="stable").tolist():
            longest = lengths[batch[0]] if batch else 0
            if batch and (
                (len(batch) + 1) * longest > _POSITIONS or not (padded or lengths[index] == longest)
            ):
                yield np.array(batch)
                batch = []
            batch.append(index)
        if batch:
            yield np.array(batch)

    def padded(self, indices: NDArray[np.int64], padding: int, min_length: int = 1) -> tuple[Tensor, Tensor]:
        """Return the (n, time) int64 ids and the (n,) lengths of some inputs.

        Args:
            indices: (n,) indices of the inputs.
            padding: id of the padding.
            min_length: minimum number of positions.
        """
        lengths = [len(self.ids[index]) for index in indices]
        ids = torch.full((len(indices), max(min_length, *lengths)), padding, dtype=torch.int64)
        for row, index in enumerate(indices):
            ids[row, : lengths[row]] = torch.from_numpy(self.ids[index])
        return ids, torch.tensor(lengths)


Keyed = tuple[int, Document]
"""A document and the hash of its id."""


def sample_documents(corpus: Corpus, max_documents: int | None) -> list[Keyed]:
    """Return the documents with the smallest keys, in the order of their keys; ties by their words."""
    keyed = ((document_key(document.id), document) for document in corpus)

    def order(pair: Keyed) -> tuple[int, tuple[str, ...]]:
        return pair[0], pair[1].words

    return (
        sorted(keyed, key=order)
        if max_documents is None
        else heapq.nsmallest(max_documents, keyed, key=order)
    )


Encode = Callable[[Document], tuple[list[int], bool]]
"""Returns the ids of a document, empty if nothing in it can be read, and whether it was truncated."""


def word_encoder(model: RecurrentModel, max_length: int | None) -> Encode:
    """Return the encoder of a recurrent model, for up to `max_length` words."""

    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        return model.encode(words), len(words) < len(document.words)

    return encode


def piece_encoder(model: TextModel, max_length: int | None) -> Encode:
    """Return the encoder of a text model, for up to `max_length` words that fit into one input."""

    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        ids = list(model.pieces(words).ids)
        fitting = ids if model.max_pieces is None else ids[: model.max_pieces]
        truncated = len(fitting) < len(ids) or len(words) < len(document.words)
        return [*model.prefix, *fitting, *model.suffix] if fitting else [], truncated

    return encode


def labelled_inputs(
    corpus: Corpus, documents: Sequence[Keyed], encode: Encode, classes: Sequence[str]
) -> Inputs:
    """Return the inputs of a classifier.

    Args:
        corpus: corpus, named in errors.
        documents: documents of it.
        encode: encoder of the model.
        classes: names of the classes, in order.

    Raises:
        CorpusError: a label is not a class, fewer than two classes occur, or nothing can be read.
    """
    ids, keys, fold_keys, targets, n_truncated = [], [], [], [], 0
    for key, document in documents:
        label = document.labels.get(LABEL)
        if label not in classes:
            raise CorpusError(
                f"corpus {corpus.name!r}: document {document.id!r} has {LABEL} {label!r}; the model's classes are "
                f"{', '.join(classes)}"
            )
        encoded, truncated = encode(document)
        if not encoded:
            continue
        ids.append(np.array(encoded, np.int64))
        keys.append(key)
        fold_keys.append(document.fold_key)
        targets.append(classes.index(label))
        n_truncated += truncated
    if len(set(targets)) < 2:
        problem = (
            f"all {len(targets)} documents have {LABEL} {classes[targets[0]]!r}"
            if targets
            else "nothing to read"
        )
        raise CorpusError(
            f"corpus {corpus.name!r}: {problem}; a classifier is scored on at least two classes"
        )
    n_skipped = len(documents) - len(ids)
    return _inputs(ids, np.arange(len(ids)), [], keys, fold_keys, targets, n_truncated, n_skipped)


def recurrent_inputs(
    model: RecurrentLanguageModel, corpus: Corpus, max_documents: int | None, max_length: int | None
) -> Inputs:
    """Return the inputs of a recurrent language model, which predicts every word and the end of each document."""
    encode = word_encoder(model, max_length)
    documents = sample_documents(corpus, max_documents)
    encoded = [encode(document) for _, document in documents]
    ids = [np.array(word_ids, np.int64) for word_ids, _ in encoded]
    keys = [key for key, _ in documents]
    fold_keys = [document.fold_key for _, document in documents]
    predicted = [np.arange(1, len(word_ids)) for word_ids in ids]
    n_truncated = sum(truncated for _, truncated in encoded)
    return _inputs(ids, np.arange(len(ids)), predicted, keys, fold_keys, [], n_truncated, 0)


def window_inputs(
    model: TextModel, corpus: Corpus, max_documents: int | None, max_length: int | None
) -> Inputs:
    """Return the inputs of a text model that predicts every piece except the first of each input.

    Raises:
        CorpusError: there is nothing to predict.
    """
    ids: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    document_of_input: list[int] = []
    keys: list[int] = []
    fold_keys: list[int] = []
    n_truncated = n_skipped = 0
    for key, document in sample_documents(corpus, max_documents):
        short = document if max_length is None else document.cut(max_length)
        _, windows = inputs(short, model.pieces(short.words), model)
        # The first position of an input cannot be predicted.
        positions = [window.steps[window.steps > 0] for window in windows]
        if not any(map(len, positions)):
            n_skipped += 1
            continue
        n_truncated += len(short.words) < len(document.words)
        for window, window_positions in zip(windows, positions, strict=True):
            ids.append(np.array(window.ids, np.int64))
            document_of_input.append(len(keys))
            predicted.append(window_positions)
        keys.append(key)
        fold_keys.append(document.fold_key)
    if not keys:
        raise CorpusError(
            f"corpus {corpus.name!r}: the model predicts nothing of any document; pass longer ones"
        )
    return _inputs(ids, np.array(document_of_input), predicted, keys, fold_keys, [], n_truncated, n_skipped)


def _inputs(
    ids: Sequence[NDArray[np.int64]],
    document: NDArray[np.int64],
    predicted: Sequence[NDArray[np.int64]],
    keys: Sequence[int],
    fold_keys: Sequence[int],
    targets: Sequence[int],
    n_truncated: int,
    n_skipped: int,
) -> Inputs:
    digest = hashlib.sha256()
    for array in (np.array(keys), np.array(targets), document, *ids, *predicted):
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    return Inputs(
        ids,
        document,
        predicted,
        np.array(keys, np.int64),
        group_numbers(fold_keys),
        np.array(targets, np.int64),
        n_truncated,
        n_skipped,
        digest.hexdigest(),
        hashlib.sha256(np.array(keys, np.int64).tobytes()).hexdigest(),
    )
