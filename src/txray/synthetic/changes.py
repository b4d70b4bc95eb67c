"""Planted changes of one neuron: which words it wins afterwards, and how often."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats, Ints
from txray.synthetic.profiles import Profile, WordBudget

KINDS = ("lost", "merged", "drifted", "reranked", "sharpened")
"""Planted changes of how much a neuron prefers its words, besides those of which words it prefers."""

CONCEPTS = 5
"""Number of concepts (sets of words that are won equally often) of a neuron that loses one; its minimum length."""

DRIFT = 0.3
"""Share of the wins that a drifted neuron shifts to other words."""

SHARPNESS = 2.0
"""Power to which a sharpened neuron raises the shares of its words."""


def changed_profile(kind: str, before: Profile, budget: WordBudget, random: np.random.Generator) -> Profile:
    """Return the profile afterwards of a neuron that changes in a way of `KINDS`.

    - `lost`: its words form five concepts that are won equally often, and it no longer wins one of them.
    - `merged`: it also wins the words of another profile, equally often as its own.
    - `drifted`: 30% of the wins of each word move to other words.
    - `reranked`: it wins the same words equally often in total, but the win probabilities change places at random.
    - `sharpened`: it wins the same words equally often in total, with shares that are squared.

    Args:
        kind: one of `KINDS`.
        before: its profile before, of at least two words.
        budget: the free share of each word; nothing is reserved.
        random: random generator.
    """
    match kind:
        case "lost":
            concept = _concepts(before.probability * budget.frequency[before.word], random)
            remaining = concept > 0
            return Profile(before.word[remaining], before.probability[remaining])
        case "merged":
            return before.joined(_other(before, 1.0, budget, random))
        case "drifted":
            return before.scaled(1 - DRIFT).joined(_other(before, DRIFT, budget, random))
        case "reranked":
            probability = before.probability[_derangement(len(before.word), random)]
        case _:
            # Shares of the wins, squared; their probabilities follow from the frequency of the words.
            frequency = budget.frequency[before.word]
            probability = (before.probability * frequency) ** SHARPNESS / frequency
    return _fitted(Profile(before.word, probability), before, budget)


def grown_profiles(
    pairs: list[tuple[Profile, Profile]], neuron: int, share: float, budget: WordBudget
) -> list[tuple[Profile, Profile]]:
    """Return the profiles after one neuron has grown to a share of all wins, at the expense of all others.

    It wins additional occurrences of every word with the same probability, so each of the others wins a constant share
    of what it won: what they prefer does not change, but they win less often.

    Args:
        pairs: profiles of each neuron, before and after.
        neuron: index of the neuron that grows.
        share: its share of all wins afterwards, below 1.
        budget: has the frequencies of the words.
    """
    words = np.flatnonzero(budget.frequency > 0)
    present = float(budget.frequency.sum())
    won = sum(after.rate(budget.frequency) for _, after in pairs)
    own = pairs[neuron][1].rate(budget.frequency)
    # share = (x * present + (1 - x) * own) / (x * present + (1 - x) * won), solved for x.
    missing = max(share * won - own, 0.0)
    taken = missing / (missing + (1 - share) * present)
    grown = [(before, after.scaled(1 - taken)) for before, after in pairs]
    probability = np.zeros(len(budget.frequency))
    probability[words] = taken
    probability[grown[neuron][1].word] += grown[neuron][1].probability
    grown[neuron] = (pairs[neuron][0], Profile(words, probability[words]))
    return grown


def _concepts(wins: Floats, random: np.random.Generator) -> Ints:
    """Return (n_words,) the concept of each word, so that concepts are won about equally often."""
    concept = np.zeros(len(wins), np.int64)
    total = np.zeros(CONCEPTS)
    # The words won most come first, each to the concept with the fewest wins; equal ones in random order.
    for word in np.lexsort((random.random(len(wins)), -wins)).tolist():
        concept[word] = int(total.argmin())
        total[concept[word]] += wins[word]
    number = random.permutation(CONCEPTS)
    return np.asarray(number[concept], np.int64)


def _derangement(n: int, random: np.random.Generator) -> Ints:
    """Return (n,) a random cycle through all indices, so that each moves."""
    order = random.permutation(n)
    moved = np.empty(n, np.int64)
    moved[order] = np.roll(order, 1)
    return moved


def _other(before: Profile, share: float, budget: WordBudget, random: np.random.Generator) -> Profile:
    """Return a profile of as many other words, won as often as a share of the wins before."""
    wins = share * before.rate(budget.frequency)
    return budget.profile(len(before.word), wins, random, sides=(1,), other_than=before.word)


def _fitted(after: Profile, before: Profile, budget: WordBudget) -> Profile:
    """Return a profile scaled to the wins before, with no more than is free of any word."""
    free = budget.free_after(after.word)
    scaled = after.scaled(before.rate(budget.frequency) / after.rate(budget.frequency))
    return Profile(scaled.word, np.minimum(scaled.probability, free))
