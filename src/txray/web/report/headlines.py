"""The findings in words: one card per comparison."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from txray.analysis import Comparison, Findings
from txray.analysis.mass_inequality import half_mass
from txray.analysis.shown_distance import CORRECTED, corrected_words, shown_distance
from txray.analysis.totals import totals_sentence
from txray.plots.frame import feature_noun
from txray.plots.text import count, percent, plural, sanitize
from txray.web.pair_card import change_numbers, pair_card


def headline(comparison: Comparison) -> Markup:
    """Return the card that says what changed between two stages."""
    before, after = (sanitize(side.stage) for side in (comparison.before, comparison.after))
    findings = comparison.findings
    return pair_card(
        comparison.before.stage,
        comparison.after.stage,
        f"layer {sanitize(comparison.after.layer)}",
        counts=findings.states or findings.observed,
        tested=findings.finished,
        numbers=_numbers(comparison, findings),
        sentences=_sentences(comparison, before, after),
        level=3,
    )


def _numbers(comparison: Comparison, findings: Findings) -> list[tuple[str, str]]:
    """Return names and values of the numbers after those of the states."""
    summary, distance = comparison.summary, shown_distance(comparison)
    compared = distance.rows(comparison.neurons)
    numbers = change_numbers(findings, distance, compared)
    if len(compared) and distance.null is not None:
        numbers.append((f"{CORRECTED} of the layer (95% interval)", corrected_words(summary)))
    if summary["length_change_shared"] is not None:
        shared = comparison.neurons.filter(pl.col("state") == "shared")
        name, change = (
            f"{feature_noun(comparison.after.feature_type)}s per neuron in both stages",
            summary["length_change_shared"],
        )
        if comparison.tested:
            sums = [shared[f"rarefied_length_{side}"].to_numpy().sum() for side in ("before", "after")]
            name, change = f"{name} at equal numbers of wins", float(sums[1] / sums[0]) - 1
        numbers.append((name, _signed(change)))
    return numbers


def _sentences(comparison: Comparison, before: str, after: str) -> list[str]:
    summary, noun = comparison.summary, feature_noun(comparison.after.feature_type)
    sentences = comparison.findings.sentences(before, after)
    if summary["shared"]:
        sentences.append(
            f"Neurons in both stages prefer {summary['mean_length_shared_before']:,.1f} {noun}s on average before and "
            f"{summary['mean_length_shared_after']:,.1f} after."
        )
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    if comparison.tested and len(shared):
        lengths = [shared[f"rarefied_length_{side}"].to_numpy().mean() for side in ("before", "after")]
        sentences.append(
            f"At equal numbers of wins these prefer {lengths[0]:,.1f} {noun}s before and "
            f"{lengths[1]:,.1f} after."
        )
    sentences += filter(None, [totals_sentence(comparison)])
    halves = [half_mass(side.mass()) for side in (comparison.before, comparison.after)]
    if all(halves):
        sentences.append(
            f"Half of the activation mass is held by {plural(halves[0], 'neuron')} before and by "
            f"{count(halves[1])} after."
        )
    return sentences


def _signed(change: float) -> str:
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    return f"{sign}{percent(abs(change))}"
