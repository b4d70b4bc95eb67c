"""Shared parts of the commands of `txray prune`: options, model, stages, texts, sets, and printing of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.errors import CaptureError, ShapeError, UnknownNameError, UsageError
from txray.pruning.choices import Ablation, Scope

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from txray.analysis import Comparison
    from txray.corpus import Corpus
    from txray.pruning import ActivationStats, Evaluator, Mask, NeuronSet, Pruning, RankingInputs
    from txray.pruning.evaluation import Model

WHOLE = "all"
"""The split of a text without splits."""

_RANKING_WORDS = 400_000
"""Maximum number of words that activations are measured on."""


@dataclass
class ModelOptions:
    """Options of all commands that prune a model."""

    before: Annotated[
        Path | None,
        typer.Option("--before", help="Stage of the model before training, on the same text as --stage."),
    ] = None
    stage: Annotated[Path | None, typer.Option("--stage", help="Stage of the model to prune.")] = None
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Layer to prune; by default that of --stage, or rnn without a stage."),
    ] = None
    ablation: Annotated[
        Ablation,
        typer.Option("--ablation", help="Values that replace the activations of ablated neurons."),
    ] = "zero"
    scope: Annotated[
        Scope,
        typer.Option(
            "--scope",
            help="every-step: recurrent layers see the replaced values, too; final-state: only the head of the "
            "classifier does, as in the published code.",
        ),
    ] = "every-step"
    max_documents: Annotated[
        int | None,
        typer.Option("--max-documents", help="Maximum number of documents per text; all by default."),
    ] = None
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Labels of the classes of a Hugging Face model, in the order of its outputs, such as neg,pos.",
        ),
    ] = None
    permutations: options.Permutations = 10_000
    tokenized: options.Tokenized = False
    html: options.Html = False
    seed: options.Seed = 0


@dataclass
class ScoringOptions:
    """Options of the commands that score a pruned model."""

    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the tables; rerun an interrupted command with the same one."
        ),
    ]
    ranking_split: Annotated[
        str | None,
        typer.Option(
            "--ranking-split",
            help="Split of the text for activations and gradients; train by default, or all if --split is all.",
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Maximum number of words per document; 400 for txray's classifiers by default.",
        ),
    ] = None
    n_random_sets: Annotated[
        int, typer.Option("--random-sets", help="Number of random sets of each size; 0 for none.")
    ] = 20
    resamples: Annotated[
        int, typer.Option("--resamples", help="Number of bootstrap samples of the documents, for intervals.")
    ] = 1_000
    device: options.Device = "auto"


class PruneArgs:
    """The model, stages and texts that the options name.

    Attributes:
        options: options of the command.
        model: model to prune.
        layer: name of the layer.
        stage, before: stages, or None.
    """

    def __init__(
        self, model: str, text_format: str, text: str, model_options: ModelOptions, device: str = "cpu"
    ) -> None:
        from txray.models import load_model
        from txray.models.huggingface import CONFIG
        from txray.models.load import HUB
        from txray.preferences import Stage
        from txray.training import device_of

        self.options = model_options
        before, stage, classes = model_options.before, model_options.stage, model_options.classes
        if bool(text_format) != bool(text):
            raise UsageError("a text needs both --format and --text; pass the other one, too")
        if before is not None and stage is None:
            raise UsageError("--before without --stage: pass the stage of the model to prune, too")
        self.stage = None if stage is None else Stage.load(stage)
        self.before = None if before is None else Stage.load(before)
        # Without a text the model is not scored, so it needs no head.
        is_hugging_face = str(model).startswith(HUB) or (Path(model) / CONFIG).is_file()
        self._is_scored = bool(text)
        if classes is not None and not (is_hugging_face and self._is_scored):
            raise UsageError(
                f"--classes {classes!r}: names the classes of a Hugging Face model that is scored; leave it out"
            )
        class_names = None if classes is None else classes.split(",")
        loaded = load_model(model, head=is_hugging_face and self._is_scored, classes=class_names)
        self.model: Model = loaded.to(device_of(device))
        self.layer = model_options.layer or self._layer_of_stage() or "rnn"
        self._open = partial(
            options.open_corpus,
            text_format,
            text,
            tokenized=model_options.tokenized,
            html=model_options.html,
        )
        self._evaluators: dict[str, Evaluator] = {}

    def _layer_of_stage(self) -> str | None:
        if self.stage is None:
            return None
        return self.stage.preferences(feature_type=self.stage.feature_types[0]).layer

    def corpus(self, split: str) -> Corpus:
        """Return one split of the text; `all`: a text without splits."""
        return self._open(None if split == WHOLE else split, self.options.seed)

    def evaluators(self, splits: Sequence[str], max_length: int | None) -> dict[str, Evaluator]:
        """Return the evaluator of the model on each split; each split is read once."""
        from txray.pruning import evaluator

        limits = {"max_documents": self.options.max_documents, "max_length": max_length}
        for split in splits:
            if split not in self._evaluators:
                self._evaluators[split] = evaluator(self.model, self.corpus(split), **limits)
        return {split: self._evaluators[split] for split in splits}

    def comparison(self) -> Comparison | None:
        """Return the comparison of the stages, tested unless --permutations is 0; None without two stages."""
        from txray.analysis import compare

        if self.before is None or self.stage is None:
            return None
        return compare(
            self.before,
            self.stage,
            layer=self.layer,
            feature_type=self.stage.feature_types[0],
            permutations=self.options.permutations,
            seed=self.options.seed,
        )

    def rankings(self) -> list[str]:
        """Return the rankings that the stages allow."""
        from txray.pruning import RANKINGS
        from txray.pruning.rankings import COMPARISON_RANKINGS, STAGE_RANKINGS

        return [
            name
            for name in RANKINGS
            if (name not in STAGE_RANKINGS or self.stage is not None)
            and (name not in COMPARISON_RANKINGS or self.before is not None)
            and (name != "signal" or self.options.permutations)
        ]

    def ranking_inputs(self, split: str, max_length: int | None = None) -> RankingInputs:
        """Return the inputs of rankings; activations and gradients are computed on `split` when needed."""
        from txray.pruning import RankingInputs

        self._warn_of_other_models()
        return RankingInputs(
            self.model,
            self.layer,
            None
            if self.stage is None
            else self.stage.preferences(layer=self.layer, feature_type=self.stage.feature_types[0]),
            self.comparison(),
            self.corpus(split) if self._is_scored else None,
            (lambda: self.evaluators([split], max_length)[split]) if self._is_scored else None,
            max_words=_RANKING_WORDS,
        )

    def _warn_of_other_models(self) -> None:
        """Warn if the stage was collected from another txray model; one without the head is the same."""
        from txray.models import RecurrentModel
        from txray.models.fingerprint import model_fingerprint

        if self.stage is None or not isinstance(self.model, RecurrentModel):
            return
        if self.stage.manifest.get("model", {}).get("fingerprint") != model_fingerprint(self.model):
            typer.echo(
                f"txray: warning: stage {self.stage.name!r} was not collected from this model; its neurons may be "
                "different ones",
                err=True,
            )


def ranking_split(splits: Sequence[str]) -> str:
    """Return the default split for rankings: a ranking computed on the text it is scored on looks too good."""
    return WHOLE if WHOLE in splits else "train"


def importance_by_ranking(
    names: Sequence[str], args: PruneArgs, ranking_inputs: RankingInputs
) -> dict[str, NDArray[np.float64]]:
    """Return the importance of neurons by ranking; without names, by all that apply, and print those that do not."""
    if names:
        return {name: ranking_inputs.importance(name) for name in names}
    importance = {}
    for name in args.rankings():
        try:
            importance[name] = ranking_inputs.importance(name)
        except (UsageError, CaptureError) as error:
            if isinstance(error, UnknownNameError | ShapeError):
                raise
            typer.echo(f"left out: {error}", err=True)
    return importance


def parse_sets(texts: Sequence[str], ranking_inputs: RankingInputs) -> list[NeuronSet]:
    """Return the sets named on the command line, or those of the paper."""
    from txray.pruning import paper_sets
    from txray.pruning.set_notation import parse_set

    if texts:
        comparison, importance = ranking_inputs.comparison, ranking_inputs.importance
        return [parse_set(text, ranking_inputs.layer, comparison, importance) for text in texts]
    if ranking_inputs.comparison is None:
        raise UsageError(
            "the paper's sets need two stages: pass --before and --stage, or name the neurons with --set"
        )
    return paper_sets(ranking_inputs.comparison)


def activation_stats(args: PruneArgs, ranking_inputs: RankingInputs) -> ActivationStats | None:
    """Return the statistics that the ablation needs: of the stage if it has means, else over the text."""
    from txray.pruning import ActivationStats

    if args.options.ablation == "zero":
        return None
    if args.options.ablation == "mean" and args.stage is not None and not args.stage.scales.is_empty():
        return ActivationStats.from_stage(args.stage, ranking_inputs.layer)
    return ranking_inputs.activation_stats


def mask_of(neurons: NeuronSet, args: PruneArgs, ranking_inputs: RankingInputs) -> Mask:
    """Return the mask of a set."""
    from txray.pruning import Mask

    stats, chosen = activation_stats(args, ranking_inputs), args.options
    if stats is None:
        return Mask(neurons.layer, neurons.neurons, chosen.ablation, chosen.scope)
    return stats.mask(neurons.neurons, chosen.ablation, scope=chosen.scope, seed=chosen.seed)


def prune_and_save(
    args: PruneArgs,
    sets: list[NeuronSet],
    evaluators: Mapping[str, Evaluator],
    ranking_inputs: RankingInputs,
    scoring: ScoringOptions,
) -> None:
    """Prune, print the effects, and save them."""
    from txray.pruning import prune

    for neurons in sets:
        if not len(neurons):
            typer.echo(f"set {neurons.name}: has no neurons", err=True)
    out = scoring.out
    pruning = prune(
        args.model,
        sets,
        evaluators,
        ablation=args.options.ablation,
        scope=args.options.scope,
        activation_stats=activation_stats(args, ranking_inputs),
        n_random_sets=scoring.n_random_sets,
        resamples=scoring.resamples,
        seed=args.options.seed,
        # Beside the tables, because their folder is replaced as a whole.
        folder=out.with_name(f"{out.name}.runs"),
    )
    for split, text in pruning.summary["texts"].items():
        line = f"{split}: {text['documents']:,} documents"
        if text["groups"] < text["documents"]:
            line += f" in {text['groups']:,} group{'s' * (text['groups'] > 1)}"
        if text["truncated"]:
            line += f", {text['truncated']:,} truncated"
        if text["skipped"]:
            line += f", {text['skipped']:,} skipped: nothing to read"
        typer.echo(line)
    columns = ["set", "neurons", "split", "metric", "unpruned", "above_chance", "value", "change"]
    print_effects(pruning.effects, [*columns, "versus_random", "verdict"])
    _print_verdicts(pruning)
    pruning.save(out)
    typer.echo(f"tables in {out}")


def _print_verdicts(pruning: Pruning) -> None:
    """Print the number of effects that differ from random sets, and the texts on which the model is at chance."""
    from txray.pruning.chance import chance_note, levels_of
    from txray.pruning.multiplicity import verdict_counts

    if pruning.effects["verdict"].is_not_null().any():
        typer.echo(f"effects: {verdict_counts(pruning.effects)}")
    for split, text in pruning.summary["texts"].items():
        note = chance_note(levels_of(text))
        if note:
            typer.echo(
                f"{split}: the unpruned model is not better than chance: {note}; changes of such metrics are "
                "meaningless"
            )


def print_effects(effects: pl.DataFrame, columns: list[str]) -> None:
    """Print a table with each difference and its interval in one cell."""
    import polars as pl

    from txray.cli.tables import print_table

    def with_interval(name: str) -> pl.Series:
        cells = [
            "-"
            if value is None
            else f"{value:+.4f}" + ("" if low is None else f" ({low:+.4f} to {high:+.4f})")
            for value, low, high in effects.select(name, f"{name}_low", f"{name}_high").iter_rows()
        ]
        return pl.Series(name, cells, dtype=pl.String)

    print_table(effects.with_columns(map(with_interval, ("change", "versus_random"))).select(columns))


def require_new(out: Path) -> None:
    """Refuse a folder with other content, before any work."""
    from txray.files import require_replaceable
    from txray.pruning.result import SUMMARY

    if not out.name:
        raise UsageError(f"--out {out}: pass a new folder, not the working directory")
    require_replaceable(out, (SUMMARY,))
