"""The finalizer of SplitMix64, in NumPy and in torch."""

from __future__ import annotations

import numpy as np
import torch

from txray.hashing import GOLDEN_GAMMA, as_signed, splitmix64, splitmix64_tensor


def test_it_gives_the_published_numbers() -> None:
    # The first five outputs of SplitMix64 from the seed 1234567, as in the test vectors of other languages.
    states = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * np.uint64(GOLDEN_GAMMA)
    assert splitmix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_torch_gives_the_same_bits() -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 64, (50, 3), dtype=np.uint64)
    keys.flat[:3] = 0, (1 << 64) - 1, 1 << 63
    hashed = splitmix64_tensor(torch.from_numpy(keys.view(np.int64))).numpy().view(np.uint64)
    assert np.array_equal(hashed, splitmix64(keys))


def test_the_int64_of_a_uint64_has_its_bits() -> None:
    for number in (0, 5, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, GOLDEN_GAMMA):
        assert as_signed(number) == int(np.uint64(number).view(np.int64))
