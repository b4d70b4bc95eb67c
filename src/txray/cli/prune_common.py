"""Shared parts of the commands of `txray prune`: options, model, stages, texts, sets, and printing of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from txray.cli import options
from txray.cli.prune_print import print_effects, print_verdicts
from txray.errors import CaptureError, ShapeError, UnknownNameError, UsageError
from txray.pruning.choices import Ablation, Scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from txray.corpus import Corpus
    from txray.preferences import Preferences, Stage
    from txray.pruning import ActivationStats, Evaluator, Mask, NeuronSet, RankingInputs
    from txray.pruning.evaluation import Model

WHOLE = "all"
"""The split of a text without splits."""

_RANKING_WORDS = 400_000
"""Maximum number of words that activations are measured on."""


@dataclass
class ModelOptions:
    """Options of all commands that prune a model."""

    before: Annotated[
        Path | None, typer.Option(help="Stage of the model before training, on the same text as --stage.")
    ] = None
    stage: Annotated[Path | None, typer.Option(help="Stage of the model to prune.")] = None
    layer: Annotated[
        str | None,
        typer.Option(help="Layer to prune; by default the layer of --stage, or rnn if there is no stage."),
    ] = None
    ablation: Annotated[
        Ablation, typer.Option(help="Values that replace the activations of ablated neurons.")
    ] = "zero"
    scope: Annotated[
        Scope,
        typer.Option(
            help="every-step: the recurrence sees the replaced values as well; final-state: only the head of the "
            "classifier sees them, as in the published code."
        ),
    ] = "every-step"
    max_documents: Annotated[
        int | None, typer.Option(help="Maximum number of documents per text; all by default.")
    ] = None
    classes: Annotated[
        str | None,
        typer.Option(
            help="Labels of the classes of a Hugging Face model, in the order of its outputs, such as neg,pos."
        ),
    ] = None
    base: options.Base = None
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
            "--out", "-o", help="Folder for the tables. If interrupted, rerun the same command to resume."
        ),
    ]
    ranking_split: Annotated[
        str | None,
        typer.Option(
            help="Split of the text for activations and gradients; train by default, or all if --split is all."
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(help="Maximum number of words per document; 400 for txray's classifiers by default."),
    ] = None
    n_random_sets: Annotated[
        int, typer.Option("--random-sets", help="Number of random sets of each size; 0 for none.")
    ] = 200
    smallest_effect: Annotated[
        float | None,
        typer.Option(
            help="Smallest difference of interest, in percentage points of accuracy, F1 and AUROC, else in percent; "
            "smaller ones are called the same."
        ),
    ] = None
    resamples: Annotated[
        int, typer.Option(help="Number of bootstrap samples of the documents, for intervals.")
    ] = 1_000
    device: options.Device = "auto"


class PruneArgs:
    """The model, stages and texts that the options name.

    Attributes:
        options: options of the model.
        scoring: options of the commands that score it; None for those that do not.
        model: model to prune.
        layer: name of the layer.
        stage, before: stages, or None.
    """

    def __init__(
        self,
        model: str,
        text_format: options.TextFormat | None,
        text: str | None,
        splits: Sequence[str],
        model_options: ModelOptions,
        scoring: ScoringOptions | None = None,
    ) -> None:
        from txray.models import load_model
        from txray.models.folders import is_model_folder
        from txray.models.load import is_on_hub
        from txray.preferences import Stage
        from txray.training import device_of

        self.options, self.scoring = model_options, scoring
        self._splits = splits
        if scoring is not None:
            from txray.pruning.verdicts import require_smallest_effect

            _require_new(scoring.out)
            require_smallest_effect(scoring.smallest_effect)
        before, stage, classes = model_options.before, model_options.stage, model_options.classes
        if bool(text_format) != bool(text):
            raise UsageError("a text needs both --format and --text; add the missing one")
        if before is not None and stage is None:
            raise UsageError("--before without --stage: add the stage of the model to prune")
        self.stage = None if stage is None else Stage.load(stage)
        self.before = None if before is None else Stage.load(before)
        self._source = None
        if text_format and text:
            self._source = options.SourceOptions(
                text_format, text, model_options.tokenized, model_options.html, model_options.seed
            )
        # Without a text the model is not scored, so it needs no head.
        has_head = bool(text) and (is_on_hub(model) or is_model_folder(Path(model)))
        if classes is not None and not has_head:
            raise UsageError(
                f"--classes {classes!r}: names the classes of a Hugging Face model that is scored; leave it out"
            )
        loaded = load_model(
            model,
            head=has_head,
            classes=None if classes is None else classes.split(","),
            base=model_options.base,
        )
        self.model: Model = loaded.to(device_of("cpu" if scoring is None else scoring.device))
        of_stage = None if self.stage is None else self._preferences(self.stage, None).layer
        self.layer = model_options.layer or of_stage or _default_layer(self.model)
        self._evaluators: dict[str, Evaluator] = {}
        for split in splits if scoring is not None else ():
            self._evaluator(split)  # a text that cannot be scored on is refused before stages are compared

    def _preferences(self, stage: Stage, layer: str | None) -> Preferences:
        return stage.preferences(layer=layer, feature_type=stage.feature_types[0])

    def _corpus(self, split: str) -> Corpus | None:
        """Return one split of the text; `all`: a text without splits; None without a text."""
        return None if self._source is None else self._source.open_split(None if split == WHOLE else split)

    def _evaluator(self, split: str) -> Evaluator:
        """Return the evaluator of the model on a split, which is read once."""
        from txray.pruning import evaluator

        if split not in self._evaluators:
            corpus = self._corpus(split)
            assert corpus is not None  # scoring needs a text
            self._evaluators[split] = evaluator(
                self.model,
                corpus,
                max_documents=self.options.max_documents,
                max_length=None if self.scoring is None else self.scoring.max_length,
            )
        return self._evaluators[split]

    @cached_property
    def ranking_inputs(self) -> RankingInputs:
        """The inputs of rankings; activations and gradients are computed when needed."""
        from txray.analysis import compare
        from txray.pruning import RankingInputs

        preferences = comparison = None
        if self.stage is not None:
            self._warn_of_other_models(self.stage)
            preferences = self._preferences(self.stage, self.layer)
            if self.before is not None:
                comparison = compare(
                    self.before,
                    self.stage,
                    layer=self.layer,
                    feature_type=preferences.feature_type,
                    permutations=self.options.permutations,
                    seed=self.options.seed,
                )
        if self.scoring is None:
            split = self._splits[0]
        else:  # a ranking computed on the text it is scored on looks too good
            split = self.scoring.ranking_split or (WHOLE if WHOLE in self._splits else "train")
        corpus = self._corpus(split)
        evaluator = None if corpus is None else partial(self._evaluator, split)
        return RankingInputs(
            self.model, self.layer, preferences, comparison, corpus, evaluator, _RANKING_WORDS
        )

    def _warn_of_other_models(self, stage: Stage) -> None:
        """Warn if a stage was collected from another txray model; one without the head is the same."""
        from txray.models import RecurrentModel
        from txray.models.fingerprint import model_fingerprint

        fingerprint = stage.manifest.get("model", {}).get("fingerprint")
        if isinstance(self.model, RecurrentModel) and fingerprint != model_fingerprint(self.model):
            typer.echo(
                f"txray: warning: stage {stage.name!r} was not collected from this model; its neurons may be "
                "different ones",
                err=True,
            )

    def sets(self, texts: Sequence[str]) -> list[NeuronSet]:
        """Return the sets named on the command line, or those of the paper."""
        from txray.pruning import paper_sets
        from txray.pruning.set_notation import parse_set

        comparison, importance = self.ranking_inputs.comparison, self.ranking_inputs.importance
        if texts:
            return [parse_set(text, self.layer, comparison, importance) for text in texts]
        if comparison is None:
            raise UsageError(
                "the paper's sets need two stages: pass --before and --stage, or name the neurons with --set"
            )
        return paper_sets(comparison)

    def importance(self, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Return the importance by ranking; without names, by all that apply, and print those that do not."""
        if names:
            return {name: self.ranking_inputs.importance(name) for name in names}
        importance = {}
        for name in self._rankings():
            try:
                importance[name] = self.ranking_inputs.importance(name)
            except (UsageError, CaptureError) as error:
                if isinstance(error, UnknownNameError | ShapeError):
                    raise
                typer.echo(f"left out: {error}", err=True)
        return importance

    def _rankings(self) -> list[str]:
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

    @cached_property
    def _activation_stats(self) -> ActivationStats | None:
        """The statistics that the ablation needs: of the stage if it has means, else over the text."""
        from txray.pruning import ActivationStats

        if self.options.ablation == "zero":
            return None
        if self.options.ablation == "mean" and self.stage is not None and not self.stage.scales.is_empty():
            return ActivationStats.from_stage(self.stage, self.layer)
        return self.ranking_inputs.activation_stats

    def mask(self, neurons: NeuronSet) -> Mask:
        """Return the mask of a set."""
        from txray.pruning import Mask

        stats, ablation, scope = self._activation_stats, self.options.ablation, self.options.scope
        if stats is None:
            return Mask(neurons.layer, neurons.neurons, ablation, scope)
        return stats.mask(neurons.neurons, ablation, scope=scope, seed=self.options.seed)

    def checked_mask(self, neurons: NeuronSet) -> Mask:
        """Return the mask of a set, which must have neurons and leave some of its layer."""
        from txray.pruning.masking import MaskTarget

        n_neurons = MaskTarget.of(self.model, self.layer).n_neurons
        neurons.require_size(n_neurons)
        mask = self.mask(neurons)
        mask.require_within(n_neurons)
        if not len(mask):
            raise UsageError(f"--set {neurons.name!r}: has no neurons; nothing to prune")
        return mask

    def prune(self, sets: list[NeuronSet]) -> None:
        """Prune, print the effects, and save them; only for commands that score the model."""
        from txray.pruning import prune

        assert self.scoring is not None
        for neurons in sets:
            if not len(neurons):
                typer.echo(f"set {neurons.name}: has no neurons", err=True)
        out = self.scoring.out
        pruning = prune(
            self.model,
            sets,
            {split: self._evaluator(split) for split in self._splits},
            ablation=self.options.ablation,
            scope=self.options.scope,
            activation_stats=self._activation_stats,
            n_random_sets=self.scoring.n_random_sets,
            resamples=self.scoring.resamples,
            seed=self.options.seed,
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
        print_verdicts(pruning, self.scoring.smallest_effect)
        pruning.save(out)
        typer.echo(f"tables in {out}")


def _require_new(out: Path) -> None:
    """Refuse a folder with other content, before any work."""
    from txray.files import require_replaceable
    from txray.pruning.result import SUMMARY

    if not out.name:
        raise UsageError(f"--out {out}: pass a new folder, not the working directory")
    require_replaceable(out, (SUMMARY,))


def _default_layer(model: Model) -> str:
    """Return `rnn`, the layer of txray's own models.

    Raises:
        UsageError: a transformer; the message names the MLP neurons of a block.
    """
    from txray.capture import layer_names, layer_roles
    from txray.models import TextModel

    if not isinstance(model, TextModel) or "rnn" in layer_names(model.module):
        return "rnn"
    layers = [layer for role in layer_roles(model) if role.role == "MLP neurons" for layer in role.layers]
    suggestion = f"such as the MLP neurons --layer {layers[-1]}" if layers else "as listed by txray layers"
    raise UsageError(f"--layer: the model has no layer 'rnn'; name one layer, {suggestion}")
