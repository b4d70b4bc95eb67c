"""The findings in words: one card per comparison, as HTML."""

from __future__ import annotations

from html import escape

import polars as pl

from txray.analysis import Comparison, Findings
from txray.analysis.findings import state_label
from txray.analysis.mass_inequality import half_mass
from txray.analysis.shown_distance import CORRECTED, corrected_words, shown_distance
from txray.plots.frame import feature_noun
from txray.plots.text import count, percent, plural, sanitize

_ORDER = ("shared", "avoided", "gained", "unsure", "unpreferred")


def headline(comparison: Comparison) -> str:
    """A card that says what changed between two stages: numbers, a bar of states, two sentences.

    Args:
        comparison: of two stages.
    """
    before, after = (sanitize(side.stage) for side in (comparison.before, comparison.after))
    layer = sanitize(comparison.after.layer)
    noun = feature_noun(comparison.after.feature_type)
    findings = comparison.findings
    numbers = "\n".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _numbers(comparison, findings, noun)
    )
    sentences = " ".join(_sentences(comparison, before, after))
    return (
        '<article class="pair">\n'
        f"<h3><bdi>{escape(before)}</bdi> → <bdi>{escape(after)}</bdi> "
        f"<small>layer {escape(layer)}</small></h3>\n"
        f'<dl class="numbers">\n{numbers}\n</dl>\n{_bar(findings)}\n<p>{escape(sentences)}</p>\n</article>'
    )


def _numbers(comparison: Comparison, findings: Findings, noun: str) -> list[tuple[str, str]]:
    """Names, as HTML, and values; the dots of the states are the legend of the bar below."""
    summary = comparison.summary
    numbers = [
        (
            f'<span class="dot {state}"></span>{state_label(state, tested=findings.finished)}',
            count(number),
        )
        for state, number in _states(findings).items()
    ]
    if findings.tested:
        numbers.append((f"changed significantly, of {count(findings.tested)}", count(findings.changed)))
    distance = shown_distance(comparison)
    compared = distance.rows(comparison.neurons)
    if len(compared):
        numbers.append((f"mean {distance.name}", f"{compared[distance.column].to_numpy().mean():.2f}"))
    if len(compared) and distance.null is not None:
        numbers.append(
            ("the same if nothing had changed", f"{compared[distance.null].to_numpy().mean():.2f}")
        )
        numbers.append((f"{CORRECTED} of the layer (95% interval)", corrected_words(summary)))
    if summary["length_change_shared"] is not None:
        shared = comparison.neurons.filter(pl.col("state") == "shared")
        name, change = f"{escape(noun)}s per shared neuron", summary["length_change_shared"]
        if comparison.tested:
            sums = [shared[f"rarefied_length_{side}"].to_numpy().sum() for side in ("before", "after")]
            name, change = f"{name} at equal numbers of wins", float(sums[1] / sums[0]) - 1
        numbers.append((name, _signed(change)))
    return numbers


def _bar(findings: Findings) -> str:
    """Proportions of the states; the numbers stand above it, so it is hidden from screen readers."""
    parts = "".join(
        f'<span class="{state}" style="flex:{number}"></span>' for state, number in _states(findings).items()
    )
    return f'<div class="proportions" aria-hidden="true">{parts}</div>'


def _states(findings: Findings) -> dict[str, int]:
    """Return state -> neurons for the states that occur: tested ones, or observed ones if nothing is tested."""
    counts = findings.states or findings.observed
    return {state: counts[state] for state in _ORDER if counts.get(state)}


def _sentences(comparison: Comparison, before: str, after: str) -> list[str]:
    summary, noun = comparison.summary, feature_noun(comparison.after.feature_type)
    told = comparison.findings.sentences(before, after)
    if summary["shared"]:
        told.append(
            f"Shared neurons prefer {summary['mean_length_shared_before']:,.1f} {noun}s on average before and "
            f"{summary['mean_length_shared_after']:,.1f} after."
        )
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    if comparison.tested and len(shared):
        lengths = [shared[f"rarefied_length_{side}"].to_numpy().mean() for side in ("before", "after")]
        told.append(
            f"At equal numbers of activations a shared neuron prefers {lengths[0]:,.1f} {noun}s before and "
            f"{lengths[1]:,.1f} after."
        )
    halves = [half_mass(side.mass()) for side in (comparison.before, comparison.after)]
    if all(halves):
        told.append(
            f"Half of the activation mass is held by {plural(halves[0], 'neuron')} before and by "
            f"{count(halves[1])} after."
        )
    return told


def _signed(change: float) -> str:
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    return f"{sign}{percent(abs(change))}"
