"""Distances free of the bias of small samples, from documents that are split into halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from txray.preferences.preferences import Preferences, Weight
from txray.transfer.foldwise import Foldwise
from txray.transfer.streams import stream


@dataclass(frozen=True, eq=False)
class Halves:
    """What the halves of two stages say of each other.

    Attributes:
        squared: (n_neurons, n) cross-validated H^2 of each split; about 0, and as often below it, where nothing
            changed; NaN where a half has nothing.
        floor: (n_neurons,) distance between halves of one stage, the mean of both stages: what a distance of so few
            activations is where nothing changed.
        apart: (n_neurons,) distance between a half of the one and a half of the other, to be compared with it.
    """

    squared: NDArray[np.float64]
    floor: NDArray[np.float64]
    apart: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        draws: Sequence[Foldwise],
        first: NDArray[np.float64],
        second: NDArray[np.float64],
        weight: Weight,
    ) -> Halves:
        """Split both stages in the same way.

        H2_cv = 1/2 sum_f (sqrt p1_f - sqrt q1_f)(sqrt p2_f - sqrt q2_f), where 1 and 2 are the halves: their errors are
        independent, so they do not add up as they do in a square.

        Args:
            draws: of the same two stages, differently thinned.
            first, second: (folds, n) how often each fold counts in either half, n splits.
            weight: what distributions normalise.
        """
        nothing = np.zeros_like(first)
        # Either half of the stage before, then of the stage after.
        choices = [
            np.concatenate(sides)
            for sides in ((first, nothing), (second, nothing), (nothing, first), (nothing, second))
        ]
        pairs = ((0, 1), (2, 3), (0, 3), (2, 1))
        found = np.mean([draw.divergences(choices, pairs, weight) for draw in draws], axis=0)
        within, between = found[:2], found[2:]
        # The product of differences, multiplied out into four overlaps 1 - H^2.
        squared = (between[0] + between[1] - within[0] - within[1]) / 2
        return cls(squared, _mean_distance(within), _mean_distance(between))


def cross_validated(
    before: Preferences,
    after: Preferences,
    weight: Weight = "mean",
    *,
    splits: int = 16,
    draws: int = 10,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Cross-validated H^2 of each neuron, at equal numbers of activations, without any test.

    Args:
        before, after: preferences of the same neurons, collected with the same number of folds, at least 2.
        weight: what distributions normalise.
        splits: of the folds into halves.
        draws: of the activations that are kept where one stage has more, averaged over.
        seed: of both.

    Returns:
        (n_neurons,) about 0, and as often below it, where nothing changed; NaN where a half has nothing.
    """
    folds = Foldwise.of(before, after)
    halves = split_in_halves(folds.folds, splits, stream(seed, "splits"))
    return row_means(Halves.of(matched_draws(folds, draws, seed), *halves, weight).squared)


def matched_draws(folds: Foldwise, draws: int, seed: int) -> list[Foldwise]:
    """Two stages at equal numbers of activations, several times, differently thinned.

    Args:
        folds: of both stages.
        draws: how many times.
        seed: of the thinning.
    """
    random = stream(seed, "draws")
    return [folds.matched(random) for _ in range(draws)]


def split_in_halves(
    folds: int, n: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(folds, n) twice: n ways to put the folds into two halves.

    Args:
        folds: of a stage, at least 2.
        n: how many ways.
        random: draws.
    """
    order = np.argsort(np.argsort(random.random((folds, n)), axis=0), axis=0)
    first = (order < folds // 2).astype(np.float64)
    return first, 1 - first


def resampled(half: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(folds, n) as many folds of each half drawn from it with replacement.

    Args:
        half: (folds, n) 1 where a fold is in it.
        random: draws.
    """
    size = half.sum(axis=0).astype(np.int64)
    return np.stack(
        [random.multinomial(int(n), column / n) for n, column in zip(size, half.T, strict=True)], axis=1
    ).astype(np.float64)


def _mean_distance(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_neurons,) H over splits and stages, of those that are there, from (n_stages, n_neurons, n) of H^2."""
    return row_means(np.sqrt(np.concatenate(list(parts), axis=1)))


def row_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) means of the numbers in each row; NaN where there are none."""
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=1)
    return np.asarray(
        np.divide(total, there.sum(axis=1), out=np.full(len(total), np.nan), where=there.any(axis=1))
    )
