"""The words that one forward pass covers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from txray.capture.text.encoding import Indices, ModelInput
from txray.preferences import Occurrence


@dataclass(frozen=True, eq=False)
class ForwardChunk:
    """Locates the words that one forward pass over a batch, or a part of it, covers.

    Attributes:
        batch: (n_inputs,) inputs of the model.
        row: (n_words,) input of the batch that each word belongs to.
        word: (n_words,) position of each word in its document, from 0; ascending within an input.
        starts: (n_words,) index in `step` of the first piece of each word.
        step: (n_pieces,) time step of each piece in this pass.
        lengths: (n_inputs,) number of time steps of this pass that each input uses.
        steps: number of time steps of this pass.
        outputs: (n_words,) the model's output at each word; None if not requested.
        probability: (n_inputs,) probability of the class `pos`; None if the model is not a classifier.
        occurrences: cache of occurrences by input and word: one word is often the strongest of many neurons, in many
            layers.
    """

    batch: list[ModelInput]
    row: Indices
    word: Indices
    starts: Indices
    step: Indices
    lengths: Indices
    steps: int
    outputs: list[str] | None = None
    probability: NDArray[np.float64] | None = None
    occurrences: dict[tuple[int, int], Occurrence] = field(default_factory=dict)

    def parts(self, pieces: int) -> Iterator[ForwardChunk]:
        """Yield the chunk in parts of at most this many pieces, or of one word.

        Parts end between inputs; only an input with more pieces is divided, always at the same words.
        """
        ends = np.append(self.starts[1:], len(self.step))
        bounds = [0]
        for last in [*np.flatnonzero(np.diff(self.row)).tolist(), len(self.row) - 1]:
            first_of_input = int(np.searchsorted(self.row, self.row[last]))
            if ends[last] - self.starts[bounds[-1]] > pieces and first_of_input > bounds[-1]:
                bounds.append(first_of_input)
            while ends[last] - self.starts[bounds[-1]] > pieces and last > bounds[-1]:
                cut = int(np.searchsorted(ends, self.starts[bounds[-1]] + pieces, side="right"))
                bounds.append(max(cut, bounds[-1] + 1))
        for start, end in pairwise([*bounds, len(self.row)]):
            first, stop = int(self.starts[start]), int(ends[end - 1])
            yield replace(
                self,
                row=self.row[start:end],
                word=self.word[start:end],
                starts=self.starts[start:end] - first,
                step=self.step[first:stop],
                outputs=None if self.outputs is None else self.outputs[start:end],
            )
