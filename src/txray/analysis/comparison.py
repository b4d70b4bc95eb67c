"""Two preferences aligned neuron by neuron: states, lengths, masses, distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.distances import (
    Distance,
    hellinger,
    hellinger_length,
    hellinger_published_code,
    published_code_distance,
    require_distance,
)
from txray.analysis.findings import STATES, Findings, fdr_label
from txray.analysis.mass_inequality import gini
from txray.analysis.saving import save_tables
from txray.analysis.significance.tests import SignificanceSettings, tested_neurons
from txray.analysis.subjects import preferences_of, same_documents
from txray.errors import ShapeError, UsageError
from txray.preferences.distributions import aligned
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage import Stage

SUMMARY = "summary.json"
"""The file that marks the folder of a saved comparison."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed between two stages of one layer, for one feature type.

    Attributes:
        before: the earlier preferences.
        after: the later ones, of the same neurons.
        weight: what the preference distributions normalise.
        neurons: polars, one row per neuron: neuron, state, length_before, length_after,
            hellinger_length, mass_before, mass_after, wins_before, wins_after, hellinger and
            hellinger_published_code (null if the neuron is un-preferred in one of the stages); and the columns of
            the tests, see `test`.
        summary: counts of the states and means over neurons, plain JSON values.
        same_documents: whether both stages read the same documents; None if unknown.
    """

    before: Preferences
    after: Preferences
    weight: Weight
    neurons: pl.DataFrame
    summary: Mapping[str, Any]
    same_documents: bool | None = None

    @property
    def layer(self) -> str:
        """Return the name of the layer."""
        return self.after.layer

    @property
    def feature_type(self) -> str:
        """Return the feature type."""
        return self.after.feature_type

    @property
    def tested(self) -> bool:
        """Return whether the comparison has been tested."""
        return "changed" in self.summary

    @property
    def fdr(self) -> float | None:
        """Return the false discovery rate of the tests; None if there are none."""
        return float(self.summary["fdr"]) if self.tested else None

    @property
    def findings(self) -> Findings:
        """Return counts of observed and tested states, and the sentences that report them."""
        return Findings.of(self.neurons, self.fdr)

    def test(
        self,
        *,
        distance: Distance = "hellinger",
        permutations: int = 10_000,
        fdr: float = 0.05,
        seed: int = 0,
        splits: int = 16,
        draws: int = 10,
    ) -> Comparison:
        """Return a copy with tests of significance; `compare` runs them by default.

        Both stages are compared at equal numbers of activations, neuron by neuron: the larger one is downsampled.
        Whole folds of documents are exchanged, split and resampled, because words of one document are not independent.

        The columns that `neurons` gains:

        - `distance_matched`: the distance at equal numbers of activations; `distance_null`: its mean under permutation,
          which is what to expect if nothing changed; `p_value`, and `q_value` by Benjamini and Hochberg; `z_score`: the
          difference of the two (of H^2 for the Hellinger distance) in standard deviations of the permutations. It ranks
          neurons whose p-values are all at the minimum.
        - `hellinger_corrected`: how far the neuron moved, the Hellinger distance corrected for attenuation, with the
          bounds of its 95% interval `hellinger_corrected_low` and `hellinger_corrected_high`; null if the halves of a
          stage overlap too little to estimate it. `signal`: cross-validated H^2, 0 on average if nothing changed: for
          ranking and testing, not a size.
        - `noise_floor`: distance between halves of one stage; `distance_halves`: between halves of the two.
        - `win_rate_before`, `win_rate_after`: selected activations per word; `rate_p_value`, `rate_q_value` of their
          difference; `absence_p_value`: the probability that a neuron with wins in one stage only still responds in the
          other, at a tenth of its rate, and was merely not observed; `confident_state`: the state, or `undecided` for
          an avoided or gained neuron whose rates do not differ significantly, or that may merely have become rare.
        - `rarefied_length_before`, `rarefied_length_after`: expected lengths at equal numbers of activations.

        Args:
            distance: that is tested: `hellinger`, `jensen-shannon` or `total-variation`.
            permutations: maximum number per neuron; a few hundred are enough for most neurons.
            fdr: false discovery rate.
            seed: random seed; the same seed gives the same numbers.
            splits: number of random splits of the folds into halves, for `signal` and `hellinger_corrected`.
            draws: number of random downsamplings that are averaged. More draws depend less on the seed and take longer.

        Raises:
            UnknownNameError: an unknown distance.
            UsageError: fewer than two folds, different numbers of them, or a number out of range.

        Warns:
            PowerWarning: too few folds with documents, or too few permutations, for any neuron to be significant.
        """
        return self._tested(SignificanceSettings(distance, permutations, fdr, seed, splits, draws))

    def _tested(self, settings: SignificanceSettings) -> Comparison:
        neurons, summary = tested_neurons(
            self.before, self.after, self.weight, self.neurons, settings, same_documents=self.same_documents
        )
        return replace(self, neurons=neurons, summary={**self.summary, **summary})

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.summary[state]} {state}" for state in STATES)
        if self.tested:
            counts += (
                "; significant ({fdr}): {changed} of {tested} shared changed, {confident_avoided} of {avoided} "
                "avoided, {confident_gained} of {gained} gained".format(
                    **{**self.summary, "fdr": fdr_label(self.summary["fdr"])}
                )
            )
        else:
            counts += "; observed, not tested"
        return f"Comparison({self.before.stage!r} -> {self.after.stage!r}, {self.after.feature_type!r}: {counts})"

    def _repr_html_(self) -> str:
        from txray.analysis.overview import comparison_html

        return comparison_html(self)

    def save(self, folder: Path | str) -> Path:
        """Write neurons.parquet, neurons.csv and summary.json, all or nothing; returns the folder.

        Raises:
            OutputError: the place cannot be written.
        """
        return save_tables(folder, {"neurons": self.neurons}, self.summary, SUMMARY)


def compare(
    before: Stage | Preferences,
    after: Stage | Preferences,
    *,
    layer: str | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    distance: Distance = "hellinger",
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
) -> Comparison:
    """Compare two stages neuron by neuron, and test which changes are significant.

    Args:
        before: the earlier stage, or its preferences.
        after: the later one; the same neurons.
        layer: required only if the stages have several layers.
        feature_type: the feature type (of stages).
        weight: what the preference distributions normalise; the paper: `mean`.
        distance: that is tested: `hellinger`, `jensen-shannon` or `total-variation`.
        permutations: maximum number per neuron; 0 leaves the comparison untested (see `Comparison.test`), which
            takes a fraction of the time.
        fdr: false discovery rate of the tests.
        seed: random seed of the tests.

    Raises:
        UnknownNameError: an unknown layer, feature type, weight or distance.
        ShapeError: the two do not hold the same neurons, feature type or selection.
        UsageError: stages that cannot be tested, or a number out of range.

    Example:
        >>> comparison = compare(zero_shot, sup)
        >>> comparison.neurons.sort("z_score", descending=True)

    Source:
        Rethmeier et al. 2020, section 2.
    """
    require_distance(distance)
    if permutations < 0:
        raise UsageError(f"compare: permutations={permutations}; give a positive number, or 0 for no tests")
    settings = SignificanceSettings(distance, permutations, fdr, seed) if permutations else None
    p, q = (preferences_of(side, layer, feature_type) for side in (before, after))
    _require_comparable(p, q)
    neurons = _neurons(p, q, weight)
    comparison = Comparison(
        p, q, weight, neurons, _summary(p, q, weight, neurons), same_documents(before, after)
    )
    return comparison if settings is None else comparison._tested(settings)


def _require_comparable(before: Preferences, after: Preferences) -> None:
    if before.n_neurons != after.n_neurons:
        raise ShapeError(
            f"stage {after.stage!r}: layer {after.layer!r} has {after.n_neurons} neurons, stage "
            f"{before.stage!r}: layer {before.layer!r} has {before.n_neurons}; compare needs the same layer of "
            "the same model (txray.match works across layers and models)"
        )
    if before.feature_type != after.feature_type:
        raise ShapeError(
            f"stage {before.stage!r} holds feature type {before.feature_type!r}, stage {after.stage!r} "
            f"{after.feature_type!r}; compare the same feature type"
        )
    if before.selection != after.selection:
        raise ShapeError(
            f"stage {before.stage!r} was collected with selection {before.selection!r}, stage {after.stage!r} with "
            f"{after.selection!r}; collect both in the same way"
        )


def _neurons(before: Preferences, after: Preferences, weight: Weight) -> pl.DataFrame:
    # Once, so that nothing below has to look features up again.
    p, q = aligned(before.distributions(weight), after.distributions(weight))
    union = hellinger_length(p, q)
    if weight == "mean":
        published = published_code_distance(before, after, p, q, union)
    else:
        published = hellinger_published_code(before, after)
    length_before, length_after = p.lengths(), q.lengths()
    state = np.select(
        [(length_before > 0) & (length_after > 0), length_before > 0, length_after > 0],
        STATES[:3],
        default=STATES[3],
    )
    return pl.DataFrame(
        {
            "neuron": np.arange(before.n_neurons),
            "state": pl.Series(state.tolist(), dtype=pl.Enum(STATES)),
            "length_before": length_before,
            "length_after": length_after,
            "hellinger_length": union,
            "mass_before": before.mass(),
            "mass_after": after.mass(),
            "wins_before": before.wins(),
            "wins_after": after.wins(),
            "hellinger": hellinger(p, q),
            "hellinger_published_code": published,
        }
    ).with_columns(pl.col("hellinger", "hellinger_published_code").fill_nan(None))


def _summary(
    before: Preferences, after: Preferences, weight: Weight, neurons: pl.DataFrame
) -> dict[str, Any]:
    counts = dict(neurons["state"].value_counts().iter_rows())
    shared = neurons.filter(pl.col("state") == "shared")
    return {
        "before": before.stage,
        "after": after.stage,
        "layer": after.layer,
        "feature": after.feature_type,
        "selection": after.selection,
        "weight": weight,
        "neurons": len(neurons),
        **{state: int(counts.get(state, 0)) for state in STATES},
        "words_before": before.words,
        "words_after": after.words,
        "features_before": len(before.features),
        "features_after": len(after.features),
        "mean_length_shared_before": shared["length_before"].mean(),
        "mean_length_shared_after": shared["length_after"].mean(),
        "length_change_shared": _change(shared["length_before"], shared["length_after"]),
        "mean_length_before": neurons["length_before"].mean(),
        "mean_length_after": neurons["length_after"].mean(),
        "length_change": _change(neurons["length_before"], neurons["length_after"]),
        "mean_hellinger": shared["hellinger"].mean(),
        "median_hellinger": shared["hellinger"].median(),
        "mean_hellinger_published_code": shared["hellinger_published_code"].mean(),
        "mass_before": float(neurons["mass_before"].sum()),
        "mass_after": float(neurons["mass_after"].sum()),
        "mass_gini_before": _number(gini(neurons["mass_before"].to_numpy())),
        "mass_gini_after": _number(gini(neurons["mass_after"].to_numpy())),
    }


def _change(before: pl.Series, after: pl.Series) -> float | None:
    """Relative change of the total; null where there was nothing before."""
    total = float(before.sum())
    return float(after.sum()) / total - 1 if total else None


def _number(value: np.float64 | NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)
