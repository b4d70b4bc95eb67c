"""How strongly a neuron responds to the words around one of its exemplars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from txray.capture.encoding import Indices
from txray.preferences.exemplars import CONTEXT

Lookup = Callable[[Indices, Indices], NDArray[np.floating]]
"""(n,) groups and (n,) neurons -> (n,) activations."""


def around(
    row: Indices, word: Indices, group: Indices, neuron: Indices, activations: Lookup
) -> NDArray[np.floating]:
    """The activations of neurons at the words around some words.

    Only words of the same input are looked at: which others are at hand depends on the batch.

    Args:
        row, word: (n_units,) the input of each group, and its word in the document; input by input, ascending.
        group: (m,) the words in the middle.
        neuron: (m,) the neuron of each.
        activations: of groups.

    Returns:
        (m, 2 * CONTEXT + 1) activations, in document order, the word itself in the middle; NaN for words that the
        document, the input or the layer does not have.
    """
    # Words that lack in between move others closer, never further away.
    near = group[:, None] + np.arange(-CONTEXT, CONTEXT + 1)
    held = (near >= 0) & (near < len(row))
    near = near.clip(0, len(row) - 1)
    place = word[near] - word[group][:, None] + CONTEXT
    held &= (row[near] == row[group][:, None]) & (place >= 0) & (place <= 2 * CONTEXT)
    middle = np.nonzero(held)[0]
    found = activations(near[held], neuron[middle])
    result = np.full(near.shape, np.nan, found.dtype)
    result[middle, place[held]] = found
    return result
