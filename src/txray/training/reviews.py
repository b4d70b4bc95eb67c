"""Labelled documents as ids, and their batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.corpus.corpus import Corpus
from txray.errors import CorpusError
from txray.models import SentimentClassifier

LABEL = "label"
Batch = tuple[Tensor, Tensor, Tensor]
"""(batch, time) int64 ids padded on the right, (batch,) int64 lengths, (batch,) float32: 1 for `pos`."""

# Batches are filled from so many batches' worth of documents sorted by length: little padding, and
# still a different mixture in every epoch.
_POOL = 32


@dataclass(frozen=True, eq=False)
class Reviews:
    """Labelled documents, ready for a classifier.

    Attributes:
        ids: per document, (length,) int32 as `model.encode` gives them.
        positive: (n,) float32, 1 for `pos`, 0 for `neg`.
        words: words that are kept.
        cut: documents that were longer than allowed.
        unknown: kept words that the vocabulary lacks.
    """

    ids: Sequence[NDArray[np.int32]]
    positive: NDArray[np.float32]
    words: int
    cut: int
    unknown: int

    @classmethod
    def of(cls, corpus: Corpus, model: SentimentClassifier, max_length: int) -> Reviews:
        """Read a corpus once.

        Args:
            corpus: documents with the label `label`.
            model: whose vocabulary and classes are used.
            max_length: words kept of each document.

        Raises:
            CorpusError: a document has no label or an unknown one, all have the same, or the corpus
                cannot be read.
        """
        ids, positive, cut, unknown = [], [], 0, 0
        for document in corpus:
            label = document.labels.get(LABEL)
            if label not in model.classes:
                raise CorpusError(
                    f"corpus {corpus.name!r}: document {document.id!r} has {LABEL} {label!r}; "
                    f"a classifier needs one of {', '.join(model.classes)}"
                )
            encoded = model.encode(document.words[:max_length])
            ids.append(np.array(encoded, dtype=np.int32))
            positive.append(model.classes.index(label))
            cut += len(document.words) > max_length
            unknown += encoded.count(0)
        if len(set(positive)) == 1:
            raise CorpusError(
                f"corpus {corpus.name!r}: all {len(ids)} documents have {LABEL} {label!r}; "
                "a classifier needs both classes"
            )
        words = sum(len(document) - 2 for document in ids)
        return cls(ids, np.array(positive, dtype=np.float32), words, cut, unknown)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of ids and labels, as hexadecimal digits."""
        digest = hashlib.sha256(self.positive.tobytes())
        for document in self.ids:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document.tobytes())
        return digest.hexdigest()

    def sample(self, size: int) -> Reviews:
        """Every n-th document, `size` at most, so that a file sorted by label gives both classes."""
        if size >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, size).round().astype(int)
        ids = [self.ids[number] for number in chosen]
        words = sum(len(document) - 2 for document in ids)
        return Reviews(ids, self.positive[chosen], words, self.cut, self.unknown)

    def batch(self, numbers: Sequence[int] | NDArray[np.int64]) -> Batch:
        """The documents with these numbers, padded to the longest of them."""
        lengths = [len(self.ids[number]) for number in numbers]
        ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
        for row, number in enumerate(numbers):
            ids[row, : lengths[row]] = torch.from_numpy(self.ids[number])
        return ids, torch.tensor(lengths), torch.from_numpy(self.positive[np.asarray(numbers)])

    def batches(self, size: int) -> Iterator[Batch]:
        """All documents, `size` at a time, from short to long."""
        order = np.argsort([len(document) for document in self.ids], kind="stable")
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def batch_count(self, size: int) -> int:
        """How many batches of `size` documents there are."""
        return -(-len(self) // size)

    def shuffled_batches(self, size: int, seed: Sequence[int]) -> Iterator[Batch]:
        """All documents, `size` at a time, those of a batch alike in length, in an order given by `seed`."""
        random = np.random.default_rng(seed)
        order = random.permutation(len(self))
        lengths = np.array([len(document) for document in self.ids])
        chunks = []
        for start in range(0, len(order), size * _POOL):
            pool = order[start : start + size * _POOL]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            chunks += [pool[first : first + size] for first in range(0, len(pool), size)]
        for number in random.permutation(len(chunks)):
            yield self.batch(chunks[number])
