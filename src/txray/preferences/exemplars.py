"""The strongest occurrences of every neuron, kept while streaming."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.preferences.state import as_bytes, from_bytes

EXEMPLAR_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "rank": pl.Int64(),
    "activation": pl.Float64(),
    "document": pl.String(),
    "position": pl.Int64(),
    "word": pl.String(),
    "before": pl.String(),
    "after": pl.String(),
    "output": pl.String(),
    "probability": pl.Float64(),
    "label": pl.String(),
}
"""Columns of the exemplar table."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One word of the corpus with the words around it and what the model made of it.

    Attributes:
        document: id of the document.
        position: of the word in the document, from 0.
        word: as written.
        before, after: up to eight words either side, joined by spaces.
        output: the model's predicted next word (language model) or class (classifier), if asked for.
        probability: of the class `pos`, for classifiers.
        label: the true label of the document, if it has one.
    """

    document: str
    position: int
    word: str
    before: str
    after: str
    output: str | None = None
    probability: float | None = None
    label: str | None = None


class ExemplarTally:
    """The `k` strongest occurrences per neuron; ties go to the smaller document key, then position.

    The tie rule makes the result independent of the order of the documents and of sharding.
    """

    def __init__(self, n_neurons: int, k: int = 8) -> None:
        """Start empty.

        Args:
            n_neurons: neurons of the layer.
            k: occurrences kept per neuron.
        """
        self.k = k
        self._kept: list[list[tuple[float, int, int, Occurrence]]] = [[] for _ in range(n_neurons)]
        self._threshold = np.full(n_neurons, -np.inf)

    def update(
        self,
        neuron: NDArray[np.int64],
        activation: NDArray[np.floating],
        document_key: NDArray[np.int64],
        position: NDArray[np.int64],
        occurrence: Callable[[int], Occurrence],
    ) -> None:
        """Offer occurrences.

        Args:
            neuron: (n,) selected neuron.
            activation: (n,) its activation.
            document_key: (n,) stable hash of the document id.
            position: (n,) of the word in its document.
            occurrence: builds the record of offer i; called only for those that are kept.
        """
        if self.k == 0:
            return
        strong = np.flatnonzero(activation >= self._threshold[neuron])
        # The strongest first, so that most of the weaker offers of a neuron are turned away at once.
        for i in strong[np.argsort(-activation[strong], kind="stable")].tolist():
            index, value = int(neuron[i]), float(activation[i])
            rank = (-value, int(document_key[i]), int(position[i]))
            kept = self._kept[index]
            if len(kept) == self.k:
                if rank >= kept[-1][:3]:
                    continue
                kept.pop()
            insort(kept, (*rank, occurrence(i)), key=lambda entry: entry[:3])
            if len(kept) == self.k:
                self._threshold[index] = -kept[-1][0]

    def merge(self, other: ExemplarTally) -> None:
        """Offer everything another tally has kept; the other stays as it is."""
        for index, (mine, theirs) in enumerate(zip(self._kept, other._kept, strict=True)):
            mine.extend(theirs)
            mine.sort(key=lambda entry: entry[:3])
            del mine[self.k :]
            if len(mine) == self.k and self.k:
                self._threshold[index] = -mine[-1][0]

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""
        kept = [[(*entry[:3], astuple(entry[3])) for entry in of_neuron] for of_neuron in self._kept]
        return {"kept": as_bytes(kept)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self._kept = [
            [(value, key, position, Occurrence(*fields)) for value, key, position, fields in of_neuron]
            for of_neuron in from_bytes(state["kept"])
        ]
        for index, kept in enumerate(self._kept):
            if len(kept) == self.k and self.k:
                self._threshold[index] = -kept[-1][0]

    def table(self, layer: str) -> pl.DataFrame:
        """One row per kept occurrence, by neuron and falling activation.

        Args:
            layer: name of the layer, for the column of that name.
        """
        rows = [
            (
                layer,
                neuron,
                rank,
                -entry[0],
                entry[3].document,
                entry[3].position,
                entry[3].word,
                entry[3].before,
                entry[3].after,
                entry[3].output,
                entry[3].probability,
                entry[3].label,
            )
            for neuron, kept in enumerate(self._kept)
            for rank, entry in enumerate(kept)
        ]
        return pl.DataFrame(rows, schema=EXEMPLAR_SCHEMA, orient="row")
