"""Figures of the command line, and the results that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from txray.errors import UsageError

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

    from txray.analysis import Comparison, Matching, Timeline
    from txray.preferences import Preferences, Stage
    from txray.pruning import Pruning


@dataclass(frozen=True)
class PlotArgs:
    """Arguments of `txray plot`.

    Attributes:
        stages: stages in order.
        feature_type, layer, layer_after: feature type and layers of the stages.
        neuron, k, min_wins: options of figures that show or rank neurons.
        permutations: maximum number of permutations per neuron; 0 disables the tests.
        scores: scores of the stages.
        seed: random seed.
    """

    stages: list[Stage]
    feature_type: str
    layer: str | None
    layer_after: str | None
    neuron: int | None
    k: int
    min_wins: int
    permutations: int
    scores: pl.DataFrame | None
    seed: int

    def preferences(self, feature_type: str | None = None) -> list[Preferences]:
        """Return the preferences of every stage."""
        return [
            stage.preferences(layer=self.layer, feature_type=feature_type or self.feature_type)
            for stage in self.stages
        ]

    def exactly_two(self) -> tuple[Stage, Stage]:
        """Return the earlier and the later stage.

        Raises:
            UsageError: fewer or more than two stages.
        """
        if len(self.stages) != 2:
            raise UsageError(
                f"this figure compares 2 stages, got {len(self.stages)}; give the earlier and the later one"
            )
        before, after = self.stages
        return before, after

    def comparison(self, feature_type: str | None = None, *, tested: bool = False) -> Comparison:
        """Return the comparison of the two stages; `tested`: with tests, unless they are disabled."""
        from txray.analysis import compare

        return compare(
            *self.exactly_two(),
            layer=self.layer,
            feature_type=feature_type or self.feature_type,
            permutations=self.permutations if tested else 0,
            seed=self.seed,
        )

    def timeline(self, *, tested: bool = True) -> Timeline:
        """Return the timeline of all stages."""
        from txray.analysis import timeline

        return timeline(
            self.stages,
            layers=self.layer,
            feature_type=self.feature_type,
            scores=self.scores,
            permutations=self.permutations if tested else 0,
            seed=self.seed,
        )

    def matching(self) -> Matching:
        """Return the matching of the two stages."""
        from txray.analysis import match

        return match(
            *self.exactly_two(),
            layer=self.layer,
            layer_after=self.layer_after,
            feature_type=self.feature_type,
            seed=self.seed,
        )

    def token_tags(self) -> dict[str, str]:
        """Return token -> its most frequent tag."""
        from txray.preferences import token_tags

        return token_tags(self.stages)


Draw = Callable[[PlotArgs], "go.Figure"]


def _pos_frequency(args: PlotArgs) -> go.Figure:
    from txray.plots import pos_frequency

    pair = args.comparison("pos")
    return pos_frequency(pair.before, pair.after)


def _neuron(args: PlotArgs) -> go.Figure:
    from txray.plots import neuron_detail

    if args.neuron is None:
        raise UsageError("figure 'neuron': which one? add --neuron NUMBER")
    tags = args.token_tags()
    return neuron_detail(args.preferences("token"), args.neuron, pos=args.preferences("pos"), token_tags=tags)


def _changed(most: bool) -> Draw:
    def draw(args: PlotArgs) -> go.Figure:
        from txray.plots import least_changed_neurons, most_changed_neurons

        if args.feature_type != "token":
            raise UsageError(
                f"figures of changed neurons show tokens with their tags, got --feature-type {args.feature_type}; "
                "leave it out"
            )
        figure = most_changed_neurons if most else least_changed_neurons
        return figure(
            args.comparison("token", tested=True),
            pos=args.comparison("pos"),
            token_tags=args.token_tags(),
            k=args.k,
            min_wins=args.min_wins,
        )

    return draw


def _of(name: str, source: Callable[[PlotArgs], Any]) -> Draw:
    """Return a function that draws the figure of this name from the result of `source`."""

    def draw(args: PlotArgs) -> go.Figure:
        from txray import plots

        figure: go.Figure = getattr(plots, name)(source(args))
        return figure

    return draw


def _observed(args: PlotArgs) -> Comparison:
    return args.comparison()


def _tested(args: PlotArgs) -> Comparison:
    return args.comparison(tested=True)


def _untested_line(args: PlotArgs) -> Timeline:
    return args.timeline(tested=False)


def _gained(args: PlotArgs) -> go.Figure:
    from txray.plots import gained_table

    return gained_table(args.comparison(tested=True), args.k)


def _layer_affinity(args: PlotArgs) -> go.Figure:
    from txray.analysis import layer_affinity as compare_layers
    from txray.plots import layer_affinity

    if args.layer is not None or args.layer_after is not None:
        raise UsageError("figure 'layer-affinity' shows all layers; leave --layer out")
    affinity = compare_layers(*args.exactly_two(), feature_type=args.feature_type, seed=args.seed)
    return layer_affinity(*args.exactly_two(), affinity, args.feature_type)


FIGURES: Mapping[str, Draw] = {
    "mass-activation": _of("mass_activation", PlotArgs.preferences),
    "pos-frequency": _pos_frequency,
    "hellinger-length": _of("hellinger_length", _tested),
    "volcano": _of("volcano", _tested),
    "length-shift": _of("length_shift", _observed),
    "states": _of("states", _tested),
    "most-changed": _changed(most=True),
    "least-changed": _changed(most=False),
    "gained": _gained,
    "neuron": _neuron,
    "timeline": _of("timeline", PlotArgs.timeline),
    "knowledge-flow": _of("knowledge_flow", PlotArgs.timeline),
    "stage-distances": _of("stage_distances", _untested_line),
    "pos-first": _of("pos_first", _untested_line),
    "matching": _of("matching", PlotArgs.matching),
    "matching-curve": _of("matching_curve", PlotArgs.matching),
    "layer-affinity": _layer_affinity,
}
"""Name -> function that draws the figure from stages."""


def _of_pruning(name: str) -> Callable[[Pruning, str | None], go.Figure]:
    def draw(pruning: Pruning, metric: str | None) -> go.Figure:
        from txray import plots

        figure: go.Figure = getattr(plots, name)(pruning, metric)
        return figure

    return draw


PRUNING_FIGURES: Mapping[str, Callable[[Pruning, str | None], go.Figure]] = {
    "pruning": _of_pruning("pruning_effects"),
    "pruning-gap": _of_pruning("pruning_gap"),
    "sparsity": _of_pruning("sparsity_curves"),
}
"""Name -> function that draws the figure from a pruning, for a metric."""
