"""The strongest occurrences of every neuron, selected while streaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.arrays import Ints
from txray.preferences.grouped_stats import run_starts
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
        shape = n_neurons, k
        # Strongest first; what is not known yet is weaker than anything.
        self._value = np.full(shape, -np.inf)
        self._key = np.zeros(shape, np.int64)
        self._position = np.zeros(shape, np.int64)
        # Occurrences and activations do not move when a stronger one comes: each entry knows its slot.
        self._slot = np.tile(np.arange(k), (n_neurons, 1))
        self._occurrence = np.empty(shape, object)
        # One array for all: separate objects would take three times the memory.
        self._activations = np.empty((*shape, 2 * CONTEXT + 1), np.float32)

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
        strong = np.flatnonzero(activation >= self._value[neuron, -1])
        order = np.lexsort((position[strong], document_key[strong], -activation[strong], neuron[strong]))
        strong = strong[order]
        # The strongest offer of every neuron at once, then the second strongest, and so on.
        starts = run_starts(neuron[strong])
        nth = np.arange(len(strong)) - np.repeat(starts, np.diff(starts, append=len(strong)))
        rounds = [
            self._insert(offers, neuron[offers], activation[offers], document_key[offers], position[offers])
            for offers in (strong[nth == n] for n in range(min(self.k, int(nth.max(initial=-1)) + 1)))
        ]
        if not rounds:
            return
        # A slot may have been taken twice: the last offer holds it.
        slots, offers = (np.concatenate(parts)[::-1] for parts in zip(*rounds, strict=True))
        slots, last = np.unique(slots, return_index=True)
        if len(slots) == 0:
            return
        offers = offers[last]
        occurrences = np.empty(len(offers), object)
        occurrences[:] = [occurrence(offer) for offer in offers.tolist()]
        self._occurrence.reshape(-1)[slots] = occurrences
        around = np.float32(np.nan) if activations is None else _single(activations(offers))
        self._activations.reshape(-1, 2 * CONTEXT + 1)[slots] = around

    def _insert(
        self, offers: Ints, neuron: Ints, value: NDArray[np.floating], key: Ints, position: Ints
    ) -> tuple[Ints, Ints]:
        """Insert at most one offer per neuron; return the slots of the accepted ones, over all neurons, and these."""
        values, keys, positions = self._value[neuron], self._key[neuron], self._position[neuron]
        earlier = (keys < key[:, None]) | ((keys == key[:, None]) & (positions <= position[:, None]))
        rank = ((values > value[:, None]) | ((values == value[:, None]) & earlier)).sum(axis=1)
        accepted = np.flatnonzero(rank < self.k)
        rank, neuron = rank[accepted], neuron[accepted]
        rows, columns = np.arange(len(accepted)), np.arange(self.k)
        # Entries after the new one move on by one; the last one leaves, and its slot is free.
        source = columns - (columns > rank[:, None])
        freed = self._slot[neuron, -1]
        for entries, added in (
            (self._value, value[accepted]),
            (self._key, key[accepted]),
            (self._position, position[accepted]),
            (self._slot, freed),
        ):
            moved = np.take_along_axis(entries[neuron], source, axis=1)
            moved[rows, rank] = added
            entries[neuron] = moved
        return neuron * self.k + freed, offers[accepted]

    def merge(self, other: ExemplarTally) -> None:
        """Offer the entries of another tally, which stays unchanged."""
        neuron, rank, slot = other._entries()
        self.update(
            neuron,
            other._value[neuron, rank],
            other._key[neuron, rank],
            other._position[neuron, rank],
            lambda i: other._occurrence[neuron[i], slot[i]],
            lambda rows: other._activations[neuron[rows], slot[rows]],
        )

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        neuron, _, slot = self._entries()
        return {
            "occurrences": as_bytes([_fields(one) for one in self._occurrence[neuron, slot]]),
            "activations": self._activations[neuron, slot],
            "value": self._value,
            "key": self._key,
            "position": self._position,
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a state of `state_dict`."""
        shape = self._value.shape
        self._value, self._key, self._position = (state[name].copy() for name in ("value", "key", "position"))
        if {self._value.shape, self._key.shape, self._position.shape} != {shape}:
            raise ValueError(f"exemplars of shape {self._value.shape}, not {shape}")
        self._slot = np.tile(np.arange(self.k), (shape[0], 1))
        neuron, _, slot = self._entries()
        occurrences = np.empty(len(neuron), object)
        occurrences[:] = [Occurrence(*values) for values in from_bytes(state["occurrences"])]
        self._occurrence[neuron, slot] = occurrences
        self._activations[neuron, slot] = state["activations"]

    def table(self, layer: str) -> pl.DataFrame:
        """Return one row per occurrence, by neuron and descending activation; `layer` fills the first column."""
        # Columns from `document` to `label` are the fields of an occurrence.
        neuron, rank, slot = self._entries()
        rows = [
            (layer, index, number, value, *_fields(one))
            for index, number, value, one in zip(
                neuron.tolist(),
                rank.tolist(),
                self._value[neuron, rank].tolist(),
                self._occurrence[neuron, slot],
                strict=True,
            )
        ]
        schema = {name: dtype for name, dtype in EXEMPLAR_SCHEMA.items() if name != "activations"}
        around = pl.Series(
            "activations", self._activations[neuron, slot], pl.Array(pl.Float32, 2 * CONTEXT + 1)
        )
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

    def _entries(self) -> tuple[Ints, Ints, Ints]:
        """Return neuron, rank and slot of every entry, by neuron and descending activation."""
        neuron, rank = np.nonzero(self._value > -np.inf)
        return neuron, rank, self._slot[neuron, rank]


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
