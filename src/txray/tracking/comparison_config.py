"""Settings by which the stages of a tracked training are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl

from txray.analysis import Comparison, Timeline, compare, timeline
from txray.checks import is_integer
from txray.errors import UnknownNameError, UsageError
from txray.preferences import Stage
from txray.preferences.preferences import WEIGHTS, Weight


@dataclass(frozen=True)
class ComparisonConfig:
    """Settings of `txray.compare` and `txray.timeline`.

    Attributes:
        weight: normalization of preference distributions.
        permutations: maximum number of permutations per neuron; 0 disables the tests.
        fdr: false discovery rate.
        seed: random seed.

    Raises:
        UnknownNameError: an unknown weight.
        UsageError: numbers out of range.
    """

    weight: Weight
    permutations: int
    fdr: float
    seed: int

    def __post_init__(self) -> None:
        if self.weight not in WEIGHTS:
            raise UnknownNameError.of("weight", self.weight, WEIGHTS)
        if not is_integer(self.permutations) or self.permutations < 0 or not 0 < self.fdr < 1:
            raise UsageError(
                f"tracker: permutations={self.permutations!r}, fdr={self.fdr!r}; permutations must be an integer "
                "of at least 0, and fdr lie between 0 and 1"
            )

    def compare(
        self, stage: Stage, *, previous: Stage | None, first: Stage | None
    ) -> list[tuple[str, Comparison]]:
        """Return (reference, comparison) for every layer and feature type of a stage.

        Args:
            stage: the later stage.
            previous, first: the references, None where there is none; if both are the same stage, it is compared once
                and listed under both names.
        """
        comparisons: list[tuple[str, Comparison]] = []
        for reference, earlier in (("previous", previous), ("first", first)):
            if earlier is None:
                continue
            if reference == "first" and earlier is previous:
                comparisons += [("first", comparison) for _, comparison in comparisons]
                continue
            for layer, feature_type in stage.collected:
                comparison = compare(earlier, stage, layer=layer, feature_type=feature_type, **asdict(self))
                comparisons.append((reference, comparison))
        return comparisons

    def timeline(self, stages: Sequence[Stage], feature_type: str, metrics: pl.DataFrame | None) -> Timeline:
        """Return the timeline of one feature type; see `txray.timeline`."""
        return timeline(stages, feature_type=feature_type, scores=metrics, **asdict(self))
