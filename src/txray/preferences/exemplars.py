"""The strongest occurrences of every neuron, kept while streaming."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.preferences.serialization import as_bytes, from_bytes

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
    "activations": pl.List(pl.Float32()),
}
"""Columns of the exemplar table."""

CONTEXT = 8
"""Words kept either side of an exemplar."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One word of the corpus with the words around it and what the model made of it.

    Attributes:
        document: id of the document.
        position: of the word in the document, from 0.
        word: as written.
        before, after: up to eight words either side, joined by spaces, and none of them holds a space itself.
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
        # The last number is the slot of the neuron in which the activations of the context stand.
        self._kept: list[list[tuple[float, int, int, Occurrence, int]]] = [[] for _ in range(n_neurons)]
        # One array for all: an object for each of them would take three times the memory.
        self._activations = np.empty((n_neurons, k, 2 * CONTEXT + 1), np.float32)
        self._threshold = np.full(n_neurons, -np.inf)

    def update(
        self,
        neuron: NDArray[np.int64],
        activation: NDArray[np.floating],
        document_key: NDArray[np.int64],
        position: NDArray[np.int64],
        occurrence: Callable[[int], Occurrence],
        activations: Callable[[NDArray[np.int64]], NDArray[np.floating]] | None = None,
    ) -> None:
        """Offer occurrences.

        Args:
            neuron: (n,) selected neuron.
            activation: (n,) its activation.
            document_key: (n,) stable hash of the document id.
            position: (n,) of the word in its document.
            occurrence: builds the record of offer i; called only for those that are kept.
            activations: gives the neuron's activations around each of m offers, (m,) numbers of offers ->
                (m, 2 * CONTEXT + 1), the word itself in the middle, NaN where there is none; called once, for those
                that are kept. Not known by default.
        """
        if self.k == 0:
            return
        fresh: dict[tuple[int, int], int] = {}
        strong = np.flatnonzero(activation >= self._threshold[neuron])
        # The strongest first, so that most of the weaker offers of a neuron are turned away at once.
        for i in strong[np.argsort(-activation[strong], kind="stable")].tolist():
            index, value = int(neuron[i]), float(activation[i])
            rank = (-value, int(document_key[i]), int(position[i]))
            kept = self._kept[index]
            slot = len(kept)
            if slot == self.k:
                if rank >= kept[-1][:3]:
                    continue
                slot = kept.pop()[-1]
            insort(kept, (*rank, occurrence(i), slot), key=lambda entry: entry[:3])
            fresh[index, slot] = i
            if len(kept) == self.k:
                self._threshold[index] = -kept[-1][0]
        if fresh:
            offers = np.array(list(fresh.values()), np.int64)
            known = np.float32(np.nan) if activations is None else _single(activations(offers))
            neurons, slots = np.array(list(fresh), np.int64).T
            self._activations[neurons, slots] = known

    def merge(self, other: ExemplarTally) -> None:
        """Offer everything another tally has kept; the other stays as it is."""
        for index, (mine, theirs) in enumerate(zip(self._kept, other._kept, strict=True)):
            around = np.concatenate((self._activations[index], other._activations[index]))
            mine.extend((*entry[:4], self.k + entry[4]) for entry in theirs)
            mine.sort(key=lambda entry: entry[:3])
            del mine[self.k :]
            self._activations[index, : len(mine)] = around[[entry[4] for entry in mine]]
            mine[:] = [(*entry[:4], slot) for slot, entry in enumerate(mine)]
            if len(mine) == self.k and self.k:
                self._threshold[index] = -mine[-1][0]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""
        kept = [[(*entry[:3], astuple(entry[3])) for entry in of_neuron] for of_neuron in self._kept]
        return {"kept": as_bytes(kept), "activations": self._around()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""
        self._kept = [
            [
                (value, key, position, Occurrence(*fields), slot)
                for slot, (value, key, position, fields) in enumerate(of_neuron)
            ]
            for of_neuron in from_bytes(state["kept"])
        ]
        self._activations[self._places()] = state["activations"]
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
        schema = {name: dtype for name, dtype in EXEMPLAR_SCHEMA.items() if name != "activations"}
        around = pl.Series("activations", self._around(), pl.Array(pl.Float32, 2 * CONTEXT + 1))
        before, after = _words_in("before"), _words_in("after")
        own = pl.col("activations").arr.get(CONTEXT)
        return (
            pl.DataFrame(rows, schema=schema, orient="row")
            .with_columns(around)
            .with_columns(
                pl.when(own.is_not_nan()).then(
                    pl.col("activations")
                    .arr.to_list()
                    .list.slice(CONTEXT - before, before + 1 + after)
                    .list.eval(pl.element().fill_nan(None))
                )
            )
        )

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Neuron and slot of everything that is kept, by neuron and falling activation."""
        places = [(neuron, entry[-1]) for neuron, kept in enumerate(self._kept) for entry in kept]
        neurons, slots = np.array(places, np.int64).reshape(-1, 2).T
        return neurons, slots

    def _around(self) -> NDArray[np.float32]:
        """(n, 2 * CONTEXT + 1) the activations around everything that is kept, in that order."""
        return self._activations[self._places()]


def as_exemplars(table: pl.DataFrame) -> pl.DataFrame:
    """A table that was read from a file, with columns as in `EXEMPLAR_SCHEMA`.

    Tables of versions that did not keep `activations` get them, unknown.

    Raises:
        ValueError, PolarsError: values that cannot be what was written there.
    """
    if "activations" not in table.columns:
        table = table.with_columns(activations=pl.lit(None, EXEMPLAR_SCHEMA["activations"]))
    dtype = table.schema["activations"]
    # A cast would make numbers of texts.
    if not (isinstance(dtype, pl.List) and dtype.inner is not None and dtype.inner.is_float()):
        raise ValueError(f"exemplars.parquet: column 'activations' is of kind {dtype}")
    table = table.cast(EXEMPLAR_SCHEMA)  # type: ignore[arg-type]
    if not table["activations"].explode().is_finite().all():
        raise ValueError("exemplars.parquet: column 'activations' holds what is no number")
    words = _words_in("before") + 1 + _words_in("after")
    if table.select((pl.col("activations").list.len() != words).any()).item():
        raise ValueError("exemplars.parquet: not one of 'activations' for each word of the context")
    return table


def _words_in(column: str) -> pl.Expr:
    """How many words a column of words joined by spaces holds."""
    text = pl.col(column)
    return pl.when(text == "").then(0).otherwise(text.str.count_matches(" ", literal=True) + 1).cast(pl.Int64)


def _single(activations: NDArray[np.floating]) -> NDArray[np.float32]:
    """In single precision; what is too large for that is not known."""
    with np.errstate(over="ignore"):
        single = activations.astype(np.float32)
    single[~np.isfinite(single)] = np.nan
    return single
