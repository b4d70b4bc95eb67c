"""Matching of neurons by what they prefer, across models in which the index of a neuron means nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.comparison import Comparison, compare
from txray.analysis.matching.affinity import Affinity
from txray.analysis.matching.assignment import (
    MATCH_STATES,
    PAIR_SCHEMA,
    assignment,
    pair_table,
    require_match_settings,
)
from txray.analysis.matching.chance import BestByChance
from txray.analysis.result_folder import ResultFolder, SavedResult, figure_name
from txray.analysis.subjects import preferences_of, stage_of, subject
from txray.arguments import checked_call
from txray.arrays import Floats
from txray.notebook import card, table
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage_like import StageLike
from txray.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LISTED = 10

_CURVES = 5
"""Number of draws whose assignment is computed, for the curve of chance pairs."""


@dataclass(frozen=True, eq=False)
class Matching(SavedResult):
    """One-to-one matching of the neurons of two stages, tested against chance.

    Attributes:
        before, after: preferences; sizes, layers and models may differ.
        pairs: polars, one row per pair and per unmatched neuron with enough wins: state (`matched`,
            `unmatched-before`, `unmatched-after`), before and after (indices, null for none), affinity (overlap of the
            distributions, 0 to 1, 1 - H^2; for an unmatched neuron before, with its assigned one), chance (mean
            affinity with the best of all candidates after features were shuffled), p_value (of the affinity, against
            the best of all candidates by chance), q_value (adjusted over all assigned pairs; at most
            `false_match_rate` for a match), mutual (whether each is the nearest of the other).
        null: (n,) affinities of the pairs assigned after features were shuffled.
        weight: what the preference distributions normalise.
        min_wins: minimum number of selected activations; neurons with fewer are not in `pairs`.
        false_match_rate: share of the matches that may be due to chance, on average.
    """

    SUMMARY_FILE = "matching.json"

    before: Preferences
    after: Preferences
    pairs: pl.DataFrame
    null: Floats
    weight: Weight
    min_wins: int
    false_match_rate: float

    def __repr__(self) -> str:
        return (
            f"Matching({self.before.stage!r} -> {self.after.stage!r}, {self.feature_type!r}: "
            f"{self.matched_share:.0%} of {self._candidates} possible pairs match; at most "
            f"{100 * self.false_match_rate:g}% of the matches by chance)"
        )

    def _repr_html_(self) -> str:
        counts = self.summary
        sentences = [
            f"{counts['matched']:,} of {self._candidates:,} possible pairs match ({self.matched_share:.0%}), "
            f"{counts['mutual']:,} of them mutual nearest neighbours; at most {100 * self.false_match_rate:g}% of the "
            "matches are expected to be due to chance.",
            f"{counts['unmatched-before']:,} neurons of {self.before.stage} and {counts['unmatched-after']:,} of "
            f"{self.after.stage} match none; those with fewer than {self.min_wins} wins are left out.",
        ]
        pairs = (
            self.pairs.filter(pl.col("state") == "matched").sort("affinity", descending=True).head(_LISTED)
        )
        columns = ("before", "after", "affinity", "chance", "q_value", "mutual")
        headings = (
            f"neuron of {self.before.stage}",
            f"neuron of {self.after.stage}",
            "affinity",
            "best by chance (mean)",
            "q-value",
            "mutual",
        )
        rows = [(*row[:5], "yes" if row[5] else "no") for row in pairs.select(columns).iter_rows()]
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
            figure: a function of `txray.plots`: `matching`, `matching_curve` or `match_strength`.

        Raises:
            UnknownNameError: an unknown figure.

        Example:
            >>> match(seed_0, seed_1).plot("matching_curve").show()
        """
        from txray import plots

        drawn: go.Figure = getattr(
            plots, figure_name(figure, ("matching", "matching_curve", "match_strength"))
        )(self)
        return drawn

    def _contents(self) -> dict[str, Any]:
        return {
            "tables": {"pairs": self.pairs},
            "arrays": {"null": pl.DataFrame({"affinity": self.null})},
            "stages": {"before": stage_of(self.before), "after": stage_of(self.after)},
        }

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Matching:
        summary = folder.summary
        before, after = (
            folder.stage(side).preferences(layer=summary[f"layer_{side}"], feature_type=summary["feature"])
            for side in ("before", "after")
        )
        return cls(
            before,
            after,
            folder.table("pairs").select(*PAIR_SCHEMA),
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
    shuffles: int = 100,
    seed: int = 0,
) -> Matching:
    """Match neurons by what they prefer: across layers, sizes, seeds, architectures and tokenizers.

    The affinity of two neurons is the overlap of their preference distributions. Neurons are assigned one to one so
    that the sum of affinities is largest. The affinity of a pair is compared with what the best of all candidates
    reaches by chance, after features were exchanged for others of about the same frequency; p-values are adjusted over
    all pairs.

    Args:
        before: a stage: in memory, its folder, or its preferences.
        after: another one, of the same feature type.
        layer: of `before`; required only if the stage has several layers.
        layer_after: of `after`; the same layer by default.
        feature_type: the feature type (of stages).
        weight: what the preference distributions normalise.
        min_wins: minimum number of selected activations of a neuron. Two rarer ones may prefer the same single word by
            chance.
        false_match_rate: share of the matches that may be due to chance, on average (a false discovery rate).
        shuffles: number of shuffles of the features, at least 20.
        seed: random seed of the shuffles.

    Raises:
        UnknownNameError: an unknown layer, feature type or weight.
        ShapeError: different feature types.
        UsageError: a number out of range.
    """
    require_match_settings("match", false_match_rate, shuffles=shuffles, min_wins=min_wins, seed=seed)
    first = preferences_of(subject(before), layer, feature_type)
    second = preferences_of(subject(after), layer_after or layer, feature_type)
    pair = Affinity.of(first, second, weight, min_wins)
    neurons = pair.frequent_before, pair.frequent_after
    chance, null = _chance(pair, shuffles, np.random.default_rng(seed))
    pairs = pair_table(
        pair.among_frequent(pair.observed()),
        chance,
        (first.lengths()[neurons[0]], second.lengths()[neurons[1]]),
        neurons,
        false_match_rate,
    )
    return Matching(first, second, pairs, null, weight, min_wins, false_match_rate)


def _chance(pair: Affinity, shuffles: int, random: np.random.Generator) -> tuple[BestByChance | None, Floats]:
    """Return the best affinities by chance, None without neurons, and the affinities of a few assignments."""
    if not len(pair.frequent_before) or not len(pair.frequent_after):
        return None, np.zeros(0)
    best, assigned = BestByChance([], []), []
    with progress("matching", shuffles, unit="shuffles") as advance:
        for draw in range(shuffles):
            affinity = pair.among_frequent(pair.by_chance(random))
            best.add(affinity)
            if draw < _CURVES:
                assigned.append(assignment(affinity)[2])
            advance()
    return best, np.concatenate(assigned)


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
