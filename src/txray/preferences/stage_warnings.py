"""Warnings of a stage, derived from the accounts of its layers and its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from txray.arrays import Ints
from txray.errors import (
    DominanceWarning,
    DuplicateWarning,
    EmptyLayerWarning,
    RandomPassWarning,
    RepeatedCallWarning,
    StageWarning,
)
from txray.preferences.documents import duplication
from txray.preferences.preferences import Preferences

Accounts = Mapping[str, Mapping[str, Any]]
"""Layer -> its entry in the manifest of a stage."""

_PIECES = "subword"
"""The feature type that counts more than once per word."""

_ONE_WINNER = "max-1"


def stage_warnings(
    wins: Mapping[str, Ints], accounts: Accounts, corpus: Mapping[str, Any], words: int
) -> list[StageWarning]:
    """Return the warnings of a stage from its wins (`wins_of`), and layers, corpus and words of its manifest."""
    return [
        *layer_warnings(accounts),
        *empty_layers(accounts),
        *map(DuplicateWarning, duplication(corpus, words)),
        *map(DominanceWarning, dominance(wins, accounts)),
    ]


def empty_layers(accounts: Accounts) -> Iterator[StageWarning]:
    """Yield a warning for each layer that skipped all words, such as one whose neurons are all constant or silent."""
    for layer, account in accounts.items():
        skipped = {reason: number for reason, number in account.get("skipped", {}).items() if number}
        if not account["counted"] and skipped:
            reasons = ", ".join(f"{reason} ({number:,})" for reason, number in skipped.items())
            yield EmptyLayerWarning(
                f"layer {layer!r}: not one word was counted: {reasons}; choose another layer, or a selection that "
                "counts its words"
            )


def layer_warnings(accounts: Accounts) -> Iterator[StageWarning]:
    """Yield the warnings about how layers were read."""
    for layer, account in accounts.items():
        if account.get("call_assumed"):
            calls, call = account["calls"], account["call"]
            yield RepeatedCallWarning(
                f"layer {layer!r}: runs {calls} times in a forward pass, and the last call ({call}) was taken; "
                f"choose one with '{layer}:call=0' to '{layer}:call={calls - 1}', or txray.Layer(..., call=0)"
            )
        if account.get("random"):
            yield RandomPassWarning(
                f"layer {layer!r}: gives different activations for the same input, so no result can be repeated; make "
                "the forward pass deterministic in evaluation mode (such as functional dropout with "
                "training=self.training), or collect a layer before the noise"
            )


def wins_of(collected: Mapping[tuple[str, str], Preferences], accounts: Accounts) -> dict[str, Ints]:
    """Return per layer the (n_neurons,) wins of each neuron, for layers in which a word has only one winner.

    Other layers are left out: summing their many rows would take memory in proportion.
    """
    wins: dict[str, Ints] = {}
    for (layer, feature_type), preferences in collected.items():
        if feature_type != _PIECES and layer not in wins and _parts(accounts[layer])[0] == _ONE_WINNER:
            wins[layer] = preferences.wins()
    return wins


def dominance(wins: Mapping[str, Ints], accounts: Accounts) -> Iterator[str]:
    """Yield one line for each layer in which one neuron wins more than half of the words."""
    for layer, account in accounts.items():
        rule, *options = _parts(account)
        if rule != _ONE_WINNER or layer not in wins or not account["counted"] or len(wins[layer]) < 2:
            continue
        neuron = int(wins[layer].argmax())
        share = wins[layer][neuron] / account["counted"]
        if share > 0.5:
            remedy = (
                "choose another layer"
                if "zscore" in options
                else f"collect with the selection '{account['selection']}/zscore', or choose another layer"
            )
            yield (
                f"layer {layer!r}: neuron {neuron} wins {share:.0%} of all words, so the others hardly show; {remedy}"
            )


def _parts(account: Mapping[str, Any]) -> list[str]:
    """Return the rule of a layer's selection, followed by its options."""
    return str(account.get("selection")).split("/")
