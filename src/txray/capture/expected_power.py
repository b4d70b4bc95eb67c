"""Expected wins of a selection, and the size of a change that they would show, before a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import norm

from txray.analysis.power import detectable_distance, folds_in_use
from txray.capture.hook_point import HookPoint
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus

MAX_WORDS = 100_000
"""Number of words of a text that are counted; of a longer one, the estimate is of these."""

_ENOUGH_WINS = 250
"""Wins that are recommended: half of the neurons would show a change of 0.25."""

_LOW_POWER = 0.5
"""A selection by which half of the neurons show only larger changes than this is warned of."""

_THRESHOLDS = (3.0, 2.5, 2.0, 1.5, 1.0)


@dataclass(frozen=True)
class TextSize:
    """Numbers of words and documents of a text, or of its beginning."""

    words: int
    documents: int
    complete: bool = True

    @classmethod
    def of(cls, corpus: Corpus, max_words: int = MAX_WORDS) -> TextSize:
        """Count a corpus up to the document that reaches `max_words`."""
        words = documents = 0
        for document in corpus:
            words += len(document.words)
            documents += 1
            if words >= max_words:
                return cls(words, documents, complete=False)
        return cls(words, documents)


@dataclass(frozen=True)
class ExpectedPower:
    """Expected wins of the neurons of a layer, and the change that they would show.

    Attributes:
        layer: name of the layer.
        selection: which activations count.
        n_neurons: number of neurons.
        size: of the text.
        wins: expected number of wins per neuron.
        distance: corrected Hellinger distance at which half of the neurons would be significant; None if none is.
    """

    layer: str
    selection: Selection
    n_neurons: int
    size: TextSize
    wins: float
    distance: float | None

    @classmethod
    def of(cls, hook_point: HookPoint, size: TextSize, folds: int) -> ExpectedPower | None:
        """Return the estimate for a layer; None if its wins depend on unknown activations."""
        wins = expected_wins(hook_point, hook_point.selection, size)
        if wins is None:
            return None
        distance = detectable_distance(wins, folds_in_use(folds, size.documents))
        return cls(hook_point.layer, hook_point.selection, hook_point.n_neurons, size, wins, distance)

    def __str__(self) -> str:
        shown = "no change" if self.distance is None else f"changes from {self.distance:.2f}"
        bound = "" if self.size.complete else "at least "
        return f"{bound}{self.wins:,.0f} words per neuron show {shown}"

    def warning(self, folds: int) -> str:
        """Return a line about a `max-k` selection that shows only large changes; empty if there is no need."""
        if self.selection.k is None or not self.size.complete or (self.distance or 1) <= _LOW_POWER:
            return ""
        options = [
            f"{str(selection)!r} ({wins:,.0f} words, changes from {distance:.2f})"
            for selection in (recommended(self.size.words), Selection("all", standardize="zscore"))
            for wins in [self.size.words * _share_above(selection)]
            if (distance := detectable_distance(wins, folds_in_use(folds, self.size.documents))) is not None
        ]
        if not options:
            return ""
        shown = "no change" if self.distance is None else f"only changes from {self.distance:.2f}"
        return (
            f"layer {self.layer!r}: {str(self.selection)!r} gives each of its {self.n_neurons:,} neurons about "
            f"{self.wins:,.0f} of {self.size.words:,} words, in which half of the neurons would show {shown} "
            f"(Hellinger distance); take {' or, in more space, '.join(options)}"
        )


def expected_wins(hook_point: HookPoint, selection: Selection, size: TextSize) -> float | None:
    """Return the expected number of wins per neuron; None if it depends on unknown activations.

    Standard scores are taken as normally distributed; those of trained models have somewhat longer tails. Under `max-k`
    it is the mean: a few neurons win often, and the median is lower.
    """
    if hook_point.tap.route is not None:  # it is unknown how many words an expert sees
        return None
    if hook_point.through is not None and selection.k is not None:
        return None  # latents are active at so few words that standard scores are no remedy
    if selection.k is not None:
        return min(selection.k, hook_point.n_neurons) * size.words / hook_point.n_neurons
    if selection.rule == "max-position":
        return float(size.documents)
    if hook_point.through is not None:
        return size.words * hook_point.through.density if selection == Selection("threshold=0") else None
    return size.words * _share_above(selection) if selection.standardize == "zscore" else None


def recommended(words: int) -> Selection:
    """Return the selection that shows the smallest changes of a layer without taking more space than needed.

    Each neuron is credited with the words at which it is unusually active for itself: with so high a threshold that
    about 250 words or more are left.

    >>> str(recommended(7_000)), str(recommended(30_000))
    ('threshold=1.5/zscore', 'threshold=2/zscore')

    Args:
        words: number of words of the text.
    """
    candidates = [Selection(f"threshold={threshold:g}", standardize="zscore") for threshold in _THRESHOLDS]
    enough = [candidate for candidate in candidates if words * _share_above(candidate) >= _ENOUGH_WINS]
    return (enough or candidates[-1:])[0]


def expected_power(hook_points: Sequence[HookPoint], size: TextSize, folds: int) -> Iterator[ExpectedPower]:
    """Yield the estimates of the layers that have one."""
    for hook_point in hook_points:
        estimate = ExpectedPower.of(hook_point, size, folds)
        if estimate is not None:
            yield estimate


def _share_above(selection: Selection) -> float:
    """Return the share of normally distributed scores that a threshold lets through."""
    tails = 2 if selection.sign == "absolute" else 1
    return tails * float(norm.sf(selection.threshold or 0.0))
