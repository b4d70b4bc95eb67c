"""Growth of one neuron that takes words from others, whose activations stay as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from txray.arrays import Floats, Ints
from txray.synthetic.profiles import Profile, WordBudget

_ROUNDS = 60
"""Halvings of the interval in which the size of the growth is searched."""

_SPREAD = 2.0
"""Standard deviation of the logarithm of the growth over words: some are taken wholly, others hardly."""

_MOST = 1e6
"""Largest factor of the growth."""


@dataclass(frozen=True, eq=False)
class Growth:
    """Rates that one neuron gains in the race for words.

    Attributes:
        neuron: index of the neuron.
        rate: (n_words,) what is added to its rate at each word; 0 for none. The rates of all neurons and the timeout
            sum to 1 without it, so a word goes to the neuron with the probability rate / (1 + rate) more than before.
    """

    neuron: int
    rate: Floats

    @classmethod
    def to_share(
        cls,
        profiles: list[Profile],
        neuron: int,
        share: float,
        budget: WordBudget,
        random: np.random.Generator,
    ) -> Growth:
        """Return the growth by which a neuron gets a share of all wins.

        Its rate grows by log-normal amounts that differ between words, so it takes more of some words of a neuron than
        of others.

        Args:
            profiles: of all neurons.
            neuron: index of the neuron that grows.
            share: its share of all wins afterwards, below 1.
            budget: has the frequencies of the words.
            random: random generator.
        """
        frequency = budget.frequency
        shape = np.where(frequency > 0, random.lognormal(0, _SPREAD, len(frequency)), 0.0)
        won = np.zeros(len(frequency))
        for profile in profiles:
            won[profile.word] += profile.probability
        own = np.zeros(len(frequency))
        own[profiles[neuron].word] = profiles[neuron].probability
        low, high = 0.0, _MOST
        for _ in range(_ROUNDS):
            rate = shape * (low + high) / 2
            wins, total = (float(frequency @ ((part + rate) / (1 + rate))) for part in (own, won))
            low, high = ((low + high) / 2, high) if wins < share * total else (low, (low + high) / 2)
        return cls(neuron, shape * high)

    def added_to(self, word: Ints, neuron: Ints, rate: Floats) -> tuple[Ints, Ints, Floats]:
        """Return words, neurons and rates of a race with the growth; words that the neuron had are not repeated."""
        extra = self.rate.copy()
        own = neuron == self.neuron
        rate = rate.copy()
        rate[own] += extra[word[own]]
        extra[word[own]] = 0
        new = np.flatnonzero(extra)
        return (
            np.concatenate((word, new)),
            np.concatenate((neuron, np.full(len(new), self.neuron))),
            np.concatenate((rate, extra[new])),
        )

    def profile(self, neuron: int, profile: Profile) -> Profile:
        """Return the profile of a neuron beside the one that grows: the words that it wins then."""
        if neuron != self.neuron:
            return Profile(profile.word, profile.probability / (1 + self.rate[profile.word]))
        probability = self.rate.copy()
        probability[profile.word] += profile.probability
        word = np.flatnonzero(probability)
        return Profile(word, probability[word] / (1 + self.rate[word]))
