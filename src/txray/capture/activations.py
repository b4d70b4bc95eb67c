"""From activations of positions to the activations that count: pooled over the pieces of a word, then selected."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.encoding import Indices
from txray.capture.selection import Selection

_CELLS = 1 << 20
"""Activations among which the strongest of each neuron are looked for at a time."""

Check = Callable[[NDArray[np.floating]], None]


@dataclass(frozen=True, eq=False)
class SelectedActivations:
    """Selected activations, all positive.

    Attributes:
        group: (n,) which of the groups that were selected from (words, or pieces) responded.
        neuron: (n,) with which neuron.
        value: (n,) how strongly, in groups of the layer's output, or of its standard deviation.
    """

    group: Indices
    neuron: Indices
    value: NDArray[np.floating]

    @classmethod
    def of(cls, group: Indices, neuron: Indices, value: NDArray[np.floating]) -> SelectedActivations:
        """Those of positive value."""
        positive = value > 0
        if positive.all():
            return cls(group, neuron, value)
        return cls(group[positive], neuron[positive], value[positive])


@dataclass(frozen=True, eq=False)
class WordGroups:
    """What is selected from: words with their pieces, or pieces on their own.

    Attributes:
        place: (n_pieces,) where the activations of each piece lie in (documents * time, neurons).
        starts: (n_units,) where the pieces of each group begin.
        pooling: which activation a group of several pieces has.
    """

    place: Indices
    starts: Indices
    pooling: str

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> Indices:
        """(n_units,) where the pieces of each group end."""
        return np.append(self.starts[1:], len(self.place))

    @property
    def single(self) -> bool:
        """Whether every group is one piece."""
        return len(self.place) == len(self.starts)

    def edges(self) -> WordGroups:
        """The same groups by their first or their last piece alone, where that is what pooling asks for."""
        if self.single or self.pooling not in ("first", "last"):
            return self
        place = self.place[self.starts if self.pooling == "first" else self.ends - 1]
        return WordGroups(place, np.arange(len(self)), self.pooling)


def pooled(flat: Tensor, groups: WordGroups) -> Tensor:
    """Activations of groups.

    Args:
        flat: (documents * time, neurons).
        groups: n_units of them.

    Returns:
        (n_units, neurons), a copy.
    """
    groups = groups.edges()
    values = flat[torch.from_numpy(groups.place).to(flat.device)]
    if groups.single:
        return values
    sizes = np.diff(groups.starts, append=len(groups.place))
    owner = torch.from_numpy(np.repeat(np.arange(len(groups)), sizes)).to(flat.device)
    if groups.pooling == "mean":
        # In single precision at least: sums of half precision overflow, or stop growing.
        total = values.new_zeros((len(groups), values.shape[1]), dtype=_wide(values))
        total.index_add_(0, owner, values.to(total.dtype))
        return total / torch.from_numpy(sizes).to(flat.device)[:, None]
    result = values.new_zeros((len(groups), values.shape[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="index_reduce", category=UserWarning)
        return result.index_reduce_(0, owner, values, "amax", include_self=False)


def pooled_at(flat: Tensor, groups: WordGroups, group: Indices, neuron: Indices) -> NDArray[np.floating]:
    """Single activations out of those that `pooled` gives, without making the others.

    Args:
        flat: (documents * time, neurons).
        groups: n_units of them.
        group, neuron: (n,) which.

    Returns:
        (n,) activations.
    """
    sizes = (groups.ends - groups.starts)[group]
    starts = np.cumsum(sizes) - sizes
    piece = np.repeat(groups.starts[group] - starts, sizes) + np.arange(sizes.sum())
    place = torch.from_numpy(groups.place[piece]).to(flat.device)
    column = flat[place, torch.from_numpy(np.repeat(neuron, sizes)).to(flat.device)][:, None]
    return as_numpy(pooled(column, WordGroups(np.arange(len(piece)), starts, groups.pooling)))[:, 0]


def strongest(flat: Tensor, groups: WordGroups) -> tuple[NDArray[np.floating], Indices]:
    """The largest activation of each group, and the neuron that has it.

    Args:
        flat: (documents * time, neurons).
        groups: n_units of them.

    Returns:
        (n_units,) values and (n_units,) neurons.
    """
    if not groups.single and groups.pooling == "mean":
        best, winner = pooled(flat, groups).max(dim=-1)
        return as_numpy(best), winner.cpu().numpy()
    # The maximum runs over padding too: cheaper than copying the activations of the words out first.
    groups = groups.edges()
    best, winner = flat.max(dim=-1)
    value, neuron = as_numpy(best)[groups.place], winner.cpu().numpy()[groups.place]
    if groups.single:
        return value, neuron
    largest = np.maximum.reduceat(value, groups.starts)  # of the pieces; no number stays no number
    sizes = np.diff(groups.starts, append=len(value))
    holders = np.flatnonzero((value == np.repeat(largest, sizes)) | np.isnan(np.repeat(largest, sizes)))
    first = holders[np.searchsorted(holders, groups.starts)]
    return largest, neuron[first]


def select(
    flat: Tensor, groups: WordGroups, selection: Selection, check: Check
) -> Tensor | SelectedActivations:
    """The activations that count: all at once where most of them may, else one by one.

    Args:
        flat: (documents * time, neurons), signed and standardized.
        groups: what is selected from.
        selection: any rule but `max-position`, which needs whole documents.
        check: told one number per group, which is finite where its activations are.

    Returns:
        (n_units, neurons) with zeros where nothing counts, or the activations, group by group.
    """
    if selection.k == 1:
        value, neuron = strongest(flat, groups)
        check(value)
        return SelectedActivations.of(np.arange(len(groups)), neuron, value)
    dense = pooled(flat, groups)
    check(row_sums(dense))
    if selection.threshold is not None:
        return torch.where(dense > selection.threshold, dense, 0)
    top = dense.topk(min(selection.k or 1, dense.shape[1]), dim=-1)
    group = np.repeat(np.arange(len(groups)), top.values.shape[1])
    return SelectedActivations.of(group, top.indices.cpu().numpy().ravel(), as_numpy(top.values).ravel())


def strongest_groups(dense: Tensor, k: int, *ranks: Indices) -> SelectedActivations:
    """The `k` strongest groups of each neuron; of equals, those of smaller ranks.

    Args:
        dense: (n_units, neurons).
        k: how many.
        ranks: (n_units,) each; the first decides among equals, then the next.
    """
    if k == 0 or len(dense) == 0:
        nothing = np.zeros(0, np.int64)
        return SelectedActivations(nothing, nothing, np.zeros(0, np.float32))
    # Some neurons at a time: where a layer saturates, nearly all of its activations are equal.
    at_once = max(1, _CELLS // len(dense))
    parts = []
    for start in range(0, dense.shape[1], at_once):
        part = _strongest_groups(dense[:, start : start + at_once], k, *ranks)
        parts.append((part.group, part.neuron + start, part.value))
    return SelectedActivations(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _strongest_groups(dense: Tensor, k: int, *ranks: Indices) -> SelectedActivations:
    """The same for few enough neurons."""
    # Of equals beyond the k-th, topk takes any: they are all taken here, and ranked afterwards.
    least = dense.topk(min(k, len(dense)), dim=0).values[-1]
    group, neuron = (
        each.cpu().numpy() for each in torch.nonzero((dense >= least) & (dense > 0), as_tuple=True)
    )
    value = as_numpy(dense[group, neuron])
    order = np.lexsort((*(rank[group] for rank in reversed(ranks)), -value, neuron))
    group, neuron, value = group[order], neuron[order], value[order]
    place = np.arange(len(neuron)) - np.searchsorted(neuron, neuron)
    kept = place < k
    return SelectedActivations(group[kept], neuron[kept], value[kept])


def is_finite(values: Tensor) -> bool:
    """Whether all are numbers, by one sum; a sum that overflows is taken for a no."""
    return bool(torch.isfinite(values.sum(dtype=_wide(values))))


def row_sums(values: Tensor) -> NDArray[np.floating]:
    """(n,) sums of rows, which are numbers where all of a row are; not in half precision, where sums overflow."""
    return as_numpy(values.sum(dim=-1, dtype=_wide(values)))


def _wide(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype is torch.float64 else torch.float32


def as_numpy(values: Tensor) -> NDArray[np.floating]:
    """On the CPU; numpy has no bfloat16."""
    return (values.float() if values.dtype is torch.bfloat16 else values).cpu().numpy()
