"""Rank p-values of many sets at once: the largest difference from random sets, compared with that of random orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.pruning.neuron_sets import NeuronSet, random_orders

if TYPE_CHECKING:
    from txray.pruning.result import Pruning

FAMILY_KEYS = ("set", "split", "metric")


def family_p_values(pruning: Pruning) -> pl.DataFrame:
    """Return the probability that random sets differ as much as each set, corrected for all sets, texts and metrics.

    The random sets of all sizes are the beginnings of the same random orders, and all texts and metrics have the same
    ones. A sparsity curve is compared with the curves of random orders: the largest of its differences with the largest
    of theirs (step-down max-T). If its ranking knows nothing, the curve is one more random order, so the p-value is
    exact, whatever the distribution and however its sizes, texts and metrics depend on each other. Several curves or
    single sets are corrected by their number (Bonferroni).

    Args:
        pruning: result with random sets.

    Returns:
        Columns set, split, metric and `family_p_value`, for rows with a value.

    Source:
        Westfall and Young 1993, Resampling-based multiple testing.
    """
    rows = pruning.effects.filter(pl.col("value").is_not_null(), pl.col("random_mean").is_not_null())
    chains = _chains([one for one in pruning.neuron_sets() if len(one)])
    draws = _Draws(pruning)
    results: list[tuple[str, str, str, float]] = []
    for chain in chains:
        members = rows.filter(pl.col("set").is_in([neurons.name for neurons in chain]))
        if members.is_empty():
            continue
        values = np.stack([draws.values(row) for row in members.iter_rows(named=True)])
        adjusted = step_down(members["value"].to_numpy(), values)
        for row, p_value in zip(members.iter_rows(named=True), adjusted, strict=True):
            results.append((row["set"], row["split"], row["metric"], float(min(1.0, len(chains) * p_value))))
    schema = {"set": pl.String, "split": pl.String, "metric": pl.String, "family_p_value": pl.Float64}
    return pl.DataFrame(results, schema=schema, orient="row")


def step_down(observed: NDArray[np.float64], random: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (tests,) adjusted p-values by step-down max-T over exchangeable draws.

    Args:
        observed: (tests,) values.
        random: (tests, draws) values of random draws; a draw has a value for every test.
    """
    both = np.column_stack((observed, random))
    # Centre and scale include the observed value, so it is exchangeable with the draws.
    deviation = both.std(axis=1, keepdims=True)
    distance = np.abs(both - both.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
    order = np.argsort(-distance[:, 0], kind="stable")
    # Row i: the largest distance of each draw over the tests that are not rejected before test i.
    largest = np.maximum.accumulate(distance[order][::-1], axis=0)[::-1]
    tolerance = 1e-9  # equal values whose last digits differ are ties
    as_large = (largest[:, 1:] >= distance[order, :1] - tolerance).sum(axis=1)
    p_values = np.maximum.accumulate((1 + as_large) / (1 + random.shape[1]))
    result = np.empty(len(observed))
    result[order] = p_values
    return result


def _chains(sets: Sequence[NeuronSet]) -> list[list[NeuronSet]]:
    """Return the sets in groups: those of one ranking that contain each other, and others alone."""
    chains: list[list[NeuronSet]] = []
    for neurons in sorted(sets, key=len):
        chain = next(
            (
                chain
                for chain in chains
                if neurons.ranking
                and (chain[-1].ranking, chain[-1].layer) == (neurons.ranking, neurons.layer)
                and len(chain[-1]) < len(neurons)
                and set(chain[-1].neurons) <= set(neurons.neurons)
            ),
            None,
        )
        if chain is None:
            chains.append([neurons])
        else:
            chain.append(neurons)
    return chains


class _Draws:
    """Values of the random sets, by random order."""

    def __init__(self, pruning: Pruning) -> None:
        summary = pruning.summary
        self._orders = {
            layer: random_orders(n_neurons, summary["n_random_sets"], summary["seed"])
            for layer, n_neurons in summary["layers"].items()
        }
        self._values = {
            key: group.sort("draw")["value"].to_numpy()
            for key, group in pruning.random.group_by("layer", "neurons", "split", "metric")
        }
        self._positions: dict[tuple[str, int], NDArray[np.int64]] = {}

    def values(self, row: dict[str, object]) -> NDArray[np.float64]:
        """Return (orders,) values of the beginnings of all random orders, of the size of a set."""
        layer, size = str(row["layer"]), int(str(row["neurons"]))
        values = self._values[layer, size, row["split"], row["metric"]]
        return np.asarray(values[self._position(layer, size)], np.float64)

    def _position(self, layer: str, size: int) -> NDArray[np.int64]:
        """Return the row of each order among the random sets of a size, where equal sets have one row."""
        if (layer, size) not in self._positions:
            numbers: dict[tuple[int, ...], int] = {}
            self._positions[layer, size] = np.array(
                [
                    numbers.setdefault(tuple(sorted(order[:size].tolist())), len(numbers))
                    for order in self._orders[layer]
                ]
            )
        return self._positions[layer, size]
