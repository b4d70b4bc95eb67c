"""The findings in words: one card per comparison, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import polars as pl

from txray.plots.frame import kind_noun
from txray.plots.text import count, percent, plural, visible
from txray.transfer import STATES, Comparison
from txray.transfer.concentration import half_mass
from txray.transfer.shown_distance import CORRECTED, corrected_words, shown_distance


def headline(comparison: Comparison) -> str:
    """A card that says what changed between two stages: numbers, a bar of states, two sentences.

    Args:
        comparison: of two stages.
    """
    before, after = (visible(side.stage) for side in (comparison.before, comparison.after))
    layer = visible(comparison.after.layer)
    summary, noun = comparison.summary, kind_noun(comparison.after.feature)
    numbers = "\n".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in _numbers(comparison, noun)
    )
    sentences = " ".join(_sentences(comparison, before, after))
    return (
        '<article class="pair">\n'
        f"<h3><bdi>{escape(before)}</bdi> → <bdi>{escape(after)}</bdi> "
        f"<small>layer {escape(layer)}</small></h3>\n"
        f'<dl class="numbers">\n{numbers}\n</dl>\n{_bar(summary)}\n<p>{escape(sentences)}</p>\n</article>'
    )


def _numbers(comparison: Comparison, noun: str) -> list[tuple[str, str]]:
    """Names, as HTML, and values; the dots of the states are the legend of the bar below."""
    summary = comparison.summary
    numbers = [
        (f'<span class="dot {state}"></span>{state}', count(number))
        for state, number in _states(summary).items()
        if number
    ]
    if summary.get("tested"):
        numbers.append((f"changed, of {count(summary['tested'])} tested", count(summary["changed"])))
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


def _bar(summary: Mapping[str, Any]) -> str:
    """Proportions of the states; the numbers stand above it, so it is hidden from screen readers."""
    parts = "".join(
        f'<span class="{state}" style="flex:{number}"></span>'
        for state, number in _states(summary).items()
        if number
    )
    return f'<div class="proportions" aria-hidden="true">{parts}</div>'


def _states(summary: Mapping[str, Any]) -> dict[str, int]:
    """State -> neurons; where it was tested, avoided and gained ones are those beyond chance."""
    if "changed" not in summary:
        return {state: summary[state] for state in STATES}
    return {
        "shared": summary["shared"],
        "avoided": summary["confident_avoided"],
        "gained": summary["confident_gained"],
        "unsure": summary["unsure"],
        "unpreferred": summary["unpreferred"],
    }


def _chance(comparison: Comparison, noun: str) -> list[str]:
    """Sentences on what is more than chance."""
    summary = comparison.summary
    if not comparison.tested:
        return []
    told = [
        f"At {100 * summary['level']:g} % false discoveries, {count(summary['changed'])} of "
        f"{plural(summary['tested'], 'tested neuron')} changed what they prefer; "
        f"{count(summary['confident_avoided'])} of {count(summary['avoided'])} avoided and "
        f"{count(summary['confident_gained'])} of {count(summary['gained'])} gained neurons are more than chance."
    ]
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    if len(shared):
        lengths = [shared[f"rarefied_length_{side}"].to_numpy().mean() for side in ("before", "after")]
        told.append(
            f"At equal numbers of activations a shared neuron prefers {lengths[0]:,.1f} {noun}s before and "
            f"{lengths[1]:,.1f} after."
        )
    return told


def _sentences(comparison: Comparison, before: str, after: str) -> list[str]:
    summary = comparison.summary
    noun = kind_noun(comparison.after.feature)
    neurons, shared = summary["neurons"], summary["shared"]
    told = []
    if shared == 0:
        told.append(f"None of {plural(neurons, 'neuron')} is preferred in both {before} and {after}.")
    else:
        told.append(
            f"{percent(shared / neurons)} of {plural(neurons, 'neuron')} stay preferred from {before} to "
            f"{after}; they prefer {summary['mean_length_shared_before']:,.1f} {noun}s on average before and "
            f"{summary['mean_length_shared_after']:,.1f} after."
        )
    told += _chance(comparison, noun)
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
