"""Results that the store returns, and the settings of comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.preferences.preferences import Weight

FALSE_MATCH_RATE = 0.05
"""Share of chance pairs that count as matches, in all matchings of the dashboard."""


@dataclass(frozen=True)
class ComparisonConfig:
    """How stages are compared, the same for the whole dashboard.

    Attributes:
        weight: which weight the distributions normalise.
        fdr: false discovery rate of the tests.
        permutations: maximum number per neuron; 0 disables the tests.
        seed: of the permutations.
        min_effect: corrected Hellinger distance that a change must exceed.
    """

    weight: Weight = "mean"
    fdr: float = 0.05
    permutations: int = 10_000
    seed: int = 0
    min_effect: float = 0.0

    @property
    def tested_fdr(self) -> float | None:
        """False discovery rate of the tests; None if they are disabled."""
        return self.fdr if self.permutations else None


@dataclass(frozen=True, eq=False)
class TestedPair:
    """A comparison of two stages, with the tests that are done so far.

    Attributes:
        neurons: one row per neuron of every layer that both stages have: the columns of `jobs.tasks.comparison`, those
            of the tests (null where they are not done), `shown` (the tested state, `untested` where tests are not done;
            the observed state if nothing is or will be tested), `place` (row).
        layers: in order.
        tested: layers whose tests are done.
        note: warnings of the tests.
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
    """A one-to-one matching of the neurons of two layers.

    Attributes:
        pairs: as in `txray.Matching.pairs`, with what each neuron prefers.
        curve: as from `txray.Matching.curve`.
        share: of the possible pairs that are matches.
    """

    pairs: pl.DataFrame
    curve: pl.DataFrame
    share: float


@dataclass(frozen=True, eq=False)
class TagMass:
    """Activation mass of every neuron of a stage on every feature of a small feature type.

    Attributes:
        names: of the features, sorted.
        neuron: (n,) row among the neurons of all layers; sorted by feature.
        starts: (n_features,) first row of each feature.
        mass: (n,) float32.
        corpus: (n_features,) occurrences of each feature in the corpus.
    """

    names: list[str]
    neuron: NDArray[np.int32]
    starts: NDArray[np.int64]
    mass: NDArray[np.float32]
    corpus: NDArray[np.int64]

    def of(self, picked: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the (n_features,) mass on each feature of the picked ones of all neurons, layer by layer."""
        # One more row of 0, because reduceat needs valid starts, also of features without rows at the end.
        mass = np.append(self.mass * picked[self.neuron], np.float32(0))
        sums = np.add.reduceat(mass, self.starts, dtype=np.float64)
        return np.where(np.diff(self.starts, append=len(self.mass)) > 0, sums, 0.0)
