"""Layers in which one neuron wins so often that the others hardly show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from txray.preferences.preferences import Preferences

_PIECES = "subword"
"""The kind of feature that counts more than once per word."""


def dominance(
    collected: Mapping[tuple[str, str], Preferences], accounts: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """One line for each layer in which one neuron wins more than half of the words.

    Args:
        collected: (layer, feature kind) -> preferences.
        accounts: per layer, words `counted`, and the `selection`, as in the manifest of a stage.
    """
    for layer, account in accounts.items():
        kinds = [kind for of_layer, kind in collected if of_layer == layer and kind != _PIECES]
        rule, *options = str(account.get("selection")).split("/")
        if rule != "max-1" or not kinds or not account["counted"]:
            continue
        wins = collected[layer, kinds[0]].wins()
        neuron = int(wins.argmax())
        if wins[neuron] * 2 > account["counted"] and len(wins) > 1:
            remedy = (
                "choose another layer"
                if "zscore" in options
                else f"collect with the selection '{account['selection']}/zscore', or choose another layer"
            )
            yield (
                f"layer {layer!r}: neuron {neuron} wins {wins[neuron] / account['counted']:.0%} of all words, so the "
                f"others hardly show; {remedy}"
            )
