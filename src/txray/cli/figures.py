"""Which figures the command line draws, and what each is drawn from."""

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
    """What the user asked to draw.

    Attributes:
        stages: in order.
        feature, layer, layer_after: of them.
        neuron, k, min_wins: of figures that show or rank neurons.
        permutations: of a neuron at most, in figures that show significance; 0 for none.
        scores: of the stages.
        seed: of everything random.
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

    def all(self, feature_type: str | None = None) -> list[Preferences]:
        """The preferences of every stage."""
        return [
            stage.preferences(layer=self.layer, feature_type=feature_type or self.feature_type)
            for stage in self.stages
        ]

    def two(self) -> tuple[Stage, Stage]:
        """The earlier and the later stage.

        Raises:
            UsageError: not two.
        """
        if len(self.stages) != 2:
            raise UsageError(
                f"this figure compares 2 stages, got {len(self.stages)}; name the earlier and the later one"
            )
        before, after = self.stages
        return before, after

    def pair(self, feature_type: str | None = None, *, tested: bool = False) -> Comparison:
        """The comparison of the two stages; `tested`: with significance, unless the user wants none."""
        from txray.analysis import compare

        return compare(
            *self.two(),
            layer=self.layer,
            feature_type=feature_type or self.feature_type,
            permutations=self.permutations if tested else 0,
            seed=self.seed,
        )

    def timeline(self, *, tested: bool = True) -> Timeline:
        """All stages in order."""
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
        """Which neuron of the one stage is which of the other."""
        from txray.analysis import match

        return match(
            *self.two(),
            layer=self.layer,
            layer_after=self.layer_after,
            feature_type=self.feature_type,
            seed=self.seed,
        )

    def token_tags(self) -> dict[str, str]:
        """Token -> its most frequent tag."""
        from txray.preferences import token_tags

        return token_tags(self.stages)


Draw = Callable[[PlotArgs], "go.Figure"]


def _pos_frequency(request: PlotArgs) -> go.Figure:
    from txray.plots import pos_frequency

    pair = request.pair("pos")
    return pos_frequency(pair.before, pair.after)


def _neuron(request: PlotArgs) -> go.Figure:
    from txray.plots import neuron_detail

    if request.neuron is None:
        raise UsageError("figure 'neuron': which one? add --neuron NUMBER")
    tags = request.token_tags()
    return neuron_detail(request.all("token"), request.neuron, pos=request.all("pos"), token_tags=tags)


def _changed(most: bool) -> Draw:
    def draw(request: PlotArgs) -> go.Figure:
        from txray.plots import least_changed_neurons, most_changed_neurons

        if request.feature_type != "token":
            raise UsageError(
                f"figures of changed neurons show tokens with their tags, got --feature-type {request.feature_type}; "
                "leave it out"
            )
        figure = most_changed_neurons if most else least_changed_neurons
        return figure(
            request.pair("token", tested=True),
            pos=request.pair("pos"),
            token_tags=request.token_tags(),
            k=request.k,
            min_wins=request.min_wins,
        )

    return draw


def _of(name: str, source: Callable[[PlotArgs], Any]) -> Draw:
    """The figure of this name, of what `source` makes of a request."""

    def draw(request: PlotArgs) -> go.Figure:
        from txray import plots

        figure: go.Figure = getattr(plots, name)(source(request))
        return figure

    return draw


def _observed(request: PlotArgs) -> Comparison:
    return request.pair()


def _tested(request: PlotArgs) -> Comparison:
    return request.pair(tested=True)


def _untested_line(request: PlotArgs) -> Timeline:
    return request.timeline(tested=False)


def _gained(request: PlotArgs) -> go.Figure:
    from txray.plots import gained_table

    return gained_table(request.pair(tested=True), request.k)


def _layer_affinity(request: PlotArgs) -> go.Figure:
    from txray.analysis import layer_affinity as compare_layers
    from txray.plots import layer_affinity

    if request.layer is not None or request.layer_after is not None:
        raise UsageError("figure 'layer-affinity' shows all layers; leave --layer out")
    found = compare_layers(*request.two(), feature_type=request.feature_type, seed=request.seed)
    return layer_affinity(*request.two(), found, request.feature_type)


FIGURES: Mapping[str, Draw] = {
    "mass-activation": _of("mass_activation", PlotArgs.all),
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
"""Name -> what draws it from stages."""


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
"""Name -> what draws it from a pruning, for a metric."""
