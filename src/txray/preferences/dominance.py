"""Layers in which one neuron wins so often that the others hardly show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.preferences.preferences import Preferences

_PIECES = "subword"
"""The kind of feature that counts more than once per word."""


def wins_of(collected: Mapping[tuple[str, str], Preferences]) -> dict[str, NDArray[np.int64]]:
    """Layer -> (n_neurons,) words that each neuron wins."""
    found: dict[str, NDArray[np.int64]] = {}
    for (layer, kind), preferences in collected.items():
        if kind != _PIECES and layer not in found:
            found[layer] = preferences.wins()
    return found


def dominance(
    wins: Mapping[str, NDArray[np.int64]], accounts: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """One line for each layer in which one neuron wins more than half of the words.

    Args:
        wins: per layer, (n_neurons,) words that each neuron wins.
        accounts: per layer, words `counted`, and the `selection`, as in the manifest of a stage.
    """
    for layer, account in accounts.items():
        rule, *options = str(account.get("selection")).split("/")
        if rule != "max-1" or layer not in wins or not account["counted"]:
            continue
        of_layer = wins[layer]
        neuron = int(of_layer.argmax())
        if of_layer[neuron] * 2 > account["counted"] and len(of_layer) > 1:
            remedy = (
                "choose another layer"
                if "zscore" in options
                else f"collect with the selection '{account['selection']}/zscore', or choose another layer"
            )
            yield (
                f"layer {layer!r}: neuron {neuron} wins {of_layer[neuron] / account['counted']:.0%} of all words, so "
                f"the others hardly show; {remedy}"
            )
