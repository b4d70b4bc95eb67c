"""Profiles of synthetic neurons: the words that each wins, with probabilities that fit together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from txray.arrays import Floats, Ints

_RATES = 100.0
"""Ratio of the win rates of the most and the least frequent neuron; log-uniform in between."""

_WON = 0.6
"""Target share of the words that are won by some neuron on each side."""

_FULL = 0.95
"""Share of a word's occurrences that neurons may win together."""

_MAX_SHARE = 0.5
"""Maximum share of the free occurrences of a word for one neuron, so that neurons share words."""

_ROUNDS = 4
"""Number of rounds in which the rate missing from full words is distributed over the others."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The words that one neuron wins.

    Attributes:
        word: (n,) ids of distinct words, ascending.
        probability: (n,) probability above 0 that the neuron wins an occurrence of the word.
    """

    word: Ints
    probability: Floats

    @classmethod
    def empty(cls) -> Profile:
        """Return the profile of a neuron that never wins."""
        return cls(np.empty(0, np.int64), np.empty(0))

    def scaled(self, factor: float) -> Profile:
        """Return the same words with probabilities multiplied by `factor`; an empty profile if it is 0."""
        return Profile(self.word, self.probability * factor) if factor else Profile.empty()

    def joined(self, other: Profile) -> Profile:
        """Return the union with a profile that has no word in common."""
        word = np.concatenate((self.word, other.word))
        order = np.argsort(word)
        return Profile(word[order], np.concatenate((self.probability, other.probability))[order])

    def rate(self, frequency: Floats) -> float:
        """Return the expected wins per word of a text, given (n_words,) relative frequencies of its words."""
        return float(frequency[self.word] @ self.probability)


class WordBudget:
    """The free share of each word's occurrences, before and after.

    The probabilities of a word never sum to more than 1 on either side, so they need no normalization: if one neuron
    changes, the probabilities of the others stay the same.
    """

    def __init__(self, frequency: Floats) -> None:
        """Start with all occurrences free.

        Args:
            frequency: (n_words,) relative frequency of the words in the text; 0 for words that no neuron may prefer.
        """
        self.frequency = frequency
        self._free = np.full((2, len(frequency)), _FULL)
        self._free[:, frequency <= 0] = 0

    @property
    def words(self) -> int:
        """Return the number of words that neurons may prefer."""
        return int((self.frequency > 0).sum())

    def free_after(self, word: Ints) -> Floats:
        """Return the free shares of some words on the side after."""
        return np.asarray(self._free[1, word])

    def reserve(self, before: Profile, after: Profile) -> None:
        """Reserve the occurrences that a neuron wins on both sides."""
        for free, profile in zip(self._free, (before, after), strict=True):
            free[profile.word] -= profile.probability

    def profile(
        self,
        length: int,
        rate: float,
        random: np.random.Generator,
        *,
        sides: tuple[int, ...] = (0, 1),
        other_than: Ints | None = None,
    ) -> Profile:
        """Draw the profile of a neuron, without reserving it.

        Words are drawn by their free frequency, so common words are shared by many neurons, and weighted by log-normal
        factors.

        Args:
            length: number of words; fewer if not enough are free.
            rate: expected wins per word of the text; less if the words drawn do not allow it.
            random: random generator.
            sides: sides on which the profile must fit: 0 is before, 1 after.
            other_than: ids of words that are not drawn.
        """
        free = self._free[list(sides)].min(axis=0)
        chance = self.frequency * np.maximum(free, 0)
        if other_than is not None:
            chance[other_than] = 0
        length = min(length, int((chance > 0).sum()))
        if not length:
            return Profile.empty()
        # Gumbel top-k: a weighted draw without replacement.
        with np.errstate(divide="ignore"):
            race = np.log(chance) + random.gumbel(size=len(chance))
        word = np.sort(np.argpartition(-race, length - 1)[:length])
        limit = chance[word] * _MAX_SHARE
        weight = np.sqrt(chance[word]) * random.lognormal(0, 1, length)
        share = np.zeros(length)
        for _ in range(_ROUNDS):
            open_ = share < limit
            missing = rate - share.sum()
            if missing <= 0 or not open_.any():
                break
            share[open_] += missing * weight[open_] / weight[open_].sum()
            share = np.minimum(share, limit)
        return Profile(word, share / self.frequency[word])


def lengths_and_rates(
    n_neurons: int, between: tuple[int, int], random: np.random.Generator
) -> tuple[Ints, Floats]:
    """Return (n_neurons,) number of features and (n_neurons,) wins per word of each neuron, both log-uniform."""
    low, high = np.log(between[0]), np.log(between[1] + 1)
    length = np.minimum(np.exp(random.uniform(low, high, n_neurons)).astype(np.int64), between[1])
    rate = _RATES ** random.random(n_neurons)
    return length, rate * _WON / rate.sum()
