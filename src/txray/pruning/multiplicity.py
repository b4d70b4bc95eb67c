"""Verdicts over many sets at once: among many comparisons with random sets some differ by chance."""

from __future__ import annotations

import numpy as np
import polars as pl

from txray.analysis.findings import fdr_label, q_value_is_significant
from txray.analysis.significance.permutation import q_values
from txray.pruning.bootstrap import BETTER, INTERVAL, SAME, WORSE

_FDR = 1 - INTERVAL


def corrected(effects: pl.DataFrame) -> pl.DataFrame:
    """Return the effects that were compared with random sets, with verdicts corrected for how many they are.

    Args:
        effects: rows of `Pruning.effects` or `pool`: all that one statement is about.

    Returns:
        The rows with a verdict, `q_value` (Benjamini-Hochberg over these rows, null where there is no p-value), and
        `corrected_verdict`: the verdict where the false discovery rate is at most 5%, else `not distinguishable`.
    """
    compared = effects.filter(pl.col("verdict").is_not_null())
    q_value = q_values(compared["versus_random_p_value"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    return compared.with_columns(q_value=pl.Series(q_value, dtype=pl.Float64).fill_nan(None)).with_columns(
        corrected_verdict=pl.when(q_value_is_significant(_FDR)).then("verdict").otherwise(pl.lit(SAME))
    )


def verdict_counts(effects: pl.DataFrame) -> str:
    """Return in words how many effects are better and worse than random sets, corrected for how many were compared.

    Args:
        effects: rows of `Pruning.effects` or `pool`; at least one with a verdict.
    """
    rows = corrected(effects)
    better, worse = (rows.filter(pl.col("corrected_verdict") == name).height for name in (BETTER, WORSE))
    return (
        f"{better:,} better and {worse:,} worse than random sets of the same size, of {len(rows):,} compared "
        f"({fdr_label(_FDR)})"
    )
