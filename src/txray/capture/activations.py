"""Pool activations over the pieces of words, and select those that count."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.selection import Selection
from txray.capture.text.encoding import Indices

_CELLS = 1 << 20
"""Number of activations that are searched at a time for the strongest of each neuron."""

_SPARSE = 0.125
"""Share of activations that count below which they are faster to handle one by one."""


@dataclass(frozen=True, eq=False)
class SelectedActivations:
    """Selected activations, all positive.

    Attributes:
        group: (n,) index of the group (a word, or a piece of one).
        neuron: (n,) neuron that responded.
        value: (n,) its activation, in units of the layer's output, or in standard deviations.
    """

    group: Indices
    neuron: Indices
    value: NDArray[np.floating]

    @classmethod
    def of(cls, group: Indices, neuron: Indices, value: NDArray[np.floating]) -> SelectedActivations:
        """Return the activations that are positive."""
        positive = value > 0
        if positive.all():
            return cls(group, neuron, value)
        return cls(group[positive], neuron[positive], value[positive])


@dataclass(frozen=True, eq=False)
class WordGroups:
    """Words with their pieces, or single pieces, as groups of rows of a layer's output.

    Attributes:
        rows: (n_pieces,) row of each piece in (documents * time, neurons).
        starts: (n_groups,) index in `rows` of the first piece of each group.
        pooling: how the pieces of a group are combined.
    """

    rows: Indices
    starts: Indices
    pooling: str

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> Indices:
        """Return (n_groups,) the end of each group in `rows`."""
        return np.append(self.starts[1:], len(self.rows))

    @property
    def sizes(self) -> Indices:
        """Return (n_groups,) the number of pieces of each group."""
        return self.ends - self.starts

    @property
    def single(self) -> bool:
        """Return whether every group is a single piece."""
        return len(self.rows) == len(self.starts)

    def where(self, mask: NDArray[np.bool_]) -> WordGroups:
        """Return the groups for which the (n_groups,) mask is True."""
        sizes = self.sizes
        starts = np.cumsum(sizes[mask]) - sizes[mask]
        return WordGroups(self.rows[np.repeat(mask, sizes)], starts, self.pooling)

    def pieces(self) -> WordGroups:
        """Return each piece as a group of its own."""
        return WordGroups(self.rows, np.arange(len(self.rows)), self.pooling)

    def edges(self) -> WordGroups:
        """Return the groups reduced to their first or last piece if pooling uses only that piece."""
        if self.single or self.pooling not in ("first", "last"):
            return self
        index = self.starts if self.pooling == "first" else self.ends - 1
        return WordGroups(self.rows[index], np.arange(len(self)), self.pooling)


def pooled(flat: Tensor, groups: WordGroups) -> Tensor:
    """Return the (n_groups, neurons) pooled activations of groups of rows of (documents * time, neurons), a copy."""
    groups = groups.edges()
    values = flat[torch.from_numpy(groups.rows).to(flat.device)]
    if groups.single:
        return values
    sizes = groups.sizes
    group = torch.from_numpy(np.repeat(np.arange(len(groups)), sizes)).to(flat.device)
    if groups.pooling == "mean":
        # At least in single precision: sums in half precision overflow or stop growing.
        total = values.new_zeros((len(groups), values.shape[1]), dtype=_wide(values))
        total.index_add_(0, group, values.to(total.dtype))
        return total / torch.from_numpy(sizes).to(flat.device)[:, None]
    result = values.new_zeros((len(groups), values.shape[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="index_reduce", category=UserWarning)
        return result.index_reduce_(0, group, values, "amax", include_self=False)


def pooled_at(flat: Tensor, groups: WordGroups, group: Indices, neuron: Indices) -> NDArray[np.floating]:
    """Return the (n,) entries of `pooled(flat, groups)` at (n,) groups and neurons, without computing the others."""
    sizes = groups.sizes[group]
    starts = np.cumsum(sizes) - sizes
    piece = np.repeat(groups.starts[group] - starts, sizes) + np.arange(sizes.sum())
    rows = torch.from_numpy(groups.rows[piece]).to(flat.device)
    column = flat[rows, torch.from_numpy(np.repeat(neuron, sizes)).to(flat.device)][:, None]
    return as_numpy(pooled(column, WordGroups(np.arange(len(piece)), starts, groups.pooling)))[:, 0]


def strongest(flat: Tensor, groups: WordGroups) -> tuple[NDArray[np.floating], Indices]:
    """Return the largest activation of each group, and its neuron: (n_groups,) values and (n_groups,) neurons."""
    if not groups.single and groups.pooling == "mean":
        best, winner = pooled(flat, groups).max(dim=-1)
        return as_numpy(best), winner.cpu().numpy()
    # Taking the maximum over padding too is cheaper than copying the activations of the words first.
    groups = groups.edges()
    best, winner = flat.max(dim=-1)
    value, neuron = as_numpy(best)[groups.rows], winner.cpu().numpy()[groups.rows]
    if groups.single:
        return value, neuron
    largest = np.maximum.reduceat(value, groups.starts)  # over the pieces; NaN stays NaN
    largest_of_piece = np.repeat(largest, groups.sizes)
    maxima = np.flatnonzero((value == largest_of_piece) | np.isnan(largest_of_piece))
    first = maxima[np.searchsorted(maxima, groups.starts)]
    return largest, neuron[first]


def select(
    flat: Tensor, groups: WordGroups, selection: Selection, *, sparse: bool = False
) -> Tensor | SelectedActivations:
    """Return the activations that count, by any rule except `max-position`, which needs whole documents.

    Args:
        flat: (documents * time, neurons) activations, signed and standardized.
        groups: words or pieces.
        selection: the rule.
        sparse: whether most activations may be 0, as those of a sparse autoencoder; then those above a threshold are
            returned one by one if they are few.

    Returns:
        For thresholds, (n_groups, neurons) with zeros where nothing counts; otherwise the selected activations, ordered
        by group.
    """
    if selection.k == 1:
        value, neuron = strongest(flat, groups)
        return SelectedActivations.of(np.arange(len(groups)), neuron, value)
    dense = pooled(flat, groups)
    if selection.threshold is not None:
        if sparse:
            above = dense > selection.threshold
            if int(above.count_nonzero()) < _SPARSE * above.numel():
                group_of, neuron_of = torch.nonzero(above, as_tuple=True)
                values = as_numpy(dense[group_of, neuron_of])
                return SelectedActivations.of(group_of.cpu().numpy(), neuron_of.cpu().numpy(), values)
        return torch.where(dense > selection.threshold, dense, 0)
    top = dense.topk(min(selection.k or 1, dense.shape[1]), dim=-1)
    group = np.repeat(np.arange(len(groups)), top.values.shape[1])
    return SelectedActivations.of(group, top.indices.cpu().numpy().ravel(), as_numpy(top.values).ravel())


def strongest_groups(dense: Tensor, k: int, *ranks: Indices) -> SelectedActivations:
    """Return the `k` strongest groups of each neuron; ties are broken by smaller ranks.

    Args:
        dense: (n_groups, neurons) activations.
        k: number of groups.
        ranks: (n_groups,) arrays; the first breaks ties, then the next.
    """
    if k == 0 or len(dense) == 0:
        nothing = np.zeros(0, np.int64)
        return SelectedActivations(nothing, nothing, np.zeros(0, np.float32))
    # Some neurons at a time: if a layer saturates, nearly all of its activations are ties.
    block = max(1, _CELLS // len(dense))
    parts = []
    for start in range(0, dense.shape[1], block):
        part = _strongest_groups(dense[:, start : start + block], k, *ranks)
        parts.append((part.group, part.neuron + start, part.value))
    return SelectedActivations(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _strongest_groups(dense: Tensor, k: int, *ranks: Indices) -> SelectedActivations:
    """Return the `k` strongest groups of a block of neurons."""
    # topk breaks ties arbitrarily: take all activations that reach the k-th, and rank them afterwards.
    weakest = dense.topk(min(k, len(dense)), dim=0).values[-1]
    group, neuron = (
        index.cpu().numpy() for index in torch.nonzero((dense >= weakest) & (dense > 0), as_tuple=True)
    )
    value = as_numpy(dense[group, neuron])
    order = np.lexsort((*(rank[group] for rank in reversed(ranks)), -value, neuron))
    group, neuron, value = group[order], neuron[order], value[order]
    top = np.arange(len(neuron)) - np.searchsorted(neuron, neuron) < k
    return SelectedActivations(group[top], neuron[top], value[top])


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite, judged by their sum; a sum that overflows counts as not finite."""
    return bool(torch.isfinite(values.sum(dtype=_wide(values))))


def row_sums(values: Tensor) -> NDArray[np.floating]:
    """Return (n,) sums of rows, finite if the row is; at least in single precision, where sums rarely overflow."""
    return as_numpy(values.sum(dim=-1, dtype=_wide(values)))


def _wide(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype is torch.float64 else torch.float32


def as_numpy(values: Tensor) -> NDArray[np.floating]:
    """Return the values as a NumPy array on the CPU, bfloat16 as float32."""
    return (values.float() if values.dtype is torch.bfloat16 else values).cpu().numpy()
