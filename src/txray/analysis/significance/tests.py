"""Which changes are more than chance: columns that a comparison gains, from its folds alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.comparison import Comparison
from txray.analysis.distances import Distance, require_distance
from txray.analysis.effect_sizes import EffectSize
from txray.analysis.findings import confident_state, is_significant
from txray.analysis.significance.absence_test import absence_p_values
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import Permutations, q_values, smallest_p_value
from txray.analysis.significance.rarefaction import rarefied_lengths
from txray.analysis.significance.rates import rate_p_values
from txray.analysis.significance.rng import stream
from txray.analysis.significance.split_half import Halves, matched_draws, split_in_halves
from txray.errors import PowerWarning, UsageError


@dataclass(frozen=True)
class _Settings:
    """The choices of `with_significance`, checked."""

    distance: Distance
    level: float
    permutations: int
    splits: int
    draws: int
    seed: int

    def __post_init__(self) -> None:
        require_distance(self.distance)
        if not 0 < self.level < 1:
            raise UsageError(f"significance: level={self.level}; it must lie between 0 and 1, such as 0.05")
        for name, least in (("permutations", 1), ("splits", 1), ("draws", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"significance: {name}={getattr(self, name)}; it must be at least {least}")


def with_significance(
    comparison: Comparison,
    *,
    distance: Distance = "hellinger",
    level: float = 0.05,
    permutations: int = 10_000,
    splits: int = 16,
    draws: int = 10,
    seed: int = 0,
) -> Comparison:
    """The same comparison with what is known of chance.

    Both stages are compared at equal numbers of activations, neuron by neuron: the larger is thinned. Documents, in
    folds, are what is exchanged, split and resampled, because words of one document do not speak for themselves alone.

    The columns that `neurons` gains:

    - `distance_matched`: the distance at equal numbers of activations; `distance_null`: the same under permutation,
      what is seen where nothing changed; `p_value`, and `q_value` by Benjamini and Hochberg; `z_score`: how far the
      one exceeds the other (both as the test has them, H^2 for the Hellinger distance), in standard deviations of the
      permutations. It ranks neurons whose p-values are all as small as the permutations can tell.
    - `hellinger_corrected`: how far the neuron moved, the Hellinger distance corrected for attenuation, with the
      bounds of its 95% interval `hellinger_corrected_low` and `hellinger_corrected_high`; null where the halves of a
      stage overlap so little that it cannot be known. `signal`: cross-validated H^2, about 0 and as often below it
      where nothing changed: for ranking and testing, not a size.
    - `noise_floor`: distance between halves of one stage; `distance_halves`: between halves of the two.
    - `win_rate_before`, `win_rate_after`: selected activations per word; `rate_p_value`, `rate_q_value` of their
      difference; `absence_p_value`: the chance that a neuron with wins in one stage only still responds in the other at
      a tenth of its rate, and was not met; `confident_state`: the state, and `unsure` where it is avoided or gained and
      the rates differ by no more than chance, or the neuron may merely have become so rare, or have been.
    - `rarefied_length_before`, `rarefied_length_after`: expected lengths at equal numbers of activations.

    Args:
        comparison: of two stages that were collected with the same number of folds.
        distance: what is tested: `hellinger`, `jensen-shannon` or `total-variation`.
        level: false-discovery rate at which a change is called one.
        permutations: of a neuron at most; most neurons are settled by some hundreds.
        splits: of the folds into halves, for `signal` and `hellinger_corrected`.
        draws: of the activations that are kept where one stage has more, averaged over. The more, the less the result
            depends on the seed; the time grows with them.
        seed: of all of this: same seed, same numbers.

    Raises:
        UnknownNameError: no such distance.
        UsageError: fewer than two folds, different numbers of them, or a setting that cannot be.

    Warns:
        PowerWarning: too few folds with documents, or too few permutations, for any neuron to be called changed.
    """
    settings = _Settings(distance, level, permutations, splits, draws, seed)
    before, after = comparison.before, comparison.after
    require_folds(comparison)
    paired = same_documents(comparison)
    folds = FoldCounts.of(before, after)
    smallest = _smallest_p_value(comparison, settings, paired)
    matched = matched_draws(folds, settings.draws, settings.seed)
    shared, of_layer = _changes(matched, comparison, settings, paired)
    rates = _rates(folds, comparison, settings, paired)
    drawn = np.minimum(before.wins(), after.wins())
    lengths = {
        f"rarefied_length_{side}": rarefied_lengths(preferences, drawn)
        for side, preferences in (("before", before), ("after", after))
    }
    neurons = comparison.neurons.with_columns(
        *(pl.Series(name, values).fill_nan(None) for name, values in {**shared, **rates, **lengths}.items()),
    )
    neurons = neurons.with_columns(confident_state(settings.level))
    summary = {
        **comparison.summary,
        **_summary(neurons, settings, paired),
        **{name: value if np.isfinite(value) else None for name, value in of_layer.items()},
        "smallest_p_value": smallest,
    }
    return replace(comparison, neurons=neurons, summary=summary)


def _smallest_p_value(comparison: Comparison, settings: _Settings, paired: bool) -> float:
    """What the tests can reach at best; warns where that is not enough."""
    before, after = comparison.before, comparison.after
    words = np.stack([side.corpus_counts.sum(axis=1) for side in (before, after)])
    smallest = smallest_p_value(words, paired, settings.permutations)
    if smallest > settings.level:
        warnings.warn(
            f"significance of {before.stage!r} -> {after.stage!r}: no neuron can be called changed, because no p-value "
            f"can be below {smallest:.3g}; collect more documents in more folds (16 is the default), or allow more "
            f"permutations than {settings.permutations}",
            PowerWarning,
            stacklevel=3,
        )
    return smallest


def require_folds(comparison: Comparison) -> None:
    """Refuse stages whose folds cannot be split, or exchanged for one another.

    Raises:
        UsageError: fewer than two folds, or different numbers of them.
    """
    before, after = comparison.before, comparison.after
    if before.folds != after.folds or before.folds < 2:
        raise UsageError(
            f"significance of {before.stage!r} -> {after.stage!r}: collected with {before.folds} and {after.folds} "
            "folds; it needs the same number on both sides, at least 2 (16 is better: fewer allow fewer permutations); "
            "collect again, or leave the tests out (--permutations 0)"
        )


def same_documents(comparison: Comparison) -> bool:
    """Whether both stages read the same documents, fold by fold, as far as their features tell."""
    before, after = comparison.before, comparison.after
    words = before.corpus_counts.sum(axis=1), after.corpus_counts.sum(axis=1)
    if comparison.documents is not None:
        return comparison.documents and bool(np.array_equal(*words))
    return bool(
        np.array_equal(before.features, after.features)
        and np.array_equal(before.corpus_counts, after.corpus_counts)
    )


def _changes(
    draws: list[FoldCounts],
    comparison: Comparison,
    settings: _Settings,
    paired: bool,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Return the columns of distances, and the distances of the layer."""
    permutations = Permutations(
        draws,
        comparison.weight,
        settings.distance,
        paired=paired,
        most=settings.permutations,
        level=settings.level,
        random=stream(settings.seed, "permutations"),
    )
    splits = split_in_halves(comparison.before.folds, settings.splits, stream(settings.seed, "splits"))
    halves = Halves.of(draws, *splits, comparison.weight)
    sizes = EffectSize.of(draws, halves, splits, comparison.weight)
    root = np.sqrt if settings.distance == "hellinger" else np.asarray
    of_neurons = {
        "distance_matched": root(permutations.observed),
        "distance_null": root(permutations.null),
        "p_value": permutations.p_value,
        "q_value": q_values(permutations.p_value),
        "z_score": permutations.z_score,
        "signal": sizes.signal,
        "hellinger_corrected": sizes.distance,
        "hellinger_corrected_low": sizes.low,
        "hellinger_corrected_high": sizes.high,
        "noise_floor": halves.noise_floor,
        "distance_halves": halves.distance,
    }
    of_layer = {
        "hellinger_corrected": sizes.layer,
        "hellinger_corrected_low": sizes.layer_low,
        "hellinger_corrected_high": sizes.layer_high,
    }
    return of_neurons, of_layer


def _rates(
    folds: FoldCounts,
    comparison: Comparison,
    settings: _Settings,
    paired: bool,
) -> dict[str, NDArray[np.float64]]:
    """What is known of how often neurons respond."""
    before, after = comparison.before, comparison.after
    words = np.concatenate((before.corpus_counts.sum(axis=1), after.corpus_counts.sum(axis=1)))
    wins, counts = folds.wins(), words.astype(np.float64)
    random = stream(settings.seed, "rates")
    p_value = rate_p_values(wins, counts, paired=paired, n=settings.permutations, random=random)
    return {
        "win_rate_before": before.wins() / max(before.words, 1),
        "win_rate_after": after.wins() / max(after.words, 1),
        "rate_p_value": p_value,
        "rate_q_value": q_values(p_value),
        "absence_p_value": absence_p_values(wins, counts),
    }


def _summary(neurons: pl.DataFrame, settings: _Settings, paired: bool) -> Mapping[str, Any]:
    """Plain JSON values."""
    tested = neurons.filter(pl.col("q_value").is_not_null())
    counts = dict(neurons["confident_state"].value_counts().iter_rows())
    return {
        "distance": settings.distance,
        "level": settings.level,
        "permutations": settings.permutations,
        "paired": paired,
        "seed": settings.seed,
        "tested": len(tested),
        "changed": tested.filter(is_significant(settings.level)).height,
        "confident_avoided": int(counts.get("avoided", 0)),
        "confident_gained": int(counts.get("gained", 0)),
        "unsure": int(counts.get("unsure", 0)),
        "mean_signal": tested["signal"].mean(),
        "mean_distance_matched": tested["distance_matched"].mean(),
        "mean_distance_null": tested["distance_null"].mean(),
        "mean_noise_floor": tested["noise_floor"].mean(),
        "mean_distance_halves": tested["distance_halves"].mean(),
    }
