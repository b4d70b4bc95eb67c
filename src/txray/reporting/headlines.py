"""The findings in words: one card per comparison, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import polars as pl

from txray.plots.frame import kind_noun
from txray.plots.text import count, percent, plural, visible
from txray.transfer import Comparison, Findings
from txray.transfer.concentration import half_mass
from txray.transfer.findings import state_label

_ORDER = ("shared", "avoided", "gained", "unsure", "unpreferred")


def headline(comparison: Comparison) -> str:
    """A card that says what changed between two stages: numbers, a bar of states, two sentences.

    Args:
        comparison: of two stages.
    """
    before, after = (visible(side.stage) for side in (comparison.before, comparison.after))
    layer = visible(comparison.after.layer)
    summary, noun = comparison.summary, kind_noun(comparison.after.feature)
    findings = comparison.findings
    numbers = "\n".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _numbers(summary, findings, noun)
    )
    sentences = " ".join(_sentences(comparison, before, after))
    return (
        '<article class="pair">\n'
        f"<h3><bdi>{escape(before)}</bdi> → <bdi>{escape(after)}</bdi> "
        f"<small>layer {escape(layer)}</small></h3>\n"
        f'<dl class="numbers">\n{numbers}\n</dl>\n{_bar(findings)}\n<p>{escape(sentences)}</p>\n</article>'
    )


def _numbers(summary: Mapping[str, Any], findings: Findings, noun: str) -> list[tuple[str, str]]:
    """Names, as HTML, and values; the dots of the states are the legend of the bar below."""
    numbers = [
        (
            f'<span class="dot {state}"></span>{state_label(state, tested=findings.finished)}',
            count(number),
        )
        for state, number in _states(findings).items()
    ]
    if findings.tested:
        numbers.append((f"changed significantly, of {count(findings.tested)}", count(findings.changed)))
    if summary["mean_hellinger"] is not None:
        numbers.append(("mean Hellinger distance", f"{summary['mean_hellinger']:.2f}"))
    if summary["length_change_shared"] is not None:
        numbers.append((f"{escape(noun)}s per shared neuron", _signed(summary["length_change_shared"])))
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
    summary, noun = comparison.summary, kind_noun(comparison.after.feature)
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
