"""Ranking and states of synthetic neurons whose changes are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product

import numpy as np
import polars as pl

from benchmarks.evidence.tables import Table, auc, fewer_wins, number, percent, ratio
from benchmarks.texts import resampled
from txray import Stage, SyntheticPair, collect, compare, synthetic_pair
from txray.preferences.preferences import Weight

WORDS = (10_000, 20_000, 50_000, 100_000, 200_000, 400_000)
SEEDS = (1, 2, 3)
_OFTEN = 20
_SCORES = ("z_score", "signal", "hellinger")
_EFFECTS = (1.0, 0.9, 0.5)
_RANKED: tuple[tuple[Weight, int], ...] = (("mean", 1), ("mass", 1), ("mean", _OFTEN))


@cache
def neurons(effect: float, words: int, *, same: bool) -> pl.DataFrame:
    """Return the comparisons of all seeds by both weights, one row per neuron, beside the truth."""
    tables = []
    for seed in SEEDS:
        pair = synthetic_pair(effect=effect, seed=seed)
        before, after = stages(pair, words, seed, same=same)
        weights: tuple[Weight, ...] = ("mean", "mass")
        for weight in weights:
            tested = compare(before, after, weight=weight, seed=seed).neurons
            tables.append(
                tested.join(pair.truth, on="neuron").with_columns(
                    fewer=fewer_wins(),
                    seed=pl.lit(seed),
                    weight=pl.lit(weight),
                    # Neurons with too few wins for a test rank as unchanged.
                    **{score: pl.col(score).fill_null(0.0) for score in _SCORES[:2]},
                )
            )
    print(f"effect {effect}, {words:,} words, {same=}: collected", flush=True)
    return pl.concat(tables)


def stages(pair: SyntheticPair, words: int, seed: int, *, same: bool) -> tuple[Stage, Stage]:
    """Collect both modules of a pair on the same documents, or on different ones."""
    texts = [resampled("encyclopedia", words, seed=100 * seed + side) for side in (1, 1 if same else 2)]
    before, after = (
        collect(model, text, layers=[pair.layer], name="synthetic")
        for model, text in zip((pair.before, pair.after), texts, strict=True)
    )
    return before, after


def ranking() -> Table:
    """Rank changed neurons against unchanged and rarer ones, by size of the text."""
    rows = []
    for effect, same, words in product(_EFFECTS, (True, False), WORDS):
        table = neurons(effect, words, same=same).filter(
            pl.col("group").is_in(["changed", "unchanged", "rarer"]) & pl.col("p_value").is_not_null()
        )
        # A neuron with wins on one side only has no distance: those are told by their states.
        of_mean = table.filter(pl.col("weight") == "mean")
        called = of_mean.filter(pl.col("q_value") <= 0.05)
        changed = of_mean.filter(pl.col("group") == "changed")
        far = of_mean.filter(pl.col("hellinger") > 0.5)
        rows.append(
            [
                f"{effect:.1f}, {'same' if same else 'different'} documents",
                f"{words:,}",
                f"{len(changed) / len(SEEDS):.0f} of 60, {changed['fewer'].median():.0f}",
                *(_areas(table, weight, least) for weight, least in _RANKED),
                f"{percent(_changed(called), 0)}, {percent(ratio(_changes(called), len(changed)), 0)}",
                f"{percent(_changed(far), 0)}, {percent(ratio(_changes(far), len(changed)), 0)}",
            ]
        )
    columns = [
        "effect, text",
        "words",
        "changed: tested, median wins",
        *(
            f"AUC, `{weight}`, {'all' if least == 1 else f'{least} wins'}: z, signal, plain H"
            for weight, least in _RANKED
        ),
        "q ≤ 0.05: precision, recall",
        "plain H > 0.5: precision, recall",
    ]
    return Table(columns, rows)


def strata() -> Table:
    """Return the table for half an effect, by the number of wins."""
    bounds = (1, 20, 100, 500, 1 << 40)
    rows = []
    for words, (low, high) in product((100_000, 400_000), pairwise(bounds)):
        table = neurons(0.5, words, same=True).filter(
            pl.col("group").is_in(["changed", "unchanged", "rarer"])
            & pl.col("p_value").is_not_null()
            & (pl.col("weight") == "mean")
            & pl.col("fewer").is_between(low, high - 1)
        )
        changed = table["group"] == "changed"
        called = table.filter(pl.col("q_value") <= 0.05)
        rows.append(
            [
                f"{words:,}",
                f"{low} or more" if high == bounds[-1] else f"{low} to {high - 1}",
                f"{changed.sum()} of {len(table)}",
                *(number(auc(table[score], changed)) for score in _SCORES),
                percent(ratio(_changes(called), int(changed.sum())), 0),
            ]
        )
    columns = ["words", "wins", "changed", "AUC of z", "AUC of signal", "AUC of plain H", "found at q ≤ 0.05"]
    return Table(columns, rows)


def _areas(table: pl.DataFrame, weight: str, least: int) -> str:
    """Return the area under the curve of each score, averaged over seeds."""
    parts = [
        part
        for seed in SEEDS
        for part in [
            table.filter((pl.col("seed") == seed) & (pl.col("weight") == weight) & (pl.col("fewer") >= least))
        ]
    ]
    means = [
        float(np.nanmean([auc(part[score], part["group"] == "changed") for part in parts]))
        for score in _SCORES
    ]
    return ", ".join(map(number, means))


def _changes(table: pl.DataFrame) -> int:
    return int((table["group"] == "changed").sum())


def _changed(table: pl.DataFrame) -> float:
    return ratio(_changes(table), len(table))


def states() -> Table:
    """Return the neurons called avoided or gained, by observed and by tested state."""
    rows = [
        [
            f"{'same' if same else 'different'} documents",
            f"{words:,}",
            *(cell for column in ("state", "confident_state") for cell in _called(words, column, same=same)),
        ]
        for same, words in product((True, False), WORDS)
    ]
    columns = [
        "text",
        "words",
        *(
            f"{name}: {what}"
            for name in ("observed", "significant")
            for what in ("avoided, vanished", "merely rarer", "gained, appeared", "unchanged or changed")
        ),
    ]
    return Table(columns, rows)


def _called(words: int, column: str, *, same: bool) -> Iterator[str]:
    table = neurons(0.9, words, same=same).filter(pl.col("weight") == "mean")
    avoided, gained = (table.filter(pl.col(column) == state) for state in ("avoided", "gained"))

    def of(part: pl.DataFrame, *groups: str) -> int:
        return int(part["group"].is_in(groups).sum())

    for part, true in ((avoided, "vanished"), (gained, "appeared")):
        right = of(part, true)
        yield f"{right} of {len(part)}, {percent(ratio(right, len(part)), 0)}"
        if true == "vanished":
            yield str(of(part, "rarer"))
    yield str(of(pl.concat([avoided, gained]), "unchanged", "changed"))
