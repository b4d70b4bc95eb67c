"""`txray plot`: one figure from saved stages or a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.preferences import Preferences, Stage
    from txray.transfer import Comparison


@dataclass(frozen=True)
class _Request:
    """What the user asked to draw."""

    stages: list[Stage]
    feature: str
    layer: str | None
    neuron: int | None
    k: int
    min_wins: int

    def all(self, feature: str | None = None) -> list[Preferences]:
        return [stage.preferences(self.layer, feature or self.feature) for stage in self.stages]

    def pair(self, feature: str | None = None) -> Comparison:
        from txray.transfer import compare

        if len(self.stages) != 2:
            raise UsageError(
                f"this figure compares 2 stages, got {len(self.stages)}; name the earlier and the later one"
            )
        before, after = self.stages
        return compare(before, after, feature or self.feature, self.layer)

    def token_tags(self) -> dict[str, str]:
        from txray.preferences import token_tags

        return token_tags(self.stages)


def _pos_frequency(request: _Request) -> go.Figure:
    from txray.plots import pos_frequency

    pair = request.pair("pos")
    return pos_frequency(pair.before, pair.after)


def _neuron(request: _Request) -> go.Figure:
    from txray.plots import neuron_detail

    if request.neuron is None:
        raise UsageError("figure 'neuron': which one? add --neuron NUMBER")
    tags = request.token_tags()
    return neuron_detail(request.all("token"), request.neuron, pos=request.all("pos"), token_tags=tags)


def _changed(most: bool) -> Callable[[_Request], go.Figure]:
    def draw(request: _Request) -> go.Figure:
        from txray.plots import least_changed_neurons, most_changed_neurons

        figure = most_changed_neurons if most else least_changed_neurons
        return figure(
            request.pair("token"),
            pos=request.pair("pos"),
            token_tags=request.token_tags(),
            k=request.k,
            min_wins=request.min_wins,
        )

    return draw


def _of_pair(name: str) -> Callable[[_Request], go.Figure]:
    def draw(request: _Request) -> go.Figure:
        from txray import plots

        figure: go.Figure = getattr(plots, name)(request.pair())
        return figure

    return draw


def _mass_activation(request: _Request) -> go.Figure:
    from txray.plots import mass_activation

    return mass_activation(request.all())


def _gained(request: _Request) -> go.Figure:
    from txray.plots import gained_table

    return gained_table(request.pair(), request.k)


_FIGURES: Mapping[str, Callable[[_Request], go.Figure]] = {
    "mass-activation": _mass_activation,
    "pos-frequency": _pos_frequency,
    "hellinger-length": _of_pair("hellinger_length"),
    "length-shift": _of_pair("length_shift"),
    "states": _of_pair("states"),
    "most-changed": _changed(most=True),
    "least-changed": _changed(most=False),
    "gained": _gained,
    "neuron": _neuron,
}
_CURVES = "curves"


def plot(
    figure: Annotated[str, typer.Argument(help=f"{', '.join([*_FIGURES, _CURVES])}.", show_default=False)],
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Stage folders; for curves: the folder of a training.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A file: .html, .json, .png, .pdf or .svg.")],
    feature: options.Feature = "token",
    layer: options.Layer = None,
    neuron: Annotated[int | None, typer.Option("--neuron", help="For the figure neuron.")] = None,
    k: Annotated[int, typer.Option("-k", help="Neurons shown, where a figure ranks them.")] = 10,
    min_wins: Annotated[
        int, typer.Option("--min-wins", help="Words won in both stages by neurons ranked by distance.")
    ] = 100,
) -> None:
    """Draw one figure and write it to a file."""
    from txray.plots import save_figure
    from txray.preferences import load_stage

    if figure == _CURVES:
        drawn = _curves(inputs)
    elif figure in _FIGURES:
        stages = [load_stage(folder) for folder in inputs]
        drawn = _FIGURES[figure](_Request(stages, feature, layer, neuron, k, min_wins))
    else:
        raise UnknownNameError.of("figure", figure, [*_FIGURES, _CURVES])
    typer.echo(save_figure(drawn, out))


def _curves(inputs: list[Path]) -> go.Figure:
    from txray.plots import classifier_curves, training_curves
    from txray.training import load_run

    if len(inputs) != 1:
        raise UsageError(f"figure 'curves' shows 1 training, got {len(inputs)} folders; name one")
    run = load_run(inputs[0])
    name = inputs[0].name
    if "perplexity" in run.curves.columns:
        return training_curves(run.curves, name=name)
    return classifier_curves(run.curves, name=name)
