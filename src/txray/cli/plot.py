"""`txray plot`: a figure from saved stages, a training run or a pruning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.figures import FIGURES, PRUNING_FIGURES, PlotArgs, PlotOptions
from txray.cli.option_groups import expand_option_groups
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


@expand_option_groups
def plot(
    figure: Annotated[
        str, typer.Argument(help=f"One of {', '.join(_KNOWN)}.", callback=_known_figure, show_default=False)
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Stage folders; for curves: the folder of a training; for pruning figures: a folder by 'txray prune'.",
            show_default=False,
        ),
    ],
    out: options.FigureFile,
    plot_options: PlotOptions,
    metric: Annotated[
        str | None, typer.Option(help="Metric of pruning figures: f1, auroc, accuracy, loss or perplexity.")
    ] = None,
) -> None:
    """Draw a figure and save it to a file."""
    from txray import plots
    from txray.preferences import Stage

    if figure == _CURVES:
        drawn = _curves(inputs)
    elif figure in PRUNING_FIGURES:
        drawn = getattr(plots, PRUNING_FIGURES[figure])(_pruning(figure, inputs), metric)
    else:
        stages = [Stage.load(folder) for folder in inputs]
        drawn = FIGURES[figure](PlotArgs(stages, plot_options))
    typer.echo(plots.save_figure(drawn, out))


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
