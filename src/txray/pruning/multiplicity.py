"""Verdicts corrected for multiple comparisons with random sets."""

from __future__ import annotations

import numpy as np
import polars as pl

from txray.analysis.rules import q_value_is_significant
from txray.analysis.significance.permutation import q_values
from txray.analysis.states import fdr_label
from txray.pruning.bootstrap import INTERVAL
from txray.pruning.random_comparison import BETTER, SAME, WORSE

_FDR = 1 - INTERVAL


def corrected(effects: pl.DataFrame) -> pl.DataFrame:
    """Return the effects that were compared with random sets, with verdicts corrected for their number.

    Args:
        effects: rows of `Pruning.effects` or `pool_runs`: all rows that one statement is about.

    Returns:
        The rows with a verdict, with the columns `q_value` (Benjamini-Hochberg over these rows; null without a
        p-value) and `corrected_verdict`: the verdict at a false discovery rate of 5%, else `not distinguishable`.
    """
    compared = effects.filter(pl.col("verdict").is_not_null())
    q_value = q_values(compared["versus_random_p_value"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    return compared.with_columns(q_value=pl.Series(q_value, dtype=pl.Float64).fill_nan(None)).with_columns(
        corrected_verdict=pl.when(q_value_is_significant(_FDR)).then("verdict").otherwise(pl.lit(SAME))
    )


def verdict_counts(effects: pl.DataFrame) -> str:
    """Return a phrase with the numbers of effects better and worse than random sets, corrected for their number.

    Args:
        effects: rows of `Pruning.effects` or `pool_runs`; at least one with a verdict.
    """
    rows = corrected(effects)
    better, worse = (rows.filter(pl.col("corrected_verdict") == name).height for name in (BETTER, WORSE))
    return (
        f"{better:,} better and {worse:,} worse than random sets of the same size, of {len(rows):,} compared "
        f"({fdr_label(_FDR)})"
    )
