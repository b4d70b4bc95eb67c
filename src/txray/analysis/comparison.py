"""Two preferences aligned neuron by neuron: states, lengths, masses, distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.distances import (
    hellinger,
    hellinger_length,
    hellinger_published_code,
    published_code_distance,
)
from txray.analysis.findings import STATES, Findings, fdr_label
from txray.analysis.mass_inequality import gini
from txray.analysis.saving import save_tables
from txray.errors import ShapeError
from txray.preferences.distributions import aligned
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage import Stage

SUMMARY = "summary.json"
"""The file that tells a folder of a comparison."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed between two stages of one layer, for one feature type.

    Attributes:
        before: the earlier preferences.
        after: the later ones, of the same neurons.
        weight: what the preference distributions normalise.
        neurons: polars, one row per neuron: neuron, state, length_before, length_after,
            hellinger_length, mass_before, mass_after, wins_before, wins_after, hellinger and
            hellinger_published_code (null where a side is un-preferred).
        summary: counts of the states and means over neurons, plain JSON values.
        documents: whether both stages read the same documents; None where that is not known.
    """

    before: Preferences
    after: Preferences
    weight: Weight
    neurons: pl.DataFrame
    summary: Mapping[str, Any]
    documents: bool | None = None

    @property
    def tested(self) -> bool:
        """Return whether `with_significance` has been applied."""
        return "changed" in self.summary

    @property
    def fdr(self) -> float | None:
        """Return the false discovery rate of the tests; None if there are none."""
        return float(self.summary["level"]) if self.tested else None

    @property
    def findings(self) -> Findings:
        """Return counts of observed and tested states, and the sentences that report them."""
        return Findings.of(self.neurons, self.fdr)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.summary[state]} {state}" for state in STATES)
        if self.tested:
            counts += (
                "; significant ({fdr}): {changed} of {tested} shared changed, {confident_avoided} of {avoided} "
                "avoided, {confident_gained} of {gained} gained".format(
                    fdr=fdr_label(self.summary["level"]), **self.summary
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
    feature_type: str = "token",
    layer: str | None = None,
    weight: Weight = "mean",
) -> Comparison:
    """Compare two stages neuron by neuron.

    Args:
        before: the earlier stage, or its preferences.
        after: the later one; the same neurons.
        feature: the feature type (for stages).
        layer: may be left out where stages have one layer.
        weight: what the preference distributions normalise; the paper: `mean`.

    Raises:
        UnknownNameError: no such layer, feature or weight.
        ShapeError: the two do not hold the same neurons, feature type or selection.

    Source:
        Rethmeier et al. 2020, section 2.
    """
    first = (
        before.preferences(layer=layer, feature_type=feature_type) if isinstance(before, Stage) else before
    )
    second = after.preferences(layer=layer, feature_type=feature_type) if isinstance(after, Stage) else after
    if first.n_neurons != second.n_neurons:
        raise ShapeError(
            f"stage {second.stage!r}: layer {second.layer!r} has {second.n_neurons} neurons, stage "
            f"{first.stage!r}: layer {first.layer!r} has {first.n_neurons}; compare needs the same layer of "
            "the same model"
        )
    if first.feature_type != second.feature_type:
        raise ShapeError(
            f"stage {first.stage!r} gives feature {first.feature_type!r}, stage {second.stage!r} gives "
            f"{second.feature_type!r}; compare the same kind"
        )
    if first.selection != second.selection:
        raise ShapeError(
            f"stage {first.stage!r} was collected with selection {first.selection!r}, stage {second.stage!r} with "
            f"{second.selection!r}; collect both in the same way"
        )
    neurons = _neurons(first, second, weight)
    return Comparison(
        first,
        second,
        weight,
        neurons,
        _summary(first, second, weight, neurons),
        same_documents(*(side.manifest if isinstance(side, Stage) else {} for side in (before, after))),
    )


def same_documents(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool | None:
    """Whether two stages read the same documents, as their manifests tell; None where one does not."""
    digests = [(manifest.get("corpus") or {}).get("documents_digest") for manifest in (before, after)]
    return None if None in digests else digests[0] == digests[1]


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
