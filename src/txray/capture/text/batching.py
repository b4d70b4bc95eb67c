"""Group a stream of inputs into full batches of similar length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from txray.capture.text.encoding import ModelInput
from txray.errors import UsageError

_POOL_BATCHES = 32
"""Number of batches whose inputs are sorted by length together."""


def batches(
    inputs: Iterable[ModelInput], positions: int, *, padded: bool = True
) -> Iterator[list[ModelInput]]:
    """Yield batches of inputs, full and with little padding, the longest input of each first.

    Inputs are read into a pool of bounded size, sorted by length, and cut into batches of at most `positions` padded
    positions (inputs x longest). A longer input is a batch of its own.

    Args:
        inputs: documents, or parts of documents.
        positions: maximum number of padded positions in a batch.
        padded: whether inputs of different length may share a batch.

    Raises:
        UsageError: `positions` is below 1.
    """
    if positions < 1:
        raise UsageError(f"batch of {positions} positions: must be at least 1")
    pool: list[ModelInput] = []
    pooled_positions = 0
    for model_input in inputs:
        pool.append(model_input)
        pooled_positions += len(model_input.ids)
        if pooled_positions >= _POOL_BATCHES * positions:
            yield from _by_length(pool, positions, padded)
            pool, pooled_positions = [], 0
    yield from _by_length(pool, positions, padded)


def _by_length(pool: list[ModelInput], positions: int, padded: bool) -> Iterator[list[ModelInput]]:
    batch: list[ModelInput] = []
    for model_input in sorted(pool, key=lambda item: len(item.ids), reverse=True):
        longest = len(batch[0].ids) if batch else 0
        if batch and (
            (len(batch) + 1) * longest > positions or (not padded and len(model_input.ids) < longest)
        ):
            yield batch
            batch = []
        batch.append(model_input)
    if batch:
        yield batch
