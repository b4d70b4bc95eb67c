"""`txray prune`: ablate neurons, and compare the effect with random sets of the same size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.prune_advise import advise
from txray.cli.prune_common import ModelOptions, PruneArgs, ScoringOptions
from txray.cli.prune_print import print_effects
from txray.errors import UsageError
from txray.pruning.choices import SHARES, Ranking

if TYPE_CHECKING:
    from txray.pruning import Mask

app = typer.Typer(
    help="Ablate neurons of a trained model, and compare the effect with random sets of the same size.",
    no_args_is_help=True,
)

TrainedModel = Annotated[
    str,
    typer.Argument(
        help="Snapshot folder, or folder of a Hugging Face model with its head.", show_default=False
    ),
]
Splits = Annotated[
    list[str],
    typer.Option(
        "--split", help="Split of the text to score on; repeat for several. all: a text without splits."
    ),
]
Shares = Annotated[list[float], typer.Option(help="Share of the layer to prune; repeat for several.")]
_SET_NOTATION = (
    "a state (avoided, confident-gained, ...), top-20:mass, bottom-20:taylor, or numbers 3,17,20-29"
)


@app.command()
@expand_option_groups
def table(
    model: TrainedModel,
    text_format: options.Format,
    text: options.Text,
    scoring: ScoringOptions,
    model_options: ModelOptions,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            help=f"Neurons to ablate: {_SET_NOTATION}; repeat for several sets. By default the paper's four: avoided, "
            "20 least and 20 most preferred, gained.",
        ),
    ] = [],  # noqa: B006
    split: Splits = ["train", "test"],  # noqa: B006
) -> None:
    """Prune sets of neurons and compare each with random sets of the same size, with intervals over documents."""
    args = PruneArgs(model, text_format, text, split, model_options, scoring)
    args.prune(args.sets(sets))


@app.command()
@expand_option_groups
def curve(
    model: TrainedModel,
    text_format: options.Format,
    text: options.Text,
    scoring: ScoringOptions,
    model_options: ModelOptions,
    ranking: Annotated[
        list[str],
        typer.Option(
            parser=options.list_of(Ranking, "ranking"),
            metavar=options.metavar(Ranking),
            help="Ranking of the neurons; repeat for several. mass, length and wins need --stage; hellinger and signal "
            "also need --before. By default all that apply.",
        ),
    ] = [],  # noqa: B006
    share: Shares = [*SHARES],  # noqa: B006
    split: Splits = ["test"],  # noqa: B006
) -> None:
    """Prune growing shares of a layer, the least important neurons first, by several rankings and at random."""
    from txray.pruning import curve_sets

    args = PruneArgs(model, text_format, text, split, model_options, scoring)
    args.prune(curve_sets(args.importance(ranking), args.layer, share))


app.command()(advise)


@app.command()
@expand_option_groups
def export(
    model: TrainedModel,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the smaller model, or a .json file for a mask.")
    ],
    model_options: ModelOptions,
    neurons: Annotated[
        str | None, typer.Option("--set", help=f"Neurons to prune: {_SET_NOTATION}.", show_default=False)
    ] = None,
    mask: Annotated[
        list[Path], typer.Option(help="Mask file to apply instead of --set; repeat for several layers.")
    ] = [],  # noqa: B006
    advice: Annotated[
        Path | None,
        typer.Option(help="Folder of 'txray prune advise', whose neurons are removed instead of --set."),
    ] = None,
    text_format: Annotated[
        options.TextFormat | None,
        typer.Option("--format", "-f", help="Format of the text, if the set or the ablation needs one."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", "-t", help="Text for activations, if the set or the ablation needs them."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the text.")] = "train",
) -> None:
    """Export a pruned model: a smaller model (txray, BERT, GPT-2, Llama types), or a mask file for any model."""
    from txray.models import TextModel
    from txray.models.fingerprint import model_fingerprint
    from txray.pruning import export_model

    if (neurons is not None) + bool(mask) + (advice is not None) != 1:
        raise UsageError("export: pass one of --set, --mask and --advice")
    if neurons is None:
        if out.suffix == ".json":
            raise UsageError(f"--out {out}: --mask and --advice write a smaller model; pass a folder")
        typer.echo(export_model(model, _saved_masks(model, mask, advice), out))
        return
    args = PruneArgs(model, text_format, text, [split], model_options)
    (neuron_set,) = args.sets([neurons])
    of_set = args.checked_mask(neuron_set)
    if out.suffix == ".json":
        module = args.model.module if isinstance(args.model, TextModel) else args.model
        typer.echo(of_set.save(out, model=model_fingerprint(module)))
        return
    typer.echo(export_model(model, [of_set], out))


def _saved_masks(model: str, files: list[Path], advice: Path | None) -> list[Mask]:
    """Return the masks of files or of an advice, which must be for this model."""
    from txray.models import TextModel, load_model
    from txray.models.fingerprint import model_fingerprint
    from txray.pruning import Advice, Mask

    if advice is None:
        return [Mask.load(file) for file in files]
    loaded = Advice.load(advice)
    # The advice was given on the model with its head, which was loaded for its task.
    scored = load_model(model, head=_has_head(model))
    module = scored.module if isinstance(scored, TextModel) else scored
    if loaded.summary["model"] != model_fingerprint(module):
        raise UsageError(
            f"{advice}: is advice on another model than {model}; run 'txray prune advise' on this one"
        )
    return loaded.masks()


def _has_head(model: str) -> bool:
    from txray.models.folders import is_model_folder
    from txray.models.load import is_on_hub

    return is_on_hub(model) or is_model_folder(Path(model))


@app.command()
def pool(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of 'txray prune table', one per training run.", show_default=False),
    ],
    out: options.TableFile = None,
) -> None:
    """Pool the same sets over several training runs: means, intervals, and the number of runs that agree."""
    from txray.pruning import Pruning, pool_runs
    from txray.pruning.multiplicity import verdict_counts

    pooled = pool_runs([Pruning.load(folder) for folder in folders])
    columns = ["set", "split", "metric", "trainings", "change", "versus_random", "better", "worse", "verdict"]
    print_effects(pooled, columns)
    typer.echo(f"effects: {verdict_counts(pooled)}")
    if out is not None:
        options.write_table(pooled, out)
        typer.echo(f"table in {out}")
