"""Rules on the columns of a comparison: what is significant, tested states, and the order of "changed most"."""

from __future__ import annotations

import polars as pl

from txray.analysis.states import (
    CONFIDENT_STATES,
    DISPLACED,
    ONE_SIDED,
    SHOWN_STATES,
    STATE_NAMES,
    UNTESTED,
    untested_label,
)

SURE = "hellinger_corrected_low"
"""Column of how far a neuron moved for sure: the lower bound of the 95% interval of its corrected distance."""

_UNEXPLAINED = 0.5
"""Largest share of the z-score of a change that may be left if it is explained by another neuron."""


def is_significant(fdr: float) -> pl.Expr:
    """Return whether a neuron changed, disappeared or appeared significantly; False, not null, where untested.

    Displaced neurons did not: the words that another neuron took or gave explain what changed.
    """
    one_sided = pl.col("confident_state").cast(pl.String).is_in(ONE_SIDED).fill_null(value=False)
    return is_changed(fdr) | one_sided


def is_changed(fdr: float) -> pl.Expr:
    """Return whether a tested neuron changed significantly and is not displaced; False, not null, where untested."""
    return q_value_is_significant(fdr) & ~is_displaced()


def win_rate_changed(fdr: float) -> pl.Expr:
    """Return whether a neuron wins significantly more or less often per word; null where that is not tested."""
    return pl.col("rate_q_value") <= fdr


def is_displaced() -> pl.Expr:
    """Return whether a neuron is displaced; False, not null, where untested."""
    return (pl.col("confident_state").cast(pl.String) == DISPLACED).fill_null(value=False)


def q_value_is_significant(fdr: float) -> pl.Expr:
    """Return whether the column `q_value` of any table is significant; False, not null, where there is no value."""
    return (pl.col("q_value") <= fdr).fill_null(value=False)


def is_tested() -> pl.Expr:
    """Return whether the tests of a neuron's layer are done."""
    return pl.col("confident_state").is_not_null()


def confident_state(fdr: float) -> pl.Expr:
    """Return the column `confident_state`: the observed state, `undecided` if it may be avoided or gained by chance."""
    significant = win_rate_changed(fdr) & (pl.col("absence_p_value") <= fdr)
    undecided = pl.col("state").is_in(ONE_SIDED) & ~significant.fill_null(value=False)
    return (
        pl.when(undecided)
        .then(pl.lit("undecided"))
        .otherwise(pl.col("state").cast(pl.String))
        .cast(state_type())
        .alias("confident_state")
    )


def with_displaced(fdr: float) -> pl.Expr:
    """Return the column `confident_state` with `displaced` for significant changes that another neuron explains.

    With the neuron in `displaced_by` left out of both stages, they are not significant, and their z-score is at most
    half as large: a change that was barely significant is not explained by one that became barely insignificant.
    """
    insignificant = (pl.col("displaced_q_value") > fdr).fill_null(value=False)
    smaller = (pl.col("displaced_z_score") <= _UNEXPLAINED * pl.col("z_score")).fill_null(value=True)
    state = pl.col("confident_state")
    explained = is_significant(fdr) & insignificant & smaller
    return pl.when(explained).then(pl.lit(DISPLACED, state_type())).otherwise(state).alias("confident_state")


def state_type() -> pl.Enum:
    """Return the type of the column `confident_state`."""
    return pl.Enum(CONFIDENT_STATES)


def tested_state() -> pl.Expr:
    """Return the state that readers are shown where there are tests: one of `SHOWN_STATES`, never null."""
    return pl.col("confident_state").cast(pl.Enum(SHOWN_STATES)).fill_null(pl.lit(UNTESTED))


def state_in_words(*, pending: bool = False) -> pl.Expr:
    """Return the state of each neuron in plain words: `only after`, or `only after, not yet tested`.

    Args:
        pending: whether untested neurons are going to be tested.
    """
    observed, tested = (
        pl.col(name).cast(pl.String).replace_strict(STATE_NAMES, default=None)
        for name in ("state", "confident_state")
    )
    untested = pl.format("{}, {}", observed, pl.lit(untested_label(pending)))
    return pl.when(is_tested()).then(tested).otherwise(untested)


def size_of_change(neurons: pl.DataFrame, fdr: float) -> dict[str, float | None]:
    """Return how far tested neurons moved, and how far they would have had to: numbers of `Comparison.summary`.

    Args:
        neurons: rows of `Comparison.neurons`, tested.
        fdr: false discovery rate of the tests.

    Returns:
        `median_corrected`, the median `hellinger_corrected` of the tested neurons, `median_corrected_changed`, that of
        those that changed significantly, each with `_low` and `_high`, the medians of the bounds of their intervals;
        and `median_detectable`, at which half of the tested neurons would be significant, None where not even a
        complete change would be.
    """
    tested = neurons.filter(pl.col("q_value").is_not_null())
    changed = tested.filter(is_changed(fdr))
    sizes = {
        f"median_corrected{of}{end}": rows[f"hellinger_corrected{end}"].median()
        for of, rows in (("", tested), ("_changed", changed))
        for end in ("", "_low", "_high")
        if f"hellinger_corrected{end}" in rows.columns
    }
    detectable = (
        tested["detectable"].fill_null(float("inf")).median() if "detectable" in tested.columns else None
    )
    return {**sizes, "median_detectable": None if detectable in (None, float("inf")) else detectable}  # type: ignore[dict-item]


def changed_most_first(neurons: pl.DataFrame, fdr: float | None, *, descending: bool = True) -> pl.Series:
    """Return the (n,) row numbers of neurons in the order of "changed most".

    Significant neurons come first, then untested ones, then those that are not significant. Within each, neurons that
    moved farthest for sure come first: by the lower bound of the corrected distance. Where that is equal, mostly 0, by
    z-score, then by observed Hellinger distance, and by the larger of the two masses. Missing values come last, ties
    keep their order.

    Args:
        neurons: rows of `Comparison.neurons`.
        fdr: false discovery rate of the tests; None if there are none.
        descending: largest change first; otherwise the smallest, still with significant neurons first.
    """
    keys = [(pl.col("hellinger"), descending), (pl.max_horizontal("mass_before", "mass_after"), True)]
    if fdr is not None:
        of_size = [(pl.col(name), descending) for name in (SURE, "z_score")]
        keys = [(_certainty(fdr), True), *of_size, *keys]
    return _order(neurons, keys)


def changed_least_first(neurons: pl.DataFrame, fdr: float | None) -> pl.Series:
    """Return the (n,) row numbers of neurons in the order of "changed least"; arguments as for `changed_most_first`.

    Neurons that are not significant come first, then those that moved least for sure: by the upper bound of the
    corrected distance, then by estimated squared distance, on whichever side of 0, and by observed Hellinger distance.
    """
    keys = [(pl.col("hellinger"), False)]
    if fdr is not None:
        of_size = [(pl.col("hellinger_corrected_high"), False), (pl.col("signal").abs(), False)]
        keys = [(_certainty(fdr), False), *of_size, *keys]
    return _order(neurons, keys)


def _certainty(fdr: float) -> pl.Expr:
    """Return 2 for significant neurons, 1 for untested ones, 0 for those that are not significant."""
    return pl.when(is_significant(fdr)).then(2).when(is_tested()).then(0).otherwise(1).cast(pl.UInt8)


def _order(neurons: pl.DataFrame, keys: list[tuple[pl.Expr, bool]]) -> pl.Series:
    by = [*(key for key, _ in keys), pl.int_range(pl.len())]
    order = pl.arg_sort_by(by, descending=[*(descending for _, descending in keys), False], nulls_last=True)
    return neurons.select(order.alias("order"))["order"]
