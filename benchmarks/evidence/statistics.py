"""Statistics of change compared: how often they find planted changes, and see changes where there are none.

Results are stored for each condition and seed in `out/evidence`, so an interrupted run resumes; delete the folder after
changing a statistic. `python -m benchmarks.evidence statistics statistics-by-condition calibration-of-statistics`
takes about 10 minutes of one core.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.evidence.conditions import CHANGED, KINDS, SEEDS, UNCHANGED, Condition
from benchmarks.evidence.pairs import stages
from benchmarks.evidence.tables import Table, auc, number, percent, ratio
from txray import Preferences, compare
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import q_values
from txray.arrays import Floats
from txray.files import atomic_file

STORED = Path(__file__).parents[2] / "out" / "evidence"

STATISTICS: dict[str, dict[str, object]] = {
    "chi-square, text-matched": {"statistic": "chi-square"},
    "H of `mean`, text-matched": {"statistic": "distance", "weight": "mean"},
    "H of `mean`": {"statistic": "distance", "weight": "mean", "text_matched": False},
    "H of `mass`, text-matched": {"statistic": "distance", "weight": "mass"},
    "H of `count`, text-matched": {"statistic": "distance", "weight": "count"},
}
"""Arguments of `compare`; the first is what it does by default. Texts are matched only where they differ."""

BASELINES = ("relative norm", "activation correlation")
"""Scores without a test."""

_PERMUTATIONS = 1_000


def measurements(condition: Condition, seed: int, *, changes: bool) -> pl.DataFrame:
    """Return one row per statistic and neuron: group, p_value, z_score, and seconds of processor time of the statistic.

    Stored results are read.

    Args:
        condition: how the stages differ.
        seed: of everything.
        changes: whether there are planted changes.
    """
    name = "".join(letter if letter.isalnum() else "-" for letter in condition.name)
    path = STORED / f"{'changed' if changes else 'unchanged'}-{name}-{seed}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    (before, after), truth = stages(condition, seed, changes=changes)
    tables = []
    for statistic, arguments in STATISTICS.items():
        started = time.process_time()
        comparison = compare(before, after, permutations=_PERMUTATIONS, seed=seed, **arguments)  # type: ignore[arg-type]
        seconds = time.process_time() - started
        tables.append(
            comparison.neurons.select("neuron", "p_value", "z_score").with_columns(
                statistic=pl.lit(statistic), seconds=pl.lit(seconds)
            )
        )
    for baseline, score in zip(BASELINES, (relative_norm, correlation), strict=True):
        tables.append(
            tables[0].with_columns(
                p_value=pl.lit(None, pl.Float64),
                z_score=pl.Series(score(before, after)),
                statistic=pl.lit(baseline),
                seconds=pl.lit(0.0),
            )
        )
    table = pl.concat(tables).join(truth.select("neuron", pl.col("group").cast(pl.String)), on="neuron")
    STORED.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        table.write_parquet(temporary)
    print(condition.name, seed, f"{table['seconds'].unique().sum():.1f} s", flush=True)
    return table


def relative_norm(before: Preferences, after: Preferences) -> Floats:
    """Return (n_neurons,) how far the relative norm of each neuron's mean activations per occurrence is from a half.

    Crosscoders call a latent changed if the norm of its decoder in one model is much larger than in the other.
    """
    norms = [np.sqrt((side**2).sum(axis=1)) for side in _responses(before, after)]
    share = np.divide(norms[1], norms[0] + norms[1], out=np.full(len(norms[0]), 0.5), where=norms[0] > 0)
    return np.asarray(np.abs(share - 0.5))


def correlation(before: Preferences, after: Preferences) -> Floats:
    """Return (n_neurons,) minus the correlation, over features, of mean activations per occurrence in both stages."""
    one, other = (side - side.mean(axis=1, keepdims=True) for side in _responses(before, after))
    norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.asarray(-np.divide((one * other).sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0))


def _responses(before: Preferences, after: Preferences) -> list[Floats]:
    """Return (n_neurons, n_features) mean activations per occurrence, of the features in both texts, twice."""
    folds = FoldCounts.of(before, after)
    texts = folds.occurrences.toarray().reshape(-1, 2, folds.folds).sum(axis=2)
    common = (texts > 0).all(axis=1)
    responses = []
    for side in (0, 1):
        response = np.zeros((folds.n_neurons, len(texts)))
        part = folds.sum[:, side * folds.folds : (side + 1) * folds.folds]
        response[folds.neuron, folds.feature] = np.asarray(part.sum(axis=1))
        responses.append(response[:, common] / texts[common, side])
    return responses


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the bounds of the 95% interval of a share."""
    z, share = 1.96, hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(centre - reach), float(centre + reach)


def calibration(conditions: Sequence[Condition] = UNCHANGED, seeds: Sequence[int] = SEEDS) -> Table:
    """Return the shares of unchanged neurons with p < 0.05, for every condition without changes."""
    rows = []
    for condition in conditions:
        table = pl.concat(measurements(condition, seed, changes=False) for seed in seeds)
        table = table.filter((pl.col("group") == "unchanged") & pl.col("p_value").is_not_null())
        row = [condition.name]
        for statistic in STATISTICS:
            p_values = table.filter(pl.col("statistic") == statistic)["p_value"]
            hits = int((p_values < 0.05).sum())
            share = percent(hits / len(p_values))
            if statistic == next(iter(STATISTICS)):
                low, high = wilson(hits, len(p_values))
                row += [str(len(p_values)), f"{share} ({percent(low)} to {percent(high)})"]
            else:
                row.append(share)
        rows.append(row)
    first, *others = STATISTICS
    return Table(["nothing changes", "neurons", f"{first} (95% interval)", *others], rows)


def comparison_of_statistics(
    conditions: Sequence[Condition] = CHANGED, seeds: Sequence[int] = SEEDS
) -> Table:
    """Return recall by kind of change, area under the curve and false positives of every statistic, over conditions."""
    tables = list(_with_q_values(conditions, seeds))
    rows = []
    for statistic in (*STATISTICS, *BASELINES):
        parts = [table.filter(pl.col("statistic") == statistic) for table in tables]
        rows.append([statistic, *_row(parts, tested=statistic in STATISTICS)])
    headings = [
        *(f"recall: {kind}" for kind in KINDS),
        "recall: all",
        "AUC",
        "unchanged: p < 0.05",
        "false of all called",
    ]
    return Table(["statistic", *headings], rows)


def by_condition(conditions: Sequence[Condition] = CHANGED, seeds: Sequence[int] = SEEDS) -> Table:
    """Return the same for the default statistic, condition by condition."""
    rows = []
    for condition in conditions:
        parts = [
            table.filter(pl.col("statistic") == next(iter(STATISTICS)))
            for table in _with_q_values([condition], seeds)
        ]
        rows.append([condition.name, *_row(parts, tested=True)])
    headings = [
        *(f"recall: {kind}" for kind in KINDS),
        "recall: all",
        "AUC",
        "unchanged: p < 0.05",
        "false of all called",
    ]
    return Table(["condition", *headings], rows)


def _with_q_values(conditions: Sequence[Condition], seeds: Sequence[int]) -> Iterator[pl.DataFrame]:
    """Yield the measurements of each condition and seed, with q-values over the neurons of a pair."""
    for condition in conditions:
        for seed in seeds:
            table = measurements(condition, seed, changes=True)
            parts = [
                part.with_columns(q_value=q_values(part["p_value"].fill_null(float("nan")).to_numpy()))
                for part in table.partition_by("statistic", maintain_order=True)
            ]
            yield pl.concat(parts)


def _row(parts: Sequence[pl.DataFrame], *, tested: bool) -> list[str]:
    """Return the cells of one statistic; untested neurons are not called, and rank last."""
    table = pl.concat(parts).with_columns(pl.col("z_score").fill_null(-np.inf))
    called = (pl.col("q_value").fill_nan(None) <= 0.05).fill_null(value=False)
    areas = []
    for part in parts:
        ranked = part.filter(pl.col("group") != "grown").with_columns(pl.col("z_score").fill_null(-np.inf))
        areas.append(auc(ranked["z_score"], ranked["group"] != "unchanged"))
    area = number(float(np.mean(areas)))
    if not tested:
        return [*["–"] * (len(KINDS) + 1), area, "–", "–"]
    recalls = [float(table.filter(pl.col("group") == kind).select(called.mean()).item()) for kind in KINDS]
    unchanged = table.filter((pl.col("group") == "unchanged") & pl.col("p_value").is_not_null())
    chosen = table.filter(called & (pl.col("group") != "grown"))
    return [
        *(percent(recall, 0) for recall in recalls),
        percent(float(np.mean(recalls)), 0),
        area,
        percent(float((unchanged["p_value"] < 0.05).mean())),  # type: ignore[arg-type]
        percent(ratio(int((chosen["group"] == "unchanged").sum()), len(chosen))),
    ]
