"""A corpus as one stream of word ids, read in parallel lanes."""

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
"""The target of positions that fill up the last lane: they are neither learned nor scored."""


@dataclass(frozen=True, eq=False)
class TokenStream:
    """The documents of a corpus one after the other: `<eos> d1 <eos> d2 <eos> ... dn <eos>`.

    Attributes:
        ids: (words + documents + 1,) int64.
        words: words of the documents; each of them and each document's `<eos>` is predicted once.
        documents: how many.
        unknown: words that the vocabulary lacks, read as `<unk>`.
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
        """SHA-256 of the ids, as hexadecimal digits."""
        return hashlib.sha256(self.ids.numpy().tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Lanes:
    """A stream cut into equally long parts that are read side by side, as the rows of a batch.

    Attributes:
        inputs: (lanes, time) int64 ids.
        targets: (lanes, time) int64, the word after each input; `IGNORED` past the end of the stream.
    """

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, stream: Tensor, lanes: int) -> Lanes:
        """Cut a stream; every position but the first is the target of exactly one place.

        Args:
            stream: (n,) int64 ids, n at least 2.
            lanes: how many parts.
        """
        predicted = len(stream) - 1
        time = -(-predicted // lanes)
        inputs = stream.new_zeros(lanes * time)
        targets = stream.new_full((lanes * time,), IGNORED)
        inputs[:predicted] = stream[:-1]
        targets[:predicted] = stream[1:]
        return cls(inputs.view(lanes, time), targets.view(lanes, time))

    def to(self, device: torch.device | str) -> Lanes:
        """The same on a device."""
        return Lanes(self.inputs.to(device), self.targets.to(device))

    def windows(self, bptt: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, `bptt` steps at a time, from left to right."""
        for start in range(0, self.inputs.shape[1], bptt):
            yield self.inputs[:, start : start + bptt], self.targets[:, start : start + bptt]

    def count(self, bptt: int) -> int:
        """How many windows there are."""
        return -(-self.inputs.shape[1] // bptt)
