"""What a desk hands out, and how stages are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.preferences.preferences import Weight

FALSE_MATCHES = 0.05
"""Share of chance pairs that count as matches, in every matching of the dashboard."""


@dataclass(frozen=True)
class ComparisonConfig:
    """How stages are compared, the same for the whole dashboard.

    Attributes:
        weight: what distributions normalise.
        fdr: false discovery rate of the tests.
        permutations: of a neuron at most; 0 leaves tests out.
    """

    weight: Weight = "mean"
    fdr: float = 0.05
    permutations: int = 10_000

    @property
    def tested_fdr(self) -> float | None:
        """Return the false discovery rate of the tests; None if there are none."""
        return self.fdr if self.permutations else None


@dataclass(frozen=True, eq=False)
class TestedPair:
    """Two stages compared, with as many tests as are done.

    Attributes:
        neurons: one row per neuron of every layer that both have: the columns of `jobs.tasks.pair`, those of
            the tests (null where they are not done), `shown` (the tested state, `untested` where tests are not done;
            the observed state if nothing is or will be tested), `place` (row).
        layers: in order.
        tested: layers whose tests are done.
        note: what tests warn of.
        problem: why tests cannot be done, if so.
        pending: whether the other layers are going to be tested.
    """

    neurons: pl.DataFrame
    layers: tuple[str, ...]
    tested: tuple[str, ...]
    note: str = ""
    problem: str = ""
    pending: bool = False


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Neurons of two layers, one to one.

    Attributes:
        pairs: as in `txray.Matching.pairs`, with what each side prefers.
        curve: as from `txray.Matching.curve`.
        share: of the possible pairs that match.
    """

    pairs: pl.DataFrame
    curve: pl.DataFrame
    share: float


@dataclass(frozen=True, eq=False)
class TagMass:
    """Activation mass of every neuron of a stage on every feature of a small kind.

    Attributes:
        names: of the features, sorted.
        neuron: (n,) row among all neurons of all layers, in order.
        starts: (n_features,) where the rows of each feature begin; they stand feature by feature.
        mass: (n,) float32.
        corpus: (n_features,) how often each occurs.
    """

    names: list[str]
    neuron: NDArray[np.int32]
    starts: NDArray[np.int64]
    mass: NDArray[np.float32]
    corpus: NDArray[np.int64]

    def of(self, picked: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n_features,) mass of some neurons on each feature.

        Args:
            picked: (n_neurons of all layers,).
        """
        # A sum over nothing is 0: one more row makes the last feature end, and those without rows begin at their end.
        mass = np.append(self.mass * picked[self.neuron], np.float32(0))
        sums = np.add.reduceat(mass, self.starts, dtype=np.float64)
        return np.where(np.diff(self.starts, append=len(self.mass)) > 0, sums, 0.0)
