"""What became of a comparison of layers as wholes: one row per pair of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.saving import save_tables
from txray.errors import UnknownNameError

MEASURES = ("cka", "cka_debiased", "best_match_first", "best_match_second", "one_to_one")
"""Columns of `LayerSimilarity.table` that say how alike two layers are."""

SIMILARITY_SCHEMA: dict[str, pl.DataType] = {
    "layer_first": pl.String(),
    "layer_second": pl.String(),
    **{measure: pl.Float64() for measure in MEASURES},
    "constant_first": pl.Int64(),
    "constant_second": pl.Int64(),
}

SUMMARY = "similarity.json"
"""Marks a folder that holds a saved similarity."""


@dataclass(frozen=True, eq=False)
class LayerSimilarity:
    """How alike the layers of two models are, over the words that both read.

    Attributes:
        first, second: what the models are called.
        layers_first, layers_second: names of their layers, in the order of the request.
        corpus: name of the text.
        words: that both models read, and all of their layers answer to: what everything below is computed from.
        skipped: all other words of the text, by reason.
        unread_first, unread_second: words that the one model does not read, by its own reason.
        table: polars, one row per pair of layers: layer_first, layer_second, cka (linear centred kernel alignment),
            cka_debiased (the same from unbiased estimates), best_match_first (mean over the neurons of the first
            layer of the largest correlation `|r|` with one of the second), best_match_second (the other way round),
            one_to_one (mean `|r|` of the best assignment), constant_first and constant_second (neurons that
            never move; they have no correlation). Null where there is no value: a layer of which no neuron moves,
            or too few words for the estimate.
    """

    first: str
    second: str
    layers_first: tuple[str, ...]
    layers_second: tuple[str, ...]
    corpus: str
    words: int
    skipped: Mapping[str, int]
    unread_first: Mapping[str, int]
    unread_second: Mapping[str, int]
    table: pl.DataFrame

    def __repr__(self) -> str:
        head = (
            f"LayerSimilarity({self.first!r} x {self.second!r}, {len(self.layers_first)} x "
            f"{len(self.layers_second)} layers, {self.words:,} words: "
        )
        best = self.table.drop_nulls("cka").sort("cka", descending=True, maintain_order=True).head(1)
        if best.is_empty():
            return head + "no neuron moves)"
        row = best.row(0, named=True)
        return head + f"CKA up to {row['cka']:.3f}, {row['layer_first']!r} x {row['layer_second']!r})"

    def matrix(self, column: str = "cka") -> NDArray[np.float64]:
        """One measure of all pairs of layers.

        Args:
            column: of `table`.

        Returns:
            (n_layers_first, n_layers_second), in the order of `layers_first` and `layers_second`; NaN where there is
            no value.

        Raises:
            UnknownNameError: no such measure.
        """
        known = [name for name in self.table.columns if not name.startswith("layer_")]
        if column not in known:
            raise UnknownNameError.of("measure", column, known)
        values = self.table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return np.array(values).reshape(len(self.layers_first), len(self.layers_second))

    @property
    def summary(self) -> dict[str, Any]:
        """What was compared, and over which words, as plain JSON values."""
        return {
            "first": self.first,
            "second": self.second,
            "layers_first": list(self.layers_first),
            "layers_second": list(self.layers_second),
            "corpus": self.corpus,
            "words": self.words,
            "skipped": dict(self.skipped),
            "unread_first": dict(self.unread_first),
            "unread_second": dict(self.unread_second),
        }

    def save(self, folder: Path | str) -> Path:
        """Write layers.parquet, layers.csv and similarity.json, all or nothing; returns the folder.

        Raises:
            OutputError: the place cannot be written.
        """
        return save_tables(folder, {"layers": self.table}, self.summary, SUMMARY)
