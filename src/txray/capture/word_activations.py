"""Activations of a layer at every word of a few documents, in the order of the words."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.capture.activations import as_numpy
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.loop import DocumentStream, run
from txray.capture.source import ActivationSource
from txray.capture.text.encoding import Indices
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError


@dataclass(frozen=True, eq=False)
class DocumentBlock:
    """Consecutive documents whose words are numbered consecutively.

    Attributes:
        documents: distinct objects, even if a corpus repeats a document.
        starts: (n_documents,) number of the first word of each document.
        words: total number of words.
    """

    documents: Sequence[Document]
    starts: Indices
    words: int

    @classmethod
    def of(cls, documents: Sequence[Document]) -> DocumentBlock:
        """Return a block of these documents."""
        ends = np.cumsum([len(document.words) for document in documents])
        return cls([copy.copy(document) for document in documents], np.append(0, ends[:-1]), int(ends[-1]))

    def describe(self, word: int) -> str:
        """Return document, position and text of a word, for errors."""
        number = int(np.searchsorted(self.starts, word, side="right")) - 1
        document, position = self.documents[number], word - int(self.starts[number])
        return f"document {document.id!r}, word {position} ({document.words[position][:40]!r})"


def blocks(documents: Iterable[Document], words: int) -> Iterator[DocumentBlock]:
    """Yield the documents in blocks; a block ends with the document that reaches `words` words."""
    collected: list[Document] = []
    size = 0
    for document in documents:
        collected.append(document)
        size += len(document.words)
        if size >= words:
            yield DocumentBlock.of(collected)
            collected, size = [], 0
    if collected:
        yield DocumentBlock.of(collected)


class WordActivations:
    """Activations of one layer, by the number of the word in a block.

    Attributes:
        hook_point: source of the activations.
        values: (n_words, n_neurons) raw activations of the `covered` words; undefined elsewhere.
        read: (n_words,) which words the model reads.
        covered: (n_words,) which of these lie fully within the layer's output.
    """

    def __init__(self, hook_point: HookPoint, block: DocumentBlock) -> None:
        """Start empty."""
        self.hook_point = hook_point
        self._block = block
        self.read = np.zeros(block.words, np.bool_)
        self.covered = np.zeros(block.words, np.bool_)
        # The dtype is that of the first output.
        self.values: NDArray[np.floating] = np.zeros((block.words, hook_point.n_neurons), np.float16)
        self._started = False
        self._starts = {
            id(document): start
            for document, start in zip(block.documents, block.starts.tolist(), strict=True)
        }

    def update(self, activations: ChunkActivations) -> None:
        """Store the activations of one chunk."""
        chunk = activations.chunk
        start = np.array([self._starts[id(model_input.encoded.document)] for model_input in chunk.batch])
        number = start[chunk.row] + chunk.word
        self.read[number] = True
        number = number[activations.covered]
        if not len(number):
            return
        values = as_numpy(activations.of_words())
        if not self._started:
            self.values, self._started = np.empty(self.values.shape, values.dtype), True
        self.values[number] = values
        self.covered[number] = True

    def finite(self, words: Indices) -> NDArray[np.floating]:
        """Return the (n, n_neurons) activations at (n,) words, all of them `covered`.

        Raises:
            CaptureError: an activation is not finite; the message names the first one.
        """
        values = self.values if len(words) == self._block.words else self.values[words]
        if not np.isfinite(values).all():
            row, neuron = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: activation {float(values[row, neuron])} of neuron {neuron} in "
                f"{self._block.describe(int(words[row]))}; the model's weights are broken, or its activations overflow"
            )
        return values


def read_block(
    adapter: ActivationSource, hook_points: Sequence[HookPoint], block: DocumentBlock, batch_positions: int
) -> tuple[list[WordActivations], Counter[str]]:
    """Return the activations of each hook point at a block of documents, and the number of unread words by reason."""
    activations = [WordActivations(hook_point, block) for hook_point in hook_points]
    stream = DocumentStream(Corpus.from_documents("block", block.documents), adapter, tagged=False)
    run(adapter, stream, activations, batch_positions, "reading", block.words)
    return activations, stream.unread
