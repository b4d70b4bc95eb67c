"""Labelled documents as word ids, and their batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from txray.corpus.corpus import Corpus
from txray.errors import CorpusError
from txray.models import SentimentClassifier
from txray.sampling import even_sample

LABEL = "label"
Batch = tuple[Tensor, Tensor, Tensor]
"""(batch, time) int64 ids padded on the right, (batch,) int64 lengths, (batch,) float32: 1 for `pos`."""

# Batches are formed within chunks of this many batches, sorted by length: little padding, and still a different
# mixture in every epoch.
_CHUNK_BATCHES = 32


@dataclass(frozen=True, eq=False)
class Reviews:
    """Labelled documents, encoded for a classifier.

    Attributes:
        ids: for each document, (length,) int32 word ids from `model.encode`.
        positive: (n,) float32, 1 for `pos`, 0 for `neg`.
        cut: number of truncated documents.
        unknown: number of words missing in the vocabulary, after truncation.
    """

    ids: Sequence[NDArray[np.int32]]
    positive: NDArray[np.float32]
    cut: int
    unknown: int

    @classmethod
    def of(cls, corpus: Corpus, model: SentimentClassifier, max_length: int) -> Reviews:
        """Read a corpus once, for the vocabulary and classes of `model`, up to `max_length` words per document.

        Raises:
            CorpusError: a document has no label or an unknown one, all have the same label, or the corpus cannot be
                read.
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
        return cls(ids, np.array(positive, dtype=np.float32), cut, unknown)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def words(self) -> int:
        """Return the number of words, after truncation."""
        return sum(len(document) - 2 for document in self.ids)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of ids and labels, in hexadecimal."""
        digest = hashlib.sha256(self.positive.tobytes())
        for document in self.ids:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document.tobytes())
        return digest.hexdigest()

    def sample(self, size: int) -> Reviews:
        """Return up to `size` evenly spaced documents, so that a file sorted by label yields both classes."""
        if size >= len(self):
            return self
        indices = even_sample(len(self), size)
        ids = [self.ids[index] for index in indices]
        return Reviews(ids, self.positive[indices], self.cut, self.unknown)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the documents with these indices, padded to the longest of them."""
        documents = [torch.from_numpy(self.ids[index]) for index in indices]
        lengths = torch.tensor([len(document) for document in documents])
        positive = torch.from_numpy(self.positive[np.asarray(indices)])
        return pad_sequence(documents, batch_first=True).long(), lengths, positive

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all documents, `size` at a time, from short to long."""
        order = np.argsort([len(document) for document in self.ids], kind="stable")
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def batch_count(self, size: int) -> int:
        """Return the number of batches of `size` documents."""
        return -(-len(self) // size)

    def shuffled_batches(self, size: int, seed: Sequence[int]) -> Iterator[Batch]:
        """Yield all documents in batches of similar length, in an order that depends on `seed`."""
        random = np.random.default_rng(seed)
        order = random.permutation(len(self))
        lengths = np.array([len(document) for document in self.ids])
        batches = []
        for start in range(0, len(order), size * _CHUNK_BATCHES):
            chunk = order[start : start + size * _CHUNK_BATCHES]
            chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
            batches += [chunk[first : first + size] for first in range(0, len(chunk), size)]
        for number in random.permutation(len(batches)):
            yield self.batch(batches[number])
