"""Documents as the inputs on which a model is scored: chosen, cut, labelled, in an order that leaves no trace."""

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
"""Padded positions in a batch."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Documents as a model reads them, in an order that their ids alone decide.

    Attributes:
        ids: per input, (length,) ids.
        document: (n_inputs,) number of the document that each belongs to.
        counted: per input, positions whose ids are predicted; empty where documents are classified.
        keys: (n_documents,) hash of the id of each document, ascending.
        groups: (n_documents,) number of the group of each document: those of one `fold_key` depend on each other and
            are resampled together.
        targets: (n_documents,) number of the right class; of no meaning for language models.
        cut: documents that were longer than what is read of them.
        skipped: documents without anything to read or predict.
        digest: of all that decides what a model makes of a document; groups do not.
        documents_digest: of the ids of the documents alone.
    """

    ids: Sequence[NDArray[np.int64]]
    document: NDArray[np.int64]
    counted: Sequence[NDArray[np.int64]]
    keys: NDArray[np.int64]
    groups: NDArray[np.int64]
    targets: NDArray[np.int64]
    cut: int
    skipped: int
    digest: str
    documents_digest: str

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.keys)

    @property
    def n_groups(self) -> int:
        """Return the number of groups, at most that of documents."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def groups_digest(self) -> str:
        """Return a hash of which documents share a group."""
        return hashlib.sha256(self.groups.tobytes()).hexdigest()

    @property
    def words(self) -> int:
        """Positions that are read in all."""
        return sum(map(len, self.ids))

    def batches(self, *, padded: bool = True) -> Iterator[NDArray[np.int64]]:
        """Go through all inputs in batches.

        Args:
            padded: whether inputs of different length may share a batch.

        Yields:
            Numbers of the inputs of a batch, alike in length.
        """
        lengths = np.array([len(each) for each in self.ids])
        batch: list[int] = []
        for number in np.argsort(-lengths, kind="stable").tolist():
            longest = lengths[batch[0]] if batch else 0
            if batch and (
                (len(batch) + 1) * longest > _POSITIONS or not (padded or lengths[number] == longest)
            ):
                yield np.array(batch)
                batch = []
            batch.append(number)
        if batch:
            yield np.array(batch)

    def padded(self, numbers: NDArray[np.int64], padding: int, min_length: int = 1) -> tuple[Tensor, Tensor]:
        """(n, longest) int64 ids and (n,) lengths of some inputs."""
        lengths = [len(self.ids[number]) for number in numbers]
        ids = torch.full((len(numbers), max(min_length, *lengths)), padding, dtype=torch.int64)
        for row, number in enumerate(numbers):
            ids[row, : lengths[row]] = torch.from_numpy(self.ids[number])
        return ids, torch.tensor(lengths)


def chosen_documents(corpus: Corpus, documents: int | None) -> list[tuple[int, Document]]:
    """The documents of the smallest keys, in the order of their keys; of equal keys, in that of their text."""
    keyed = ((document_key(document.id), document) for document in corpus)

    def order(each: tuple[int, Document]) -> tuple[int, tuple[str, ...]]:
        return each[0], each[1].words

    return sorted(keyed, key=order) if documents is None else heapq.nsmallest(documents, keyed, key=order)


Encode = Callable[[Document], tuple[list[int], bool]]
"""Ids of a document, none where nothing of it can be read, and whether it was cut."""


def by_words(model: RecurrentModel, max_length: int | None) -> Encode:
    """How a recurrent model reads at most so many words of a document."""

    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        return model.encode(words), len(words) < len(document.words)

    return encode


def by_pieces(model: TextModel, max_length: int | None) -> Encode:
    """How a text model reads the beginning of a document, as much as fits into one input."""

    def encode(document: Document) -> tuple[list[int], bool]:
        words = document.words if max_length is None else document.words[:max_length]
        ids = list(model.pieces(words).ids)
        kept = ids if model.max_pieces is None else ids[: model.max_pieces]
        cut = len(kept) < len(ids) or len(words) < len(document.words)
        return [*model.prefix, *kept, *model.suffix] if kept else [], cut

    return encode


def labelled(
    corpus: Corpus, chosen: Sequence[tuple[int, Document]], encode: Encode, classes: Sequence[str]
) -> Inputs:
    """Documents to be classified.

    Args:
        corpus: named in errors.
        chosen: of it.
        encode: how the model reads them.
        classes: their names, in order.

    Raises:
        CorpusError: a label that is no class, fewer than two classes, or nothing to read.
    """
    ids, keys, fold_keys, targets, cut = [], [], [], [], 0
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
        fold_keys.append(document.fold_key)
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
    return _inputs(ids, numbers, [], keys, fold_keys, targets, cut, len(chosen) - len(ids))


def recurrent_text(
    model: RecurrentLanguageModel, corpus: Corpus, documents: int | None, max_length: int | None
) -> Inputs:
    """Documents of which a recurrent language model predicts every word and the end."""
    encode = by_words(model, max_length)
    chosen = chosen_documents(corpus, documents)
    encoded = [encode(document) for _, document in chosen]
    ids = [np.array(each, np.int64) for each, _ in encoded]
    keys = [key for key, _ in chosen]
    fold_keys = [document.fold_key for _, document in chosen]
    counted = [np.arange(1, len(each)) for each in ids]
    return _inputs(ids, np.arange(len(ids)), counted, keys, fold_keys, [], sum(cut for _, cut in encoded), 0)


def windows_of(model: TextModel, corpus: Corpus, documents: int | None, max_length: int | None) -> Inputs:
    """Documents of which a text model predicts every piece that has one before it in the same input.

    Raises:
        CorpusError: there is none.
    """
    ids: list[NDArray[np.int64]] = []
    counted: list[NDArray[np.int64]] = []
    document: list[int] = []
    keys: list[int] = []
    fold_keys: list[int] = []
    cut = skipped = 0
    for key, each in chosen_documents(corpus, documents):
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
        fold_keys.append(each.fold_key)
    if not keys:
        raise CorpusError(
            f"corpus {corpus.name!r}: no document of which the model predicts anything; give longer ones"
        )
    return _inputs(ids, np.array(document), counted, keys, fold_keys, [], cut, skipped)


def _inputs(
    ids: Sequence[NDArray[np.int64]],
    document: NDArray[np.int64],
    counted: Sequence[NDArray[np.int64]],
    keys: Sequence[int],
    fold_keys: Sequence[int],
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
        group_numbers(fold_keys),
        np.array(targets, np.int64),
        cut,
        skipped,
        digest.hexdigest(),
        hashlib.sha256(np.array(keys, np.int64).tobytes()).hexdigest(),
    )
