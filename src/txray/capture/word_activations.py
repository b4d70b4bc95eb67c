"""The activations of one layer at every word of a few documents, word by word and not batch by batch."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.activations import as_numpy, pooled
from txray.capture.checkpoint import NoCheckpoints
from txray.capture.encoding import Indices, ModelInput
from txray.capture.hook_point import HookPoint
from txray.capture.loop import DocumentStream, run
from txray.capture.model_adapter import ForwardChunk, ModelAdapter
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError


@dataclass(frozen=True, eq=False)
class DocumentBlock:
    """Consecutive documents whose words are numbered through.

    Attributes:
        documents: each an object of its own, even where a corpus gives the same one twice.
        starts: (n_documents,) number of the first word of each.
        words: in all of them.
    """

    documents: Sequence[Document]
    starts: Indices
    words: int

    @classmethod
    def of(cls, documents: Sequence[Document]) -> DocumentBlock:
        """These documents."""
        ends = np.cumsum([len(document.words) for document in documents])
        return cls([copy.copy(each) for each in documents], np.append(0, ends[:-1]), int(ends[-1]))

    def place(self, word: int) -> str:
        """Where a word stands, in words."""
        number = int(np.searchsorted(self.starts, word, side="right")) - 1
        document, position = self.documents[number], word - int(self.starts[number])
        return f"document {document.id!r}, word {position} ({document.words[position][:40]!r})"


def blocks(documents: Iterable[Document], words: int) -> Iterator[DocumentBlock]:
    """The documents in blocks, each ended by the document that brings it to so many words."""
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.words)
        if size >= words:
            yield DocumentBlock.of(held)
            held, size = [], 0
    if held:
        yield DocumentBlock.of(held)


class WordActivations:
    """Activations of one layer, by the number of the word in a block.

    Attributes:
        hook_point: where they come from.
        values: (n_words, n_neurons) of the words that `answered`, anything elsewhere; signed as the layer gives them.
        read: (n_words,) which words the model reads.
        answered: (n_words,) which of these the layer's output covers wholly.
    """

    def __init__(self, hook_point: HookPoint, block: DocumentBlock) -> None:
        """Start empty."""
        self.hook_point = hook_point
        self.read = np.zeros(block.words, np.bool_)
        self.answered = np.zeros(block.words, np.bool_)
        # In the model's own number type, which only its output tells.
        self.values: NDArray[np.floating] = np.zeros((block.words, hook_point.layout.neurons), np.float16)
        self._started = False
        self._starts = {
            id(document): start
            for document, start in zip(block.documents, block.starts.tolist(), strict=True)
        }

    def update(self, output: Tensor, batch: list[ModelInput], chunk: ForwardChunk) -> None:
        """Put one chunk in its places."""
        if len(chunk.row) == 0:
            return
        start = np.array([self._starts[id(model_input.encoded.document)] for model_input in batch])
        number = start[chunk.row] + chunk.word
        self.read[number] = True
        flat, steps = self.hook_point.flat(output, len(batch), chunk.steps)
        inside, groups = self.hook_point.covered_words(chunk, steps)
        if not len(groups):
            return
        found = as_numpy(pooled(flat, groups))
        if not self._started:
            self.values, self._started = np.empty(self.values.shape, found.dtype), True
        self.values[number[inside]] = found
        self.answered[number[inside]] = True

    def finite(self, block: DocumentBlock, words: Indices) -> NDArray[np.floating]:
        """The activations at some words.

        Args:
            block: the documents.
            words: (n,) numbers of the words, which all have `answered`.

        Returns:
            (n, n_neurons) numbers.

        Raises:
            CaptureError: activations that are no numbers; names the first of them.
        """
        values = self.values if len(words) == block.words else self.values[words]
        if not np.isfinite(values).all():
            row, neuron = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: activation {float(values[row, neuron])} of neuron {neuron} in "
                f"{block.place(int(words[row]))}; the model's weights are broken, or its activations overflow"
            )
        return values

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""
        return {"values": self.values, "read": self.read, "answered": self.answered}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self.values, self.read, self.answered = state["values"], state["read"], state["answered"]
        self._started = True


def read_block(
    adapter: ModelAdapter, hook_points: Sequence[HookPoint], block: DocumentBlock, batch_positions: int
) -> tuple[list[WordActivations], Counter[str]]:
    """Run a model over a block of documents.

    Args:
        adapter: of the model.
        hook_points: its layers, each once.
        block: the documents.
        batch_positions: padded positions in a batch.

    Returns:
        One per hook_point, and the words that the model does not read, by reason.
    """
    found = [WordActivations(hook_point, block) for hook_point in hook_points]
    stream = DocumentStream(Corpus.from_documents("block", block.documents), adapter, tagged=False)
    run(adapter, stream, found, batch_positions, "reading", block.words, NoCheckpoints())
    return found, stream.unread
