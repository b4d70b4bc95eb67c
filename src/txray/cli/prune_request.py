"""What the commands of `txray prune` have in common: a model, its stages, texts, sets, and the result."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from txray.cli import options
from txray.errors import CaptureError, ShapeError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from txray.analysis import Comparison
    from txray.corpus import Corpus
    from txray.pruning import Activity, Evaluator, Evidence, Mask, NeuronSet, Pruning
    from txray.pruning.evaluation import Model


WHOLE = "all"
"""The split of a text that has none."""


class Request:
    """What all of these commands ask for."""

    def __init__(
        self,
        model: str,
        kind: str,
        text: str,
        before: Path | None,
        stage: Path | None,
        layer: str | None,
        classes: str | None,
        seed: int,
        device: str,
        permutations: int,
        *,
        tokenized: bool,
        html: bool,
    ) -> None:
        from txray.models import load_model
        from txray.models.huggingface import CONFIG
        from txray.models.load import HUB
        from txray.preferences import Stage
        from txray.training import device_of

        if bool(kind) != bool(text):
            raise UsageError("a text needs both --format and --text; give the other one, too")
        if before is not None and stage is None:
            raise UsageError("--before without --stage: name the stage of the model that is pruned, too")
        self.stage = None if stage is None else Stage.load(stage)
        self.before = None if before is None else Stage.load(before)
        # A mask of a model without a head is only written, not scored.
        foreign = str(model).startswith(HUB) or (Path(model) / CONFIG).is_file()
        scored = bool(text)
        if classes is not None and not (foreign and scored):
            raise UsageError(
                f"--classes {classes!r}: names the classes of a Hugging Face model that is scored; leave it out"
            )
        names = None if classes is None else classes.split(",")
        self.model: Model = load_model(model, head=foreign and scored, classes=names).to(device_of(device))
        self.layer = layer or self._layer_of_stage() or "rnn"
        self._permutations, self._scored = permutations, scored
        self._open = partial(options.open_corpus, kind, text, tokenized=tokenized, html=html)
        self.seed = seed
        self._evaluators: dict[tuple[str, int | None, int | None], Evaluator] = {}

    def _layer_of_stage(self) -> str | None:
        if self.stage is None:
            return None
        return self.stage.preferences(feature_type=self.stage.feature_types[0]).layer

    def corpus(self, split: str) -> Corpus:
        """One split of the text; `all`: of a text without splits."""
        return self._open(None if split == WHOLE else split, self.seed)

    def evaluators(
        self, splits: list[str], documents: int | None, max_length: int | None
    ) -> dict[str, Evaluator]:
        """What scores the model on each split."""
        from txray.pruning import evaluator

        found = {}
        for split in splits:
            asked = (split, documents, max_length)
            # The training text is scored and ranked by, and read once.
            if asked not in self._evaluators:
                self._evaluators[asked] = evaluator(
                    self.model, self.corpus(split), documents=documents, max_length=max_length
                )
            found[split] = self._evaluators[asked]
        return found

    def comparison(self) -> Comparison | None:
        """Of the two stages, tested where that was asked for; None where there are no two."""
        from txray.analysis import compare, with_significance

        if self.before is None or self.stage is None:
            return None
        found = compare(self.before, self.stage, self.stage.feature_types[0], self.layer)
        if not self._permutations:
            return found
        return with_significance(found, permutations=self._permutations, seed=self.seed)

    def rankings(self) -> list[str]:
        """All that the stages allow."""
        from txray.pruning import RANKINGS
        from txray.pruning.rankings import OF_ONE_STAGE, OF_TWO_STAGES

        return [
            name
            for name in RANKINGS
            if (name not in OF_ONE_STAGE or self.stage is not None)
            and (name not in OF_TWO_STAGES or self.before is not None)
            and (name != "signal" or self._permutations)
        ]

    def evidence(self, split: str, documents: int | None = None, max_length: int | None = None) -> Evidence:
        """What neurons can be ranked by; activations and gradients are of a text that is read where needed."""
        from txray.pruning import Evidence

        self._warn_of_other_models()
        return Evidence(
            self.model,
            self.layer,
            None
            if self.stage is None
            else self.stage.preferences(layer=self.layer, feature_type=self.stage.feature_types[0]),
            self.comparison(),
            self.corpus(split) if self._scored else None,
            (lambda: self.evaluators([split], documents, max_length)[split]) if self._scored else None,
            max_words=_RANKING_WORDS,
        )

    def _warn_of_other_models(self) -> None:
        """Say so where the stage was collected from another model of txray's; a head alone is no other model."""
        from txray.models import RecurrentModel
        from txray.models.fingerprint import model_fingerprint

        if self.stage is None or not isinstance(self.model, RecurrentModel):
            return
        if self.stage.manifest.get("model", {}).get("fingerprint") != model_fingerprint(self.model):
            typer.echo(
                f"txray: warning: stage {self.stage.name!r} was not collected from this model; its neurons may mean "
                "something else",
                err=True,
            )


_RANKING_WORDS = 400_000
"""Words that activations are measured on at most."""


def ranking_text(splits: list[str]) -> str:
    """The text that rankings come from where none is named: what is scored on would flatter them."""
    return WHOLE if WHOLE in splits else "train"


def scores_of(names: list[str], request: Request, evidence: Evidence) -> dict[str, NDArray[np.float64]]:
    """Scores by the rankings that are named; where none are, by all that apply, and the others are told."""
    if names:
        return {name: evidence.scores(name) for name in names}
    found = {}
    for name in request.rankings():
        try:
            found[name] = evidence.scores(name)
        except (UsageError, CaptureError) as error:
            if isinstance(error, UnknownNameError | ShapeError):
                raise
            typer.echo(f"left out: {error}", err=True)
    return found


def sets_of(choose: list[str], evidence: Evidence) -> list[NeuronSet]:
    """The sets that were asked for, or the paper's."""
    from txray.pruning import paper_sets

    if choose:
        return [set_of(each, evidence) for each in choose]
    if evidence.comparison is None:
        raise UsageError(
            "the paper's sets need two stages: give --before and --stage, or say what to prune with --set"
        )
    return paper_sets(evidence.comparison)


def set_of(text: str, evidence: Evidence) -> NeuronSet:
    """One set, as it is written on the command line."""
    from txray.pruning.sets import parsed

    return parsed(text, evidence.layer, evidence.comparison, evidence.scores)


def mask_of(chosen: NeuronSet, evidence: Evidence, request: Request, ablation: str, when: str) -> Mask:
    """The mask of a set."""
    from txray.pruning import Mask

    if ablation in ("mean", "resample"):
        activity = activity_of(evidence, request, ablation)
        return activity.mask(chosen.neurons, ablation, when=when, seed=request.seed)  # type: ignore[arg-type]
    return Mask(chosen.layer, chosen.neurons, ablation, when)  # type: ignore[arg-type]  # the mask checks them


def activity_of(evidence: Evidence, request: Request, ablation: str) -> Activity:
    """Of the stage where it has means, else over the text."""
    from txray.pruning import Activity

    if ablation == "mean" and request.stage is not None and not request.stage.scales.is_empty():
        return Activity.of_stage(request.stage, evidence.layer)
    return evidence.activity


def run(
    request: Request,
    sets: list[NeuronSet],
    evaluators: dict[str, Evaluator],
    evidence: Evidence,
    ablation: str,
    when: str,
    random: int,
    resamples: int,
    out: Path,
) -> None:
    """Prune, print, save."""
    from txray.pruning import prune

    for each in sets:
        if not len(each):
            typer.echo(f"set {each.name}: no neuron is in it", err=True)
    found = prune(
        request.model,
        sets,
        evaluators,
        ablation=ablation,  # type: ignore[arg-type]  # checked there
        when=when,  # type: ignore[arg-type]
        activity=activity_of(evidence, request, ablation) if ablation in ("mean", "resample") else None,
        random=random,
        resamples=resamples,
        seed=request.seed,
        folder=_runs(out),
    )
    for split, told in found.summary["texts"].items():
        line = f"{split}: {told['documents']:,} documents"
        if told["groups"] < told["documents"]:
            line += f" in {told['groups']:,} group{'s' * (told['groups'] > 1)}"
        if told["cut"]:
            line += f", {told['cut']:,} cut"
        if told["skipped"]:
            line += f", {told['skipped']:,} skipped: nothing to read"
        typer.echo(line)
    print_effects(
        found.effects,
        [
            *("set", "neurons", "split", "metric", "unpruned", "above_chance", "value", "change"),
            *("versus_random", "verdict"),
        ],
    )
    _tell(found)
    found.save(out)
    typer.echo(f"tables in {out}")


def _tell(found: Pruning) -> None:
    """Print how many effects differ from random sets, and on which texts the whole model is not better than chance."""
    from txray.pruning.chance import chance_note, levels_of
    from txray.pruning.multiplicity import verdict_counts

    if found.effects["verdict"].is_not_null().any():
        typer.echo(f"effects: {verdict_counts(found.effects)}")
    for split, text in found.summary["texts"].items():
        note = chance_note(levels_of(text))
        if note:
            typer.echo(
                f"{split}: the whole model is not better than chance: {note}; changes of such metrics mean nothing"
            )


def print_effects(frame: pl.DataFrame, columns: list[str]) -> None:
    """A table, differences with their intervals in one cell."""
    import polars as pl

    from txray.cli.tables import print_table

    def spanned(name: str) -> pl.Expr:
        cells = [
            "-"
            if value is None
            else f"{value:+.4f}" + ("" if low is None else f" ({low:+.4f} to {high:+.4f})")
            for value, low, high in frame.select(name, f"{name}_low", f"{name}_high").iter_rows()
        ]
        return pl.Series(name, cells, dtype=pl.String).alias(name)  # type: ignore[return-value]

    shown = frame.with_columns(*(spanned(name) for name in ("change", "versus_random")))
    print_table(shown.select(columns))


def _runs(out: Path) -> Path:
    """Where finished runs are kept, beside the tables: those are replaced as a whole."""
    return out.with_name(f"{out.name}.runs")


def require_new(out: Path) -> None:
    """Refuse a folder that holds something else, before the work."""
    from txray.files import require_replaceable
    from txray.pruning.result import SUMMARY

    if not out.name:
        raise UsageError(f"--out {out}: name a folder to be made, not the one that you are in")
    require_replaceable(out, (SUMMARY,))
