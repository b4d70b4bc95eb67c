"""Stages in order: how preferences build up, move and are lost, beside the scores of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.comparison import Comparison, compare
from txray.analysis.correlation import RankCorrelation, rank_correlation
from txray.analysis.result_folder import ResultFolder, SavedResult, figure_name
from txray.analysis.shown_distance import CORRECTED, corrected_words, step_sizes
from txray.analysis.significance.families import Family, require_family, tested_in_one_family
from txray.analysis.significance.tests import SignificanceSettings, require_folds
from txray.analysis.states import SAME_WEIGHTS, change_label, significant_label
from txray.analysis.stored_steps import loaded_steps, stored_steps
from txray.analysis.subjects import common_layers
from txray.analysis.summaries import change_measures, stage_measures
from txray.analysis.timeline_tables import (
    CHANGE_SCHEMA,
    CHANGES,
    DISTANCE_SCHEMA,
    DISTANCES,
    FLOW_SCHEMA,
    REFERENCES,
    STAGE_SCHEMA,
    flow_rows,
    score_table,
    table_of,
)
from txray.arguments import checked_call
from txray.errors import UnknownNameError, UsageError
from txray.notebook import card, table
from txray.preferences.preferences import Weight
from txray.preferences.stage_like import StageLike, as_stages
from txray.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TABLES = ("stages", "changes", "flows", "distances")
_FIGURES = ("timeline", "knowledge_flow", "stage_distances", "pos_first")


@dataclass(frozen=True, eq=False)
class Timeline(SavedResult):
    """History of the neurons of one or more layers over several stages.

    Attributes:
        stages: polars, one row per layer and stage: layer, stage, words, neurons, preferred, length (mean over
            preferred neurons), mass, mass_gini, half_mass (neurons that hold half of it); where tags were collected
            pos_divergence, pos_shuffled (median), pos_shuffled_low, pos_shuffled_high (95% of the draws), pos_noise
            and pos_p_value (see `mass_match`); then the scores.
        changes: polars, one row per layer, reference (`previous`, `first`, `last`) and pair of stages: layer,
            reference, before, after, shared, avoided, gained, unpreferred, hellinger (mean over shared neurons),
            hellinger_corrected (of the layer: see `EffectSize`), signal (mean over neurons); from the tests, null
            without them: hellinger_corrected_low, hellinger_corrected_high, tested, changed, changed_share,
            confident_avoided, confident_gained, undecided, displaced; min_effect, median_corrected and
            median_corrected_changed (median corrected distance of the tested and of the changed neurons) and
            median_detectable (at which half of the tested would be significant); distance_matched and its reference
            distance_null,
            distance_halves and its reference noise_floor (means over tested neurons); rarefied_length_before,
            rarefied_length_after (means over shared neurons, at equal numbers of activations); same_model (see
            `Comparison`).
        flows: polars, one row per layer, step and state: layer, before, after, state (one of
            `CONFIDENT_STATES`), observed (that of `undecided` and `displaced` neurons, else the same), neurons.
        distances: polars, one row per layer and pair of stages, each pair once: layer, before, after, hellinger (mean
            over shared neurons), hellinger_corrected (of the layer), signal (mean over neurons).
        steps: layer -> comparisons of each stage with the previous one.
        feature_type: the feature type.
        scores: names of the columns of `stages` that hold scores.
    """

    SUMMARY_FILE = "timeline.json"

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
        headings = [
            "layer",
            "stage",
            "neurons in use",
            "mean length (of neurons in use)",
            *self.scores,
            f"{CORRECTED} of the layer (95% interval)",
            change_label(self.min_effect),
            "their median distance",
            "found in half of the neurons",
        ]
        previous = self.changes.filter(pl.col("reference") == "previous")
        change_of = {(row["layer"], row["after"]): row for row in previous.iter_rows(named=True)}
        rows = []
        for row in self.stages.iter_rows(named=True):
            change: dict[str, Any] = change_of.get((row["layer"], row["stage"]), {})
            tested = (
                None if change.get("changed") is None else f"{change['changed']:,} of {change['tested']:,}"
            )
            measures = [row[name] for name in ("layer", "stage", "preferred", "length", *self.scores)]
            sizes = (None, None) if tested is None else step_sizes(change)
            rows.append((*measures, corrected_words(change) if change else None, tested, *sizes))
        tests = "observed, not tested" if self.fdr is None else significant_label(self.fdr)
        return card(
            f"Timeline {self.names[0]} … {self.names[-1]} ({self.feature_type})",
            [f"{len(self.names)} stages; changes since the previous stage, {tests}.", *self.weights],
            table("Stages", headings, rows),
        )

    @property
    def names(self) -> list[str]:
        """Return the names of the stages, in order."""
        return self.stages["stage"].unique(maintain_order=True).to_list()

    @property
    def weights(self) -> list[str]:
        """Return one sentence per step between two stages of one model that read two texts."""
        steps = (step for comparisons in self.steps.values() for step in comparisons if step.only_text)
        names = dict.fromkeys((step.before.stage, step.after.stage) for step in steps)
        return [f"{before} → {after}: {SAME_WEIGHTS}" for before, after in names]

    @property
    def fdr(self) -> float | None:
        """Return the false discovery rate of the tests of the steps; None if there are none."""
        return next((step.fdr for steps in self.steps.values() for step in steps), None)

    @property
    def family(self) -> Family:
        """Return over which tests the false discovery rate is controlled, `step` or `all`; see `timeline`."""
        steps = (step for steps in self.steps.values() for step in steps)
        return "all" if any(step.summary.get("family") == "all" for step in steps) else "step"

    @property
    def min_effect(self) -> float:
        """Return the corrected distance that a change had to exceed; 0 if any change counted, or nothing is tested."""
        return next(
            (float(step.summary.get("min_effect", 0)) for steps in self.steps.values() for step in steps), 0.0
        )

    def layer(self, name: str | None = None) -> str:
        """Return the layer of this name, or the only layer if none is named.

        Raises:
            UsageError: several layers, and none is named.
            UnknownNameError: an unknown layer.
        """
        if name is None and len(self.steps) > 1:
            raise UsageError(f"timeline: several layers, name one of {', '.join(self.steps)}")
        if name is not None and name not in self.steps:
            raise UnknownNameError.of("layer of the timeline", name, self.steps)
        return next(iter(self.steps)) if name is None else name

    def matrix(self, layer: str | None = None, column: str = "hellinger_corrected") -> np.ndarray[Any, Any]:
        """Return how far apart any two stages are: (n_stages, n_stages), symmetric, 0 on the diagonal.

        Args:
            layer: required only if there are several.
            column: one of `DISTANCES`.

        Raises:
            UnknownNameError: an unknown layer or column.
        """
        if column not in DISTANCES:
            raise UnknownNameError.of("column of distances", column, DISTANCES)
        index_of = {name: index for index, name in enumerate(self.names)}
        rows = self.distances.filter(pl.col("layer") == self.layer(layer))
        result = np.zeros((len(index_of), len(index_of)))
        for before, after, value in rows.select("before", "after", column).iter_rows():
            i, j = index_of[before], index_of[after]
            result[i, j] = result[j, i] = np.nan if value is None else value
        return result

    def correlation(
        self, score: str, layer: str | None = None, change: str = "signal", *, seed: int = 0
    ) -> RankCorrelation:
        """Return how the changes of neurons and of a score correlate over the steps (the paper's RQ1).

        Args:
            score: one of `scores`. Its change in a step is the absolute difference, of its logarithms if all values are
                positive, such as perplexity.
            layer: required only if there are several.
            change: measure of the neurons, one of `CHANGES`.
            seed: random seed of the permutations.

        Raises:
            UnknownNameError: an unknown score, layer or change.

        Source:
            Rethmeier et al. 2020, RQ1.
        """
        if score not in self.scores:
            raise UnknownNameError.of("score of the timeline", score, self.scores)
        if change not in CHANGES:
            raise UnknownNameError.of("measure of change", change, CHANGES)
        layer = self.layer(layer)
        values = self.stages.filter(pl.col("layer") == layer)[score].to_numpy().astype(np.float64)
        values = np.log(values) if (values[np.isfinite(values)] > 0).all() else values
        steps = self.changes.filter((pl.col("layer") == layer) & (pl.col("reference") == "previous"))
        sizes = steps[change].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return rank_correlation(sizes, np.abs(np.diff(values)), seed=seed)

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of the layers."""
        return tuple(self.steps)

    @property
    def summary(self) -> dict[str, Any]:
        """Return stages, layers, scores and their correlation with the changes of neurons, as plain JSON values."""
        return {
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

    def plot(self, figure: str = "timeline", *, layer: str | None = None) -> go.Figure:
        """Draw the timeline.

        Args:
            figure: a function of `txray.plots`: `timeline`, `knowledge_flow`, `stage_distances` or `pos_first`.
            layer: required only if there are several.

        Raises:
            UnknownNameError: an unknown figure or layer.
            UsageError: several layers and none is named, or what the figure shows was not collected.

        Example:
            >>> timeline(stages).plot("knowledge_flow").show()
        """
        from txray import plots

        drawn: go.Figure = getattr(plots, figure_name(figure, _FIGURES))(self, layer)
        return drawn

    def _contents(self) -> dict[str, Any]:
        stages, neurons, steps = stored_steps(self.steps)
        return {
            "tables": {name: getattr(self, name) for name in _TABLES},
            "arrays": {"steps": neurons},
            "stages": stages,
            "settings": {"feature_type": self.feature_type, "scores": list(self.scores), "steps": steps},
        }

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Timeline:
        return cls(
            **{name: folder.table(name) for name in _TABLES},
            steps=loaded_steps(folder),
            feature_type=folder.settings["feature_type"],
            scores=tuple(folder.settings["scores"]),
        )


@checked_call
def timeline(
    stages: StageLike | Iterable[StageLike],
    *,
    layers: str | Sequence[str] | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    scores: pl.DataFrame | None = None,
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
    min_effect: float = 0.0,
    family: Family = "step",
) -> Timeline:
    """Follow neurons through stages, in the order given.

    Each stage is compared with the previous, the first and the last one; see `Comparison.test` for the tests.

    Args:
        stages: at least two, with distinct names, of the same neurons: in memory, their folders, or one folder of
            stages.
        layers: names or patterns (`encoder.*`) of the layers to follow; by default all that every stage has.
        feature_type: the feature type.
        weight: what the preference distributions normalise.
        scores: one row per stage: `stage`, and any numbers, such as loss and perplexity; stages without a row get null.
            Or the table `stages` of another timeline, with the scores that it was given.
        permutations: maximum number of permutations per neuron; 0 disables the tests, which take most of the time.
        fdr: false discovery rate of the tests.
        seed: random seed.
        min_effect: corrected Hellinger distance that a change must exceed to be significant.
        family: over which tests the false discovery rate is controlled: the neurons of one layer and pair of stages
            (`step`), or those of all layers and pairs of stages together (`all`), which needs more permutations.

    Raises:
        UsageError: fewer than two stages, the same name twice, no layer in common, or scores without stages.
        UnknownNameError: an unknown layer, feature type, weight or family.
        ShapeError: stages that do not hold the same neurons.
    """
    require_family(family)
    stages = as_stages(stages)
    names = [stage.name for stage in stages]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"timeline: stages {names}; pass at least two, with different names")
    names_of_layers = common_layers(stages, layers, "timeline")
    given_scores = score_table(scores, names)
    pairs = [(layer, *pair) for layer in names_of_layers for pair in _pairs(len(stages))]
    tables = [
        {
            "layer": layer,
            "stage": stage.name,
            **stage_measures(stage, layer=layer, feature_type=feature_type, seed=seed),
        }
        for layer in names_of_layers
        for stage in stages
    ]
    changes: list[dict[str, Any]] = []
    distances: list[dict[str, Any]] = []
    steps: dict[str, list[Comparison]] = {layer: [] for layer in names_of_layers}
    with progress(f"timeline of {len(stages)} stages", len(pairs), unit="pairs") as advance:

        def compared(layer: str, i: int, j: int, references: tuple[str, ...]) -> Comparison:
            options: dict[str, Any] = {"layer": layer, "feature_type": feature_type, "weight": weight}
            if not references or (family == "all" and permutations):
                tests: dict[str, Any] = {"permutations": 0}
            else:
                tests = {"permutations": permutations, "fdr": fdr, "seed": seed, "min_effect": min_effect}
            comparison = compare(stages[i], stages[j], **options, **tests)
            require_folds(comparison.before, comparison.after)
            return comparison

        comparisons: Iterable[Comparison] = (compared(*pair) for pair in pairs)
        if family == "all" and permutations:
            settings = SignificanceSettings(
                permutations=permutations, fdr=fdr, seed=seed, min_effect=min_effect
            )
            comparisons = _in_one_family(list(comparisons), [bool(pair[-1]) for pair in pairs], settings)
        for (layer, i, j, references), comparison in zip(pairs, comparisons, strict=True):
            pair = {"layer": layer, "before": names[i], "after": names[j]}
            measures = change_measures(comparison, seed=seed)
            distances.append({**pair, **measures})
            changes += [{"reference": reference, **pair, **measures} for reference in references]
            if "previous" in references:
                steps[layer].append(comparison)
            advance()
    order = {reference: index for index, reference in enumerate(REFERENCES)}
    return Timeline(
        stages=table_of(tables, STAGE_SCHEMA).join(
            given_scores, on="stage", how="left", maintain_order="left"
        ),
        changes=table_of(sorted(changes, key=lambda change: order[change["reference"]]), CHANGE_SCHEMA),
        flows=table_of(flow_rows(steps), FLOW_SCHEMA),
        distances=table_of(distances, DISTANCE_SCHEMA),
        steps={layer: tuple(comparisons) for layer, comparisons in steps.items()},
        feature_type=feature_type,
        scores=tuple(given_scores.columns[1:]),
    )


def _in_one_family(
    comparisons: Sequence[Comparison], tested: Sequence[bool], settings: SignificanceSettings
) -> Iterator[Comparison]:
    """Yield the comparisons, those to be tested with the tests of one family."""
    chosen = [comparison for comparison, test in zip(comparisons, tested, strict=True) if test]
    results = iter(tested_in_one_family(chosen, len(chosen), settings))
    for comparison, test in zip(comparisons, tested, strict=True):
        yield next(results) if test else comparison


def _pairs(n: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield all pairs of stages, and what the earlier one (for `last` the later one) is to the other."""
    for i, j in combinations(range(n), 2):
        references = {"previous": j == i + 1, "first": i == 0, "last": j == n - 1}
        yield i, j, tuple(reference for reference, holds in references.items() if holds)
