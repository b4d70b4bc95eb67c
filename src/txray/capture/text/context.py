"""Activations of a neuron at the words around one of its exemplars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from txray.capture.text.encoding import Indices
from txray.preferences.exemplars import CONTEXT

Lookup = Callable[[Indices, Indices], NDArray[np.floating]]
"""(n,) word groups and (n,) neurons -> (n,) activations."""


def around(
    row: Indices, word: Indices, group: Indices, neuron: Indices, activations: Lookup
) -> NDArray[np.floating]:
    """Return the activations of neurons at and around some words.

    Only words of the same input are included, because which other inputs are available depends on the batch.

    Args:
        row, word: (n_groups,) input of each word group, and position of its word in the document; ordered by input,
            positions ascending.
        group: (m,) the words in the middle.
        neuron: (m,) neuron of each of these words.
        activations: looks up activations of word groups.

    Returns:
        (m, 2 * CONTEXT + 1) activations in document order, the word itself in the middle; NaN for words that are not
        in the document, in the input or covered by the layer.
    """
    # Missing words shift later ones closer to the middle, never further away, so CONTEXT neighbours suffice.
    near = group[:, None] + np.arange(-CONTEXT, CONTEXT + 1)
    valid = (near >= 0) & (near < len(row))
    near = near.clip(0, len(row) - 1)
    column = word[near] - word[group][:, None] + CONTEXT
    valid &= (row[near] == row[group][:, None]) & (column >= 0) & (column <= 2 * CONTEXT)
    middle = np.nonzero(valid)[0]
    values = activations(near[valid], neuron[middle])
    result = np.full(near.shape, np.nan, values.dtype)
    result[middle, column[valid]] = values
    return result
