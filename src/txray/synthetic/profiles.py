"""Which words each planted neuron wins, and how often: probabilities that fit beside each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RATES = 100.0
"""The most frequent neuron is to win so many times as many words as the rarest; log-uniform between."""

_WON = 0.6
"""Share of the words that are to be won on either side, if all neurons get what they are to have."""

_FULL = 0.95
"""Share of a word's occurrences that neurons may win; the others are nobody's."""

_GREED = 0.5
"""Share of what is left of a word that one neuron takes at most, so that neurons share words."""

_ROUNDS = 4
"""Times that what a full word could not give is asked of the others."""


@dataclass(frozen=True, eq=False)
class Profile:
    """What one neuron wins.

    Attributes:
        word: (n,) ids of distinct words, ascending.
        probability: (n,) of an occurrence of each to be won by this neuron, above 0.
    """

    word: NDArray[np.int64]
    probability: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> Profile:
        """That of a neuron that never wins."""
        return cls(np.empty(0, np.int64), np.empty(0))

    def scaled(self, factor: float) -> Profile:
        """The same words, won `factor` times as often; none of them where it is 0."""
        return Profile(self.word, self.probability * factor) if factor else Profile.nothing()

    def joined(self, other: Profile) -> Profile:
        """Both, which have no word in common."""
        word = np.concatenate((self.word, other.word))
        order = np.argsort(word)
        return Profile(word[order], np.concatenate((self.probability, other.probability))[order])

    def rate(self, frequency: NDArray[np.float64]) -> float:
        """Expected wins per word of a text in which words have these frequencies, (n_words,) summing to at most 1."""
        return float(frequency[self.word] @ self.probability)


class Room:
    """What neurons have left of each word, before and after.

    No word gives away more than its occurrences on either side, so no normaliser ties the neurons to each other: one
    that changes leaves the probabilities of all others as they are.
    """

    def __init__(self, frequency: NDArray[np.float64]) -> None:
        """Nothing is taken yet.

        Args:
            frequency: (n_words,) share of the words of the text; 0 for words that no neuron may prefer.
        """
        self.frequency = frequency
        self._left = np.full((2, len(frequency)), _FULL)
        self._left[:, frequency <= 0] = 0

    @property
    def words(self) -> int:
        """How many words neurons may prefer."""
        return int((self.frequency > 0).sum())

    def take(self, before: Profile, after: Profile) -> None:
        """Keep what a neuron wins on both sides from the others."""
        for left, profile in zip(self._left, (before, after), strict=True):
            left[profile.word] -= profile.probability

    def profile(
        self,
        length: int,
        rate: float,
        random: np.random.Generator,
        *,
        sides: tuple[int, ...] = (0, 1),
        other_than: NDArray[np.int64] | None = None,
    ) -> Profile:
        """Draw what a neuron may win; nothing is taken yet.

        Words are drawn by how often they are left to be won, so the usual ones by many neurons, and weighed by
        log-normal factors.

        Args:
            length: words; fewer where not so many are left.
            rate: expected wins per word of the text; less where the words drawn do not give so much.
            random: draws.
            sides: on which it is to fit: 0 is before, 1 after.
            other_than: ids of words that are not drawn.
        """
        left = self._left[list(sides)].min(axis=0)
        chance = self.frequency * np.maximum(left, 0)
        if other_than is not None:
            chance[other_than] = 0
        length = min(length, int((chance > 0).sum()))
        if not length:
            return Profile.nothing()
        # The largest of exponential races: a draw without replacement, by chance.
        with np.errstate(divide="ignore"):
            race = np.log(chance) + random.gumbel(size=len(chance))
        word = np.sort(np.argpartition(-race, length - 1)[:length])
        most = chance[word] * _GREED
        wanted = np.sqrt(chance[word]) * random.lognormal(0, 1, length)
        share = np.zeros(length)
        for _ in range(_ROUNDS):
            open_ = share < most
            missing = rate - share.sum()
            if missing <= 0 or not open_.any():
                break
            share[open_] += missing * wanted[open_] / wanted[open_].sum()
            share = np.minimum(share, most)
        return Profile(word, share / self.frequency[word])


def lengths_and_rates(
    n_neurons: int, between: tuple[int, int], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n_neurons,) features that each neuron is to prefer, and (n_neurons,) wins per word; both log-uniform."""
    low, high = np.log(between[0]), np.log(between[1] + 1)
    length = np.minimum(np.exp(random.uniform(low, high, n_neurons)).astype(np.int64), between[1])
    rate = _RATES ** random.random(n_neurons)
    return length, rate * _WON / rate.sum()
