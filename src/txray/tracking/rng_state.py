"""Looking at a model in the middle of its training without leaving a trace in what follows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give back the state of all generators of random numbers that training draws from.

    Python's, NumPy's, and PyTorch's on the processor and on every CUDA device. The mode of the model, gradients and
    hooks are looked after by the collection itself.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
