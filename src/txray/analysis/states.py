"""The states of a neuron, and what they are called in figures and pages."""

from __future__ import annotations

from collections.abc import Mapping

STATES = ("shared", "avoided", "gained", "unpreferred")
"""Observed states, in the paper's words: in use in both stages, only before, only after, in neither."""
DISPLACED = "displaced"
"""State of a neuron whose change is explained by words that another neuron took from it or gave it."""
CONFIDENT_STATES = (*STATES, "undecided", DISPLACED)
"""The states, `undecided` for neurons that may be avoided or gained by chance, or merely rarer, and `displaced`."""
UNTESTED = "untested"
"""State of a neuron that is not tested yet, whatever was observed."""
SHOWN_STATES = (*CONFIDENT_STATES, UNTESTED)
"""The states that readers see if there are tests."""
ONE_SIDED = ("avoided", "gained")
"""States of neurons that are in use in one of the stages only."""
OBSERVED_STATES: Mapping[str, tuple[str, ...]] = {"undecided": ONE_SIDED, DISPLACED: ("shared", *ONE_SIDED)}
"""State that tests add -> the observed states that it stands for."""

STATE_NAMES: Mapping[str, str] = {
    "shared": "in both stages",
    "avoided": "only before",
    "gained": "only after",
    "unpreferred": "in neither",
    "undecided": "undecided",
    DISPLACED: DISPLACED,
    UNTESTED: UNTESTED,
}
"""State -> plain words."""

NOT_SIGNIFICANT = "not significant"
NOT_YET_TESTED, NOT_TESTED = "not yet tested", "not tested"


SAME_WEIGHTS = (
    "The weights are the same in both stages: these are differences of the text, not of the neurons."
)
"""What is said of two stages of one model that read two texts."""
ONLY_TEXT = "same weights: only the text differs"
"""The same, for titles and captions."""


def fdr_label(fdr: float) -> str:
    """Return a false discovery rate in words: `5% FDR`."""
    return f"{100 * fdr:g}% FDR"


def test_label(fdr: float, *, text_matched: bool) -> str:
    """Return the false discovery rate of a test and whether it is at equal text: `5% FDR, text-matched`."""
    return f"{fdr_label(fdr)}, text-matched" if text_matched else fdr_label(fdr)


def change_label(min_effect: float) -> str:
    """Return what significant neurons did: `changed significantly`, or `changed by at least 0.2`."""
    return f"changed by at least {min_effect:g}" if min_effect else "changed significantly"


def significant_label(fdr: float, min_effect: float = 0.0) -> str:
    """Return what significant neurons are called in legends: `significant (5% FDR)`, `at least 0.2 (5% FDR)`."""
    return f"{f'at least {min_effect:g}' if min_effect else 'significant'} ({fdr_label(fdr)})"


def state_label(state: str, *, tested: bool, pending: bool = False) -> str:
    """Return a state of `SHOWN_STATES` in plain words: `in both stages`, or `only before, significant` if tested."""
    if state == UNTESTED:
        return untested_label(pending)
    if state in ONE_SIDED:
        return f"{STATE_NAMES[state]}, {'significant' if tested else 'observed'}"
    return STATE_NAMES[state]


def paper_label(state: str, *, tested: bool) -> str:
    """Return a state with the paper's word, for legends: `only before, significant (avoided)`."""
    label = state_label(state, tested=tested)
    return label if label == state else f"{label} ({state})"


def untested_label(pending: bool) -> str:
    """Return what is said of neurons without tests: `not tested`, or `not yet tested`."""
    return NOT_YET_TESTED if pending else NOT_TESTED
