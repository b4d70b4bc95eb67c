"""The paper's table 2, with controls: pruning of the classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis import Comparison
from txray.corpus import Corpus
from txray.experiment.run import LAYER, ExperimentResult, Log, first_reviews
from txray.experiment.sources import Sources
from txray.files import remove_temporaries
from txray.models import load_snapshot

if TYPE_CHECKING:
    from txray.pruning import Evaluator, Pruning

RANKINGS = ("mass", "signal", "magnitude", "activation", "wanda", "taylor")
"""Rankings of the sparsity curves."""

_PAPER = {
    "A: avoided": "+3.65 / +2.80",
    "B:": "-3.79 / 0.00",
    "C:": "-4.99 / -1.43",
    "D: gained": "-3.71 / -3.87",
}
"""Prefix of the name of a set -> relative change of F1 in percent, train / test."""


@dataclass(frozen=True)
class PruningResults:
    """Effects of pruning the fine-tuned classifier.

    Attributes:
        sets: effects of the paper's sets A to D, on training and test reviews.
        curves: effects of pruning growing shares of the layer, on test reviews.
    """

    sets: Pruning
    curves: Pruning


def prune_classifier(
    result: ExperimentResult, supervision: Comparison, sources: Sources, *, device: str = "auto", log: Log
) -> PruningResults:
    """Prune the fine-tuned classifier; an interrupted run resumes.

    Args:
        result: the experiment.
        supervision: tested comparison of its stages before and after fine-tuning.
        sources: sources of the text.
        device: `auto`, `cpu` or `cuda`.
        log: receives one-line progress messages.

    Source:
        Rethmeier et al. 2020, table 2; the controls are ours.
    """
    from txray.pruning import RankingInputs, curve_sets, evaluator, paper_sets, prune
    from txray.training import device_of

    settings, folder = result.settings, result.folder / "pruning"
    if folder.is_dir():
        remove_temporaries(folder)
    model = load_snapshot(result.fine_tuning.snapshots[result.fine_tuning.best_epoch])
    model.to(device_of(device))
    train, test = (first_reviews(settings, sources, split) for split in ("train", "test"))

    def evaluator_on(corpus: Corpus, max_documents: int) -> Evaluator:
        return evaluator(model, corpus, max_documents=max_documents, max_length=settings.max_length)

    log("pruning the classifier: sets")
    texts = {
        "train": evaluator_on(train, settings.pruning_reviews),
        "test": evaluator_on(test, settings.pruning_reviews),
    }
    common: dict[str, Any] = {
        "n_random_sets": settings.random_sets,
        "seed": settings.seed,
        "folder": folder / "runs",
    }
    sets = prune(model, paper_sets(supervision), texts, **common)
    sets.save(folder / "sets")
    log("pruning the classifier: curves")
    ranking_inputs = RankingInputs(
        model,
        LAYER,
        supervision.after,
        supervision,
        train,
        evaluator_on(train, settings.curve_reviews),
        settings.collection_words,
    )
    shares = curve_sets({name: ranking_inputs.importance(name) for name in RANKINGS}, LAYER)
    curves = prune(model, shares, {"test": evaluator_on(test, settings.curve_reviews)}, **common)
    curves.save(folder / "curves")
    return PruningResults(sets, curves)


def pruning_table(pruning: PruningResults, supervision: Comparison) -> str:
    """Return a Markdown table of the paper's effects beside ours, with intervals and random sets of the same size.

    Args:
        pruning: effects of pruning the classifier.
        supervision: comparison whose later stage gives the shares of activation mass.
    """
    from txray.pruning.chance import chance_note, levels_of
    from txray.pruning.multiplicity import corrected
    from txray.pruning.neuron_sets import shares_of_mass

    shares = dict(shares_of_mass(supervision, pruning.sets.neuron_sets()).iter_rows())
    lines = [
        "| pruned set | neurons | share of activation mass | paper: F1, train / test | split | F1 "
        "| relative change of F1 (95% interval) | random sets of the same size | against them (95% interval) "
        "| AUROC, change (95% interval) | verdict by F1 (5% FDR) | by AUROC (5% FDR) |",
        "|" + " --- |" * 12,
    ]
    effects = pruning.sets.effects
    verdicts = {
        metric: {
            (row["set"], row["split"]): row["corrected_verdict"]
            for row in corrected(effects.filter(pl.col("metric") == metric)).iter_rows(named=True)
        }
        for metric in ("f1", "auroc")
    }
    for (name, split), group in effects.group_by("set", "split", maintain_order=True):
        f1, auroc = (
            group.row(by_predicate=pl.col("metric") == metric, named=True) for metric in ("f1", "auroc")
        )
        paper = next((change for prefix, change in _PAPER.items() if str(name).startswith(prefix)), "-")
        cells = [str(name), str(f1["neurons"]), _share(shares.get(str(name))), paper, str(split)]
        if f1["value"] is None:
            cells += ["no neuron is in this set", *["-"] * 6]
        else:
            unpruned = f1["unpruned"]
            cells += [
                f"{100 * f1['value']:.2f}% (whole model {100 * unpruned:.2f}%)",
                # The relative change of an F1 of 0 is undefined.
                _with_interval(f1, "change", unpruned or math.nan, "%"),
                f"{100 * f1['random_mean']:.2f} ± {100 * f1['random_deviation']:.2f}%",
                _with_interval(f1, "versus_random"),
                _with_interval(auroc, "change"),
                *(verdicts[metric][name, split] for metric in ("f1", "auroc")),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [
        f"On {split} the whole model is not better than chance ({note}): changes of its metrics mean nothing."
        for split, text in pruning.sets.summary["texts"].items()
        if (note := chance_note(levels_of(text)))
    ]
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3f}%"


def _with_interval(row: Mapping[str, Any], name: str, base: float = 1.0, unit: str = " points") -> str:
    """Return a difference, relative to `base`, in percent with its interval; a dash if it is unknown."""
    middle, low, high = (row[key] / base for key in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(middle):
        return "-"
    return f"{100 * middle:+.2f}{unit} ({100 * low:+.2f} to {100 * high:+.2f})"
