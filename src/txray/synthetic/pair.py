"""A pair of modules, one before and one after, and the truth about what lies between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.corpus.corpus import Corpus
from txray.corpus.demo import demo_corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.models.vocabulary import SPECIALS, Vocabulary
from txray.synthetic.module import LAYER, PlantedModule, read_with_mask
from txray.synthetic.profiles import Profile, Room, lengths_and_rates

GROUPS = ("unchanged", "changed", "vanished", "appeared", "rarer", "moved")
"""What becomes of planted neurons."""

SIDES = ("before", "after")

_OCCURRENCES = 10
"""Of a word in the corpus at least, for neurons to prefer it."""

_LEAST_WORDS = 100
"""Different words that occur so often; with fewer, neurons could not differ."""

_WORDS = 100_000
"""Of the embedded corpus by default."""


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    """Two modules of which it is known what their neurons prefer, and what changed.

    Attributes:
        before, after: the modules, ready to be read through by `txray.collect`.
        corpus: the text that the neurons were planted in; other text of its kind does as well.
        layer: name of the module to collect.
        truth: polars, one row per neuron: neuron (index before), neuron_after (index after, null where it vanished),
            group (of `txray.synthetic.GROUPS`), length_before and length_after (features that it prefers), rate_before
            and rate_after (expected wins per word of the corpus).
        profiles: polars, one row per side, neuron and feature preferred: side (`before`, `after`), neuron (index on
            that side), feature, win_probability (of one occurrence of the feature to be won by the neuron).
    """

    before: TextModel
    after: TextModel
    corpus: Corpus
    layer: str
    truth: pl.DataFrame
    profiles: pl.DataFrame

    def __repr__(self) -> str:
        counts = dict(self.truth["group"].value_counts().iter_rows())
        told = ", ".join(f"{counts[group]} {group}" for group in GROUPS if counts.get(group))
        return f"Planted({len(self.truth)} neurons in {self.corpus.name!r}: {told})"


@dataclass(frozen=True)
class _Plan:
    """The choices of `synthetic_pair`, checked."""

    n_neurons: int
    lengths: tuple[int, int]
    changed: float
    vanished: float
    appeared: float
    rarer: float
    moved: float
    effect: float
    rarer_by: float
    seed: int

    def __post_init__(self) -> None:
        if type(self.n_neurons) is not int or self.n_neurons < 1:
            raise UsageError(f"planted: n_neurons={self.n_neurons!r}; give a whole number of at least 1")
        pair = self.lengths if isinstance(self.lengths, tuple | list) and len(self.lengths) == 2 else (0, 0)
        low, high = pair
        if not all(type(length) is int for length in pair) or not 1 <= low <= high:
            raise UsageError(
                f"planted: lengths={self.lengths}; give two whole numbers, at least 1 and rising"
            )
        for group in GROUPS[1:]:
            if not 0 <= getattr(self, group) <= 1:
                raise UsageError(f"planted: {group}={getattr(self, group)}; give a share from 0 to 1")
        if sum(self.shares) > 1 + 1e-9:
            told = ", ".join(f"{group}={share}" for group, share in zip(GROUPS[1:], self.shares, strict=True))
            raise UsageError(f"planted: {told} are {sum(self.shares):.6g} together; they may be 1 at most")
        if not 0 < self.effect <= 1:
            raise UsageError(f"planted: effect={self.effect}; give a share above 0, up to 1")
        if not (math.isfinite(self.rarer_by) and self.rarer_by >= 1):
            raise UsageError(f"planted: rarer_by={self.rarer_by}; give a number of at least 1")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 62:
            raise UsageError(f"planted: seed={self.seed!r}; give a whole number from 0 to 2^62 - 1")
        if int((self.groups(np.random.default_rng(0)) == GROUPS.index("moved")).sum()) == 1:
            raise UsageError(
                f"planted: moved={self.moved} of {self.n_neurons} neurons is one, which has nowhere to go; move two or "
                "more, or none"
            )

    @property
    def shares(self) -> list[float]:
        """Of all groups but the first."""
        return [getattr(self, group) for group in GROUPS[1:]]

    def groups(self, random: np.random.Generator) -> NDArray[np.int64]:
        """(n_neurons,) which group each neuron belongs to, as the place in `GROUPS`."""
        # Rounded together, so that they never are more neurons than there are.
        bounds = np.rint(np.cumsum(self.shares) * self.n_neurons).astype(np.int64)
        group = np.searchsorted(bounds, np.arange(self.n_neurons), side="right") + 1
        return np.asarray(random.permutation(group % len(GROUPS)), np.int64)


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
    effect: float = 0.9,
    rarer_by: float = 10.0,
    seed: int = 0,
) -> SyntheticPair:
    """A pair of modules in which it is known which neurons prefer what, and which of them change.

    To try statistics on: what they find can be held against what is there. Each neuron wins each of the words that it
    prefers with a probability of its own; the rates of neurons spread over two orders of magnitude, so many win little.
    The probabilities of neurons that do not change are the same in both modules to the last bit, but what is
    won by chance is drawn anew, as between two trainings: also where both modules read the same documents.

    Args:
        n_neurons: of the layer.
        corpus: whose words are preferred, read twice; by default 100,000 words of `demo_corpus("encyclopedia")`.
        lengths: of neurons, the fewest features that one prefers and the most; log-uniform between. A long neuron meets
            only some of its features in a short text, as those of trained models do.
        changed: share of the neurons that prefer other words after, as often as before.
        vanished: share that never win after.
        appeared: share that never win before.
        rarer: share that win the same words after, but less often.
        moved: share that have another index after, and are the same otherwise.
        effect: share of the wins of a changed neuron that go to other words. With 1 it has nothing in common with what
            it was, which no trained neuron does, and which the plain distance cannot miss.
        rarer_by: how many times less often.
        seed: of everything; the global random state is neither used nor changed.

    Returns:
        The pair and the truth; neurons in no group are `unchanged`.

    Raises:
        UsageError: shares that are none or exceed 1 together, another number that cannot be, or a corpus with too few
            words that occur often enough.
    """
    plan = _Plan(n_neurons, lengths, changed, vanished, appeared, rarer, moved, effect, rarer_by, seed)
    text = demo_corpus("encyclopedia", words=_WORDS) if corpus is None else corpus
    vocabulary = Vocabulary.from_corpus(text)
    room = Room(_frequency(vocabulary, text))
    if room.words < _LEAST_WORDS:
        raise UsageError(
            f"planted: corpus {text.name!r} has {room.words} different words that occur {_OCCURRENCES} times or more; "
            f"neurons need {_LEAST_WORDS} to prefer; give more text"
        )
    random = np.random.default_rng(plan.seed)
    group = plan.groups(random)
    pairs = _pairs(plan, group, room, random)
    index = _moved(np.flatnonzero(group == GROUPS.index("moved")), n_neurons, random)
    before = [pair[0] for pair in pairs]
    after = [pairs[neuron][1] for neuron in np.argsort(index).tolist()]

    def model(side: int, profiles: Sequence[Profile]) -> TextModel:
        module = PlantedModule(profiles, len(vocabulary), 2 * plan.seed + side).eval()
        return TextModel(module, vocabulary.encode, read_with_mask, name=f"planted {SIDES[side]}")

    return SyntheticPair(
        model(0, before),
        model(1, after),
        text,
        LAYER,
        _truth(group, index, pairs, room.frequency),
        _profiles((before, after), vocabulary),
    )


def _frequency(vocabulary: Vocabulary, corpus: Corpus) -> NDArray[np.float64]:
    """(n_words,) share of the words of the corpus; 0 for words that neurons may not prefer."""
    counts = Counter(chain.from_iterable(vocabulary.encode(document.words) for document in corpus))
    count = np.zeros(len(vocabulary))
    count[list(counts)] = list(counts.values())
    total = count.sum()
    count[: len(SPECIALS)] = 0
    return np.where(count >= _OCCURRENCES, count / total, 0.0)


def _pairs(
    plan: _Plan, group: NDArray[np.int64], room: Room, random: np.random.Generator
) -> list[tuple[Profile, Profile]]:
    """What each neuron wins before and after."""
    lengths, rates = lengths_and_rates(plan.n_neurons, plan.lengths, random)
    pairs = []
    for of, length, rate in zip(group.tolist(), lengths.tolist(), rates.tolist(), strict=True):
        before = room.profile(length, rate, random)
        after = before
        match GROUPS[of]:
            case "vanished":
                after = Profile.nothing()
            case "appeared":
                before = Profile.nothing()
            case "rarer":
                after = before.scaled(1 / plan.rarer_by)
            case "changed":
                wins = before.rate(room.frequency)
                other = room.profile(length, wins, random, sides=(1,), other_than=before.word)
                # As often as before: what other words cannot give is not won before, either.
                before = before.scaled(other.rate(room.frequency) / wins)
                after = before.scaled(1 - plan.effect).joined(other.scaled(plan.effect))
        room.take(before, after)
        pairs.append((before, after))
    return pairs


def _moved(among: NDArray[np.int64], n_neurons: int, random: np.random.Generator) -> NDArray[np.int64]:
    """(n_neurons,) index after of each neuron: those `among` which are moved form one round, so none stays."""
    index = np.arange(n_neurons)
    order = random.permutation(among)
    index[order] = np.roll(order, 1)
    return index


def _truth(
    group: NDArray[np.int64],
    index: NDArray[np.int64],
    pairs: Sequence[tuple[Profile, Profile]],
    frequency: NDArray[np.float64],
) -> pl.DataFrame:
    gone = group == GROUPS.index("vanished")
    return pl.DataFrame(
        {
            "neuron": np.arange(len(group)),
            "neuron_after": pl.Series(index.tolist(), dtype=pl.Int64).set(pl.Series(gone.tolist()), None),
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
