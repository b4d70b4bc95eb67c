"""Families of tests: over which tests the false discovery rate is controlled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import polars as pl

from txray.analysis.rules import confident_state, with_displaced
from txray.analysis.significance.permutation import q_values
from txray.analysis.significance.tests import SignificanceSettings, test_counts
from txray.arrays import Floats
from txray.errors import UnknownNameError, UsageError
from txray.progress import progress

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

Family = Literal["step", "all"]
"""`step`: the neurons of one layer in one comparison of two stages; `all`: those of all layers and comparisons."""

FAMILIES: tuple[Family, ...] = get_args(Family)

_ADJUSTED = (("p_value", "q_value"), ("rate_p_value", "rate_q_value"))


def require_family(family: str) -> None:
    """Raise `UnknownNameError` for anything but one of `FAMILIES`."""
    if family not in FAMILIES:
        raise UnknownNameError.of("family", family, FAMILIES)


def family_q_values(p_values: Sequence[Floats]) -> list[Floats]:
    """Return q-values (Benjamini-Hochberg) of several arrays of p-values, adjusted over all of them together.

    NaN p-values stay NaN and do not count as tests.
    """
    if not p_values:
        return []
    return np.split(q_values(np.concatenate(p_values)), np.cumsum([len(part) for part in p_values])[:-1])


def one_family(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Return comparisons whose q-values, tested states and counts are adjusted over the tests of all of them.

    By default, the false discovery rate is controlled within each comparison (one layer, two stages). In one family, at
    most 5% of all discoveries together are expected to be false, wherever they are. Where most comparisons have no
    change, this finds fewer changes; comparisons without any change then share the threshold of the others. The
    permutations of a comparison stop when its own family is decided, so p-values may be larger than needed here, which
    makes the result conservative; `txray.timeline(family="all")` and `txray.report(family="all")` run more of them.
    With a minimum effect, the larger of its two p-values is adjusted, which is conservative as well. Only neurons that
    are significant in their own comparison have been tested for displacement.

    Args:
        comparisons: tested at the same false discovery rate; untested ones are returned as they are.

    Raises:
        UsageError: tests at different false discovery rates.

    Example:
        >>> one_family([compare(before, after, layer=layer) for layer in before.layers])
    """
    comparisons = list(comparisons)
    tested = [comparison for comparison in comparisons if comparison.tested]
    rates = sorted({float(comparison.summary["fdr"]) for comparison in tested})
    if len(rates) > 1:
        raise UsageError(
            f"one_family: comparisons were tested at fdr={rates}; test all of them at the same false discovery rate"
        )
    adjusted = {
        q: family_q_values([comparison.neurons[p].fill_null(np.nan).to_numpy() for comparison in tested])
        for p, q in _ADJUSTED
    }
    size = int(sum(np.isfinite(values).sum() for values in adjusted["q_value"]))
    together = iter(
        _adjusted(comparison, dict(zip(adjusted, columns, strict=True)), size)
        for comparison, *columns in zip(tested, *adjusted.values(), strict=True)
    )
    return [next(together) if comparison.tested else comparison for comparison in comparisons]


def tested_in_one_family(
    untested: Iterable[Comparison], number: int, settings: SignificanceSettings
) -> list[Comparison]:
    """Return `number` comparisons, tested, with q-values adjusted over the tests of all of them.

    Each runs as many permutations as its significant neurons need to remain so in the whole family.
    """
    strict = replace(settings, family_share=1 / max(number, 1))
    comparisons = []
    with progress("testing in one family", number, unit="comparisons") as advance:
        for comparison in untested:
            comparisons.append(comparison.tested_with(strict))
            advance()
    return one_family(comparisons)


def _adjusted(comparison: Comparison, columns: dict[str, Floats], size: int) -> Comparison:
    fdr = float(comparison.summary["fdr"])
    neurons = comparison.neurons.with_columns(
        *(pl.Series(name, values).fill_nan(None) for name, values in columns.items()),
        pl.lit(size, pl.Int64).alias("family_size"),
    ).with_columns(confident_state(fdr))
    neurons = neurons.with_columns(with_displaced(fdr)) if "displaced_q_value" in neurons.columns else neurons
    summary = {**comparison.summary, **test_counts(neurons, fdr), "family": "all", "family_size": size}
    return replace(comparison, neurons=neurons, summary=summary)
