"""Similarity of the layers of two models: one row per pair of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.arrays import Floats
from txray.errors import UnknownNameError
from txray.notebook import card, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

MEASURES = (
    "cka",
    "cka_debiased",
    "procrustes",
    "best_match_before",
    "best_match_after",
    "one_to_one",
    "soft_match",
)
"""Columns of `LayerSimilarity.table` that measure how similar two layers are."""

CHANCE_MEASURES = ("cka", "procrustes", "one_to_one", "soft_match")
"""Measures with a column of their value by chance, such as `cka_chance`."""

SIMILARITY_SCHEMA: dict[str, pl.DataType] = {
    "layer_before": pl.String(),
    "layer_after": pl.String(),
    **{measure: pl.Float64() for measure in MEASURES},
    **{f"{measure}_chance": pl.Float64() for measure in CHANCE_MEASURES},
    "constant_before": pl.Int64(),
    "constant_after": pl.Int64(),
}

_LISTED = 10


@dataclass(frozen=True, eq=False)
class LayerSimilarity(SavedResult):
    """Similarity of the layers of two models, over the words that both read.

    Attributes:
        before, after: names of the models.
        layers_before, layers_after: names of their layers, in the order of the request.
        corpus: name of the text.
        words: number of words that both models read and all of their layers cover; the basis of all measures.
        skipped: reason -> number of the other words of the text.
        unread_before, unread_after: reason -> number of words that only this model did not read.
        table: polars, one row per pair of layers: layer_before, layer_after, cka (linear centred kernel alignment),
            cka_debiased (from unbiased estimates), procrustes (cosine after the best rotation), best_match_before (mean
            over the neurons of the layer before of the largest correlation `|r|` with a neuron of the layer after),
            best_match_after (the other way round), one_to_one (mean `|r|` of the best assignment), soft_match (mean
            `|r|` of the best soft matching, in which all neurons of both layers count equally), cka_chance,
            procrustes_chance, one_to_one_chance and soft_match_chance (means with the words of one model permuted),
            constant_before and constant_after (numbers of constant neurons, which have no correlation). Null if all
            neurons of a layer are constant, or with too few words.
    """

    SUMMARY_FILE = "similarity.json"

    before: str
    after: str
    layers_before: tuple[str, ...]
    layers_after: tuple[str, ...]
    corpus: str
    words: int
    skipped: Mapping[str, int]
    unread_before: Mapping[str, int]
    unread_after: Mapping[str, int]
    table: pl.DataFrame

    def __repr__(self) -> str:
        head = (
            f"LayerSimilarity({self.before!r} x {self.after!r}, {len(self.layers_before)} x "
            f"{len(self.layers_after)} layers, {self.words:,} words: "
        )
        best = self.table.drop_nulls("cka").sort("cka", descending=True, maintain_order=True).head(1)
        if best.is_empty():
            return head + "all neurons are constant)"
        row = best.row(0, named=True)
        return head + f"CKA up to {row['cka']:.3f}, {row['layer_before']!r} x {row['layer_after']!r})"

    def _repr_html_(self) -> str:
        best = self.table.sort("cka", descending=True, nulls_last=True, maintain_order=True).head(_LISTED)
        sentence = f"{self.words:,} words of {self.corpus} that both models read."
        title = f"Layers of {self.before} and {self.after}"
        return card(title, [sentence], table("Most similar layers", best.columns, best.iter_rows()))

    def matrix(self, column: str = "cka") -> Floats:
        """Return one measure of all pairs of layers.

        Args:
            column: of `table`.

        Returns:
            (n_layers_before, n_layers_after), in the order of `layers_before` and `layers_after`; NaN for null.

        Raises:
            UnknownNameError: no such column.
        """
        known = [name for name in self.table.columns if not name.startswith("layer_")]
        if column not in known:
            raise UnknownNameError.of("measure", column, known)
        values = self.table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return np.array(values).reshape(len(self.layers_before), len(self.layers_after))

    @property
    def layers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the layers before and after."""
        return self.layers_before, self.layers_after

    @property
    def summary(self) -> dict[str, Any]:
        """Return what was compared, and over which words, as plain JSON values."""
        return {
            "before": self.before,
            "after": self.after,
            "layers_before": list(self.layers_before),
            "layers_after": list(self.layers_after),
            "corpus": self.corpus,
            "words": self.words,
            "skipped": dict(self.skipped),
            "unread_before": dict(self.unread_before),
            "unread_after": dict(self.unread_after),
        }

    def plot(self, measure: str = "cka") -> go.Figure:
        """Draw one measure of all pairs of layers.

        Args:
            measure: one of `MEASURES`.

        Raises:
            UnknownNameError: an unknown measure.
        """
        from txray.plots import layer_similarity

        return layer_similarity(self, measure)

    def _contents(self) -> dict[str, Any]:
        return {"tables": {"layers": self.table}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> LayerSimilarity:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in folder.summary.items()
        }
        return cls(**fields, table=folder.table("layers").select(*SIMILARITY_SCHEMA))
