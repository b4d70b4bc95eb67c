"""The values that replace the activations of ablated neurons, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.errors import UsageError
from txray.hashing import GOLDEN_GAMMA, splitmix64
from txray.pruning.mask import Mask


@dataclass(eq=False)
class BatchKeys:
    """The documents of the next forward pass. Resampling depends on document and position, not on the batch.

    Attributes:
        keys: (n,) hash of the document in each row of the batch; None if unknown: all rows get the same values.
    """

    keys: NDArray[np.uint64] | None = None


class AblationValues:
    """The values of a mask, for the output of its layer."""

    def __init__(self, mask: Mask, batch_keys: BatchKeys) -> None:
        self._mask = mask
        self._batch_keys = batch_keys
        self._values = None if mask.values is None else torch.from_numpy(np.array(mask.values))

    @property
    def is_resampled(self) -> bool:
        """Return whether the values differ between positions."""
        return self._mask.ablation == "resample"

    def constant(self, like: Tensor) -> Tensor:
        """Return the (k,) values of `zero` or `mean`, with the dtype and on the device of `like`."""
        if self._values is None:
            return like.new_zeros(len(self._mask))
        return self._values.to(like)

    def at(self, rows: int, steps: int, like: Tensor) -> Tensor:
        """Return (documents, positions, k) values like another tensor, or a tensor that broadcasts to this shape.

        Raises:
            UsageError: the batch has another number of documents than `BatchKeys.keys`.
        """
        if not self.is_resampled:
            return self.constant(like)
        assert self._values is not None
        keys = self._batch_keys.keys
        if keys is None:
            keys = np.zeros(rows, np.uint64)
        if len(keys) != rows:
            raise UsageError(
                f"layer {self._mask.layer!r}: reads {rows} documents, but the mask has keys of {len(keys)}; "
                "set the keys before each forward pass"
            )
        step, gamma = np.arange(steps, dtype=np.uint64), np.uint64(GOLDEN_GAMMA)
        with np.errstate(over="ignore"):
            document = splitmix64(keys[:, None] + np.uint64(self._mask.seed) * gamma)
            hashed = splitmix64(document + step * gamma)
        index = (hashed % np.uint64(len(self._values))).astype(np.int64)
        return self._values[torch.from_numpy(index)].to(like)
