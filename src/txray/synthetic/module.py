"""A synthetic module whose neurons win words with given probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from txray.hashing import FIRST_FACTOR, GOLDEN_GAMMA, as_signed, splitmix64_tensor
from txray.synthetic.growth import Growth
from txray.synthetic.profiles import Profile

LAYER = "neurons"
"""Name of the layer to collect."""

_BLOCK = 256
"""Number of words processed at a time, so that their data stay in the CPU cache."""

# Odd 64-bit constants in two's complement.
_STEP, _FIRST = as_signed(GOLDEN_GAMMA), as_signed(FIRST_FACTOR)


class SyntheticModule(nn.Module):
    """A layer of neurons that race for every word.

    Neuron n finishes after an exponential time with rate P[word, n]; a timeout has rate 1 - sum_n P[word, n]. A neuron
    that finishes at time t, before the timeout, has the activation exp(-t); the others have 0. So neuron n is the
    strongest at a word with probability P[word, n], independently between words, and with the remaining probability no
    activation is positive. The rates of a word sum to 1, so the largest activation is uniform in (0, 1):
    the activation of a neuron does not depend on the preferences of the others.

    The times are a function of seed, whole document, position and neuron, not of batch, padding or what was read
    before. The same document always gives the same activations, and different documents give different ones.

    Attributes:
        neurons: the layer; its output is (documents, time, neurons) float32, from 0 to 1.
        n_neurons: number of neurons.
    """

    start: Tensor
    neuron: Tensor
    probability: Tensor
    timeout: Tensor
    seed: Tensor

    def __init__(
        self, profiles: Sequence[Profile], n_words: int, seed: int, growth: Growth | None = None
    ) -> None:
        """Create the neurons.

        Args:
            profiles: profile of each neuron.
            n_words: size of the vocabulary.
            seed: random seed of the times, 0 to 2^63 - 1.
            growth: rates that one neuron has besides; those of all others, and their activations, stay as they are.
        """
        super().__init__()
        word = np.concatenate([profile.word for profile in profiles])
        neuron = np.repeat(np.arange(len(profiles)), [len(profile.word) for profile in profiles])
        probability = np.concatenate([profile.probability for profile in profiles])
        order = np.lexsort((neuron, word))
        timeout = 1 - np.bincount(word, probability, n_words)
        if growth is not None:
            word, neuron, probability = growth.added_to(word, neuron, probability)
            order = np.lexsort((neuron, word))
        start = np.concatenate(([0], np.cumsum(np.bincount(word, minlength=n_words))))
        self.n_neurons = len(profiles)
        # Buffers are part of the fingerprint, and move to a device with the module.
        self.register_buffer("start", torch.from_numpy(start))
        self.register_buffer("neuron", torch.from_numpy(neuron[order]))
        self.register_buffer("probability", torch.from_numpy(probability[order]))
        self.register_buffer("timeout", torch.from_numpy(timeout))
        self.register_buffer("seed", torch.tensor(seed))
        self.neurons = nn.ReLU()

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the activations at every position.

        Args:
            ids: (documents, time) int64 ids of words.
            mask: (documents, time) True at positions in use; all by default.

        Returns:
            (documents, time, neurons) float32, from 0 to 1; 0 at positions not in use.
        """
        used = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        document, time = torch.nonzero(used, as_tuple=True)
        key = splitmix64_tensor(_documents(ids, used, self.seed)[document] + (time + 1) * _STEP)
        response = torch.zeros((*ids.shape, self.n_neurons), dtype=torch.float32, device=ids.device)
        flat = response.view(-1, self.n_neurons)
        rows = document * ids.shape[1] + time
        blocks = (torch.split(values, _BLOCK) for values in (ids[used], key, rows))
        for word, keys, row in zip(*blocks, strict=True):
            self._race(word, keys, row, flat)
        result: Tensor = self.neurons(response)
        return result

    def _race(self, word: Tensor, key: Tensor, row: Tensor, response: Tensor) -> None:
        """Write the activations at some words, computed only for the few neurons that race for them.

        Args:
            word: (n,) ids of the words.
            key: (n,) hash of document and position of each word.
            row: (n,) row of each word in `response`.
            response: (positions, neurons) float32.
        """
        timeout = _exponential(key) / self.timeout[word]
        first = self.start[word]
        racing = self.start[word + 1] - first
        position = torch.repeat_interleave(torch.arange(len(word), device=word.device), racing)
        offset = torch.cumsum(racing, 0) - racing
        entry = torch.arange(len(position), device=word.device) + (first - offset)[position]
        neuron = self.neuron[entry]
        duration = _exponential(key[position] + (neuron + 1) * _STEP) / self.probability[entry]
        activation = torch.where(duration < timeout[position], torch.exp(-duration), 0.0)
        response[row[position], neuron] = activation.to(torch.float32)


def read_with_mask(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """Run the module with its mask, because the hash of a document depends on where it ends."""
    return module(ids, mask)


def _documents(ids: Tensor, used: Tensor, seed: Tensor) -> Tensor:
    """Return (documents,) a hash of the words of each document and their positions."""
    position = torch.arange(1, ids.shape[1] + 1, device=ids.device) * _FIRST
    return splitmix64_tensor(
        (splitmix64_tensor(ids * _STEP + position) * used).sum(dim=1) + splitmix64_tensor(seed)
    )


def _exponential(key: Tensor) -> Tensor:
    """Return exponential times with rate 1, float64 above 0, one for each key."""
    uniform = ((splitmix64_tensor(key) >> 11) & ((1 << 53) - 1)).to(torch.float64)
    return -torch.log((uniform + 0.5) * 2.0**-53)
