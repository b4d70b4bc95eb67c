"""Which concepts moved to which neurons between two stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.stats import t as student

from txray.analysis.concepts.scores import jackknife_error
from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.analysis.rules import q_value_is_significant
from txray.analysis.significance.permutation import q_values
from txray.analysis.states import significant_label
from txray.errors import UnknownNameError, UsageError
from txray.notebook import card, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.analysis.concepts.ranking import ConceptRanking

SHIFT_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "rank_before": pl.Int64(),
    "rank_after": pl.Int64(),
    "auroc_before": pl.Float64(),
    "low_before": pl.Float64(),
    "high_before": pl.Float64(),
    "auroc_after": pl.Float64(),
    "low_after": pl.Float64(),
    "high_after": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
}
"""Columns of `ConceptShift.neurons`."""

MOVED_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "layer_before": pl.String(),
    "neuron_before": pl.Int64(),
    "auroc_before": pl.Float64(),
    "rank_after": pl.Int64(),
    "layer_after": pl.String(),
    "neuron_after": pl.Int64(),
    "auroc_after": pl.Float64(),
    "rank_before": pl.Int64(),
    "top_shared": pl.Int64(),
    "changed": pl.Int64(),
    "tested": pl.Int64(),
}
"""Columns of `ConceptShift.concepts`."""

TOP = 10
"""Number of best neurons whose overlap is counted."""
_TAIL = 0.025
_LISTED = 10


@dataclass(frozen=True, eq=False)
class ConceptShift(SavedResult):
    """Scores of each neuron for each concept, before and after.

    Attributes:
        before, after: names of the stages.
        feature_type: type of the concepts.
        layers: layers that both rankings have.
        fdr: false discovery rate of "significant".
        paired: whether both stages read the same documents, so that their differences are taken document by document.
        neurons: polars, columns as in `SHIFT_SCHEMA`, one row per concept and neuron: its rank and AUROC before and
            after, with 95% intervals; difference = after - before, with low and high, p_value and q_value
            (Benjamini-Hochberg over the neurons of a concept). Ordered by concept, then by the larger of both
            strengths.
        concepts: polars, columns as in `MOVED_SCHEMA`, one row per concept: its best neuron before, with its rank
            after; its best neuron after, with its rank before; top_shared (neurons that are among the best 10 both
            times); changed (neurons with a significant difference), of the tested.
    """

    SUMMARY_FILE = "shift.json"

    before: str
    after: str
    feature_type: str
    layers: tuple[str, ...]
    fdr: float
    paired: bool
    neurons: pl.DataFrame
    concepts: pl.DataFrame

    @classmethod
    def of(cls, before: ConceptRanking, after: ConceptRanking) -> ConceptShift:
        """Join two rankings.

        Raises:
            UsageError: another feature type, or no layer and concept in common.
        """
        if before.feature_type != after.feature_type:
            raise UsageError(
                f"compare: rankings of {before.feature_type!r} and {after.feature_type!r}; rank both by the same "
                "feature type"
            )
        keys = ["feature", "layer", "neuron"]
        sides = [
            side.neurons.select(*keys, "rank", "strength", "auroc", "low", "high").with_row_index("row")
            for side in (before, after)
        ]
        joined = sides[0].join(sides[1], on=keys, suffix="_after", maintain_order="left")
        if joined.is_empty():
            raise UsageError(
                f"compare: the rankings of {before.stage!r} and {after.stage!r} have no layer and concept in common; "
                "rank the same layers and concepts"
            )
        paired = before.documents_digest is not None and before.documents_digest == after.documents_digest
        left_out = [
            side.left_out[joined[column].to_numpy()].T
            for side, column in ((before, "row"), (after, "row_after"))
        ]
        if paired:
            error, k = jackknife_error(left_out[1] - left_out[0])
        else:
            errors, blocks = zip(*map(jackknife_error, left_out), strict=True)
            error, k = np.hypot(*errors), min(blocks)
        difference = (joined["auroc_after"] - joined["auroc"]).to_numpy()
        half_width = student.ppf(1 - _TAIL, max(k - 1, 1)) * error
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(difference == 0, 1.0, 2 * student.sf(np.abs(difference / error), max(k - 1, 1)))
        p = np.where(np.isnan(error), np.nan, p)
        neurons = joined.select(
            *keys,
            rank_before="rank",
            rank_after="rank_after",
            auroc_before="auroc",
            low_before="low",
            high_before="high",
            auroc_after="auroc_after",
            low_after="low_after",
            high_after="high_after",
            difference=pl.Series(difference),
            low=pl.Series(difference - half_width).fill_nan(None),
            high=pl.Series(difference + half_width).fill_nan(None),
            p_value=pl.Series(p).fill_nan(None),
            strongest=pl.max_horizontal("strength", "strength_after"),
        )
        tables = []
        for _, rows in neurons.group_by("feature", maintain_order=True):
            q = q_values(rows["p_value"].fill_null(float("nan")).to_numpy())
            tables.append(
                rows.with_columns(pl.Series("q_value", q).fill_nan(None)).sort(
                    "strongest", descending=True, nulls_last=True, maintain_order=True
                )
            )
        neurons = pl.concat(tables).select(*SHIFT_SCHEMA)
        fdr = max(before.fdr, after.fdr)
        return cls(
            before=before.stage,
            after=after.stage,
            feature_type=before.feature_type,
            layers=tuple(name for name in before.layers if name in after.layers),
            fdr=fdr,
            paired=paired,
            neurons=neurons,
            concepts=pl.DataFrame(
                [_moved(rows, fdr) for _, rows in neurons.group_by("feature", maintain_order=True)],
                schema=MOVED_SCHEMA,
                orient="row",
            ),
        )

    def __repr__(self) -> str:
        n_same = int(self.concepts["top_shared"].sum())
        return (
            f"ConceptShift({self.before!r} -> {self.after!r}, {self.feature_type!r}, {len(self.concepts)} concepts: "
            f"{n_same} of {TOP * len(self.concepts)} best neurons are the same)"
        )

    def _repr_html_(self) -> str:
        sentence = f"Best neurons of each concept before and after; changed: {significant_label(self.fdr)}."
        rows = self.concepts.head(_LISTED)
        title = f"Concepts of {self.feature_type}: {self.before} and {self.after}"
        return card(title, [sentence], table("Where concepts moved", rows.columns, rows.iter_rows()))

    @property
    def layer(self) -> str | None:
        """Return the name of the layer; None for several."""
        return self.layers[0] if len(self.layers) == 1 else None

    @property
    def summary(self) -> dict[str, Any]:
        """Return what was compared, as plain JSON values."""
        return {
            "before": self.before,
            "after": self.after,
            "feature_type": self.feature_type,
            "layers": list(self.layers),
            "fdr": self.fdr,
            "paired": self.paired,
            "concepts": len(self.concepts),
        }

    def plot(self, feature: str | None = None, *, k: int = 12) -> go.Figure:
        """Draw the AUROC of the best neurons of a concept before and after.

        Args:
            feature: the concept; by default the one whose best neuron changed most.
            k: maximum number of neurons.

        Raises:
            UnknownNameError: a concept that was not compared.
        """
        from txray.plots import concept_shift

        known = self.concepts["feature"].to_list()
        if feature is not None and feature not in known:
            raise UnknownNameError.of(f"{self.feature_type} concept", feature, sorted(known))
        return concept_shift(self, feature or self._most_changed(), k=k)

    def _most_changed(self) -> str:
        best = self.neurons.filter((pl.col("rank_before") == 1) | (pl.col("rank_after") == 1))
        return str(best.sort(pl.col("difference").abs(), descending=True, maintain_order=True)["feature"][0])

    def _contents(self) -> dict[str, Any]:
        return {"tables": {"neurons": self.neurons, "concepts": self.concepts}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> ConceptShift:
        fields = {name: value for name, value in folder.summary.items() if name != "concepts"}
        return cls(
            **{**fields, "layers": tuple(fields["layers"])},
            neurons=folder.table("neurons").select(*SHIFT_SCHEMA),
            concepts=folder.table("concepts").select(*MOVED_SCHEMA),
        )


def _moved(rows: pl.DataFrame, fdr: float) -> tuple[Any, ...]:
    """Return the row of one concept in `ConceptShift.concepts`."""
    before = rows.row(int(rows["rank_before"].arg_min() or 0), named=True)
    after = rows.row(int(rows["rank_after"].arg_min() or 0), named=True)
    shared = rows.filter((pl.col("rank_before") <= TOP) & (pl.col("rank_after") <= TOP))
    return (
        before["feature"],
        before["layer"],
        before["neuron"],
        before["auroc_before"],
        before["rank_after"],
        after["layer"],
        after["neuron"],
        after["auroc_after"],
        after["rank_before"],
        len(shared),
        rows.filter(q_value_is_significant(fdr)).height,
        rows["q_value"].count(),
    )
