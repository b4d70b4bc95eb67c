"""Preference distributions: one per neuron, as rows of a sparse matrix."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from txray.arrays import Floats, Ints, Names
from txray.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Distributions:
    """Preference distributions, one per neuron.

    Attributes:
        matrix: (n_neurons, n_features) scipy CSR, float64, no stored zeros, columns ascending; each row
            sums to 1, or is empty where the neuron is un-preferred.
        features: (n_features,) names of the columns, sorted.

    Source:
        Rethmeier et al. 2020, section 2.1.
    """

    matrix: Any
    features: Names

    def __post_init__(self) -> None:
        if self.matrix.shape[1] != len(self.features):
            raise ShapeError(
                f"distributions: {self.matrix.shape[1]} columns for {len(self.features)} features"
            )

    @classmethod
    def from_weights(
        cls, neuron: Ints, feature_id: Ints, weight: Floats, *, n_neurons: int, features: Names
    ) -> Distributions:
        """Normalize non-negative weights per neuron.

        Args:
            neuron: (n,) row of each weight.
            feature_id: (n,) column of each weight; a (neuron, feature) pair occurs once.
            weight: (n,) >= 0; zeros are dropped.
            n_neurons: number of rows.
            features: (n_features,) names of the columns.
        """
        positive = weight > 0
        if not positive.all():
            neuron, feature_id, weight = neuron[positive], feature_id[positive], weight[positive]
        total = np.bincount(neuron, weights=weight, minlength=n_neurons)
        matrix = sp.csr_array(
            (weight / total[neuron], (neuron, feature_id)), shape=(n_neurons, len(features))
        )
        matrix.sort_indices()
        return cls(matrix, features)

    def lengths(self) -> Ints:
        """Return the (n_neurons,) number of features each neuron prefers; 0 means un-preferred."""
        return np.asarray(np.diff(self.matrix.indptr), dtype=np.int64)

    def onto(self, features: Names) -> Distributions:
        """Return the same distributions over a larger, sorted feature set.

        Raises:
            ShapeError: a feature of this set is not in `features`.
        """
        try:
            column = positions(self.features, features)
        except KeyError as error:
            raise ShapeError(
                f"distributions: the new feature set must contain every feature of the old one, it lacks {error}"
            ) from error
        matrix = sp.csr_array(
            (self.matrix.data, column[self.matrix.indices], self.matrix.indptr),
            shape=(self.matrix.shape[0], len(features)),
        )
        return Distributions(matrix, features)


def aligned(before: Distributions, after: Distributions) -> tuple[Distributions, Distributions]:
    """Return both over the union of their features.

    Raises:
        ShapeError: the two have different numbers of neurons.
    """
    if before.matrix.shape[0] != after.matrix.shape[0]:
        raise ShapeError(
            f"cannot align distributions of {before.matrix.shape[0]} and {after.matrix.shape[0]} neurons"
        )
    return over_same_features(before, after)


def over_same_features(before: Distributions, after: Distributions) -> tuple[Distributions, Distributions]:
    """Return both over the union of their features; their numbers of neurons may differ."""
    if before.features is after.features or np.array_equal(before.features, after.features):
        return before, after
    # Timsort merges two sorted runs in linear time.
    union = np.array(list(dict.fromkeys(sorted([*before.features, *after.features]))), dtype=object)
    return before.onto(union), after.onto(union)


def positions(names: Collection[str], among: Collection[str]) -> Ints:
    """Return the (n,) index of each name among other names.

    Raises:
        KeyError: a name that is not among them.
    """
    # A dictionary looks names up several times faster than a binary search among strings.
    index_of = dict(zip(among, range(len(among)), strict=True))
    return np.fromiter(map(index_of.__getitem__, names), np.int64, len(names))
