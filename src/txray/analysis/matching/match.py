"""Matching of neurons by what they prefer, across models in which the index of a neuron means nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from txray.analysis.comparison import Comparison, compare
from txray.analysis.matching.affinity import Affinity
from txray.analysis.matching.thresholds import Thresholds
from txray.analysis.result_folder import ResultFolder, SavedResult, figure_name
from txray.analysis.subjects import preferences_of, stage_of, subject
from txray.arguments import checked_call
from txray.arrays import Floats, Ints
from txray.errors import UsageError
from txray.notebook import card, table
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage_like import StageLike

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LISTED = 10

MATCH_STATES = ("matched", "unmatched-before", "unmatched-after")
"""A matched pair, and neurons of either side without a match."""


@dataclass(frozen=True, eq=False)
class Matching(SavedResult):
    """One-to-one matching of the neurons of two stages, with a threshold calibrated against chance.

    Attributes:
        before, after: preferences; sizes, layers and models may differ.
        pairs: polars, one row per pair and per unmatched neuron with enough wins: state (`matched`,
            `unmatched-before`, `unmatched-after`), before and after (indices, null for none), affinity (overlap of the
            distributions, 0 to 1, 1 - H^2; for an unmatched neuron before, with its assigned one), threshold (that the
            affinity of a match exceeds, for pairs of this length), mutual (whether each is the nearest of the other).
        thresholds: of affinity, by the number of features of the shorter neuron of a pair.
        null: (n,) affinities of the pairs assigned after features were shuffled.
        weight: what the preference distributions normalise.
        min_wins: minimum number of selected activations; neurons with fewer are not in `pairs`.
        false_match_rate: share of the chance pairs that may exceed the threshold.
    """

    SUMMARY_FILE = "matching.json"

    before: Preferences
    after: Preferences
    pairs: pl.DataFrame
    thresholds: Thresholds
    null: Floats
    weight: Weight
    min_wins: int
    false_match_rate: float

    def __repr__(self) -> str:
        return (
            f"Matching({self.before.stage!r} -> {self.after.stage!r}, {self.feature_type!r}: "
            f"{self.matched_share:.0%} of {self._candidates} possible pairs match, "
            f"{100 * self.false_match_rate:g}% by chance)"
        )

    def _repr_html_(self) -> str:
        counts = self.summary
        low, high = self.thresholds.affinity.min(), self.thresholds.affinity.max()
        sentences = [
            f"{counts['matched']:,} of {self._candidates:,} possible pairs match ({self.matched_share:.0%}; "
            f"{100 * self.false_match_rate:g}% of chance pairs would), {counts['mutual']:,} of them mutual nearest "
            "neighbours.",
            f"{counts['unmatched-before']:,} neurons of {self.before.stage} and {counts['unmatched-after']:,} of "
            f"{self.after.stage} match none; those with fewer than {self.min_wins} wins are left out.",
            f"Thresholds of affinity: {low:.3f} to {high:.3f}.",
        ]
        pairs = (
            self.pairs.filter(pl.col("state") == "matched").sort("affinity", descending=True).head(_LISTED)
        )
        columns = ("before", "after", "affinity", "threshold", "mutual")
        headings = (f"neuron of {self.before.stage}", f"neuron of {self.after.stage}", *columns[2:])
        rows = [(*row[:4], "yes" if row[4] else "no") for row in pairs.select(columns).iter_rows()]
        tables = [table("Pairs of highest affinity", headings, rows)] if rows else []
        layers = " → ".join(dict.fromkeys((self.before.layer, self.after.layer)))
        title = f"{self.before.stage} ↔ {self.after.stage} (layer {layers}, {self.feature_type})"
        return card(title, sentences, *tables)

    @property
    def layers(self) -> tuple[str, str]:
        """Return the names of the layers before and after."""
        return self.before.layer, self.after.layer

    @property
    def feature_type(self) -> str:
        """Return the feature type."""
        return self.after.feature_type

    @property
    def summary(self) -> dict[str, Any]:
        """Return numbers of pairs and the settings, as plain JSON values."""
        counts = dict(self.pairs["state"].value_counts().iter_rows())
        return {
            "before": self.before.stage,
            "after": self.after.stage,
            "layer_before": self.before.layer,
            "layer_after": self.after.layer,
            "feature": self.feature_type,
            "weight": self.weight,
            "min_wins": self.min_wins,
            "false_match_rate": self.false_match_rate,
            **{state: int(counts.get(state, 0)) for state in MATCH_STATES},
            "mutual": int(self.pairs["mutual"].sum()),
            "matched_share": self.matched_share,
        }

    def plot(self, figure: str = "matching") -> go.Figure:
        """Draw the matching.

        Args:
            figure: a function of `txray.plots`: `matching` or `matching_curve`.

        Raises:
            UnknownNameError: an unknown figure.

        Example:
            >>> match(seed_0, seed_1).plot("matching_curve").show()
        """
        from txray import plots

        drawn: go.Figure = getattr(plots, figure_name(figure, ("matching", "matching_curve")))(self)
        return drawn

    def _contents(self) -> dict[str, Any]:
        return {
            "tables": {"pairs": self.pairs},
            "arrays": {
                "thresholds": pl.DataFrame(vars(self.thresholds)),
                "null": pl.DataFrame({"affinity": self.null}),
            },
            "stages": {"before": stage_of(self.before), "after": stage_of(self.after)},
        }

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Matching:
        summary, thresholds = folder.summary, folder.table("thresholds")
        before, after = (
            folder.stage(side).preferences(layer=summary[f"layer_{side}"], feature_type=summary["feature"])
            for side in ("before", "after")
        )
        return cls(
            before,
            after,
            folder.table("pairs").select(*_PAIR_SCHEMA),
            Thresholds(thresholds["length"].to_numpy(), thresholds["affinity"].to_numpy()),
            folder.table("null")["affinity"].to_numpy(),
            summary["weight"],
            summary["min_wins"],
            summary["false_match_rate"],
        )

    @property
    def matched_share(self) -> float:
        """Return matched pairs as a share of the side with fewer neurons that have enough wins; 0 if it has none."""
        matched = int((self.pairs["state"] == "matched").sum())
        return matched / self._candidates if self._candidates else 0.0

    @property
    def _candidates(self) -> int:
        return min(int((side.wins() >= self.min_wins).sum()) for side in (self.before, self.after))

    def curve(self, points: int = 101) -> pl.DataFrame:
        """Return the share of possible pairs up to each distance, beside that of shuffled features.

        Args:
            points: number of points, evenly spaced from 0 to 1.

        Returns:
            Columns distance (Hellinger), share, null_share.
        """
        distance = np.linspace(0, 1, points)
        shares = []
        for affinity in (self._assigned, self.null):
            distances = np.sort(np.sqrt(1 - affinity))
            # A square root loses half of the digits: 1e-7 counts as 0.
            shares.append(np.searchsorted(distances, distance + 1e-7, side="right") / max(1, len(distances)))
        return pl.DataFrame({"distance": distance, "share": shares[0], "null_share": shares[1]})

    @property
    def _assigned(self) -> Floats:
        """Return the affinities of all assigned pairs, matched or not."""
        assigned = self.pairs.filter(pl.col("state") != "unmatched-after")
        return assigned["affinity"].drop_nulls().to_numpy()

    def comparison(self) -> Comparison:
        """Return a comparison of matched neurons, with unmatched ones in rows of their own.

        Returns:
            Its neurons have the columns of `compare`, and first `match_state`, `neuron_before` and `neuron_after`;
            rows are numbered as in `pairs`.
        """
        rows = len(self.pairs)
        before = _renumbered(self.before, self.pairs["before"].to_numpy(), rows)
        after = _renumbered(self.after, self.pairs["after"].to_numpy(), rows)
        # Different selections are allowed: the layers or models may differ.
        comparison = compare(
            before, replace(after, selection=before.selection), weight=self.weight, permutations=0
        )
        neurons = pl.concat(
            [
                self.pairs.select(match_state="state", neuron_before="before", neuron_after="after"),
                comparison.neurons,
            ],
            how="horizontal",
        )
        return replace(comparison, neurons=neurons)


@checked_call
def match(
    before: StageLike | Preferences,
    after: StageLike | Preferences,
    *,
    layer: str | None = None,
    layer_after: str | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    min_wins: int = 20,
    false_match_rate: float = 0.05,
    shuffles: int = 5,
    seed: int = 0,
) -> Matching:
    """Match neurons by what they prefer: across layers, sizes, seeds, architectures and tokenizers.

    The affinity of two neurons is the overlap of their preference distributions. Neurons are assigned one to one so
    that the sum of affinities is largest; a pair matches if its affinity exceeds what chance reaches, as estimated by
    the same assignment after features were exchanged for others of about the same frequency.

    Args:
        before: a stage: in memory, its folder, or its preferences.
        after: another one, of the same feature type.
        layer: of `before`; required only if the stage has several layers.
        layer_after: of `after`; the same as `layer` by default.
        feature_type: the feature type (of stages).
        weight: what the preference distributions normalise.
        min_wins: minimum number of selected activations of a neuron. Two rarer ones may prefer the same single word by
            chance.
        false_match_rate: share of the chance pairs, among those of about the same length, that may count as matches.
        shuffles: number of shuffles of the features.
        seed: random seed of the shuffles.

    Raises:
        UnknownNameError: an unknown layer, feature type or weight.
        ShapeError: different feature types.
        UsageError: a number out of range.
    """
    if not 0 < false_match_rate < 1 or min(shuffles, min_wins) < 1 or seed < 0:
        raise UsageError(
            f"match: false_match_rate={false_match_rate}, shuffles={shuffles}, min_wins={min_wins}, seed={seed}; "
            "false_match_rate must lie between 0 and 1, shuffles and min_wins be at least 1, seed not be negative"
        )
    first = preferences_of(subject(before), layer, feature_type)
    second = preferences_of(subject(after), layer_after or layer, feature_type)
    pair = Affinity.of(first, second, weight, min_wins)
    lengths = first.lengths()[pair.frequent_before], second.lengths()[pair.frequent_after]
    random = np.random.default_rng(seed)
    chance = [_assigned(pair.among_frequent(pair.by_chance(random))) for _ in range(shuffles)]
    row, column, null = (np.concatenate(parts) for parts in zip(*chance, strict=True))
    thresholds = Thresholds.of(_shorter(lengths, row, column), null, false_match_rate)
    pairs = _pairs(pair, lengths, thresholds)
    return Matching(first, second, pairs, thresholds, null, weight, min_wins, false_match_rate)


def _shorter(lengths: tuple[Ints, Ints], row: Ints, column: Ints) -> Ints:
    """Return (n_pairs,) numbers of features of the shorter neuron of each pair."""
    return np.minimum(lengths[0][row], lengths[1][column])


def _assigned(affinity: Floats) -> tuple[Ints, Ints, Floats]:
    """Return rows and columns of the one-to-one assignment, and their affinities."""
    row, column = linear_sum_assignment(affinity, maximize=True)
    return row, column, np.clip(affinity[row, column], 0.0, 1.0)


def _pairs(pair: Affinity, lengths: tuple[Ints, Ints], thresholds: Thresholds) -> pl.DataFrame:
    """Return `Matching.pairs`; `lengths` are those of the frequent neurons."""
    affinity = pair.among_frequent(pair.observed())
    row, column, value = _assigned(affinity)
    mutual = np.zeros(0, np.bool_)
    if affinity.size:
        mutual = (affinity.argmax(axis=1)[row] == column) & (affinity.argmax(axis=0)[column] == row)
    assigned = pl.DataFrame(
        {
            "before": pair.frequent_before[row],
            "after": pair.frequent_after[column],
            "affinity": value,
            "threshold": thresholds.at(_shorter(lengths, row, column)),
            "mutual": mutual,
        }
    )
    matched = assigned.filter(pl.col("affinity") > pl.col("threshold"))
    before, after = (
        pl.DataFrame({side: frequent}).join(matched, on=side, how="anti").sort(side)
        for side, frequent in (("before", pair.frequent_before), ("after", pair.frequent_after))
    )
    before = before.join(assigned.drop("after", "mutual"), on="before", how="left", maintain_order="left")
    tables = zip(MATCH_STATES, (matched, before, after), strict=True)
    return (
        pl.concat([table.with_columns(state=pl.lit(state)) for state, table in tables], how="diagonal")
        .with_columns(pl.col("mutual").fill_null(value=False))
        .select(pl.col(name).cast(dtype) for name, dtype in _PAIR_SCHEMA.items())
    )


_PAIR_SCHEMA: dict[str, pl.DataType] = {
    "state": pl.Enum(MATCH_STATES),
    "before": pl.Int64(),
    "after": pl.Int64(),
    "affinity": pl.Float64(),
    "threshold": pl.Float64(),
    "mutual": pl.Boolean(),
}


def _renumbered(preferences: Preferences, neuron: Floats, rows: int) -> Preferences:
    """Return preferences whose neurons are numbered by `rows` rows; neurons without a row are dropped.

    Args:
        preferences: of one side.
        neuron: (rows,) neuron of each row; NaN for none.
        rows: number of rows.
    """
    row_of_neuron = np.full(preferences.n_neurons, -1, np.int64)
    occupied = np.flatnonzero(np.isfinite(neuron))
    row_of_neuron[neuron[occupied].astype(np.int64)] = occupied
    renumbered = row_of_neuron[preferences.neuron]
    selected = np.flatnonzero(renumbered >= 0)
    order = selected[
        np.lexsort((preferences.feature_id[selected], renumbered[selected], preferences.fold[selected]))
    ]
    columns = ("fold", "feature_id", "count", "sum", "sum_sq", "max")
    return replace(
        preferences,
        n_neurons=rows,
        neuron=renumbered[order],
        runner_ups=None,  # a winner may have no row
        **{name: getattr(preferences, name)[order] for name in columns},
    )
