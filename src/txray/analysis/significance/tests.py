"""Significance of the changes between two stages, as columns to add to a comparison; computed from folds alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from txray.analysis.comparison_tables import finite
from txray.analysis.distances import Distance, require_distance
from txray.analysis.effect_sizes import EffectSize
from txray.analysis.power import detectable_distances
from txray.analysis.rules import (
    confident_state,
    is_significant,
    size_of_change,
    win_rate_changed,
    with_displaced,
)
from txray.analysis.significance.chi_square import chi_square
from txray.analysis.significance.displacement import DISPLACEMENT_SCHEMA, DisplacementTest
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.pairing import (
    folds_are_exchanged_in_pairs,
    folds_in_common,
    text_is_matched,
)
from txray.analysis.significance.permutation import (
    FIRST_BATCH,
    Permutations,
    Statistic,
    divergence_statistic,
    mean_statistic,
    observed,
    q_values,
    smallest_p_value,
)
from txray.analysis.significance.rarefaction import rarefied_lengths
from txray.analysis.significance.rate_columns import (
    changed_rate_p_values,
    rate_columns,
    wins_at_equal_text,
)
from txray.analysis.significance.rates import rate_changes
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.split_half import Halves, matched_draws, split_in_halves
from txray.arrays import Floats
from txray.checks import is_number
from txray.errors import DocumentLengthWarning, PowerWarning, UnknownNameError, UsageError, warn_user
from txray.preferences.preferences import Preferences, Weight

TestStatistic = Literal["chi-square", "distance"]
"""What is compared with its permutations: chi-square given the occurrences of features, or the distance."""

TEST_STATISTICS: tuple[TestStatistic, ...] = get_args(TestStatistic)

CHI_SQUARE_DRAWS = 3
"""Maximum number of downsamplings whose chi-squares are averaged.

With more, permutations vary too little if one text is much smaller, because its few documents are in all of them; with
one, p-values depend more on the seed.
"""

MAX_LENGTH_RATIO = 2.5
"""Ratio of the mean lengths of documents up to which the p-values of the chi-square hold for models with context."""


@dataclass(frozen=True)
class SignificanceSettings:
    """Checked settings of the tests; see `Comparison.test`.

    Raises:
        UnknownNameError: an unknown distance or statistic.
        UsageError: a number out of range.
    """

    distance: Distance = "hellinger"
    permutations: int = 10_000
    fdr: float = 0.05
    seed: int = 0
    splits: int = 16
    draws: int = 10
    statistic: TestStatistic | None = None
    """None: see `with_statistic`."""
    text_matched: bool | None = None
    min_effect: float = 0.0
    family_share: float = 1.0
    """Share of the tests of a family that are in this comparison; permutations continue until it is decided."""

    def __post_init__(self) -> None:
        require_distance(self.distance)
        if self.statistic is not None and self.statistic not in TEST_STATISTICS:
            raise UnknownNameError.of("statistic", self.statistic, TEST_STATISTICS)
        if not 0 < self.fdr < 1:
            raise UsageError(f"significance: fdr={self.fdr}; it must lie between 0 and 1, such as 0.05")
        if not is_number(self.min_effect) or not 0 <= self.min_effect < 1:
            raise UsageError(
                f"significance: min_effect={self.min_effect}; pass a Hellinger distance from 0, below 1, such as 0.2"
            )
        for name, smallest in (("permutations", 1), ("splits", 1), ("draws", 1), ("seed", 0)):
            if getattr(self, name) < smallest:
                raise UsageError(
                    f"significance: {name}={getattr(self, name)}; it must be at least {smallest}"
                )


def tested_neurons(
    before: Preferences,
    after: Preferences,
    weight: Weight,
    neurons: pl.DataFrame,
    settings: SignificanceSettings,
    *,
    same_documents: bool | None,
    words_in_common: float,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the neurons of a comparison with the columns of the tests, and what its summary gains.

    See `Comparison.test` for columns, errors and warnings; `neurons` has one row per neuron, with the column `state`.
    For `same_documents` and `words_in_common` see `folds_are_exchanged_in_pairs`.
    """
    require_folds(before, after)
    paired = folds_are_exchanged_in_pairs(before, after, same_documents, words_in_common)
    folds = FoldCounts.of(before, after)
    smallest = _smallest_p_value(before, after, settings, paired)
    match_text = text_is_matched(before, after, same_documents, settings.text_matched)
    matched = matched_draws(folds, settings.draws, settings.seed, match_text=match_text, paired=paired)
    changes, of_layer = _changes(matched, weight, settings, paired)
    wins = wins_at_equal_text(folds, before, after, settings, match_text=match_text, paired=paired)
    rates = rate_columns(*wins, before, after, settings, paired)
    drawn = np.minimum(before.wins(), after.wins())
    lengths = {
        f"rarefied_length_{side}": rarefied_lengths(preferences, drawn)
        for side, preferences in (("before", before), ("after", after))
    }
    neurons = neurons.with_columns(
        *(pl.Series(name, values).fill_nan(None) for name, values in {**changes, **rates, **lengths}.items())
    )
    detectable = detectable_distances(
        _wins(matched), _folds_in_use(before, after, paired), settings.min_effect
    )
    neurons = neurons.with_columns(
        confident_state(settings.fdr),
        pl.Series("detectable", detectable).fill_nan(None),
        text_matched=pl.lit(match_text),
        min_effect=pl.lit(settings.min_effect),
        family_size=pl.lit(neurons["q_value"].count(), pl.Int64),
    )
    displacement = displacement_test(before, after, weight, settings, paired=paired, match_text=match_text)
    neurons = _with_displacement(neurons, displacement, before, after, rate_changes(*wins), settings.fdr)
    summary = {
        **_summary(neurons, settings, paired),
        **folds_in_common(before, after),
        "text_matched": match_text,
        **{name: finite(value) for name, value in of_layer.items()},
        "smallest_p_value": smallest,
    }
    return neurons, summary


def displacement_test(
    before: Preferences,
    after: Preferences,
    weight: Weight,
    settings: SignificanceSettings,
    *,
    paired: bool,
    match_text: bool,
) -> DisplacementTest:
    """Return the tests of a comparison as `DisplacementTest` repeats them."""
    return DisplacementTest(
        draws=lambda counts: matched_draws(
            counts, settings.draws, settings.seed, match_text=match_text, paired=paired
        ),
        rates=lambda counts: changed_rate_p_values(
            *wins_at_equal_text(counts, before, after, settings, match_text=match_text, paired=paired),
            settings,
            paired,
        ),
        permute=lambda draws: _permute(draws, weight, settings, paired),
    )


def _with_displacement(
    neurons: pl.DataFrame,
    test: DisplacementTest,
    before: Preferences,
    after: Preferences,
    change: Floats,
    fdr: float,
) -> pl.DataFrame:
    """Return the neurons with the columns of displacement, and their states with `displaced`."""
    significant, certain = (
        neurons.select(rule.fill_null(value=False)).to_series().to_numpy()
        for rule in (is_significant(fdr), win_rate_changed(fdr))
    )
    columns = test.of(before, after, change, certain, significant)
    return neurons.with_columns(
        pl.Series(name, columns[name]).fill_nan(None).cast(dtype)
        for name, dtype in DISPLACEMENT_SCHEMA.items()
    ).with_columns(with_displaced(fdr))


def with_statistic(settings: SignificanceSettings, summary: Mapping[str, Any]) -> SignificanceSettings:
    """Return the settings with the statistic to test; warn if the documents of two stages differ much in length.

    Words are read in other contexts at the beginning of a document. So models with context respond to other words in
    short documents than in long ones, without any change of their weights. The chi-square sees that; the distance
    hardly does, and is the default for such texts.

    Args:
        settings: as passed.
        summary: of the untested comparison.
    """
    names = [f"words_per_document_{side}" for side in ("before", "after")]
    lengths = [float(summary[name]) for name in names if name in summary]
    if len(lengths) < 2 or max(lengths) <= MAX_LENGTH_RATIO * min(lengths):
        return replace(settings, statistic=settings.statistic or "chi-square")
    if settings.statistic != "distance":
        remedy = (
            "the distance is tested instead, which finds fewer changes"
            if settings.statistic is None
            else "pass statistic='distance' (--statistic distance)"
        )
        warn_user(
            f"significance of {summary['before']!r} -> {summary['after']!r}: documents have {lengths[0]:,.0f} and "
            f"{lengths[1]:,.0f} words on average; to the chi-square, short contexts alone can look like change (8 to "
            f"18% of the p-values of two models were below 0.05); {remedy}; better: cut both texts to documents of "
            f"about {min(lengths):,.0f} words",
            DocumentLengthWarning,
        )
    return replace(settings, statistic=settings.statistic or "distance")


def _smallest_p_value(
    before: Preferences, after: Preferences, settings: SignificanceSettings, paired: bool
) -> float:
    """Return the smallest p-value that the tests can reach; warn if it is above the false discovery rate."""
    words = np.stack([side.corpus_counts.sum(axis=1) for side in (before, after)])
    smallest = smallest_p_value(words, paired, settings.permutations)
    if smallest > settings.fdr:
        warn_user(
            f"significance of {before.stage!r} -> {after.stage!r}: no neuron can be significant, because no p-value "
            f"can be below {smallest:.3g}; collect more documents in more folds (16 is the default), or allow more "
            f"permutations than {settings.permutations}",
            PowerWarning,
        )
    return smallest


def _folds_in_use(before: Preferences, after: Preferences, paired: bool) -> int:
    """Return the number of folds with words: in both stages if folds are paired, else in the stage with fewer."""
    used = np.stack([side.corpus_counts.sum(axis=1) > 0 for side in (before, after)])
    return int(used.all(axis=0).sum() if paired else used.sum(axis=1).min())


def _wins(draws: list[FoldCounts]) -> Floats:
    """Return (n_neurons,) activations of the stage with fewer of them, averaged over downsamplings."""
    wins = np.mean([draw.wins() for draw in draws], axis=0)
    folds = draws[0].folds
    return np.asarray(np.minimum(wins[:, :folds].sum(axis=1), wins[:, folds:].sum(axis=1)))


def require_folds(before: Preferences, after: Preferences) -> None:
    """Raise if the folds of two stages cannot be split, or exchanged for one another.

    Raises:
        UsageError: fewer than two folds, or different numbers of them.
    """
    if before.folds != after.folds or before.folds < 2:
        raise UsageError(
            f"significance of {before.stage!r} -> {after.stage!r}: collected with {before.folds} and {after.folds} "
            "folds; both stages need the same number, at least 2 (16 is better: fewer allow fewer permutations); "
            "collect again, or compare without tests (permutations=0, --permutations 0)"
        )


def _changes(
    draws: list[FoldCounts], weight: Weight, settings: SignificanceSettings, paired: bool
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return the columns of distances, and the distances of the layer."""

    of_distance = divergence_statistic(weight, settings.distance)
    if settings.statistic == "distance":
        permutations = distances = _permute(draws, weight, settings, paired)
    else:
        # Enough for the mean distance if nothing changed, which is all that is used.
        most = min(FIRST_BATCH, settings.permutations)
        distances = _permutations(draws, of_distance, most, settings, paired)
        permutations = _permute(draws, weight, settings, paired, distances.observed)
    splits = split_in_halves(draws[0].folds, settings.splits, generator_for(settings.seed, "splits"))
    halves = Halves.of(draws, *splits, weight)
    sizes = EffectSize.of(draws, halves, splits, weight)
    p_value, q_value = permutations.p_value, q_values(permutations.p_value)
    if settings.min_effect:
        # Both tests must agree. Not the q-values of the larger p-value: permutations stop before it is small enough.
        of_size = np.where(np.isfinite(p_value), sizes.p_values(settings.min_effect), np.nan)
        p_value, q_value = np.maximum(p_value, of_size), np.maximum(q_value, q_values(of_size))
    root = np.sqrt if settings.distance == "hellinger" else np.asarray
    of_neurons = {
        "distance_matched": root(distances.observed),
        "distance_null": root(distances.null),
        "p_value": p_value,
        "q_value": q_value,
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


def _permutations(
    draws: list[FoldCounts], statistic: Statistic, most: int, settings: SignificanceSettings, paired: bool
) -> Permutations:
    return Permutations(
        draws,
        statistic,
        paired=paired,
        max_permutations=most,
        fdr=settings.fdr * settings.family_share,
        random=generator_for(settings.seed, "permutations"),
    )


def _permute(
    draws: list[FoldCounts],
    weight: Weight,
    settings: SignificanceSettings,
    paired: bool,
    distances: Floats | None = None,
) -> Permutations:
    """Return the permutation test of the statistic of the settings; `distances` are the observed ones, if known."""
    of_distance = divergence_statistic(weight, settings.distance)
    if settings.statistic == "distance":
        return _permutations(draws, of_distance, settings.permutations, settings, paired)
    if distances is None:
        distances = mean_statistic(draws, observed(draws[0].folds), of_distance)[:, 0]
    # A neuron that lost all of its activations in one of the draws is not tested, even if it has some in the first.
    first = [draw.subset(np.isfinite(distances)) for draw in draws[:CHI_SQUARE_DRAWS]]
    return _permutations(first, chi_square, settings.permutations, settings, paired)


def test_counts(neurons: pl.DataFrame, fdr: float) -> dict[str, Any]:
    """Return the numbers of tested, changed, avoided, gained and undecided neurons, and the sizes of their changes."""
    tested = neurons.filter(pl.col("q_value").is_not_null())
    counts = dict(neurons["confident_state"].value_counts().iter_rows())
    return {
        "tested": len(tested),
        "changed": tested.filter(is_significant(fdr)).height,
        "confident_avoided": int(counts.get("avoided", 0)),
        "confident_gained": int(counts.get("gained", 0)),
        "undecided": int(counts.get("undecided", 0)),
        **size_of_change(neurons, fdr),
        "displaced": int(counts.get("displaced", 0)),
    }


def _summary(neurons: pl.DataFrame, settings: SignificanceSettings, paired: bool) -> Mapping[str, Any]:
    """Return plain JSON values for the summary of a comparison."""
    tested = neurons.filter(pl.col("q_value").is_not_null())
    return {
        "distance": settings.distance,
        "statistic": settings.statistic,
        "fdr": settings.fdr,
        "min_effect": settings.min_effect,
        "permutations": settings.permutations,
        "paired": paired,
        "seed": settings.seed,
        **test_counts(neurons, settings.fdr),
        "family": "step",
        "family_size": len(tested),
        **{
            f"mean_{name}": tested[name].mean()
            for name in ("signal", "distance_matched", "distance_null", "noise_floor", "distance_halves")
        },
    }
