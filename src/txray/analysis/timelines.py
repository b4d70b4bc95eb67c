"""Stages in order: how knowledge builds up, moves and is forgotten, beside the scores of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from txray.analysis.comparison import Comparison, compare
from txray.analysis.correlation import RankCorrelation, rank_correlation
from txray.analysis.findings import CONFIDENT_STATES, STATES
from txray.analysis.saving import save_tables
from txray.analysis.significance.tests import require_folds
from txray.analysis.subjects import common_layers
from txray.analysis.summaries import change_measures, stage_measures
from txray.errors import UnknownNameError, UsageError
from txray.preferences.preferences import Weight
from txray.preferences.stage import Stage
from txray.progress import progress

REFERENCES = ("previous", "first", "last")
"""What a stage of a timeline is compared with."""

SUMMARY = "timeline.json"
"""The file that tells a folder of a timeline."""

CHANGES = ("signal", "hellinger_corrected", "hellinger", "changed_share")
"""Measures of a step: cross-validated H^2, corrected and plug-in distance, share of the tested neurons that changed."""

DISTANCES = ("hellinger", "hellinger_corrected", "signal")
"""Measures of a pair of stages."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What became of the neurons of one or more layers over several stages.

    Attributes:
        stages: polars, one row per layer and stage: layer, stage, words, neurons, preferred, length (mean over
            preferred neurons), mass, mass_gini, half_mass (neurons that hold half of it); where tags were collected
            pos_divergence, pos_shuffled (median), pos_shuffled_low, pos_shuffled_high (95 % of the draws), pos_noise
            and pos_p_value (see `mass_match`); then the scores that were given.
        changes: polars, one row per layer, reference (`previous`, `first`, `last`) and pair of stages: layer,
            reference, before, after, shared, avoided, gained, unpreferred, hellinger (mean over shared neurons),
            hellinger_corrected (of the layer: see `EffectSize`), signal (mean over neurons); from the tests, null
            without them: hellinger_corrected_low, hellinger_corrected_high, tested, changed, changed_share,
            confident_avoided, confident_gained, undecided; distance_matched and its reference distance_null,
            distance_halves and its reference noise_floor (means over tested neurons); rarefied_length_before,
            rarefied_length_after (means over shared neurons, at equal numbers of activations).
        flows: polars, one row per layer, step and state: layer, before, after, state (one of
            `CONFIDENT_STATES`), observed (the observed state of an `undecided` neuron, else the same), neurons.
        distances: polars, one row per layer and pair of stages, each pair once: layer, before, after, hellinger (mean
            over shared neurons), hellinger_corrected (of the layer), signal (mean over neurons).
        steps: layer -> the comparisons of each stage with the one before.
        feature: feature type.
        scores: names of the columns of `stages` that were given as scores.
    """

    stages: pl.DataFrame
    changes: pl.DataFrame
    flows: pl.DataFrame
    distances: pl.DataFrame
    steps: Mapping[str, tuple[Comparison, ...]]
    feature_type: str
    scores: tuple[str, ...]

    def __repr__(self) -> str:
        names = self.names
        return (
            f"Timeline({names[0]!r} .. {names[-1]!r}, {len(names)} stages, layers={list(self.steps)}, "
            f"{self.feature_type!r})"
        )

    def _repr_html_(self) -> str:
        from txray.analysis.overview import timeline_html

        return timeline_html(self)

    @property
    def names(self) -> list[str]:
        """Of the stages, in order."""
        return self.stages["stage"].unique(maintain_order=True).to_list()

    @property
    def fdr(self) -> float | None:
        """Return the false discovery rate of the tests of the steps; None if there are none."""
        return next((step.fdr for steps in self.steps.values() for step in steps), None)

    def layer(self, name: str | None = None) -> str:
        """The layer of this name; the only one where none is named.

        Raises:
            UsageError: several layers and none named.
            UnknownNameError: no such layer.
        """
        if name is None and len(self.steps) > 1:
            raise UsageError(f"timeline: several layers, name one of {', '.join(self.steps)}")
        if name is not None and name not in self.steps:
            raise UnknownNameError.of("layer of the timeline", name, self.steps)
        return next(iter(self.steps)) if name is None else name

    def matrix(self, layer: str | None = None, column: str = "hellinger_corrected") -> np.ndarray[Any, Any]:
        """(n_stages, n_stages) how far apart any two stages are, symmetric, 0 on the diagonal.

        Args:
            layer: may be left out where there is one.
            column: one of `DISTANCES`.

        Raises:
            UnknownNameError: no such layer or column.
        """
        if column not in DISTANCES:
            raise UnknownNameError.of("column of distances", column, DISTANCES)
        place = {name: index for index, name in enumerate(self.names)}
        rows = self.distances.filter(pl.col("layer") == self.layer(layer))
        result = np.zeros((len(place), len(place)))
        for before, after, value in rows.select("before", "after", column).iter_rows():
            i, j = place[before], place[after]
            result[i, j] = result[j, i] = np.nan if value is None else value
        return result

    def correlation(
        self, score: str, layer: str | None = None, change: str = "signal", *, seed: int = 0
    ) -> RankCorrelation:
        """Whether neurons change more in steps in which a score changes more (the paper's RQ1).

        Args:
            score: one of `scores`; its change in a step is the size of the difference of its logarithms where all are
                positive, such as perplexity, else of the difference.
            layer: may be left out where there is one.
            change: of the neurons: see `CHANGES`.
            seed: of the permutations.

        Raises:
            UnknownNameError: no such score, layer or change.

        Source:
            Rethmeier et al. 2020, RQ1.
        """
        if score not in self.scores:
            raise UnknownNameError.of("score of the timeline", score, self.scores)
        if change not in CHANGES:
            raise UnknownNameError.of("measure of change", change, CHANGES)
        chosen = self.layer(layer)
        values = self.stages.filter(pl.col("layer") == chosen)[score].to_numpy().astype(np.float64)
        values = np.log(values) if (values[np.isfinite(values)] > 0).all() else values
        steps = self.changes.filter((pl.col("layer") == chosen) & (pl.col("reference") == "previous"))
        moved = steps[change].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return rank_correlation(moved, np.abs(np.diff(values)), seed=seed)

    def save(self, folder: Path | str) -> Path:
        """Write stages, changes, flows and distances as Parquet and CSV, all or nothing; returns the folder.

        Raises:
            OutputError: the place cannot be written.
        """
        summary = {
            "stages": self.names,
            "layers": list(self.steps),
            "feature": self.feature_type,
            "scores": list(self.scores),
            "correlations": {
                f"{layer}: {score}": vars(self.correlation(score, layer))
                for layer in self.steps
                for score in self.scores
            },
        }
        tables = {name: getattr(self, name) for name in ("stages", "changes", "flows", "distances")}
        return save_tables(folder, tables, summary, SUMMARY)


def timeline(
    stages: Sequence[Stage],
    *,
    layers: str | Sequence[str] | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    scores: pl.DataFrame | None = None,
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
) -> Timeline:
    """Follow neurons through stages, in the order given.

    Each stage is compared with the previous, the first and the last one; see `Comparison.test` for the tests.

    Args:
        stages: at least two, with distinct names, of the same neurons.
        layers: names or patterns (`encoder.*`) of the layers to follow; by default all that every stage has.
        feature_type: the feature type.
        weight: what the preference distributions normalise.
        scores: one row per stage: `stage`, and any numbers, such as loss and perplexity; stages without a row get null.
            Or the table `stages` of another timeline, with the scores that it was given.
        permutations: maximum number per neuron; 0 disables the tests, which take most of the time.
        fdr: false discovery rate of the tests.
        seed: random seed.

    Raises:
        UsageError: fewer than two stages, the same name twice, no layer in common, or scores without stages.
        UnknownNameError: an unknown layer, feature type or weight.
        ShapeError: stages that do not hold the same neurons.
    """
    names = [stage.name for stage in stages]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"timeline: stages {names}; give at least two, each of its own name")
    chosen = common_layers(stages, layers, "timeline")
    given = _scores(scores, names)
    pairs = [(layer, *pair) for layer in chosen for pair in _pairs(len(stages))]
    tables = [
        {
            "layer": layer,
            "stage": stage.name,
            **stage_measures(stage, layer=layer, feature_type=feature_type, seed=seed),
        }
        for layer in chosen
        for stage in stages
    ]
    changes: list[dict[str, Any]] = []
    distances: list[dict[str, Any]] = []
    steps: dict[str, list[Comparison]] = {layer: [] for layer in chosen}
    with progress(f"timeline of {len(stages)} stages", len(pairs), unit="pairs") as advance:
        for layer, i, j, references in pairs:
            comparison = compare(
                stages[i],
                stages[j],
                layer=layer,
                feature_type=feature_type,
                weight=weight,
                permutations=permutations if references else 0,
                fdr=fdr,
                seed=seed,
            )
            require_folds(comparison.before, comparison.after)
            pair = {"layer": layer, "before": names[i], "after": names[j]}
            measures = change_measures(comparison, seed=seed)
            distances.append({**pair, **measures})
            changes += [{"reference": reference, **pair, **measures} for reference in references]
            if "previous" in references:
                steps[layer].append(comparison)
            advance()
    order = {reference: index for index, reference in enumerate(REFERENCES)}
    return Timeline(
        stages=_table(tables, _STAGES).join(given, on="stage", how="left", maintain_order="left"),
        changes=_table(sorted(changes, key=lambda change: order[change["reference"]]), _CHANGES),
        flows=_table(_flows(steps), _FLOWS),
        distances=_table(distances, _DISTANCES),
        steps={layer: tuple(comparisons) for layer, comparisons in steps.items()},
        feature_type=feature_type,
        scores=tuple(given.columns[1:]),
    )


Schema = dict[str, pl.DataType]

_PAIR: Schema = dict.fromkeys(("layer", "before", "after"), pl.String())
_DISTANCES: Schema = {**_PAIR, **dict.fromkeys(DISTANCES, pl.Float64())}
_FLOWS: Schema = {
    **_PAIR,
    "state": pl.Enum(CONFIDENT_STATES),
    "observed": pl.Enum(STATES),
    "neurons": pl.Int64(),
}
_CHANGES: Schema = {
    "layer": pl.String(),
    "reference": pl.Enum(REFERENCES),
    **_DISTANCES,
    **dict.fromkeys(("hellinger_corrected_low", "hellinger_corrected_high"), pl.Float64()),
    **dict.fromkeys(STATES, pl.Int64()),
    **dict.fromkeys(("tested", "changed", "confident_avoided", "confident_gained", "undecided"), pl.Int64()),
    **dict.fromkeys(
        (
            *("changed_share", "distance_matched", "distance_null", "distance_halves", "noise_floor"),
            *("rarefied_length_before", "rarefied_length_after"),
        ),
        pl.Float64(),
    ),
}
_STAGES: Schema = {
    "layer": pl.String(),
    "stage": pl.String(),
    **dict.fromkeys(("words", "neurons", "preferred"), pl.Int64()),
    **dict.fromkeys(("length", "mass", "mass_gini"), pl.Float64()),
    "half_mass": pl.Int64(),
    **dict.fromkeys(
        (
            "pos_divergence",
            "pos_shuffled",
            "pos_shuffled_low",
            "pos_shuffled_high",
            "pos_noise",
            "pos_p_value",
        ),
        pl.Float64(),
    ),
}


def _table(rows: Iterable[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Rows as a table; what a row lacks is null."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _scores(scores: pl.DataFrame | None, names: Sequence[str]) -> pl.DataFrame:
    if scores is None:
        return pl.DataFrame({"stage": names}, schema={"stage": pl.String})
    if _STAGES.keys() <= set(scores.columns):
        scores = scores.select("stage", pl.exclude(*_STAGES)).unique("stage", maintain_order=True)
    if "stage" not in scores.columns or not scores["stage"].is_unique().all():
        raise UsageError(
            f"timeline: scores with the columns {scores.columns}; one column must be 'stage', each stage once"
        )
    if not set(names) & set(scores["stage"].cast(pl.String)):
        raise UsageError(
            f"timeline: scores are of the stages {scores['stage'].to_list()[:8]}, none of which is among {names}"
        )
    own = [name for name in scores.columns if name != "stage" and name in _STAGES]
    if own:
        raise UsageError(
            f"timeline: scores {own} are called as columns that the timeline has itself; rename them"
        )
    words = [name for name in scores.columns if name != "stage" and not scores[name].dtype.is_numeric()]
    if words:
        raise UsageError(f"timeline: scores {words} are no numbers; leave them out")
    numbers = pl.exclude("stage").cast(pl.Float64)
    finite = pl.when(numbers.is_finite()).then(numbers)
    return scores.select(pl.col("stage").cast(pl.String), finite)


def _pairs(n: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """All pairs of stages, and what the earlier, or for `last` the later one, is to the other."""
    for i, j in combinations(range(n), 2):
        told = (("previous", j == i + 1), ("first", i == 0), ("last", j == n - 1))
        yield i, j, tuple(reference for reference, holds in told if holds)


def _flows(steps: Mapping[str, Sequence[Comparison]]) -> Iterator[dict[str, Any]]:
    for layer, comparisons in steps.items():
        for found in comparisons:
            neurons = found.neurons
            observed = neurons["state"].cast(pl.String).to_list()
            states = neurons["confident_state"].cast(pl.String).to_list() if found.tested else observed
            number = Counter(zip(states, observed, strict=True))
            for state in CONFIDENT_STATES:
                for of_state in ("avoided", "gained") if state == "undecided" else (state,):
                    yield {
                        "layer": layer,
                        "before": found.before.stage,
                        "after": found.after.stage,
                        "state": state,
                        "observed": of_state,
                        "neurons": number[state, of_state],
                    }
