"""The paper's table 2, with controls: which neurons of the classifier can go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis import Comparison
from txray.corpus import Corpus
from txray.experiment.run import LAYER, ExperimentResult, Say, first_reviews
from txray.experiment.sources import Sources
from txray.files import remove_temporaries
from txray.models import load_snapshot

if TYPE_CHECKING:
    from txray.pruning import Evaluator, Pruning

RANKINGS = ("mass", "signal", "magnitude", "activation", "wanda", "taylor")
"""Of the sparsity curves."""

_PAPER = {
    "A: avoided": "+3.65 / +2.80",
    "B:": "-3.79 / 0.00",
    "C:": "-4.99 / -1.43",
    "D: gained": "-3.71 / -3.87",
}
"""Beginning of a set's name -> relative change of F1 in percent, train / test."""
_CHANGE = ("change", "change_low", "change_high")


@dataclass(frozen=True)
class PruningResults:
    """What pruning the fine-tuned classifier does.

    Attributes:
        sets: A to D of the paper, on training and test reviews.
        curves: over shares of the layer, on test reviews.
    """

    sets: Pruning
    curves: Pruning


def prune_classifier(
    outcome: ExperimentResult, supervision: Comparison, sources: Sources, *, device: str = "auto", say: Say
) -> PruningResults:
    """Prune the fine-tuned classifier, or read what an interrupted run has done of it.

    Args:
        outcome: of the experiment.
        supervision: of its stages before and after fine-tuning, tested.
        sources: the text.
        device: `auto`, `cpu` or `cuda`.
        say: told what is being done, one line at a time.

    Source:
        Rethmeier et al. 2020, table 2; the controls are ours.
    """
    from txray.pruning import RankingInputs, curve_sets, evaluator, paper_sets, prune
    from txray.training import device_of

    settings, place = outcome.settings, outcome.folder / "pruning"
    if place.is_dir():
        remove_temporaries(place)
    model = load_snapshot(outcome.fine_tuning.snapshots[outcome.fine_tuning.best_epoch])
    model.to(device_of(device))
    train, test = (first_reviews(settings, sources, split) for split in ("train", "test"))

    def scored(corpus: Corpus, max_documents: int) -> Evaluator:
        return evaluator(model, corpus, max_documents=max_documents, max_length=settings.max_length)

    say("pruning the classifier: sets")
    texts = {"train": scored(train, settings.pruning_reviews), "test": scored(test, settings.pruning_reviews)}
    common: dict[str, Any] = {
        "n_random_sets": settings.random_sets,
        "seed": settings.seed,
        "folder": place / "runs",
    }
    sets = prune(model, paper_sets(supervision), texts, **common)
    sets.save(place / "sets")
    say("pruning the classifier: curves")
    ranking_inputs = RankingInputs(
        model,
        LAYER,
        supervision.after,
        supervision,
        train,
        scored(train, settings.curve_reviews),
        settings.collection_words,
    )
    shares = curve_sets({name: ranking_inputs.importance(name) for name in RANKINGS}, LAYER)
    curves = prune(model, shares, {"test": scored(test, settings.curve_reviews)}, **common)
    curves.save(place / "curves")
    return PruningResults(sets, curves)


def pruning_table(pruned: PruningResults, supervision: Comparison) -> str:
    """A Markdown table: the paper's figures, ours with intervals, and whether random sets do the same.

    Args:
        pruned: of the classifier.
        supervision: whose later stage tells shares of activation mass.
    """
    from txray.pruning.chance import chance_note, levels_of
    from txray.pruning.multiplicity import corrected
    from txray.pruning.neuron_sets import shares_of_mass

    shares = dict(shares_of_mass(supervision, pruned.sets.neuron_sets()).iter_rows())
    lines = [
        "| pruned set | neurons | share of activation mass | paper: F1, train / test | split | F1 "
        "| relative change of F1 (95% interval) | random sets of the same size | against them (95% interval) "
        "| AUROC, change (95% interval) | verdict by F1 (5% FDR) | by AUROC (5% FDR) |",
        "|" + " --- |" * 12,
    ]
    effects = pruned.sets.effects
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
        paper = next((told for start, told in _PAPER.items() if str(name).startswith(start)), "-")
        cells = [str(name), str(f1["neurons"]), _share(shares.get(str(name))), paper, str(split)]
        if f1["value"] is None:
            cells += ["no neuron is in this set", *["-"] * 6]
        else:
            unpruned = f1["unpruned"]
            cells += [
                f"{100 * f1['value']:.2f} % (whole model {100 * unpruned:.2f} %)",
                # Of a classifier that finds nothing there is no share to lose.
                _spanned([f1[key] / (unpruned or math.nan) for key in _CHANGE], " %"),
                f"{100 * f1['random_mean']:.2f} ± {100 * f1['random_deviation']:.2f} %",
                _spanned([f1[key] for key in ("versus_random", "versus_random_low", "versus_random_high")]),
                _spanned([auroc[key] for key in _CHANGE]),
                *(verdicts[metric][name, split] for metric in ("f1", "auroc")),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [
        f"On {split} the whole model is not better than chance ({note}): changes of such metrics mean nothing."
        for split, text in pruned.sets.summary["texts"].items()
        if (note := chance_note(levels_of(text)))
    ]
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3f} %"


def _spanned(values: list[float], unit: str = " points") -> str:
    """A change in percent with its interval; a dash where it is not known."""
    if math.isnan(values[0]):
        return "-"
    middle, low, high = (f"{100 * value:+.2f}" for value in values)
    return f"{middle}{unit} ({low} to {high})"
