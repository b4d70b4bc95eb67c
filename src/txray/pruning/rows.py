"""Rows of the tables of a pruning: metrics as observed and resampled, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.errors import UsageError
from txray.pruning.bootstrap import against_random, bounds, resampled
from txray.pruning.chance import above_chance
from txray.pruning.outcomes import Outcomes
from txray.pruning.sets import NeuronSet

EFFECTS: Mapping[str, Any] = {
    "set": pl.String,
    "ranking": pl.String,
    "layer": pl.String,
    "neurons": pl.Int64,
    "share": pl.Float64,
    "split": pl.String,
    "metric": pl.String,
    "documents": pl.Int64,
    "unpruned": pl.Float64,
    "above_chance": pl.Boolean,
    "value": pl.Float64,
    "change": pl.Float64,
    "change_low": pl.Float64,
    "change_high": pl.Float64,
    "relative": pl.Float64,
    "random_mean": pl.Float64,
    "random_deviation": pl.Float64,
    "versus_random": pl.Float64,
    "versus_random_low": pl.Float64,
    "versus_random_high": pl.Float64,
    "versus_random_p_value": pl.Float64,
    "random_p_value": pl.Float64,
    "verdict": pl.String,
}


RANDOM = {
    "layer": pl.String,
    "neurons": pl.Int64,
    "draw": pl.Int64,
    "split": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}

SETS = {"set": pl.String, "ranking": pl.String, "layer": pl.String, "neurons": pl.String}

RESAMPLES = {
    "set": pl.String,
    "split": pl.String,
    "metric": pl.String,
    "resample": pl.Int64,
    "change": pl.Float64,
    "versus": pl.Float64,
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of one run: as observed, and of each resample."""

    observed: Mapping[str, float]
    sampled: Mapping[str, NDArray[np.float64]] | None


@dataclass(frozen=True, eq=False)
class Samples:
    """The documents as they are, and with their groups resampled."""

    documents: int
    weights: NDArray[np.float64] | None
    names: Sequence[str]

    @classmethod
    def of(
        cls, whole: Outcomes, digest: str, resamples: int, groups: NDArray[np.int64] | None = None
    ) -> Samples:
        """Resample the documents of the unpruned model; of a single group there are no samples.

        Args:
            whole: outcomes of the unpruned model.
            digest: of the documents.
            resamples: number of samples.
            groups: (n_documents,) number of the group of each document; by default each is one of its own.
        """
        n = whole.documents
        groups = np.arange(n) if groups is None else groups
        names = list(whole.metrics(np.ones((1, max(n, 1)))))
        return cls(n, resampled(groups, resamples, digest) if groups.any() else None, names)

    def metrics(self, outcomes: Outcomes) -> Scores:
        """Of one run."""
        if outcomes.documents != self.documents:
            raise UsageError(
                f"metric: gave {outcomes.documents} numbers where it gave {self.documents} of the unpruned model; "
                "give one for each of the same documents"
            )
        observed = outcomes.metrics(np.ones((1, max(self.documents, 1))))
        if set(observed) != set(self.names):
            raise UsageError(
                f"metric: gave {', '.join(sorted(observed))} where it gave {', '.join(sorted(self.names))} of the "
                "unpruned model; give the same names each time"
            )
        return Scores(
            {name: float(value[0]) for name, value in observed.items()},
            None if self.weights is None else outcomes.metrics(self.weights),
        )

    def chance(self, outcomes: Outcomes) -> dict[str, dict[str, float | bool | None]]:
        """Return the chance level of each metric that has one, as plain JSON values.

        Args:
            outcomes: of the unpruned model.

        Returns:
            Metric -> `value`, `chance`, the bounds `low` and `high` of a 95% interval of value less chance (null where
            there is none) and whether it is `above` chance: whether that interval lies above 0.
        """
        once = np.ones((1, max(self.documents, 1)))
        values, levels = outcomes.metrics(once), outcomes.chance(once)
        found: dict[str, dict[str, float | bool | None]] = {}
        for name, level in levels.items():
            if not np.isfinite(values[name][0]):
                continue
            low = high = float("nan")
            if self.weights is not None:
                low, high = bounds(outcomes.metrics(self.weights)[name] - outcomes.chance(self.weights)[name])
            known = bool(np.isfinite(low))
            found[name] = {
                "value": float(values[name][0]),
                "chance": float(level[0]),
                "low": low if known else None,
                "high": high if known else None,
                "above": low > 0 if known else None,
            }
        return found


class Rows:
    """Rows of one split."""

    def __init__(
        self,
        split: str,
        samples: Samples,
        reference: Scores,
        better: Mapping[str, int],
        chance: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.effects: list[tuple[Any, ...]] = []
        self.random: list[tuple[Any, ...]] = []
        self._resamples: list[pl.DataFrame] = []
        self._split, self._samples, self._reference, self.better = split, samples, reference, better
        self.chance = chance

    def add(self, each: NeuronSet, n_neurons: int, found: Scores | None, controls: Sequence[Scores]) -> None:
        """The rows of one set."""
        head = (each.name, each.ranking, each.layer, len(each), len(each) / n_neurons, self._split)
        for metric, unpruned in self._reference.observed.items():
            start = (
                *head,
                metric,
                self._samples.documents,
                unpruned,
                above_chance(self.chance, metric),
            )
            if found is None:
                self.effects.append((*start, *[None] * (len(EFFECTS) - len(start))))
                continue
            value = found.observed[metric]
            change = self._difference(metric, found, [self._reference])
            low, high = (None, None) if change is None else bounds(change)
            row = [value, value - unpruned, low, high, (value - unpruned) / unpruned if unpruned else None]
            versus = self._difference(metric, found, controls)
            if controls:
                beside = against_random(value, [one.observed[metric] for one in controls], versus)
                row += [
                    beside.mean,
                    beside.deviation,
                    beside.difference,
                    beside.low,
                    beside.high,
                    beside.difference_p_value,
                    beside.p_value,
                ]
                row.append(beside.verdict(self.better[metric]))  # type: ignore[arg-type]
            else:
                row += [None] * 8
            self.effects.append((*start, *(_or_null(cell) for cell in row)))
            if change is not None:
                self._resamples.append(
                    pl.DataFrame(
                        {
                            "set": each.name,
                            "split": self._split,
                            "metric": metric,
                            "resample": np.arange(len(change)),
                            "change": change,
                            "versus": np.full(len(change), np.nan) if versus is None else versus,
                        },
                        schema=RESAMPLES,
                    )
                )

    def _difference(self, metric: str, found: Scores, others: Sequence[Scores]) -> NDArray[np.float64] | None:
        """(resamples,) of a set less the mean of others."""
        if found.sampled is None or not others:
            return None
        mean = np.mean([one.sampled[metric] for one in others if one.sampled is not None], axis=0)
        return np.asarray(found.sampled[metric] - mean)

    def add_random(self, layer: str, size: int, draws: Sequence[Scores]) -> None:
        """The rows of random sets of one size."""
        for draw, scores in enumerate(draws):
            for metric, value in scores.observed.items():
                self.random.append((layer, size, draw, self._split, metric, value))

    def resamples(self) -> pl.DataFrame:
        """What was resampled, as a table."""
        return pl.concat([pl.DataFrame(schema=RESAMPLES), *self._resamples])


def _or_null(cell: float | str | None) -> float | str | None:
    """What is no number stands as null in tables."""
    return None if isinstance(cell, float) and np.isnan(cell) else cell
