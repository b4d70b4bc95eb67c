"""`txray plot`: a figure from saved stages, a training run or a pruning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.figures import FIGURES, PRUNING_FIGURES, PlotArgs
from txray.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.pruning import Pruning


_CURVES = "curves"
_KNOWN = (*FIGURES, _CURVES, *PRUNING_FIGURES)


def _known_figure(name: str) -> str:
    """Return the name of a figure; raise before any work if there is no such figure."""
    if name not in _KNOWN:
        raise UnknownNameError.of("figure", name, _KNOWN)
    return name


def plot(
    figure: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join(_KNOWN)}.", callback=_known_figure, show_default=False),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Stage folders; for curves: the folder of a training; for figures of pruning: that of 'txray prune'.",
            show_default=False,
        ),
    ],
    out: options.FigureFile,
    feature_type: options.Feature = "token",
    layer: options.Layer = None,
    neuron: Annotated[
        int | None, typer.Option("--neuron", help="Index of the neuron, for the figure neuron.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Number of neurons in figures that rank them.")] = 10,
    min_wins: Annotated[
        int,
        typer.Option(
            "--min-wins",
            help="Minimum number of wins in both stages, in figures that rank neurons by distance.",
        ),
    ] = 100,
    layer_after: Annotated[
        str | None,
        typer.Option(
            "--layer-after",
            help="Layer of the second stage, for figures of matching; that of --layer by default.",
        ),
    ] = None,
    permutations: options.Permutations = 10_000,
    scores: options.Scores = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="Metric of figures of pruning: f1, auroc, accuracy, loss or perplexity."
        ),
    ] = None,
    seed: options.Seed = 0,
) -> None:
    """Draw a figure and save it to a file."""
    from txray.plots import save_figure
    from txray.preferences import Stage

    if figure == _CURVES:
        drawn = _curves(inputs)
    elif figure in PRUNING_FIGURES:
        drawn = PRUNING_FIGURES[figure](_pruning(figure, inputs), metric)
    else:
        stages = [Stage.load(folder) for folder in inputs]
        plot_args = PlotArgs(
            stages,
            feature_type,
            layer,
            layer_after,
            neuron,
            k,
            min_wins,
            permutations,
            options.read_scores(scores),
            seed,
        )
        drawn = FIGURES[figure](plot_args)
    typer.echo(save_figure(drawn, out))


def _curves(inputs: list[Path]) -> go.Figure:
    from txray.plots import classifier_curves, training_curves
    from txray.training import load_run

    if len(inputs) != 1:
        raise UsageError(f"figure 'curves' shows one training run, got {len(inputs)} folders; give one")
    run = load_run(inputs[0])
    name = inputs[0].name
    if "perplexity" in run.curves.columns:
        return training_curves(run.curves, name=name)
    return classifier_curves(run.curves, name=name)


def _pruning(figure: str, inputs: list[Path]) -> Pruning:
    from txray.pruning import Pruning

    if len(inputs) != 1:
        raise UsageError(f"figure {figure!r} shows one pruning run, got {len(inputs)} folders; give one")
    return Pruning.load(inputs[0])
