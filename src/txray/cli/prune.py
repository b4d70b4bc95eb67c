"""`txray prune`: which neurons can go, what does it cost, and is the choice better than chance?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from txray.cli import options
from txray.cli.prune_request import (
    Request,
    mask_of,
    print_effects,
    ranking_text,
    require_new,
    run,
    scores_of,
    set_of,
    sets_of,
)
from txray.errors import UsageError

app = typer.Typer(
    help="Silence neurons of a trained model, and hold what that does against random sets of the same size.",
    no_args_is_help=True,
)

Trained = Annotated[
    str,
    typer.Argument(
        help="Snapshot folder, or Hugging Face folder of a model with its head.", show_default=False
    ),
]
Before = Annotated[
    Path | None,
    typer.Option("--before", help="Stage of the model before, on the same text as --stage."),
]
StageOf = Annotated[Path | None, typer.Option("--stage", help="Stage of the model that is pruned.")]
LayerOf = Annotated[
    str | None, typer.Option("--layer", help="That of --stage by default, or rnn where there is none.")
]
Splits = Annotated[
    list[str], typer.Option("--split", help="What to score on; again for each. all: a text without splits.")
]
RankingSplit = Annotated[
    str | None,
    typer.Option(
        "--ranking-split",
        help="The text that activations and gradients come from: train by default, or all.",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes", help="What a Hugging Face model's classes are called in the labels, in order: neg,pos."
    ),
]
Documents = Annotated[int | None, typer.Option("--documents", help="Of each text at most; all by default.")]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", help="Words read of each document; for txray's classifiers 400."),
]
AblationOf = Annotated[
    str, typer.Option("--ablation", help="What silent neurons give: zero, mean or resample.")
]
WhenOf = Annotated[
    str,
    typer.Option(
        "--when",
        help="every-step: recurrences do not see silent neurons; final-state: only the head does not (the published "
        "code).",
    ),
]
Random = Annotated[int, typer.Option("--random", help="Random sets of each size; 0 for none.")]
Resamples = Annotated[int, typer.Option("--resamples", help="Of the documents, for intervals.")]
OutFolder = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for tables; an interrupted command goes on from it.")
]


@app.command()
def table(
    model: Trained,
    kind: options.Format,
    text: options.Text,
    out: OutFolder,
    before: Before = None,
    stage: StageOf = None,
    layer: LayerOf = None,
    choose: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="A state (avoided, confident-gained, ...), top-20:mass, bottom-20:taylor, or numbers 3,17,20-29; "
            "again for each. By default the paper's four: avoided, 20 least and 20 most preferred, gained.",
        ),
    ] = [],  # noqa: B006
    split: Splits = ["train", "test"],  # noqa: B006
    ranking_split: RankingSplit = None,
    documents: Documents = None,
    max_length: MaxLength = None,
    ablation: AblationOf = "zero",
    when: WhenOf = "every-step",
    random: Random = 20,
    resamples: Resamples = 1_000,
    permutations: options.Permutations = 10_000,
    classes: Classes = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Prune sets of neurons, each beside random sets of the same size, with intervals over documents."""
    request = Request(
        model,
        kind,
        text,
        before,
        stage,
        layer,
        classes,
        seed,
        device,
        permutations,
        tokenized=tokenized,
        html=html,
    )
    require_new(out)
    evaluators = request.evaluators(split, documents, max_length)
    evidence = request.evidence(ranking_split or ranking_text(split), documents, max_length)
    sets = sets_of(choose, evidence)
    run(request, sets, evaluators, evidence, ablation, when, random, resamples, out)


@app.command()
def curve(
    model: Trained,
    kind: options.Format,
    text: options.Text,
    out: OutFolder,
    before: Before = None,
    stage: StageOf = None,
    layer: LayerOf = None,
    ranking: Annotated[
        list[str],
        typer.Option(
            "--ranking",
            help="mass, length, wins (need --stage), hellinger, signal (need --before too), magnitude, "
            "activation, wanda, taylor; again for each. By default all that stages and layer allow.",
        ),
    ] = [],  # noqa: B006
    share: Annotated[
        list[float], typer.Option("--share", help="Of the layer that is pruned; again for each.")
    ] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9],  # noqa: B006
    split: Splits = ["test"],  # noqa: B006
    ranking_split: RankingSplit = None,
    documents: Documents = None,
    max_length: MaxLength = None,
    ablation: AblationOf = "zero",
    when: WhenOf = "every-step",
    random: Random = 20,
    resamples: Resamples = 1_000,
    permutations: options.Permutations = 10_000,
    classes: Classes = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Prune more and more of a layer, the least important neurons first, by several rankings and at random."""
    from txray.pruning import curve_sets

    request = Request(
        model,
        kind,
        text,
        before,
        stage,
        layer,
        classes,
        seed,
        device,
        permutations,
        tokenized=tokenized,
        html=html,
    )
    require_new(out)
    evaluators = request.evaluators(split, documents, max_length)
    evidence = request.evidence(ranking_split or ranking_text(split), documents, max_length)
    sets = curve_sets(scores_of(ranking, request, evidence), evidence.layer, share)
    run(request, sets, evaluators, evidence, ablation, when, random, resamples, out)


@app.command()
def export(
    model: Trained,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the smaller model, or a file for a mask: .json.")
    ],
    choose: Annotated[
        str,
        typer.Option(
            "--set", help="As for 'txray prune table': a state, top-20:mass, or numbers 3,17,20-29."
        ),
    ],
    before: Before = None,
    stage: StageOf = None,
    layer: LayerOf = None,
    kind: Annotated[
        str | None, typer.Option("--format", "-f", help="Of the text, where the set or ablation needs one.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", "-t", help="For activations, where the set or ablation needs them."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of that text.")] = "train",
    documents: Documents = None,
    ablation: Annotated[
        str, typer.Option("--ablation", help="zero, mean, or for a mask also resample.")
    ] = "zero",
    when: WhenOf = "every-step",
    permutations: options.Permutations = 10_000,
    classes: Classes = None,
    tokenized: options.Tokenized = False,
    html: options.Html = False,
    seed: options.Seed = 0,
) -> None:
    """Write the pruned model: smaller where it is one of txray's own, else as a mask file."""
    from txray.models import RecurrentModel, TextModel, save_model
    from txray.models.fingerprint import model_fingerprint
    from txray.pruning import compact, save_masks
    from txray.pruning.masking import Target

    request = Request(
        model,
        kind or "",
        text or "",
        before,
        stage,
        layer,
        classes,
        seed,
        "cpu",
        permutations,
        tokenized=tokenized,
        html=html,
    )
    evidence = request.evidence(split, documents)
    chosen = set_of(choose, evidence)
    loaded = request.model
    n = Target.of(loaded, evidence.layer).n_neurons
    chosen.require_size(n)
    mask = mask_of(chosen, evidence, request, ablation, when)
    mask.require_within(n)
    if not len(mask):
        raise UsageError(f"--set {choose!r}: holds no neuron; nothing to prune")
    if out.suffix == ".json":
        module = loaded.module if isinstance(loaded, TextModel) else loaded
        typer.echo(save_masks([mask], out, model=model_fingerprint(module)))
        return
    if not isinstance(loaded, RecurrentModel):
        raise UsageError(
            f"--out {out}: a {type(loaded).__name__} is not made smaller; name a file for its mask, such as {out}.json"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already; name a new folder, so that no model is lost")
    smaller = compact(loaded, mask)
    save_model(smaller, out, pruned={"set": chosen.name, "neurons": list(mask.neurons), "ablation": ablation})
    weights = [sum(each.numel() for each in one.parameters()) for one in (loaded, smaller)]
    typer.echo(
        f"{n - len(mask)} of {n} neurons kept, {weights[1]:,} of {weights[0]:,} weights; smaller model in {out}"
    )


@app.command()
def pool(
    prunings: Annotated[
        list[Path],
        typer.Argument(help="Folders of 'txray prune table', one per training.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Writes the table there: .csv or .parquet.")
    ] = None,
) -> None:
    """Take the same sets in several trainings together: means, intervals, and how many trainings agree."""
    from txray.files import atomic_file
    from txray.pruning import load_pruning
    from txray.pruning import pool as pool_prunings
    from txray.pruning.multiplicity import verdict_counts

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: tables are written as .csv or .parquet; name such a file")
    found = pool_prunings([load_pruning(each) for each in prunings])
    print_effects(
        found,
        ["set", "split", "metric", "trainings", "change", "versus_random", "better", "worse", "verdict"],
    )
    typer.echo(f"effects: {verdict_counts(found)}")
    if out is not None:
        with atomic_file(out) as new:
            if out.suffix == ".csv":
                found.write_csv(new)
            else:
                found.write_parquet(new)
        typer.echo(f"table in {out}")
