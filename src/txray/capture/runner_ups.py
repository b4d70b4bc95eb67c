"""Second places of words: which neuron would have been credited if a winner were absent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.activations import SelectedActivations, WordGroups, strongest
from txray.capture.text.encoding import Indices

_CELLS = 1 << 18
"""Number of activations that are copied at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class SecondPlaces:
    """Activations that would have been selected if a winner were absent, all positive.

    Attributes:
        group: (n,) index of the group (a word, or a piece of one).
        winner: (n,) neuron that was credited.
        neuron: (n,) neuron that would have been.
        value: (n,) activation of `neuron`.
    """

    group: Indices
    winner: Indices
    neuron: Indices
    value: NDArray[np.floating]


def second_places(flat: Tensor, groups: WordGroups, selected: SelectedActivations, k: int) -> SecondPlaces:
    """Return what would have been selected if one of the winners were absent: the activation of rank k + 1.

    Args:
        flat: (documents * time, neurons) activations, signed and standardized.
        groups: words or pieces.
        selected: the activations selected by `max-k`, ordered by group.
        k: maximum number of winners of a group.
    """
    wins = np.bincount(selected.group, minlength=len(groups))
    # If fewer than k activations are positive, the next one is not.
    full = wins == k
    if not full.any() or k >= flat.shape[1]:
        none = np.zeros(0, np.int64)
        return SecondPlaces(none, none, none, np.zeros(0, np.float32))
    group = np.flatnonzero(full)
    winners = selected.neuron[full[selected.group]].reshape(len(group), k)
    value, neuron = _next(flat, groups.where(full), winners)
    positive = value > 0
    repeats = np.where(positive, k, 0)
    return SecondPlaces(
        np.repeat(group, repeats),
        winners[positive].ravel(),
        np.repeat(neuron, repeats),
        np.repeat(value, repeats),
    )


def _next(flat: Tensor, groups: WordGroups, winners: Indices) -> tuple[NDArray[np.floating], Indices]:
    """Return the largest activation of each group without its (n_groups, k) winners, and its neuron."""
    groups = groups.edges()
    piece_of = np.repeat(np.arange(len(groups)), groups.sizes)
    rows = torch.from_numpy(groups.rows).to(flat.device)
    without = torch.from_numpy(winners).to(flat.device)
    at_once = max(1, _CELLS // flat.shape[1])
    values, neurons = [], []
    for start in range(0, len(groups), at_once):
        part = slice(start, start + at_once)
        first, last = int(groups.starts[start]), int(groups.ends[part][-1])
        copy = flat[rows[first:last]]
        # Whatever the pooling, a word without a neuron is what its pieces without that neuron give.
        copy.scatter_(1, without[torch.from_numpy(piece_of[first:last]).to(flat.device)], -torch.inf)
        pieces = WordGroups(np.arange(last - first), groups.starts[part] - first, groups.pooling)
        value, neuron = strongest(copy, pieces)
        values.append(value)
        neurons.append(neuron)
    return np.concatenate(values), np.concatenate(neurons)
