"""The strongest occurrences of every neuron, selected while streaming."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.arrays import Ints
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
"""Words on either side of an exemplar."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One word of the corpus with its context and the output of the model.

    Attributes:
        document: id of the document.
        position: index of the word in the document, from 0.
        word: as written.
        before, after: up to eight words on either side, joined by spaces; no word contains a space.
        output: the predicted next word (language model) or class (classifier), if requested.
        probability: of the positive class, for classifiers.
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


_fields = attrgetter(*(field.name for field in fields(Occurrence)))
"""Return the fields of an occurrence as a tuple; `astuple` copies each of them."""

_rank = itemgetter(slice(3))
"""Return the sort key of an entry: activation, document and position."""


class ExemplarTally:
    """The `k` strongest occurrences per neuron; ties go to the smaller document key, then position.

    The tie rule makes the result independent of the order of the documents and of the division into shards.
    """

    def __init__(self, n_neurons: int, k: int = 8) -> None:
        """Start empty.

        Args:
            n_neurons: neurons of the layer.
            k: occurrences per neuron.
        """
        self.k = k
        # Per neuron, strongest first: (-activation, document key, position, occurrence, slot in `_activations`).
        self._entries: list[list[tuple[float, int, int, Occurrence, int]]] = [[] for _ in range(n_neurons)]
        # One array for all: separate objects would take three times the memory.
        self._activations = np.empty((n_neurons, k, 2 * CONTEXT + 1), np.float32)
        self._threshold = np.full(n_neurons, -np.inf)

    def update(
        self,
        neuron: Ints,
        activation: NDArray[np.floating],
        document_key: Ints,
        position: Ints,
        occurrence: Callable[[int], Occurrence],
        activations: Callable[[Ints], NDArray[np.floating]] | None = None,
    ) -> None:
        """Offer occurrences.

        Args:
            neuron: (n,) selected neuron.
            activation: (n,) its activation.
            document_key: (n,) stable hash of the document id.
            position: (n,) of the word in its document.
            occurrence: builds the occurrence of offer i; called only for accepted offers.
            activations: returns the neuron's activations around accepted offers, (m,) indices of offers ->
                (m, 2 * CONTEXT + 1), the word itself in the middle, NaN outside the document; called once. Unknown by
                default.
        """
        if self.k == 0:
            return
        fresh: dict[tuple[int, int], int] = {}
        strong = np.flatnonzero(activation >= self._threshold[neuron])
        # Strongest first, so that most of the weaker offers of a neuron are rejected at once.
        strong = strong[np.argsort(-activation[strong], kind="stable")]
        ranks = zip(
            *((-activation[strong]).tolist(), document_key[strong].tolist(), position[strong].tolist()),
            strict=True,
        )
        for i, index, rank in zip(strong.tolist(), neuron[strong].tolist(), ranks, strict=True):
            entries = self._entries[index]
            slot = len(entries)
            if slot == self.k:
                if rank >= entries[-1][:3]:
                    continue
                slot = entries.pop()[-1]
            entry = (*rank, occurrence(i), slot)
            if not entries or rank >= entries[-1][:3]:
                entries.append(entry)
            else:
                insort(entries, entry, key=_rank)
            fresh[index, slot] = i
        if fresh:
            for index in {index for index, _ in fresh}:
                self._raise_threshold(index)
            offers = np.array(list(fresh.values()), np.int64)
            known = np.float32(np.nan) if activations is None else _single(activations(offers))
            neurons, slots = np.array(list(fresh), np.int64).T
            self._activations[neurons, slots] = known

    def merge(self, other: ExemplarTally) -> None:
        """Offer the entries of another tally, which stays unchanged."""
        for index, (entries, offered) in enumerate(zip(self._entries, other._entries, strict=True)):
            around = np.concatenate((self._activations[index], other._activations[index]))
            entries.extend((*entry[:4], self.k + entry[4]) for entry in offered)
            entries.sort(key=lambda entry: entry[:3])
            del entries[self.k :]
            self._activations[index, : len(entries)] = around[[entry[4] for entry in entries]]
            entries[:] = [(*entry[:4], slot) for slot, entry in enumerate(entries)]
            self._raise_threshold(index)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        rows = [[(*entry[:3], _fields(entry[3])) for entry in entries] for entries in self._entries]
        return {"kept": as_bytes(rows), "activations": self._around()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a state of `state_dict`."""
        self._entries = [
            [
                (value, key, position, Occurrence(*values), slot)
                for slot, (value, key, position, values) in enumerate(rows)
            ]
            for rows in from_bytes(state["kept"])
        ]
        self._activations[self._slots()] = state["activations"]
        for index in range(len(self._entries)):
            self._raise_threshold(index)

    def table(self, layer: str) -> pl.DataFrame:
        """Return one row per occurrence, by neuron and descending activation; `layer` fills the first column."""
        # Columns from `document` to `label` are the fields of an occurrence.
        rows = [
            (layer, neuron, rank, -entry[0], *_fields(entry[3]))
            for neuron, entries in enumerate(self._entries)
            for rank, entry in enumerate(entries)
        ]
        schema = {name: dtype for name, dtype in EXEMPLAR_SCHEMA.items() if name != "activations"}
        around = pl.Series("activations", self._around(), pl.Array(pl.Float32, 2 * CONTEXT + 1))
        before, after = _words_in("before"), _words_in("after")
        at_word = pl.col("activations").arr.get(CONTEXT)
        return (
            pl.DataFrame(rows, schema=schema, orient="row")
            .with_columns(around)
            .with_columns(
                pl.when(at_word.is_not_nan()).then(
                    pl.col("activations")
                    .arr.to_list()
                    .list.slice(CONTEXT - before, before + 1 + after)
                    .list.eval(pl.element().fill_nan(None))
                )
            )
        )

    def _raise_threshold(self, index: int) -> None:
        """Reject what is weaker than all entries of a neuron, once it has `k` of them."""
        entries = self._entries[index]
        if self.k and len(entries) == self.k:
            self._threshold[index] = -entries[-1][0]

    def _slots(self) -> tuple[Ints, Ints]:
        """Return neuron and slot of every entry, by neuron and descending activation."""
        pairs = [(neuron, entry[-1]) for neuron, entries in enumerate(self._entries) for entry in entries]
        neurons, slots = np.array(pairs, np.int64).reshape(-1, 2).T
        return neurons, slots

    def _around(self) -> NDArray[np.float32]:
        """Return the (n, 2 * CONTEXT + 1) activations around every entry, in the order of `_slots`."""
        return self._activations[self._slots()]


def as_exemplars(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table that was read from a file with the columns of `EXEMPLAR_SCHEMA`, checked.

    Tables of versions without the column `activations` get one with unknown values.

    Raises:
        ValueError, PolarsError: the table cannot be what was written.
    """
    if "activations" not in table.columns:
        table = table.with_columns(activations=pl.lit(None, EXEMPLAR_SCHEMA["activations"]))
    dtype = table.schema["activations"]
    # A cast would turn text into numbers.
    if not (isinstance(dtype, pl.List) and dtype.inner is not None and dtype.inner.is_float()):
        raise ValueError(f"exemplars.parquet: column 'activations' is of type {dtype}")
    table = table.cast(EXEMPLAR_SCHEMA).select(*EXEMPLAR_SCHEMA)  # type: ignore[arg-type]
    if not table["activations"].explode().is_finite().all():
        raise ValueError("exemplars.parquet: column 'activations' holds numbers that are not finite")
    words = _words_in("before") + 1 + _words_in("after")
    if table.select((pl.col("activations").list.len() != words).any()).item():
        raise ValueError("exemplars.parquet: 'activations' has not one number per word of the context")
    return table


def _words_in(column: str) -> pl.Expr:
    """Count the words of a column of words joined by spaces."""
    text = pl.col(column)
    return pl.when(text == "").then(0).otherwise(text.str.count_matches(" ", literal=True) + 1).cast(pl.Int64)


def _single(activations: NDArray[np.floating]) -> NDArray[np.float32]:
    """Convert to single precision; values too large for it become NaN."""
    with np.errstate(over="ignore"):
        single = activations.astype(np.float32)
    single[~np.isfinite(single)] = np.nan
    return single
