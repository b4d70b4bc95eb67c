"""How the stages of a tracking are compared: each with those before, and all of them in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from txray.analysis import Comparison, Timeline, compare, timeline, with_significance
from txray.checks import is_integer
from txray.errors import UnknownNameError, UsageError
from txray.preferences import Stage
from txray.preferences.preferences import WEIGHTS, Weight


@dataclass(frozen=True)
class ComparisonConfig:
    """What two stages are compared by.

    Attributes:
        weight: what preference distributions normalise.
        permutations: of a neuron at most; 0 leaves the tests out.
        level: false-discovery rate at which a change is called one.
        seed: of everything random.

    Raises:
        UnknownNameError: an unknown weight.
        UsageError: numbers that cannot be.
    """

    weight: Weight
    permutations: int
    level: float
    seed: int

    def __post_init__(self) -> None:
        if self.weight not in WEIGHTS:
            raise UnknownNameError.of("weight", self.weight, WEIGHTS)
        if not is_integer(self.permutations) or self.permutations < 0 or not 0 < self.level < 1:
            raise UsageError(
                f"tracker: permutations={self.permutations!r}, level={self.level!r}; permutations must be a whole "
                "number, not negative, level between 0 and 1"
            )

    def look(
        self, stage: Stage, *, previous: Stage | None, first: Stage | None
    ) -> list[tuple[str, Comparison]]:
        """(reference, comparison) for every layer and kind.

        Args:
            stage: of the look.
            previous, first: what it is compared with, where there is such; they may be one.
        """
        found: list[tuple[str, Comparison]] = []
        for reference, other in (("previous", previous), ("first", first)):
            if other is None:
                continue
            if reference == "first" and other is previous:
                found += [("first", comparison) for _, comparison in list(found)]
                continue
            for layer, feature_type in stage.collected:
                comparison = compare(other, stage, feature_type, layer, self.weight)
                if self.permutations:
                    comparison = with_significance(
                        comparison,
                        permutations=self.permutations,
                        level=self.level,
                        seed=self.seed,
                    )
                found.append((reference, comparison))
        return found

    def story(self, stages: Sequence[Stage], feature_type: str, scores: pl.DataFrame | None) -> Timeline:
        """The timeline of one feature type; see `txray.timeline`."""
        return timeline(
            stages,
            feature_type,
            weight=self.weight,
            scores=scores,
            permutations=self.permutations,
            level=self.level,
            seed=self.seed,
        )
