"""A corpus as one stream of word ids, read in parallel rows."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from txray.corpus.corpus import Corpus
from txray.models.vocabulary import END, Vocabulary

IGNORED = -100
"""Target of the positions that pad the last row: they are neither trained on nor evaluated."""


@dataclass(frozen=True, eq=False)
class TokenStream:
    """The documents of a corpus one after the other: `<eos> d1 <eos> d2 <eos> ... dn <eos>`.

    Attributes:
        ids: (words + documents + 1,) int64.
        words: number of words in the documents; each word and each document's `<eos>` is predicted once.
        documents: number of documents.
        unknown: number of words missing in the vocabulary, read as `<unk>`.
    """

    ids: Tensor
    words: int
    documents: int
    unknown: int

    @classmethod
    def of(cls, corpus: Corpus, vocabulary: Vocabulary) -> TokenStream:
        """Read a corpus once.

        Raises:
            CorpusError: the corpus is empty or cannot be read.
        """
        (end,) = vocabulary.encode((END,))
        ids = array("q", (end,))
        documents = unknown = 0
        for document in corpus:
            words = vocabulary.encode(document.words)
            unknown += words.count(0)
            documents += 1
            ids.extend(words)
            ids.append(end)
        return cls(torch.tensor(ids, dtype=torch.int64), len(ids) - documents - 1, documents, unknown)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the ids, in hexadecimal."""
        return hashlib.sha256(self.ids.numpy().tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class StreamBatches:
    """A stream cut into rows of equal length that are read in parallel, one window of time steps after the other.

    Attributes:
        inputs: (rows, time) int64 ids.
        targets: (rows, time) int64, the word after each input; `IGNORED` past the end of the stream.
    """

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, stream: Tensor, rows: int) -> StreamBatches:
        """Cut a stream; each position except the first is a target exactly once.

        Args:
            stream: (n,) int64 ids, n at least 2.
            rows: number of rows.
        """
        predicted = len(stream) - 1
        time = -(-predicted // rows)
        inputs = stream.new_zeros(rows * time)
        targets = stream.new_full((rows * time,), IGNORED)
        inputs[:predicted] = stream[:-1]
        targets[:predicted] = stream[1:]
        return cls(inputs.view(rows, time), targets.view(rows, time))

    def windows(self, bptt: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets, `bptt` time steps at a time, from left to right."""
        for start in range(0, self.inputs.shape[1], bptt):
            yield self.inputs[:, start : start + bptt], self.targets[:, start : start + bptt]

    def window_count(self, bptt: int) -> int:
        """Return the number of windows."""
        return -(-self.inputs.shape[1] // bptt)
