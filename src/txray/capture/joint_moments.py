"""One pass in which two models read the same documents: the joint moments of pairs of their layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from torch import nn

from txray.activations.stored import StoredActivations
from txray.analysis.layers.moments import CrossMoments
from txray.capture.estimate import format_bytes, free_memory
from txray.capture.forward.padding import settle_padding
from txray.capture.hook_point import HookPoint
from txray.capture.layer import Layer, Layers, as_layers
from txray.capture.layers import hook_points_for, require_layers, warn_of_reading
from txray.capture.selection import Selection
from txray.capture.source_for import Source, source_for
from txray.capture.text.encoding import Indices
from txray.capture.word_activations import DocumentBlock, WordActivations, blocks, read_block
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.progress import progress

AnyModel = nn.Module | TextModel | StoredActivations

UNREAD_BEFORE = "not read by the model before"
UNREAD_AFTER = "not read by the model after"
UNREAD_BOTH = "not read by either model"
UNCOVERED = "outside the output of a layer"

_BLOCK_BYTES = 128 * 2**20
"""Approximate size of the activations in memory at a time."""

_SHARE = 0.5
"""Share of the free memory that the sums may use; models and activations need the rest."""

_MIN_WORDS = 3
"""Minimum number of words: with two, every correlation is 1 or -1."""

_RAW = Selection("all")


@dataclass(frozen=True, eq=False)
class JointMoments:
    """Moments of the layers of two models, over the words that both read.

    Attributes:
        names: names of the models.
        layers_before, layers_after: names of the layers, in the order of the request.
        corpus: name of the text.
        words: number of words that all layers cover.
        skipped: reason -> number of the other words.
        unread_before, unread_after: reason -> number of words that only this model did not read.
    """

    names: tuple[str, str]
    layers_before: tuple[str, ...]
    layers_after: tuple[str, ...]
    corpus: str
    words: int
    skipped: Mapping[str, int]
    unread_before: Mapping[str, int]
    unread_after: Mapping[str, int]
    _sides: _Sides
    _sums: Mapping[tuple[int, int], CrossMoments]

    def of(self, before: int, after: int) -> tuple[CrossMoments, CrossMoments, CrossMoments]:
        """Return the moments of a layer before with one after, and of each with itself; by their positions."""
        i, j = self._sides.before[before], self._sides.after[after]
        cross = self._sums[i, j] if i <= j else self._sums[j, i].transposed()
        return cross, self._sums[i, i], self._sums[j, j]


def joint_moments(
    before_model: AnyModel,
    after_model: AnyModel,
    corpus: Corpus,
    layers: Layers,
    layers_after: Layers,
    *,
    purpose: str = "similarity",
    names: tuple[str, str] | None = None,
    max_words: int | None = None,
    batch_positions: int = 16_384,
    memory: int | None = None,
) -> JointMoments:
    """Return the moments of all pairs of layers, in one pass; see `layer_similarity` for arguments and errors.

    Args:
        purpose: first word of error messages.
    """
    for argument, requested in (("layers", layers), ("layers_after", layers_after)):
        if not requested:
            raise UsageError(f"{purpose}: {argument}={requested!r}; pass at least one name")
    sides = _sides(before_model, after_model, layers, layers_after, corpus)
    _require_memory(sides, memory, purpose)
    model_names = names or _names(sides, same=before_model is after_model)
    source = corpus if max_words is None else corpus.take_words(max_words)
    sums = {pair: CrossMoments(*(sides.neurons[i] for i in pair)) for pair in sides.pairs()}
    skipped: Counter[str] = Counter()
    unread = [Counter[str]() for _ in sides.runs]
    bytes_per_word = sum(4 * neurons for neurons in sides.neurons)
    with progress(f"{purpose} of {model_names[0]} and {model_names[1]}", max_words) as advance:
        for block in blocks(source, max(1, _BLOCK_BYTES // bytes_per_word)):
            by_layer: list[WordActivations] = []
            for run, (adapter, hook_points) in enumerate(sides.runs):
                activations, unread_words = read_block(adapter, hook_points, block, batch_positions)
                by_layer += activations
                unread[run] += unread_words
                advance(block.words / len(sides.runs))
            words = _common_words(sides, block, by_layer, skipped)
            values = [activations.finite(words) for activations in by_layer]
            for (i, j), moments in sums.items():
                moments.update(values[i], values[j])
    counted = next(iter(sums.values())).words
    if counted < _MIN_WORDS:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
        raise UsageError(
            f"{purpose}: {counted} words of corpus {source.name!r} are read by both {model_names[0]!r} and "
            f"{model_names[1]!r}{f' ({reasons})' if reasons else ''}; at least {_MIN_WORDS} are needed, and many more "
            "than neurons for a meaningful result"
        )
    return JointMoments(
        model_names,
        tuple(sides.hook_points[i].layer for i in sides.before),
        tuple(sides.hook_points[j].layer for j in sides.after),
        source.name,
        counted,
        dict(sorted(skipped.items())),
        dict(sorted(unread[0].items())),
        dict(sorted(unread[-1].items())),
        sides,
        sums,
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """The layers of both models, numbered consecutively.

    Attributes:
        runs: adapters with their hook points, in the order of the numbers: two, or one if both sides are the same
            model.
        before, after: numbers of the layers of each side, in the order of the request.
    """

    runs: Sequence[tuple[Source, Sequence[HookPoint]]]
    before: Sequence[int]
    after: Sequence[int]

    @property
    def hook_points(self) -> list[HookPoint]:
        """Return the hook points of all layers."""
        return [hook_point for _, hook_points in self.runs for hook_point in hook_points]

    @property
    def neurons(self) -> list[int]:
        """Return the number of neurons of each layer."""
        return [hook_point.n_neurons for hook_point in self.hook_points]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield every pair of layers whose moments are needed once, the smaller number first."""
        variances = {(i, i) for i in (*self.before, *self.after)}
        yield from sorted(variances | {(min(i, j), max(i, j)) for i in self.before for j in self.after})


def _sides(
    before_model: AnyModel,
    after_model: AnyModel,
    layers: Layers,
    layers_after: Layers,
    corpus: Corpus,
) -> _Sides:
    before = source_for(before_model, outputs=False, corpus=corpus)
    after = before if after_model is before_model else source_for(after_model, outputs=False, corpus=corpus)
    for adapter, layers_of_side in ((before, layers), (after, layers_after)):
        require_layers(adapter, layers_of_side)  # raises before a model runs
    points, points_after = _raw_hook_points(before, layers), _raw_hook_points(after, layers_after)
    by_layer = {point.layer: point for point in (*points_after, *points)}
    # A layer of one model that is read in two ways needs two passes.
    if after is before and all(by_layer[point.layer] == point for point in points_after):
        number = {layer: i for i, layer in enumerate(by_layer)}
        run = (before, list(by_layer.values()))
        return _Sides(
            [run], [number[point.layer] for point in points], [number[point.layer] for point in points_after]
        )
    numbers = range(len(points)), range(len(points), len(points) + len(points_after))
    return _Sides([(before, points), (after, points_after)], *numbers)


def _raw_hook_points(adapter: Source, layers: Layers) -> list[HookPoint]:
    """Return the hook points of layers, neither signed nor standardized."""
    unselected = [
        replace(layer, selection=None) if isinstance(layer, Layer) else layer for layer in as_layers(layers)
    ]
    hook_points = hook_points_for(adapter, unselected, _RAW)
    warn_of_reading(hook_points)
    settle_padding(adapter, hook_points)
    return hook_points


def _names(sides: _Sides, *, same: bool) -> tuple[str, str]:
    before, after = sides.runs[0][0].name, sides.runs[-1][0].name
    return (f"{before} (before)", f"{after} (after)") if before == after and not same else (before, after)


def _require_memory(sides: _Sides, memory: int | None, purpose: str) -> None:
    """Raise if the sums do not fit into memory, before a model runs."""
    allowed = int(_SHARE * free_memory()) if memory is None else memory
    pairs = list(sides.pairs())
    needed = _bytes_of(sides, pairs)
    if needed <= allowed:
        return
    singles = (_Sides(sides.runs, [i], [j]) for i, j in product(sides.before, sides.after))
    single = max(_bytes_of(sides, pair.pairs()) for pair in singles)
    advice = "compare fewer layers at a time" if single <= allowed else "choose layers of fewer neurons"
    raise UsageError(
        f"{purpose}: needs about {format_bytes(needed)} of memory for {len(pairs)} pairs of layers of up to "
        f"{max(sides.neurons):,} neurons, {format_bytes(allowed)} may be used; {advice} (a single pair needs at most "
        f"{format_bytes(single)})"
    )


def _bytes_of(sides: _Sides, pairs: Iterable[tuple[int, int]]) -> int:
    """Return the size of the products of all pairs of neurons in bytes."""
    cells = [sides.neurons[i] * sides.neurons[j] for i, j in pairs]
    # The largest one exists three times while a block of words is added.
    return 8 * (sum(cells) + 2 * max(cells))


def _common_words(
    sides: _Sides, block: DocumentBlock, by_layer: Sequence[WordActivations], skipped: Counter[str]
) -> Indices:
    """Return the numbers of the words that all layers cover, and count the others by reason."""
    before, after = by_layer[sides.before[0]].read, by_layer[sides.after[0]].read
    covered = np.logical_and.reduce([activations.covered for activations in by_layer])
    reasons = {
        UNREAD_BEFORE: ~before & after,
        UNREAD_AFTER: before & ~after,
        UNREAD_BOTH: ~before & ~after,
        UNCOVERED: before & after & ~covered,
    }
    skipped.update({reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()})
    return np.flatnonzero(covered)
