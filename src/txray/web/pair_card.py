"""The card of two compared stages, in the report and in the dashboard: numbers, a bar of states, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from markupsafe import Markup

from txray.analysis import Findings
from txray.analysis.findings import MEDIAN, MEDIAN_CHANGED
from txray.analysis.shown_distance import CORRECTED, ShownDistance, corrected_words
from txray.analysis.states import DISPLACED, UNTESTED, state_label
from txray.plots.text import count
from txray.web.templates import render

_ORDER = ("shared", "avoided", "gained", "undecided", DISPLACED, "unpreferred", UNTESTED)


def pair_card(
    before: str,
    after: str,
    where: str,
    *,
    counts: Mapping[str, int],
    tested: bool,
    pending: bool = False,
    numbers: Sequence[tuple[str, str]],
    sentences: Sequence[str],
    level: int,
) -> Markup:
    """Return the contents of the card as HTML.

    Args:
        before, after: names of the stages.
        where: which layers, plain text.
        counts: state -> neurons; states without neurons are left out.
        tested: whether these are tested states.
        pending: whether untested neurons are going to be tested.
        numbers: names and values behind those of the states.
        sentences: plain text.
        level: of the heading.
    """
    # Names and dots of the states are the legend of the bar below.
    states = [
        (state, state_label(state, tested=tested, pending=pending), counts[state])
        for state in _ORDER
        if counts.get(state)
    ]
    return render(
        "pair_card.html",
        before=before,
        after=after,
        where=where,
        states=states,
        numbers=numbers,
        sentences=sentences,
        level=level,
    )


def change_numbers(
    findings: Findings, distance: ShownDistance, compared: pl.DataFrame, note: str = ""
) -> list[tuple[str, str]]:
    """Return how many neurons changed significantly, and how far the compared ones moved, as names and values.

    Args:
        findings: of all neurons.
        distance: to show.
        compared: the neurons that have it.
        note: behind the name of the distance.
    """
    numbers = []
    if findings.tested:
        sizes = findings.sizes
        numbers.append((f"{findings.changed_how}, of {count(findings.tested)}", count(findings.changed)))
        if findings.changed:
            numbers.append(
                (
                    f"median {CORRECTED} of these (medians of the bounds)",
                    corrected_words(sizes, MEDIAN_CHANGED),
                )
            )
        numbers.append(
            (f"median {CORRECTED} of all tested (medians of the bounds)", corrected_words(sizes, MEDIAN))
        )
        detectable = sizes.get("median_detectable")
        numbers.append(
            (
                "would have been found in half of them",
                "nothing" if detectable is None else f"{detectable:.2f}",
            )
        )
    if len(compared):
        numbers.append((f"mean {distance.name}{note}", f"{compared[distance.column].to_numpy().mean():.2f}"))
        if distance.null is not None:
            null = compared[distance.null].to_numpy().mean()
            numbers.append(("the same if nothing had changed", f"{null:.2f}"))
    return numbers
