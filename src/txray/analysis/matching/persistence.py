"""How long neurons remain themselves over stages: still the nearest to what they were, and more than by chance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.matching.affinity import Affinity
from txray.analysis.matching.assignment import require_match_settings
from txray.analysis.matching.chance import BestByChance
from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.analysis.significance.permutation import q_values
from txray.analysis.subjects import preferences_of
from txray.arguments import checked_call
from txray.arrays import Bools, Floats
from txray.errors import ShapeError, UsageError
from txray.notebook import card, table
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage_like import StageLike, as_stages
from txray.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

PERSISTENCE_STATES = ("itself", "displaced", "not significant", "too few wins")
"""State of a neuron at a later stage, compared with the first: `displaced` if another neuron is nearer."""

_ITSELF, _DISPLACED, _NOT_SIGNIFICANT, _TOO_FEW = range(len(PERSISTENCE_STATES))
_Z = 1.959964

_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "stage": pl.String(),
    "neurons": pl.Int64(),
    "itself": pl.Int64(),
    "displaced": pl.Int64(),
    "not_significant": pl.Int64(),
    "too_few_wins": pl.Int64(),
    "chance": pl.Float64(),
    "at_risk": pl.Int64(),
    "lost": pl.Int64(),
    "survival": pl.Float64(),
    "survival_low": pl.Float64(),
    "survival_high": pl.Float64(),
}
_NEURON_SCHEMA: dict[str, pl.DataType] = {
    "neuron": pl.Int64(),
    "stage": pl.String(),
    "state": pl.Enum(PERSISTENCE_STATES),
    "affinity": pl.Float64(),
    "q_value": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class Persistence(SavedResult):
    """Survival of the neurons of a layer over stages, from the first one.

    A neuron is itself at a later stage if no other neuron, of either stage, is nearer to it, and its affinity with what
    it was exceeds what the best of all candidates reaches by chance. It survives until the first stage where it is not
    itself. Where it has too few wins to tell, it leaves the count without being lost (it is *censored*).

    Attributes:
        stages: polars, one row per later stage: stage, neurons (with enough wins at the first stage), itself,
            displaced, not_significant, too_few_wins (numbers of them), chance (share of neurons that are nearest to
            themselves with shuffled features), at_risk (neurons that were themselves at all stages between and have
            enough wins), lost (of these), survival (estimated share that were themselves at all stages up to this one),
            survival_low and survival_high (95% interval).
        neurons: polars, one row per such neuron and later stage: neuron, stage, state (one of `PERSISTENCE_STATES`),
            affinity (with itself), q_value (null with too few wins).
        first: name of the first stage.
        layer: of the preferences.
        feature_type: theirs.
        min_wins: minimum number of selected activations.
        false_match_rate: share of the neurons called themselves that may be due to chance, at each stage.

    Source:
        Kaplan and Meier 1958 (survival); Kalbfleisch and Prentice 1980 (intervals on the log-log scale).
    """

    SUMMARY_FILE = "persistence.json"

    stages: pl.DataFrame
    neurons: pl.DataFrame
    first: str
    layer: str
    feature_type: str
    min_wins: int
    false_match_rate: float

    def __repr__(self) -> str:
        return f"Persistence({self.first!r}, {len(self.stages)} later stages, layer={self.layer!r}: {self.sentence})"

    def _repr_html_(self) -> str:
        headings = (
            "stage",
            "itself",
            "displaced",
            "not significant",
            "too few wins",
            "survival (95% interval)",
        )
        rows = [
            (
                row["stage"],
                *(row[name] for name in ("itself", "displaced", "not_significant", "too_few_wins")),
                _interval(row),
            )
            for row in self.stages.iter_rows(named=True)
        ]
        return card(
            f"Persistence from {self.first} (layer {self.layer}, {self.feature_type})",
            [self.sentence],
            table("Stages", headings, rows),
        )

    @property
    def half_life(self) -> int | None:
        """Return the number of stages after which at most half of the neurons survive; None if more than half do."""
        reached = np.flatnonzero(self.stages["survival"].to_numpy() <= 0.5)
        return int(reached[0]) + 1 if len(reached) else None

    @property
    def sentence(self) -> str:
        """Return the half-life in words."""
        if self.stages["at_risk"][0] == 0:
            return "no neuron has enough wins to tell"
        last = self.stages.row(-1, named=True)
        neurons = f"{last['neurons']:,} neurons"
        if self.half_life is None:
            return (
                f"half-life not reached: {_interval(last)} of {neurons} are themselves up to {last['stage']}"
            )
        row = self.stages.row(self.half_life - 1, named=True)
        stages = "stage" if self.half_life == 1 else "stages"
        share = f"{_interval(row)} of {neurons} are themselves up to {row['stage']}"
        return f"half-life {self.half_life} {stages}: {share}"

    @property
    def summary(self) -> dict[str, Any]:
        """Return the half-life and the settings, as plain JSON values."""
        return {
            "first": self.first,
            "stages": self.stages["stage"].to_list(),
            "layer": self.layer,
            "feature": self.feature_type,
            "min_wins": self.min_wins,
            "false_match_rate": self.false_match_rate,
            "half_life": self.half_life,
        }

    def plot(self) -> go.Figure:
        """Draw the survival of the neurons over the stages."""
        from txray.plots import persistence

        return persistence(self)

    def _contents(self) -> dict[str, Any]:
        return {"tables": {"stages": self.stages, "neurons": self.neurons}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Persistence:
        summary = folder.summary
        return cls(
            folder.table("stages"),
            folder.table("neurons"),
            summary["first"],
            summary["layer"],
            summary["feature"],
            summary["min_wins"],
            summary["false_match_rate"],
        )


@checked_call
def persistence(
    stages: StageLike | Iterable[StageLike],
    *,
    layer: str | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    min_wins: int = 20,
    false_match_rate: float = 0.05,
    shuffles: int = 100,
    seed: int = 0,
) -> Persistence:
    """Return how long the neurons of the first stage remain themselves, by what they prefer.

    Args:
        stages: at least two, in order, with distinct names, of the same neurons: in memory, their folders, or one
            folder of stages.
        layer: required only if the stages have several layers.
        feature_type: the feature type.
        weight: what the preference distributions normalise.
        min_wins: minimum number of selected activations of a neuron.
        false_match_rate: share of the neurons called themselves that may be due to chance, at each stage.
        shuffles: number of shuffles of the features, at least 20.
        seed: random seed of the shuffles.

    Raises:
        UsageError: fewer than two stages, the same name twice, or a number out of range.
        UnknownNameError: an unknown layer, feature type or weight.
        ShapeError: stages that do not hold the same neurons.
    """
    require_match_settings("persistence", false_match_rate, shuffles=shuffles, min_wins=min_wins, seed=seed)
    stages = as_stages(stages)
    names = [stage.name for stage in stages]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"persistence: stages {names}; pass at least two, with different names")
    sides = [preferences_of(stage, layer, feature_type) for stage in stages]
    first = sides[0]
    for side in sides[1:]:
        if side.n_neurons != first.n_neurons:
            raise ShapeError(
                f"persistence: {first.n_neurons} neurons at {first.stage!r}, {side.n_neurons} at {side.stage!r}; pass "
                "stages of one model"
            )
    counted = np.flatnonzero(first.wins() >= min_wins)
    rows, tables = [], []
    surviving = np.ones(len(counted), np.bool_)
    survival, hazards = 1.0, 0.0
    with progress(f"persistence of {first.stage}", len(sides) - 1, unit="stages") as advance:
        for number, side in enumerate(sides[1:]):
            random = np.random.default_rng([seed, number])
            state, affinity, q_value, chance = _states(
                first, side, weight, min_wins, false_match_rate, shuffles, random
            )
            # Neurons with too few wins leave before the stage: whether they are themselves is unknown.
            surviving &= state != _TOO_FEW
            at_risk = int(surviving.sum())
            surviving &= state == _ITSELF
            lost = at_risk - int(surviving.sum())
            if at_risk:
                survival *= 1 - lost / at_risk
                hazards += lost / (at_risk * (at_risk - lost)) if lost < at_risk else np.inf
            low, high = _log_log_interval(survival, hazards)
            counts = np.bincount(state, minlength=len(PERSISTENCE_STATES)).tolist()
            rows.append((side.stage, len(counted), *counts, chance, at_risk, lost, survival, low, high))
            tables.append(
                pl.DataFrame(
                    {
                        "neuron": counted,
                        "stage": [side.stage] * len(counted),
                        "state": [PERSISTENCE_STATES[index] for index in state.tolist()],
                        "affinity": affinity,
                        "q_value": q_value,
                    },
                    schema_overrides=_NEURON_SCHEMA,
                ).with_columns(pl.col("affinity", "q_value").fill_nan(None))
            )
            advance()
    return Persistence(
        pl.DataFrame(rows, schema=_STAGE_SCHEMA, orient="row").with_columns(
            pl.col("chance", "survival_low", "survival_high").fill_nan(None)
        ),
        pl.concat(tables),
        first.stage,
        first.layer,
        feature_type,
        min_wins,
        false_match_rate,
    )


def _states(
    first: Preferences,
    later: Preferences,
    weight: Weight,
    min_wins: int,
    false_match_rate: float,
    shuffles: int,
    random: np.random.Generator,
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Floats, Floats, float]:
    """Return states, affinities with themselves and q-values of the neurons of the first stage, and a share by chance.

    The share is that of the neurons that are nearest to themselves with shuffled features; NaN if there are none.
    """
    pair = Affinity.of(first, later, weight, min_wins)
    n = len(pair.frequent_before)
    state = np.full(n, _TOO_FEW, np.int64)
    affinity, q_value = np.full(n, np.nan), np.full(n, np.nan)
    both, row, column = np.intersect1d(pair.frequent_before, pair.frequent_after, return_indices=True)
    if not len(both):
        return state, affinity, q_value, np.nan
    observed = pair.among_frequent(pair.observed())
    chance, nearest_by_chance = BestByChance([], []), 0.0
    for _ in range(shuffles):
        drawn = pair.among_frequent(pair.by_chance(random))
        chance.add(drawn)
        nearest_by_chance += _nearest_to_itself(drawn, row, column).mean() / shuffles
    affinity[row] = np.clip(observed[row, column], 0.0, 1.0)
    lengths = first.lengths()[pair.frequent_before], later.lengths()[pair.frequent_after]
    q_value[row] = q_values(chance.p_values(row, column, affinity[row], lengths))
    state[row] = np.where(
        ~_nearest_to_itself(observed, row, column),
        _DISPLACED,
        np.where(q_value[row] <= false_match_rate, _ITSELF, _NOT_SIGNIFICANT),
    )
    return state, affinity, q_value, nearest_by_chance


def _nearest_to_itself(affinity: Floats, row: Any, column: Any) -> Bools:
    """Return which neurons have no nearer neuron in their row or column than themselves."""
    own = affinity[row, column] + 1e-9
    return np.asarray((own >= affinity[row].max(axis=1)) & (own >= affinity[:, column].max(axis=0)))


def _log_log_interval(survival: float, hazards: float) -> tuple[float, float]:
    """Return the 95% interval of a survival by Greenwood's variance on the log-log scale; NaN at 0 and 1."""
    if not 0 < survival < 1:
        return np.nan, np.nan
    spread = _Z * np.sqrt(hazards) / abs(np.log(survival))
    return float(survival ** np.exp(spread)), float(survival ** np.exp(-spread))


def _interval(row: dict[str, Any]) -> str:
    """Return a survival in percent, with its interval if there is one."""
    low, high = row["survival_low"], row["survival_high"]
    interval = "" if low is None else f" ({100 * low:.0f} to {100 * high:.0f}%)"
    return f"{100 * row['survival']:.0f}%{interval}"
