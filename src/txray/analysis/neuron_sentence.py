"""Sentence that says what happened to one neuron, used on every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from txray.analysis.shown_distance import CORRECTED, PLAIN, corrected_words
from txray.analysis.states import (
    DISPLACED,
    NOT_SIGNIFICANT,
    NOT_TESTED,
    STATE_NAMES,
    change_label,
    test_label,
)
from txray.text import plural

_OBSERVED = f"Observed, {NOT_TESTED}."


def neuron_sentence(
    row: Mapping[str, Any],
    noun: str,
    stages: tuple[str, str],
    fdr: float | None,
    *,
    if_untested: str = _OBSERVED,
    only_text: bool = False,
) -> str:
    """Return what a neuron prefers in two stages, how far it moved, and whether that is significant.

    Args:
        row: of `Comparison.neurons`; if tested, with a column `significant` (`rules.is_significant`).
        noun: name of one feature, such as `token`.
        stages: names of the two stages to show.
        fdr: false discovery rate of the tests; None if the layer of the neuron is not tested.
        if_untested: last sentence in that case.
        only_text: whether one model read two texts.
    """
    lengths = row["length_before"], row["length_after"]
    parts = [preference_sentence(lengths, noun, stages)]
    if not any(lengths):
        return parts[0]
    if row["hellinger"] is not None:
        features = plural(row["hellinger_length"], noun)
        parts.append(f"{PLAIN.name} {row['hellinger']:.3f} over {features}.")
    parts += [if_untested] if fdr is None else _verdict(row, fdr)
    if only_text:
        parts.append("The weights are the same in both stages: only the text can explain a difference.")
    return " ".join(parts)


def preference_sentence(lengths: tuple[int, int], noun: str, stages: tuple[str, str]) -> str:
    """Return how many features a neuron prefers in two stages; see `neuron_sentence`."""
    if not any(lengths):
        return "Prefers nothing in either stage."
    before, after = (plural(length, noun) if length else "nothing" for length in lengths)
    return f"Prefers {before} in {stages[0]}, {after} in {stages[1]}."


def _verdict(row: Mapping[str, Any], fdr: float) -> list[str]:
    """Return the sentences about the tests."""
    level = test_label(fdr, text_matched=bool(row.get("text_matched")))
    if row["confident_state"] == DISPLACED:
        return [displacement_sentence(row, level)]
    if row["q_value"] is not None:
        if row.get("family_size"):
            level += f", over {row['family_size']:,} tests"
        verdict = _significant(row) if row["significant"] else _not_significant(row)
        corrected = f"{CORRECTED[0].upper()}{CORRECTED[1:]} with its 95% interval"
        null = f"{row['distance_null']:.3f} if nothing had changed"
        return [
            f"{corrected}: {corrected_words(row)}; {verdict} ({level}, q = {row['q_value']:.3g}).",
            f"At equal numbers of wins {row['distance_matched']:.3f}, {null}.",
        ]
    match row["confident_state"]:
        case "undecided":
            return [f"In use {STATE_NAMES[row['state']]}: not significant ({level}); it may be chance."]
        case "avoided" | "gained" as state:
            return [f"In use {STATE_NAMES[state]}: significant ({level}, q = {row['rate_q_value']:.3g})."]
    return ["Too rarely active to be tested."]


def displacement_sentence(row: Mapping[str, Any], level: str) -> str:
    """Return which neuron explains the change of a displaced neuron.

    Args:
        row: of `Comparison.neurons`, of a displaced neuron.
        level: label of the tests.
    """
    share = row["displaced_share"]
    verb = "takes" if share > 0 else "leaves it"
    return (
        f"Displaced by neuron {row['displaced_by']}, which {verb} {100 * abs(share):.0f} percentage points more of the "
        f"words that would be this neuron's otherwise: without that neuron in both stages, the change is "
        f"{NOT_SIGNIFICANT} ({level}, q = {row['displaced_q_value']:.3g})."
    )


def _significant(row: Mapping[str, Any]) -> str:
    effect = row.get("min_effect")
    return f"significant: {change_label(effect)}" if effect else "significant"


def _not_significant(row: Mapping[str, Any]) -> str:
    """Return that no change was found, and which changes would have been missed, if that is known."""
    effect = row.get("min_effect") or 0
    message = f"no change of at least {effect:g} found" if effect else "no change found"
    if "detectable" not in row:
        return f"{NOT_SIGNIFICANT}: {message}"
    if row["detectable"] is None:
        return f"{NOT_SIGNIFICANT}: {message} (even a complete change would mostly have been missed)"
    return (
        f"{NOT_SIGNIFICANT}: {message} (changes below {row['detectable']:.2f} would mostly have been missed)"
    )
