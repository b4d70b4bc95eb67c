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

from txray.capture.text.encoding import inputs
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
        """Yield the indices of the inputs of each batch: of similar length, or without padding of equal length."""
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
        """Return the (n, time) int64 ids of some inputs, padded to at least `min_length`, and their (n,) lengths."""
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


Window = tuple[NDArray[np.int64], NDArray[np.int64] | None]
"""The ids of one input, and the positions whose ids are predicted; None for classification."""

Encode = Callable[[Document], tuple[list[Window], bool]]
"""Returns the inputs of a document, none if nothing in it can be read, and whether it was truncated."""


def word_encoder(model: RecurrentModel, max_length: int | None) -> Encode:
    """Return the encoder of a recurrent model, for up to `max_length` words."""
    is_language_model = isinstance(model, RecurrentLanguageModel)

    def encode(document: Document) -> tuple[list[Window], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        ids = np.array(model.encode(words), np.int64)
        # Every word and the end of the document.
        predicted = np.arange(1, len(ids)) if is_language_model else None
        return [(ids, predicted)] if len(ids) else [], len(words) < len(document.words)

    return encode


def piece_encoder(model: TextModel, max_length: int | None) -> Encode:
    """Return the encoder of a text model, for up to `max_length` words that fit into one input."""

    def encode(document: Document) -> tuple[list[Window], bool]:
        short = document if max_length is None else document.cut(max_length)
        pieces = model.pieces(short)
        fitting = list(pieces.ids)[: model.max_pieces]
        truncated = len(fitting) < len(pieces.ids) or len(short.words) < len(document.words)
        padded = np.array([*model.prefix, *fitting, *model.suffix], np.int64)
        readable = bool((np.asarray(pieces.word[: len(fitting)]) >= 0).any())
        return [(padded, None)] if readable else [], truncated

    return encode


def window_encoder(model: TextModel, max_length: int | None) -> Encode:
    """Return the encoder of a text model that predicts every piece except the first of each input."""

    def encode(document: Document) -> tuple[list[Window], bool]:
        short = document if max_length is None else document.cut(max_length)
        _, windows = inputs(short, model.pieces(short), model)
        # The first position of an input cannot be predicted.
        positions = [window.steps[window.steps > 0] for window in windows]
        encoded: list[Window] = [
            (np.array(window.ids, np.int64), predicted)
            for window, predicted in zip(windows, positions, strict=True)
        ]
        truncated = len(short.words) < len(document.words)
        return encoded if any(map(len, positions)) else [], truncated

    return encode


def labelled_inputs(
    corpus: Corpus, max_documents: int | None, encode: Encode, classes: Sequence[str]
) -> Inputs:
    """Return the inputs of a classifier, see `evaluator`.

    Raises:
        CorpusError: a label is not a class, fewer than two classes occur, or nothing can be read.
    """

    def target_of(document: Document) -> int:
        label = document.labels.get(LABEL)
        if label not in classes:
            raise CorpusError(
                f"corpus {corpus.name!r}: document {document.id!r} has {LABEL} {label!r}; the model's classes are "
                f"{', '.join(classes)}"
            )
        return classes.index(label)

    encoded = _inputs(sample_documents(corpus, max_documents), encode, target_of)
    targets = encoded.targets
    if len(set(targets.tolist())) < 2:
        problem = (
            f"all {len(targets)} documents have {LABEL} {classes[targets[0]]!r}"
            if len(targets)
            else "nothing to read"
        )
        raise CorpusError(
            f"corpus {corpus.name!r}: {problem}; a classifier is scored on at least two classes"
        )
    return encoded


def language_inputs(corpus: Corpus, max_documents: int | None, encode: Encode) -> Inputs:
    """Return the inputs of a language model, see `evaluator`.

    Raises:
        CorpusError: there is nothing to predict.
    """
    encoded = _inputs(sample_documents(corpus, max_documents), encode)
    if not encoded.n_documents:
        raise CorpusError(
            f"corpus {corpus.name!r}: no document is long enough to predict anything; pass longer ones"
        )
    return encoded


def _inputs(
    documents: Sequence[Keyed], encode: Encode, target_of: Callable[[Document], int] | None = None
) -> Inputs:
    ids: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    document_of_input: list[int] = []
    keys: list[int] = []
    fold_keys: list[int] = []
    targets: list[int] = []
    n_truncated = 0
    for key, document in documents:
        target = None if target_of is None else target_of(document)
        windows, truncated = encode(document)
        if not windows:
            continue
        for window_ids, positions in windows:
            ids.append(window_ids)
            document_of_input.append(len(keys))
            if positions is not None:
                predicted.append(positions)
        keys.append(key)
        fold_keys.append(document.fold_key)
        if target is not None:
            targets.append(target)
        n_truncated += truncated
    digest = hashlib.sha256()
    for array in (np.array(keys), np.array(targets), np.array(document_of_input), *ids, *predicted):
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    return Inputs(
        ids,
        np.array(document_of_input, np.int64),
        predicted,
        np.array(keys, np.int64),
        group_numbers(fold_keys),
        np.array(targets, np.int64),
        n_truncated,
        len(documents) - len(keys),
        digest.hexdigest(),
        hashlib.sha256(np.array(keys, np.int64).tobytes()).hexdigest(),
    )
