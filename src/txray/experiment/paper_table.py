"""Table of the paper's results beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from txray.analysis import Timeline
from txray.analysis.mass_inequality import gini, half_mass, share_of_top
from txray.analysis.tag_mass_test import mass_divergence, stages_that_track_tags
from txray.experiment.comparisons import PaperComparisons
from txray.experiment.run import ExperimentResult
from txray.preferences import Preferences


@dataclass(frozen=True)
class Row:
    """A quantity of the table.

    Attributes:
        question: RQ1, RQ2, RQ3, or set-up.
        quantity: what is measured.
        paper: published value, or a dash.
        ours: measured value.
    """

    question: str
    quantity: str
    paper: str
    ours: str


def rows(result: ExperimentResult, comparisons: PaperComparisons, epochs: Timeline) -> list[Row]:
    """Return every result that the paper reports for its experiment, with ours."""
    return [
        *_models(result),
        *_pretraining(result, comparisons),
        *_epochs(epochs),
        *_domain(result, comparisons),
        *_supervision(result, comparisons),
    ]


def markdown(table: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| question | quantity | paper | ours |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.question} | {row.quantity} | {row.paper} | {row.ours} |" for row in table]
    return "\n".join(lines) + "\n"


def _models(result: ExperimentResult) -> list[Row]:
    settings, best = result.settings, result.pretraining.best_epoch
    curves = result.pretraining.curves

    def perplexity(epoch: int, split: str) -> str:
        return f"{_score(curves, epoch, split, 'perplexity'):.1f}"

    tuned, tuned_best = result.fine_tuning.curves, result.fine_tuning.best_epoch
    accuracy = result.tagger_accuracy
    text, reviews = (result.stages[name].manifest for name in ("unsup", "zero-shot"))
    row = partial(Row, "set-up")
    return [
        row("recurrent units", "1500 LSTM", f"{settings.hidden} {settings.cell.upper()}"),
        row("epochs of pretraining (best)", "50", f"{max(result.pretraining.snapshots)} ({best})"),
        row("words collected per stage", "400,000", f"{text['words']:,}"),
        row(
            "share of `<unk>` among them, pretraining text / reviews",
            "-",
            f"{_percent(text['unknown_share'])} / {_percent(reviews['unknown_share'])}",
        ),
        row(
            "POS tags",
            "Flair",
            "gold" if accuracy is None else f"CRF, {_percent(accuracy)} accuracy on held-out gold words",
        ),
        row(
            "perplexity untrained / epoch 1 / best (validation)",
            "-",
            " / ".join(perplexity(epoch, "validation") for epoch in (0, min(1, best), best)),
        ),
        row("perplexity best (test)", "-", perplexity(best, "test")),
        row(
            "epochs of fine-tuning (best by validation loss)",
            "-",
            f"{max(result.fine_tuning.snapshots)} ({tuned_best})",
        ),
        row("F1 of the classifier (test)", "about 80%", _percent(_score(tuned, tuned_best, "test", "f1"))),
    ]


def _pretraining(result: ExperimentResult, comparisons: PaperComparisons) -> list[Row]:
    first, last = comparisons.first["token"].summary, comparisons.last["token"].summary
    late = comparisons.last["token"].neurons.filter(pl.col("state") == "shared")["hellinger_length"]
    inside = float(((late >= 10) & (late <= 200)).to_numpy().mean()) if len(late) else 0.0
    best = comparisons.last["token"].after.stage
    pos = {name: result.stages[name].preferences(feature_type="pos") for name in result.stages}
    early = comparisons.first["pos"].before.stage
    divergences = " / ".join(
        _percent(mass_divergence(pos[name])) for name in ("untrained", early, best) if name in pos
    )
    row = partial(Row, "RQ1")
    return [
        row("shared neurons, first epoch and best", "544 of 1500 (36.3%)", _of(first, "shared")),
        row(
            "shared neurons, the epoch before the best and the best",
            "1335 of 1500 (89.0%)",
            _of(last, "shared"),
        ),
        row(
            "mean length of neurons shared by first and best epoch, in each",
            "944.76 in the first; 519.34 in the last",
            _lengths(first),
        ),
        row(
            "mean length of neurons shared by the epoch before the best and the best, in each",
            "524.55; 519.34",
            _lengths(last),
        ),
        row(
            "mean Hellinger distance (of all wins), first to best / before the best to best, over the neurons shared "
            "by each two",
            "-",
            f"{number(first['mean_hellinger'], 4)} / {number(last['mean_hellinger'], 4)}",
        ),
        row(
            "decrease of the mean distance between the two, as defined in the paper (over other neurons in each)",
            "-99.92%",
            _fall(first["mean_hellinger"], last["mean_hellinger"]),
        ),
        row(
            "decrease by the quantity of the published code",
            "-99.92%",
            _fall(first["mean_hellinger_published_code"], last["mean_hellinger_published_code"]),
        ),
        row(
            "shared neurons with a Hellinger length of 10 to 200 (the epoch before the best and the best)",
            "most",
            _percent(inside),
        ),
        row(
            "POS: activation mass and corpus share (total variation), untrained / first / best epoch",
            "matches already after epoch 1",
            divergences,
        ),
    ]


def _epochs(epochs: Timeline) -> list[Row]:
    """Return the rows on the paper's first question from the timeline of pretraining."""
    correlation = epochs.correlation("perplexity")
    stages = epochs.stages.filter(pl.col("pos_divergence").is_not_null())
    closer = int(stages_that_track_tags(stages).sum())
    steps = epochs.changes.filter(pl.col("reference") == "previous")
    row = partial(Row, "RQ1")
    return [
        row(
            "rank correlation of neuron change and perplexity change, by epoch",
            "change of preferences follows perplexity",
            correlation.finding("neuron change", "perplexity change"),
        ),
        row(
            "changed neurons, first / last epoch of the timeline",
            "-",
            " / ".join(
                f"{step['changed']} of {step['tested']}"
                for step in (steps.row(i, named=True) for i in (0, -1))
            ),
        ),
        row(
            "POS: epochs in which mass tracks tags significantly better than shuffled tags (5% FDR)",
            "matches already after epoch 1",
            f"{closer} of {len(stages)}",
        ),
    ]


def _domain(result: ExperimentResult, comparisons: PaperComparisons) -> list[Row]:
    summary = comparisons.domain["token"].summary
    unsup, zero = (result.stages[name].preferences() for name in ("unsup", "zero-shot"))
    row = partial(Row, "RQ2")
    return [
        row("shared neurons, pretraining text and reviews", "1323 of 1500 (88.2%)", _of(summary, "shared")),
        row("mean Hellinger distance (token, of all wins)", "-", number(summary["mean_hellinger"], 4)),
        row(
            "activation mass on reviews, relative to pretraining text",
            "weaker",
            _signed(zero.mass().sum() / unsup.mass().sum() - 1),
        ),
        row(
            "neurons that hold half of the mass, pretraining text / reviews",
            "broadest on pretraining text",
            f"{_half(unsup)} / {_half(zero)}",
        ),
    ]


def _supervision(result: ExperimentResult, comparisons: PaperComparisons) -> list[Row]:
    token, pos = comparisons.supervision["token"].summary, comparisons.supervision["pos"].summary
    zero, sup = (result.stages[name].preferences() for name in ("zero-shot", "sup"))
    row = partial(Row, "RQ3")
    return [
        row("shared neurons", "675 of 1500 (45.0%)", _of(token, "shared")),
        row("avoided neurons", "740 (49.3%)", _of(token, "avoided")),
        row("gained neurons", "85 (5.7%)", _of(token, "gained")),
        row("token length of shared neurons", "+4.62%", _signed(token["length_change_shared"])),
        row("token length of all neurons", "-42.53%", _signed(token["length_change"])),
        row("POS length of shared / all neurons", "-32.83%", " / ".join(_signed(pos[n]) for n in _LENGTHS)),
        row(
            "neurons that hold half of the mass, before / after",
            "much more peaked",
            f"{_half(zero)} / {_half(sup)}",
        ),
        row(
            "Gini coefficient of the mass, pretraining text / reviews / supervised",
            "-",
            " / ".join(
                f"{gini(result.stages[name].preferences().mass()):.3f}"
                for name in ("unsup", "zero-shot", "sup")
            ),
        ),
        row(
            "share of the mass in the 20 most preferred neurons, supervised",
            "83.12%",
            _percent(float(share_of_top(sup.mass(), 20))),
        ),
    ]


_LENGTHS = ("length_change_shared", "length_change")


def _half(preferences: Preferences) -> int:
    return half_mass(preferences.mass())


def _score(curves: pl.DataFrame, epoch: int, split: str, metric: str) -> float:
    row = curves.filter((pl.col("epoch") == epoch) & (pl.col("split") == split))
    return float(row[metric].item())


def _of(summary: Mapping[str, Any], state: str) -> str:
    count, n_neurons = summary[state], summary["neurons"]
    return f"{count} of {n_neurons} ({_percent(count / n_neurons, 1)})"


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}%"


def _signed(change: float | None) -> str:
    return "-" if change is None else f"{100 * change:+.2f}%"


def _lengths(summary: Mapping[str, Any]) -> str:
    sides = ("mean_length_shared_before", "mean_length_shared_after")
    return "; ".join(number(summary[side]) for side in sides)


def _fall(before: float | None, after: float | None) -> str:
    return "-" if not before or after is None else _signed(after / before - 1)


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with some decimals; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"
