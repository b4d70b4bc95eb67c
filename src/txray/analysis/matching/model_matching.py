"""Matching of the neurons of two models that read the same text: its pairs, summary and file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from txray.analysis.matching.assignment import MATCH_STATES, PAIR_SCHEMA
from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.notebook import card, table

if TYPE_CHECKING:
    import plotly.graph_objects as go

MatchBy = Literal["activation", "ablation"]
MATCH_BY: tuple[MatchBy, ...] = ("activation", "ablation")
"""What the neurons of two models are matched by: what they respond to, or what they do to the predictions."""

MODEL_PAIR_SCHEMA: dict[str, pl.DataType] = {**PAIR_SCHEMA, "correlation": pl.Float64()}

_LISTED = 10
_OBSERVATIONS = {"activation": "words", "ablation": "changes of predictions"}


@dataclass(frozen=True, eq=False)
class ModelMatching(SavedResult):
    """One-to-one matching of the neurons of two models by correlation on the same text, tested against chance.

    Attributes:
        before, after: names of the models.
        layer_before, layer_after: names of the layers.
        by: `activation` (over the words that both models read) or `ablation` (over documents, and classes).
        corpus: name of the text.
        observations: number of words, or of changes of a prediction.
        candidates: number of neurons that vary, in the layer with fewer of them.
        pairs: polars, one row per pair and per neuron without a match; the columns of `Matching.pairs` (affinity is the
            size `|r|` of the correlation; chance, p_value and q_value are against as many random mixtures
            of the nearest neurons of the other layer) and correlation (with its sign; null for neurons without
            a match).
        false_match_rate: share of the matches that may be due to chance, on average.
    """

    SUMMARY_FILE = "model_matching.json"

    before: str
    after: str
    layer_before: str
    layer_after: str
    by: MatchBy
    corpus: str
    observations: int
    candidates: int
    pairs: pl.DataFrame
    false_match_rate: float

    def __repr__(self) -> str:
        return (
            f"ModelMatching({self.before!r} -> {self.after!r}, by {self.by}: {self.matched_share:.0%} of "
            f"{self.candidates} possible pairs match; at most {100 * self.false_match_rate:g}% of the matches by "
            "chance)"
        )

    def _repr_html_(self) -> str:
        counts = self.summary
        sentences = [
            f"{counts['matched']:,} of {self.candidates:,} possible pairs match by {self.by} "
            f"({self.matched_share:.0%}), {counts['mutual']:,} of them mutual nearest neighbours; at most "
            f"{100 * self.false_match_rate:g}% of the matches are expected to be due to chance.",
            f"Text {self.corpus}: {self.observations:,} {_OBSERVATIONS[self.by]}.",
        ]
        columns = ("before", "after", "correlation", "chance", "q_value", "mutual")
        matched = (
            self.pairs.filter(pl.col("state") == "matched").sort("affinity", descending=True).head(_LISTED)
        )
        rows = [(*row[:5], "yes" if row[5] else "no") for row in matched.select(columns).iter_rows()]
        headings = (self.before, self.after, "correlation", "best by chance (mean)", "q-value", "mutual")
        layers = " → ".join(dict.fromkeys((self.layer_before, self.layer_after)))
        tables = [table("Pairs of highest correlation", headings, rows)] if rows else []
        return card(f"{self.before} ↔ {self.after} (layer {layers})", sentences, *tables)

    @property
    def matched_share(self) -> float:
        """Return matched pairs as a share of the possible ones; 0 if there are none."""
        matched = int((self.pairs["state"] == "matched").sum())
        return matched / self.candidates if self.candidates else 0.0

    @property
    def summary(self) -> dict[str, Any]:
        """Return numbers of pairs and the settings, as plain JSON values."""
        counts = dict(self.pairs["state"].value_counts().iter_rows())
        return {
            **{
                name: getattr(self, name)
                for name in (
                    "before",
                    "after",
                    "layer_before",
                    "layer_after",
                    "by",
                    "corpus",
                    "observations",
                    "candidates",
                    "false_match_rate",
                )
            },
            **{state: int(counts.get(state, 0)) for state in MATCH_STATES},
            "mutual": int(self.pairs["mutual"].sum()),
            "matched_share": self.matched_share,
        }

    def plot(self) -> go.Figure:
        """Draw the strength of the pairs beside the best by chance."""
        from txray.plots import match_strength

        return match_strength(self)

    def _contents(self) -> dict[str, Any]:
        return {"tables": {"pairs": self.pairs}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> ModelMatching:
        names = [name for name in cls.__dataclass_fields__ if name != "pairs"]
        fields: dict[str, Any] = {name: folder.summary[name] for name in names}
        return cls(**fields, pairs=folder.table("pairs").select(*MODEL_PAIR_SCHEMA))
