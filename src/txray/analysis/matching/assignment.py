"""One-to-one assignment of neurons by a score, tested against chance, as a table of pairs and unmatched neurons."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from txray.analysis.matching.chance import MIN_DRAWS, BestByChance
from txray.analysis.rules import q_value_is_significant
from txray.analysis.significance.permutation import q_values
from txray.arrays import Floats, Ints
from txray.errors import UsageError

MATCH_STATES = ("matched", "unmatched-before", "unmatched-after")
"""A matched pair, and neurons of either side without a match."""

PAIR_SCHEMA: dict[str, pl.DataType] = {
    "state": pl.Enum(MATCH_STATES),
    "before": pl.Int64(),
    "after": pl.Int64(),
    "affinity": pl.Float64(),
    "chance": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "mutual": pl.Boolean(),
}


def require_match_settings(purpose: str, false_match_rate: float, **integers: int) -> None:
    """Raise a `UsageError` if a setting of a matching is out of range: `shuffles`, `draws`, `min_wins` or `seed`."""
    if not isinstance(false_match_rate, int | float) or not 0 < false_match_rate < 1:
        raise UsageError(
            f"{purpose}: false_match_rate={false_match_rate!r}; pass a number between 0 and 1, such as 0.05"
        )
    smallest = {"shuffles": MIN_DRAWS, "draws": MIN_DRAWS, "min_wins": 1, "seed": 0}
    for name, value in integers.items():
        if type(value) is not int or value < smallest[name]:
            raise UsageError(f"{purpose}: {name}={value!r}; pass an integer of at least {smallest[name]}")


def assignment(score: Floats) -> tuple[Ints, Ints, Floats]:
    """Return rows and columns of the one-to-one assignment with the largest sum, and their scores from 0 to 1."""
    row, column = linear_sum_assignment(score, maximize=True)
    return row, column, np.clip(score[row, column], 0.0, 1.0)


def pair_table(
    score: Floats,
    chance: BestByChance | None,
    lengths: tuple[Ints, Ints],
    neurons: tuple[Ints, Ints],
    false_match_rate: float,
) -> pl.DataFrame:
    """Return the assigned pairs with their tests, and the neurons without a match, in the columns of `PAIR_SCHEMA`.

    Args:
        score: (n_before, n_after) scores, from 0 to 1.
        chance: best scores by chance; None if a side has no neuron.
        lengths: (n_before,) and (n_after,) numbers of features.
        neurons: (n_before,) and (n_after,) numbers of the neurons.
        false_match_rate: largest q-value of a match.
    """
    row, column, value = assignment(score)
    p_value = q_value = expected = np.zeros(0)
    mutual = np.zeros(0, np.bool_)
    if chance is not None:
        mutual = (score.argmax(axis=1)[row] == column) & (score.argmax(axis=0)[column] == row)
        p_value = chance.p_values(row, column, value, lengths)
        q_value, expected = q_values(p_value), chance.mean(row, column)
    assigned = pl.DataFrame(
        {
            "before": neurons[0][row],
            "after": neurons[1][column],
            "affinity": value,
            "chance": expected,
            "p_value": p_value,
            "q_value": q_value,
            "mutual": mutual,
        }
    )
    matched = assigned.filter(q_value_is_significant(false_match_rate))
    before, after = (
        pl.DataFrame({side: of_side}).join(matched, on=side, how="anti").sort(side)
        for side, of_side in zip(("before", "after"), neurons, strict=True)
    )
    before = before.join(assigned.drop("after", "mutual"), on="before", how="left", maintain_order="left")
    tables = zip(MATCH_STATES, (matched, before, after), strict=True)
    return (
        pl.concat([table.with_columns(state=pl.lit(state)) for state, table in tables], how="diagonal")
        .with_columns(pl.col("mutual").fill_null(value=False))
        .select(pl.col(name).cast(dtype) for name, dtype in PAIR_SCHEMA.items())
    )
