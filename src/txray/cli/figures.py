"""Figures of the command line, and the results that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from txray.cli import options
from txray.errors import UsageError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.analysis import Comparison, Decomposition, Matching, Timeline
    from txray.preferences import Preferences, Stage


@dataclass
class PlotOptions:
    """Options of `txray plot` for figures of stages."""

    feature_type: options.Feature = "token"
    layer: options.Layer = None
    neuron: Annotated[int | None, typer.Option(help="Index of the neuron, for the figure neuron.")] = None
    k: Annotated[int, typer.Option("-k", help="Number of neurons in figures that rank them.")] = 10
    min_wins: Annotated[
        int,
        typer.Option(help="Minimum number of wins in both stages, in figures that rank neurons by distance."),
    ] = 100
    layer_after: Annotated[
        str | None,
        typer.Option(help="Layer of the second stage, for matching figures; by default the same as --layer."),
    ] = None
    permutations: options.Permutations = 10_000
    scores: options.Scores = None
    seed: options.Seed = 0


@dataclass(frozen=True)
class PlotArgs:
    """The stages of a figure, in order, and the options of the command."""

    stages: list[Stage]
    options: PlotOptions

    def preferences(self, feature_type: str | None = None) -> list[Preferences]:
        """Return the preferences of every stage."""
        return [
            stage.preferences(
                layer=self.options.layer, feature_type=feature_type or self.options.feature_type
            )
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
            layer=self.options.layer,
            feature_type=feature_type or self.options.feature_type,
            permutations=self.options.permutations if tested else 0,
            seed=self.options.seed,
        )

    def timeline(self, *, tested: bool = True) -> Timeline:
        """Return the timeline of all stages."""
        from txray.analysis import timeline

        return timeline(
            self.stages,
            layers=self.options.layer,
            feature_type=self.options.feature_type,
            scores=options.read_scores(self.options.scores),
            permutations=self.options.permutations if tested else 0,
            seed=self.options.seed,
        )

    def decomposition(self) -> Decomposition:
        """Return the decomposition of the four stages."""
        from txray.analysis import Decomposition

        return Decomposition.of(
            self.stages,
            layers=self.options.layer,
            feature_type=self.options.feature_type,
            permutations=self.options.permutations,
            seed=self.options.seed,
        )

    def matching(self) -> Matching:
        """Return the matching of the two stages."""
        from txray.analysis import match

        return match(
            *self.exactly_two(),
            layer=self.options.layer,
            layer_after=self.options.layer_after,
            feature_type=self.options.feature_type,
            seed=self.options.seed,
        )

    def token_tags(self) -> dict[str, str]:
        """Return the most frequent tag of each token."""
        from txray.preferences import token_tags

        return token_tags(self.stages)


Draw = Callable[[PlotArgs], "go.Figure"]


def _pos_frequency(args: PlotArgs) -> go.Figure:
    from txray.plots import pos_frequency

    pair = args.comparison("pos")
    return pos_frequency(pair.before, pair.after)


def _neuron(args: PlotArgs) -> go.Figure:
    from txray.plots import neuron_detail

    if args.options.neuron is None:
        raise UsageError("figure 'neuron' shows one neuron; add --neuron NUMBER")
    tags = args.token_tags()
    return neuron_detail(
        args.preferences("token"), args.options.neuron, pos=args.preferences("pos"), token_tags=tags
    )


def _changed(most: bool) -> Draw:
    def draw(args: PlotArgs) -> go.Figure:
        from txray.plots import least_changed_neurons, most_changed_neurons

        feature_type = args.options.feature_type
        if feature_type != "token":
            raise UsageError(
                f"figures of changed neurons show tokens with their tags, got --feature-type {feature_type}; "
                "leave it out"
            )
        figure = most_changed_neurons if most else least_changed_neurons
        return figure(
            args.comparison("token", tested=True),
            pos=args.comparison("pos"),
            token_tags=args.token_tags(),
            k=args.options.k,
            min_wins=args.options.min_wins,
        )

    return draw


def _of(name: str, source: Callable[[PlotArgs], Any]) -> Draw:
    """Return a function that draws the figure of this name from the result of `source`."""

    def draw(args: PlotArgs) -> go.Figure:
        from txray import plots

        figure: go.Figure = getattr(plots, name)(source(args))
        return figure

    return draw


def _gained(args: PlotArgs) -> go.Figure:
    from txray.plots import gained_table

    return gained_table(args.comparison(tested=True), args.options.k)


def _layer_affinity(args: PlotArgs) -> go.Figure:
    from txray.analysis import layer_affinity as compare_layers
    from txray.plots import layer_affinity

    if args.options.layer is not None or args.options.layer_after is not None:
        raise UsageError("figure 'layer-affinity' shows all layers; leave --layer out")
    affinity = compare_layers(
        *args.exactly_two(), feature_type=args.options.feature_type, seed=args.options.seed
    )
    return layer_affinity(*args.exactly_two(), affinity, args.options.feature_type)


_TESTED = partial(PlotArgs.comparison, tested=True)
_UNTESTED = partial(PlotArgs.timeline, tested=False)

FIGURES: Mapping[str, Draw] = {
    "mass-activation": _of("mass_activation", PlotArgs.preferences),
    "pos-frequency": _pos_frequency,
    "hellinger-length": _of("hellinger_length", _TESTED),
    "volcano": _of("volcano", _TESTED),
    "length-shift": _of("length_shift", PlotArgs.comparison),
    "states": _of("states", _TESTED),
    "most-changed": _changed(most=True),
    "least-changed": _changed(most=False),
    "gained": _gained,
    "neuron": _neuron,
    "timeline": _of("timeline", PlotArgs.timeline),
    "knowledge-flow": _of("knowledge_flow", PlotArgs.timeline),
    "stage-distances": _of("stage_distances", _UNTESTED),
    "pos-first": _of("pos_first", _UNTESTED),
    "matching": _of("matching", PlotArgs.matching),
    "matching-curve": _of("matching_curve", PlotArgs.matching),
    "match-strength": _of("match_strength", PlotArgs.matching),
    "layer-affinity": _layer_affinity,
    "decomposition": _of("decomposition", PlotArgs.decomposition),
    "model-and-text": _of("model_and_text", PlotArgs.decomposition),
}
"""Name -> function that draws the figure from stages."""


PRUNING_FIGURES: Mapping[str, str] = {
    "pruning": "pruning_effects",
    "pruning-gap": "pruning_gap",
    "sparsity": "sparsity_curves",
}
"""Name -> function of `txray.plots` that draws the figure from a pruning, for a metric."""
