"""Detect layers in which one neuron wins most of the words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from txray.arrays import Ints
from txray.preferences.preferences import Preferences

_PIECES = "subword"
"""The feature type that counts more than once per word."""

_ONE_WINNER = "max-1"


def wins_of(
    collected: Mapping[tuple[str, str], Preferences], accounts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Ints]:
    """Return per layer the (n_neurons,) wins of each neuron, for layers in which a word has only one winner.

    Other layers are left out: summing their many rows would take memory in proportion.

    Args:
        collected: (layer, feature type) -> preferences.
        accounts: layers of the manifest, with their `selection`.
    """
    wins: dict[str, Ints] = {}
    for (layer, feature_type), preferences in collected.items():
        if feature_type != _PIECES and layer not in wins and _parts(accounts[layer])[0] == _ONE_WINNER:
            wins[layer] = preferences.wins()
    return wins


def dominance(wins: Mapping[str, Ints], accounts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for each layer in which one neuron wins more than half of the words.

    Args:
        wins: from `wins_of`.
        accounts: layers of the manifest, with their `selection` and the words `counted`.
    """
    for layer, account in accounts.items():
        rule, *options = _parts(account)
        if rule != _ONE_WINNER or layer not in wins or not account["counted"]:
            continue
        wins_of_layer = wins[layer]
        neuron = int(wins_of_layer.argmax())
        if wins_of_layer[neuron] * 2 > account["counted"] and len(wins_of_layer) > 1:
            remedy = (
                "choose another layer"
                if "zscore" in options
                else f"collect with the selection '{account['selection']}/zscore', or choose another layer"
            )
            share = wins_of_layer[neuron] / account["counted"]
            yield (
                f"layer {layer!r}: neuron {neuron} wins {share:.0%} of all words, so the others hardly show; {remedy}"
            )


def _parts(account: Mapping[str, Any]) -> list[str]:
    """Return the rule of a layer's selection, followed by its options."""
    return str(account.get("selection")).split("/")
