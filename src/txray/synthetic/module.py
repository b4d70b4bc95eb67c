"""A module whose neurons win words with given probabilities, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from txray.hashing import FIRST_FACTOR, GOLDEN_GAMMA, as_signed, splitmix64_tensor
from txray.synthetic.profiles import Profile

LAYER = "neurons"
"""Name of the module whose output is looked into."""

_AT_ONCE = 256
"""Words that are raced for at a time: what they need then stays in the processor's cache."""

# Odd 64-bit constants, as two's complement.
_STEP, _FIRST = as_signed(GOLDEN_GAMMA), as_signed(FIRST_FACTOR)


class PlantedModule(nn.Module):
    """A layer of neurons that race for every word.

    Neuron n comes in after an exponential time of rate P[word, n], and nobody after one of rate 1 - sum_n P[word, n].
    A neuron that comes in at time t, before nobody does, has the activation exp(-t); the others have 0. So the
    strongest neuron of a word is n with probability P[word, n], independently from word to word, and no activation is
    positive with the probability that is left. All rates of a word sum to 1, so the largest activation is uniform in
    (0, 1) whoever wins: how strongly a neuron responds does not depend on what the others prefer.

    The times depend on the seed, the whole document, the position and the neuron alone: neither on the batch nor on
    padding nor on what was read before. The same document gives the same activations always, another one others.

    Attributes:
        neurons: the layer; its output is (documents, time, neurons) float32, from 0 to 1.
        n_neurons: how many.
    """

    start: Tensor
    neuron: Tensor
    probability: Tensor
    nobody: Tensor
    seed: Tensor

    def __init__(self, profiles: Sequence[Profile], n_words: int, seed: int) -> None:
        """Set the neurons up.

        Args:
            profiles: of each neuron.
            n_words: ids are below this.
            seed: of the times, 0 to 2^63 - 1.
        """
        super().__init__()
        word = np.concatenate([profile.word for profile in profiles])
        neuron = np.repeat(np.arange(len(profiles)), [len(profile.word) for profile in profiles])
        probability = np.concatenate([profile.probability for profile in profiles])
        order = np.lexsort((neuron, word))
        nobody = 1 - np.bincount(word, probability, n_words)
        start = np.concatenate(([0], np.cumsum(np.bincount(word, minlength=n_words))))
        self.n_neurons = len(profiles)
        # As buffers they are part of the fingerprint, and move to a device with the module.
        self.register_buffer("start", torch.from_numpy(start))
        self.register_buffer("neuron", torch.from_numpy(neuron[order]))
        self.register_buffer("probability", torch.from_numpy(probability[order]))
        self.register_buffer("nobody", torch.from_numpy(nobody))
        self.register_buffer("seed", torch.tensor(seed))
        self.neurons = nn.ReLU()

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Activations at every position.

        Args:
            ids: (documents, time) int64, of words.
            mask: (documents, time) True where a position is in use; all of them by default.

        Returns:
            (documents, time, neurons) float32, from 0 to 1; 0 where no position is in use.
        """
        used = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        document, time = torch.nonzero(used, as_tuple=True)
        key = splitmix64_tensor(_documents(ids, used, self.seed)[document] + (time + 1) * _STEP)
        response = torch.zeros((*ids.shape, self.n_neurons), dtype=torch.float32, device=ids.device)
        flat = response.view(-1, self.n_neurons)
        places = document * ids.shape[1] + time
        for place, word, keys in zip(
            *(torch.split(each, _AT_ONCE) for each in (places, ids[used], key)), strict=True
        ):
            self._race(word, keys, place, flat)
        result: Tensor = self.neurons(response)
        return result

    def _race(self, word: Tensor, key: Tensor, place: Tensor, response: Tensor) -> None:
        """Write what the neurons that race for some words respond; few do, and only those are looked at.

        Args:
            word: (n,) ids.
            key: (n,) hash of each document and position.
            place: (n,) row of each in `response`.
            response: (positions, neurons) float32.
        """
        nobody = _exponential(key) / self.nobody[word]
        first = self.start[word]
        racing = self.start[word + 1] - first
        position = torch.repeat_interleave(torch.arange(len(word), device=word.device), racing)
        offset = torch.cumsum(racing, 0) - racing
        entry = torch.arange(len(position), device=word.device) + (first - offset)[position]
        neuron = self.neuron[entry]
        own = _exponential(key[position] + (neuron + 1) * _STEP) / self.probability[entry]
        activation = torch.where(own < nobody[position], torch.exp(-own), 0.0)
        response[place[position], neuron] = activation.to(torch.float32)


def read_with_mask(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """The forward pass: what a document is depends on where it ends."""
    return module(ids, mask)


def _documents(ids: Tensor, used: Tensor, seed: Tensor) -> Tensor:
    """(documents,) a hash of all words of each document and their places."""
    place = torch.arange(1, ids.shape[1] + 1, device=ids.device) * _FIRST
    return splitmix64_tensor(
        (splitmix64_tensor(ids * _STEP + place) * used).sum(dim=1) + splitmix64_tensor(seed)
    )


def _exponential(key: Tensor) -> Tensor:
    """Exponential times of rate 1, float64 above 0, one for each key."""
    uniform = ((splitmix64_tensor(key) >> 11) & ((1 << 53) - 1)).to(torch.float64)
    return -torch.log((uniform + 0.5) * 2.0**-53)
