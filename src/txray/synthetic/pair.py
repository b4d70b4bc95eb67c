"""A synthetic pair of modules, before and after, with the true changes of their neurons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl

from txray.arrays import Floats, Ints
from txray.corpus.corpus import Corpus
from txray.corpus.demo import demo_corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.models.vocabulary import SPECIALS, Vocabulary
from txray.synthetic.changes import CONCEPTS, KINDS, changed_profile, grown_profiles
from txray.synthetic.growth import Growth
from txray.synthetic.module import LAYER, SyntheticModule, read_with_mask
from txray.synthetic.profiles import Profile, WordBudget, lengths_and_rates

SHARES = ("changed", "vanished", "appeared", "rarer", "moved", *KINDS)
"""The groups that are a share of the neurons."""

GROUPS = ("unchanged", *SHARES, "grown")
"""The groups of synthetic neurons, by what changes."""

SIDES = ("before", "after")

_MIN_OCCURRENCES = 10
"""Minimum number of occurrences of a word that neurons may prefer."""

_MIN_WORDS = 100
"""Minimum number of such words; with fewer, neurons could not differ."""

_CORPUS_WORDS = 100_000
"""Number of words of the default corpus."""


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    """Two modules with known preferences of their neurons and known changes.

    Attributes:
        before, after: the modules, ready for `txray.collect`.
        corpus: the text for which the neurons were made; similar text works as well.
        layer: name of the layer to collect.
        truth: polars table, one row per neuron: neuron (index before), neuron_after (index after, null if it vanished),
            group (of `txray.synthetic.GROUPS`), length_before and length_after (number of features that it prefers),
            rate_before and rate_after (expected wins per word of the corpus).
        profiles: polars table, one row per side, neuron and preferred feature: side (`before`, `after`), neuron (index
            on that side), feature, win_probability (probability that the neuron wins an occurrence of the feature).
    """

    before: TextModel
    after: TextModel
    corpus: Corpus
    layer: str
    truth: pl.DataFrame
    profiles: pl.DataFrame

    def __repr__(self) -> str:
        counts = dict(self.truth["group"].value_counts().iter_rows())
        groups = ", ".join(f"{counts[group]} {group}" for group in GROUPS if counts.get(group))
        return f"SyntheticPair({len(self.truth)} neurons in {self.corpus.name!r}: {groups})"


@dataclass(frozen=True)
class _Plan:
    """The checked arguments of `synthetic_pair`."""

    n_neurons: int
    lengths: tuple[int, int]
    changed: float
    vanished: float
    appeared: float
    rarer: float
    moved: float
    lost: float
    merged: float
    drifted: float
    reranked: float
    sharpened: float
    competition: float
    displacement: float
    effect: float
    rarer_by: float
    seed: int

    def __post_init__(self) -> None:
        if type(self.n_neurons) is not int or self.n_neurons < 1:
            raise UsageError(f"synthetic_pair: n_neurons={self.n_neurons!r}; pass an integer of at least 1")
        pair = self.lengths if isinstance(self.lengths, tuple | list) and len(self.lengths) == 2 else (0, 0)
        low, high = pair
        if not all(type(length) is int for length in pair) or not 1 <= low <= high:
            raise UsageError(
                f"synthetic_pair: lengths={self.lengths}; pass two ascending integers of at least 1"
            )
        for group in SHARES:
            if not 0 <= getattr(self, group) <= 1:
                raise UsageError(f"synthetic_pair: {group}={getattr(self, group)}; pass a share from 0 to 1")
        if sum(self.shares) > 1 + 1e-9:
            shares = ", ".join(
                f"{group}={share}" for group, share in zip(SHARES, self.shares, strict=True) if share
            )
            raise UsageError(f"synthetic_pair: {shares} sum to {sum(self.shares):.6g}; the maximum is 1")
        for name in ("competition", "displacement"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise UsageError(f"synthetic_pair: {name}={share}; pass a share from 0, below 1")
            if share and sum(self.shares) > 1 - 1 / self.n_neurons + 1e-9:
                raise UsageError(
                    f"synthetic_pair: {name}={share} makes an unchanged neuron grow, and there is none; lower the "
                    "other shares"
                )
        if self.competition and self.displacement:
            raise UsageError(
                "synthetic_pair: competition and displacement both make a neuron grow; pass one of them"
            )
        if not 0 < self.effect <= 1:
            raise UsageError(f"synthetic_pair: effect={self.effect}; pass a share above 0, up to 1")
        if not (math.isfinite(self.rarer_by) and self.rarer_by >= 1):
            raise UsageError(f"synthetic_pair: rarer_by={self.rarer_by}; pass a number of at least 1")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 62:
            raise UsageError(f"synthetic_pair: seed={self.seed!r}; pass an integer from 0 to 2^62 - 1")
        if int((self.groups(np.random.default_rng(0)) == GROUPS.index("moved")).sum()) == 1:
            raise UsageError(
                f"synthetic_pair: moved={self.moved} of {self.n_neurons} neurons is one neuron; move at least two, or "
                "none"
            )

    @property
    def shares(self) -> list[float]:
        """Return the shares of `SHARES`."""
        return [getattr(self, group) for group in SHARES]

    def groups(self, random: np.random.Generator) -> Ints:
        """Return (n_neurons,) the group of each neuron, as an index of `GROUPS`."""
        # Round cumulative sums, so that the groups never exceed the number of neurons.
        bounds = np.rint(np.cumsum(self.shares) * self.n_neurons).astype(np.int64)
        group = np.searchsorted(bounds, np.arange(self.n_neurons), side="right") + 1
        return np.asarray(random.permutation(group % (len(SHARES) + 1)), np.int64)


def synthetic_pair(
    n_neurons: int = 300,
    *,
    corpus: Corpus | None = None,
    lengths: tuple[int, int] = (3, 300),
    changed: float = 0.2,
    vanished: float = 0.1,
    appeared: float = 0.1,
    rarer: float = 0.1,
    moved: float = 0.0,
    lost: float = 0.0,
    merged: float = 0.0,
    drifted: float = 0.0,
    reranked: float = 0.0,
    sharpened: float = 0.0,
    competition: float = 0.0,
    displacement: float = 0.0,
    effect: float = 0.9,
    rarer_by: float = 10.0,
    seed: int = 0,
) -> SyntheticPair:
    """Return a pair of modules with known preferences and known changes, to test statistics.

    Each neuron wins each word that it prefers with its own probability. The win rates of neurons span two orders of
    magnitude, so many win little. The probabilities of unchanged neurons are identical in both modules, but the wins
    are drawn independently, as in two trainings, even for the same documents.

    >>> pair = txray.synthetic_pair(50, corpus=txray.demo_corpus("reviews", words=10_000), seed=1)
    >>> before = txray.collect(pair.before, pair.corpus, name="before", layers=pair.layer)
    >>> before.preferences().n_neurons
    50

    Args:
        n_neurons: number of neurons.
        corpus: corpus whose words are preferred, read twice; by default 100,000 words of
            `demo_corpus("encyclopedia")`.
        lengths: minimum and maximum number of features that a neuron prefers; log-uniform in between. In a short text,
            a neuron with many features meets only some of them, as in trained models.
        changed: share of the neurons that prefer other words afterwards, equally often.
        vanished: share that never win afterwards.
        appeared: share that never win before.
        rarer: share that win the same words afterwards, but less often.
        moved: share that only change their index.
        lost: share that lose one of five concepts, a fifth of their wins.
        merged: share that win as many other words as well, equally often, so that they win twice as often.
        drifted: share that move 30% of the wins of each word to other words.
        reranked: share whose words exchange their win probabilities; the neurons win equally often.
        sharpened: share that concentrate on the words won most: the shares of the words are squared, and the neurons
            win equally often.
        competition: share of all wins that one neuron has afterwards; it is the unchanged neuron that wins most, and
            becomes `grown`. It takes wins of all others, in proportion: what they prefer stays the same. 0 for none.
        displacement: share of all wins that one neuron has afterwards, as with `competition`, but because its
            activations grow, at some words more than at others. Those of all others stay as they are, but the words
            that it takes from a neuron are not a random sample of them.
        effect: share of the wins of a changed neuron that go to other words. With 1, nothing is shared with before: no
            trained neuron changes that much, and every distance detects it.
        rarer_by: factor by which the rarer neurons win less often.
        seed: random seed; the global random state is neither used nor changed.

    Returns:
        The pair and the truth; neurons in no other group are `unchanged`.

    Raises:
        UsageError: a share or another number is out of range, the shares sum to more than 1, or the corpus has too few
            frequent words.
    """
    plan = _Plan(
        n_neurons,
        lengths,
        changed,
        vanished,
        appeared,
        rarer,
        moved,
        lost,
        merged,
        drifted,
        reranked,
        sharpened,
        competition,
        displacement,
        effect,
        rarer_by,
        seed,
    )
    text = demo_corpus("encyclopedia", words=_CORPUS_WORDS) if corpus is None else corpus
    vocabulary = Vocabulary.from_corpus(text)
    budget = WordBudget(_frequency(vocabulary, text))
    if budget.words < _MIN_WORDS:
        raise UsageError(
            f"synthetic_pair: corpus {text.name!r} has {budget.words} different words with at least "
            f"{_MIN_OCCURRENCES} occurrences; {_MIN_WORDS} are needed; use more text"
        )
    random = np.random.default_rng(plan.seed)
    group = plan.groups(random)
    pairs = _pairs(plan, group, budget, random)
    growth = None
    if plan.competition or plan.displacement:
        rates = [after.rate(budget.frequency) for _, after in pairs]
        grown = int(np.where(group == 0, rates, -1.0).argmax())
        group[grown] = GROUPS.index("grown")
        if plan.displacement:
            racing = [after for _, after in pairs]
            growth = Growth.to_share(racing, grown, plan.displacement, budget, random)
        else:
            pairs = grown_profiles(pairs, grown, plan.competition, budget)
    index = _moved(np.flatnonzero(group == GROUPS.index("moved")), n_neurons, random)
    before = [pair[0] for pair in pairs]
    after = [pairs[neuron][1] for neuron in np.argsort(index).tolist()]
    module_after = after
    if growth is not None:
        # The neuron that grows is unchanged, so its index is the same on both sides.
        pairs = [(pair[0], growth.profile(neuron, pair[1])) for neuron, pair in enumerate(pairs)]
        after = [pairs[neuron][1] for neuron in np.argsort(index).tolist()]

    def model(side: int, profiles: Sequence[Profile]) -> TextModel:
        module = SyntheticModule(
            profiles, len(vocabulary), 2 * plan.seed + side, growth if side else None
        ).eval()
        return TextModel(module, vocabulary.encode, read_with_mask, name=f"synthetic {SIDES[side]}")

    return SyntheticPair(
        model(0, before),
        model(1, module_after),
        text,
        LAYER,
        _truth(group, index, pairs, budget.frequency),
        _profiles((before, after), vocabulary),
    )


def _frequency(vocabulary: Vocabulary, corpus: Corpus) -> Floats:
    """Return (n_words,) relative frequency of the words in the corpus; 0 for words that neurons may not prefer."""
    counts = Counter(chain.from_iterable(vocabulary.encode(document.words) for document in corpus))
    count = np.zeros(len(vocabulary))
    count[list(counts)] = list(counts.values())
    total = count.sum()
    count[: len(SPECIALS)] = 0
    return np.where(count >= _MIN_OCCURRENCES, count / total, 0.0)


def _pairs(
    plan: _Plan, group: Ints, budget: WordBudget, random: np.random.Generator
) -> list[tuple[Profile, Profile]]:
    """Return the profiles of each neuron before and after."""
    lengths, rates = lengths_and_rates(plan.n_neurons, plan.lengths, random)
    pairs = []
    for index, length, rate in zip(group.tolist(), lengths.tolist(), rates.tolist(), strict=True):
        kind = GROUPS[index]
        before = budget.profile(max(length, CONCEPTS) if kind in KINDS else length, rate, random)
        after = before
        match kind:
            case "vanished":
                after = Profile.empty()
            case "appeared":
                before = Profile.empty()
            case "rarer":
                after = before.scaled(1 / plan.rarer_by)
            case "changed":
                wins = before.rate(budget.frequency)
                other = budget.profile(length, wins, random, sides=(1,), other_than=before.word)
                # Equally often: a rate that the other words do not allow is reduced before as well.
                before = before.scaled(other.rate(budget.frequency) / wins)
                after = before.scaled(1 - plan.effect).joined(other.scaled(plan.effect))
            case kind if kind in KINDS:
                after = changed_profile(kind, before, budget, random)
        budget.reserve(before, after)
        pairs.append((before, after))
    return pairs


def _moved(among: Ints, n_neurons: int, random: np.random.Generator) -> Ints:
    """Return (n_neurons,) the index of each neuron afterwards; the neurons `among` are permuted in one cycle."""
    index = np.arange(n_neurons)
    order = random.permutation(among)
    index[order] = np.roll(order, 1)
    return index


def _truth(
    group: Ints, index: Ints, pairs: Sequence[tuple[Profile, Profile]], frequency: Floats
) -> pl.DataFrame:
    vanished = group == GROUPS.index("vanished")
    return pl.DataFrame(
        {
            "neuron": np.arange(len(group)),
            "neuron_after": pl.Series(index.tolist(), dtype=pl.Int64).set(pl.Series(vanished.tolist()), None),
            "group": pl.Series([GROUPS[i] for i in group.tolist()], dtype=pl.Enum(GROUPS)),
            **{f"length_{name}": [len(pair[side].word) for pair in pairs] for side, name in enumerate(SIDES)},
            **{
                f"rate_{name}": [pair[side].rate(frequency) for pair in pairs]
                for side, name in enumerate(SIDES)
            },
        }
    )


def _profiles(sides: Sequence[Sequence[Profile]], vocabulary: Vocabulary) -> pl.DataFrame:
    rows = [
        (SIDES[side], neuron, vocabulary.words[word], probability)
        for side, profiles in enumerate(sides)
        for neuron, profile in enumerate(profiles)
        for word, probability in zip(profile.word.tolist(), profile.probability.tolist(), strict=True)
    ]
    schema = {
        "side": pl.Enum(SIDES),
        "neuron": pl.Int64(),
        "feature": pl.String(),
        "win_probability": pl.Float64(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
