"""`txray prune`: ablate neurons, and compare the effect with random sets of the same size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.cli.option_groups import expand_option_groups
from txray.cli.prune_common import ModelOptions, PruneArgs, ScoringOptions, print_effects
from txray.errors import UsageError
from txray.pruning.choices import SHARES, Ranking

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


@app.command()
@expand_option_groups
def export(
    model: TrainedModel,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the smaller model, or a .json file for a mask.")
    ],
    neurons: Annotated[str, typer.Option("--set", help=f"Neurons to prune: {_SET_NOTATION}.")],
    model_options: ModelOptions,
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
    """Export a pruned model: a smaller model (txray's own models only), or a mask file for any model."""
    from txray.models import RecurrentModel, TextModel, save_model
    from txray.models.fingerprint import model_fingerprint
    from txray.pruning import compact_model
    from txray.pruning.masking import MaskTarget

    args = PruneArgs(model, text_format, text, [split], model_options)
    (neuron_set,) = args.sets([neurons])
    n_neurons = MaskTarget.of(args.model, args.layer).n_neurons
    neuron_set.require_size(n_neurons)
    mask = args.mask(neuron_set)
    mask.require_within(n_neurons)
    if not len(mask):
        raise UsageError(f"--set {neurons!r}: has no neurons; nothing to prune")
    if out.suffix == ".json":
        module = args.model.module if isinstance(args.model, TextModel) else args.model
        typer.echo(mask.save(out, model=model_fingerprint(module)))
        return
    if not isinstance(args.model, RecurrentModel):
        raise UsageError(
            f"--out {out}: a {type(args.model).__name__} cannot be made smaller; name a file for its mask, such as "
            f"{out}.json"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: already exists; pass a new folder, so that no model is lost")
    smaller = compact_model(args.model, mask)
    pruned = {"set": neuron_set.name, "neurons": list(mask.neurons), "ablation": mask.ablation}
    save_model(smaller, out, pruned=pruned)
    n_before, n_after = (sum(weight.numel() for weight in one.parameters()) for one in (args.model, smaller))
    typer.echo(
        f"{n_neurons - len(mask)} of {n_neurons} neurons and {n_after:,} of {n_before:,} weights remain; "
        f"smaller model in {out}"
    )


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
