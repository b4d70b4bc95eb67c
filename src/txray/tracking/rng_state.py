"""Restoring random number generators, so that measurements do not affect training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore all random number generators that training may use when the block ends.

    Python's, NumPy's, and PyTorch's on the CPU and on every CUDA device. `txray.collect` itself restores the mode of
    the model and leaves gradients and hooks as they were.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
