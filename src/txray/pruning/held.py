"""What silenced neurons give instead: a number, or numbers drawn by document and position."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.errors import UsageError
from txray.pruning.mask import Mask

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(eq=False)
class Documents:
    """Which documents the next forward pass reads; drawing by document and position leaves no trace of batches.

    Attributes:
        keys: (n,) of the rows of the batch; None where nobody says: then all rows are given the same.
    """

    keys: NDArray[np.uint64] | None = field(default=None)


class Held:
    """The values of a mask, ready for a layer's output."""

    def __init__(self, mask: Mask, documents: Documents) -> None:
        """For one mask."""
        self._mask = mask
        self._documents = documents
        self._values = None if mask.values is None else torch.from_numpy(np.array(mask.values))

    @property
    def drawn(self) -> bool:
        """Whether values differ from one position to the next."""
        return self._mask.ablation == "resample"

    def constant(self, like: Tensor) -> Tensor:
        """(k,) for `zero` and `mean`, in the number type and place of `like`."""
        if self._values is None:
            return like.new_zeros(len(self._mask))
        return self._values.to(like)

    def at(self, rows: int, steps: int, like: Tensor) -> Tensor:
        """(rows, steps, k), or what broadcasts to it.

        Args:
            rows: documents of the batch.
            steps: positions.
            like: tells number type and place.

        Raises:
            UsageError: the documents that were announced are not those of this batch.
        """
        if not self.drawn:
            return self.constant(like)
        assert self._values is not None
        keys = self._documents.keys
        if keys is None:
            keys = np.zeros(rows, np.uint64)
        if len(keys) != rows:
            raise UsageError(
                f"layer {self._mask.layer!r}: reads {rows} documents where {len(keys)} were announced to the mask; "
                "announce those of each forward pass"
            )
        step = np.arange(steps, dtype=np.uint64)
        with np.errstate(over="ignore"):
            mixed = _mixed(_mixed(keys[:, None] + np.uint64(self._mask.seed) * _GOLDEN) + step * _GOLDEN)
        chosen = (mixed % np.uint64(len(self._values))).astype(np.int64)
        return self._values[torch.from_numpy(chosen)].to(like)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each number (the finalizer of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
