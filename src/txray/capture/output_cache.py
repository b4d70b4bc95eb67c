"""Outputs of layers stored in a first pass, so that a second pass over the same batches need not run the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from txray.capture.hook_point import LayerOutput
from txray.capture.text.encoding import ModelInput
from txray.capture.text.forward_chunk import ForwardChunk

MAX_BYTES = 1 << 30
"""Largest cache: 100,000 words of seven layers of 384 neurons."""

FREE_SHARE = 4
"""A cache takes at most one of so many parts of the free memory."""

_NAME_BYTES = 64

ForwardPass = tuple[ForwardChunk, Sequence[LayerOutput]]
"""The words of a forward pass, and the output of each layer."""


class OutputCache:
    """Outputs of layers by the number of their batch, up to a size in bytes; later batches are not stored.

    A batch is taken once, and gives the same activations to the last bit.

    >>> cache = OutputCache(max_bytes=0)
    >>> cache.take(1, []) is None
    True
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Start empty."""
        self._bytes_left = max_bytes
        self._full = False
        self._batches: dict[int, list[ForwardPass]] = {}

    def store(self, number: int, passes: Iterable[ForwardPass]) -> Iterator[ForwardPass]:
        """Yield the forward passes of a batch unchanged, and store them if all of them fit."""
        stored: list[ForwardPass] = []
        for chunk, outputs in passes:
            if not self._full:
                # Copies: a model may write to its buffers again, and a view would keep all of its storage.
                stored.append(
                    (replace(chunk, batch=[], occurrences={}), [_copy(output) for output in outputs])
                )
                self._bytes_left -= _size(stored[-1])
                self._full = self._bytes_left < 0
            yield chunk, outputs
        if not self._full:
            self._batches[number] = stored

    def take(self, number: int, batch: list[ModelInput]) -> list[ForwardPass] | None:
        """Return the forward passes of a batch, and forget them; None if they were not stored."""
        stored = self._batches.pop(number, None)
        return (
            None if stored is None else [(replace(chunk, batch=batch), outputs) for chunk, outputs in stored]
        )


def _copy(output: LayerOutput) -> LayerOutput:
    if isinstance(output, Tensor):
        return output.clone(memory_format=torch.contiguous_format)
    changes: dict[str, Any] = {
        name: value.clone() for name, value in _values(output) if isinstance(value, Tensor)
    }
    return replace(output, **changes)


def _size(forward_pass: ForwardPass) -> int:
    """Return the bytes of a forward pass, without its inputs."""
    chunk, outputs = forward_pass
    arrays = [value for _, value in _values(chunk)]
    for output in outputs:
        arrays += [output] if isinstance(output, Tensor) else [value for _, value in _values(output)]
    names = len(chunk.outputs or ()) * _NAME_BYTES
    return names + sum(value.nbytes for value in arrays if isinstance(value, Tensor | np.ndarray))


def _values(instance: Any) -> list[tuple[str, Any]]:
    assert is_dataclass(instance)
    return [(field.name, getattr(instance, field.name)) for field in fields(instance)]
