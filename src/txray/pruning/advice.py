"""Advice on which neurons can be removed for a loss of at most so much, and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.errors import UsageError
from txray.pruning.mask import Mask

if TYPE_CHECKING:
    import plotly.graph_objects as go

LAYER_SCHEMA = {
    "layer": pl.String,
    "neurons": pl.Int64,
    "removed": pl.Int64,
    "share": pl.Float64,
    "loss": pl.Float64,
    "bound": pl.Float64,
    "removed_neurons": pl.String,
}
STEP_SCHEMA = {
    "layer": pl.String,
    "step": pl.Int64,
    "removed": pl.Int64,
    "share": pl.Float64,
    "before": pl.Float64,
    "after": pl.Float64,
    "loss": pl.Float64,
    "bound": pl.Float64,
    "holds": pl.Boolean,
}


@dataclass(frozen=True, eq=False, repr=False)
class Advice(SavedResult):
    """Neurons that can be removed for a loss of at most so much, the result of `txray.pruning.advise`.

    Losses are in percentage points of accuracy or AUROC, or in percent of the perplexity.

    Attributes:
        layers: one row per layer: how many of its `neurons` can be `removed` and which, the measured `loss` and its
            upper `bound` on the documents for verification. Unless `summary["each_layer"]` is true, all layers are
            pruned together, so loss and bound are those of all, and are repeated. Null if nothing can be removed.
        steps: one row per test, in order; each sequence ends with the first one that does not hold. The layer is empty
            if all layers are pruned together.
        summary: settings and counts, as plain JSON values.
    """

    layers: pl.DataFrame
    steps: pl.DataFrame
    summary: Mapping[str, Any]

    SUMMARY_FILE = "advice.json"

    @property
    def layer(self) -> str | None:
        """Return the layer; None if there are several."""
        return self.layers["layer"][0] if len(self.layers) == 1 else None

    def masks(self, layer: str | None = None) -> list[Mask]:
        """Return the masks of the neurons that can be removed; none for layers that keep all.

        Args:
            layer: one of the layers; required if each was tested alone, because then nothing is known of all together.

        Raises:
            UsageError: no such layer, or none named where one is required.
        """
        if self.summary["each_layer"] and layer is None and len(self.layers) > 1:
            raise UsageError(
                "advice: each layer was tested alone, so the loss of removing from all of them is unknown; name one "
                "layer, or advise on all together"
            )
        if layer is not None and layer not in self.layers["layer"]:
            raise UsageError(
                f"advice: has no layer {layer!r}; its layers are {', '.join(self.layers['layer'])}"
            )
        rows = self.layers if layer is None else self.layers.filter(pl.col("layer") == layer)
        return [
            Mask(row["layer"], tuple(map(int, row["removed_neurons"].split())))
            for row in rows.filter(pl.col("removed") > 0).iter_rows(named=True)
        ]

    @property
    def sentence(self) -> str:
        """Return the advice in one sentence."""
        summary = self.summary
        neurons, removed = int(self.layers["neurons"].sum()), int(self.layers["removed"].sum())
        promise = f"{summary['lose_at_most']:g} {summary['unit']} of {summary['metric']}"
        documents = f"{summary['verification_documents']:,} documents held out"
        confidence = f"{100 * summary['confidence']:g}% confidence"
        meaningless = "; meaningless: the unpruned model is not better than chance"
        meaningless = meaningless if summary.get("not_above_chance") else ""
        if not removed:
            least = summary["smallest_bound"]
            reason = ""
            if least is not None and least > summary["lose_at_most"]:
                reason = (
                    f"; {summary['verification_documents']:,} documents cannot show a loss below {least:.2g} "
                    f"{summary['unit']}, whatever is removed: use more documents"
                )
            return (
                f"Cannot tell of any neuron that removing it loses at most {promise} ({confidence}{reason})"
            )
        if summary["each_layer"] and len(self.layers) > 1:
            largest = self.layers.sort("share", descending=True, nulls_last=True).row(0, named=True)
            return (
                f"Each layer alone: at most {promise} lost ({confidence} in all layers at once, {documents}); most "
                f"from {largest['layer']}: {largest['removed']:,} of {largest['neurons']:,}{meaningless}"
            )
        row = self.layers.filter(pl.col("removed") > 0).row(0, named=True)
        return (
            f"{removed:,} of {neurons:,} units can be removed: at most {promise} lost with {confidence} (measured loss "
            f"{row['loss']:.2f}, upper bound {row['bound']:.2f}, {documents}){meaningless}"
        )

    def __repr__(self) -> str:
        return f"Advice({self.sentence})"

    def _repr_html_(self) -> str:
        from txray.notebook import card, table

        columns = ["layer", "neurons", "removed", "share", "loss", "bound"]
        rows = self.layers.head(20).select(columns).iter_rows()
        caption = f"{min(len(self.layers), 20)} of {len(self.layers)} layers"
        return card("Advice on removing neurons", [self.sentence], table(caption, columns, rows))

    def plot(self) -> go.Figure:
        """Return the figure of the tests, see `txray.plots.removal_bounds`."""
        from txray import plots

        figure: go.Figure = plots.removal_bounds(self)
        return figure

    def _contents(self) -> dict[str, Any]:
        return {"tables": {"layers": self.layers, "steps": self.steps}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Advice:
        layers, steps = folder.table("layers"), folder.table("steps")
        if dict(layers.schema) != LAYER_SCHEMA or dict(steps.schema) != STEP_SCHEMA:
            raise ValueError("other columns")
        names = ("lose_at_most", "unit", "metric", "confidence", "each_layer", "smallest_bound", "model")
        if any(name not in folder.summary for name in (*names, "verification_documents")):
            raise ValueError(f"{cls.SUMMARY_FILE} is incomplete")
        return cls(layers, steps, folder.summary)
