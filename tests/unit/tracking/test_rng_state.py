"""A look leaves no trace in the generators of random numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from txray.tracking.rng_state import preserve_rng_state


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_go_on_as_if_nobody_had_drawn(fails: bool) -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    draws()
    expected = draws()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    draws()
    try:
        with preserve_rng_state():
            draws()
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert draws() == expected
