"""Similarity of the layers of two models that read the same documents; only sums of products are stored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import polars as pl
from torch import nn

from txray.activations.stored import StoredActivations
from txray.analysis.layers.cka import best_matches, cka, cka_debiased
from txray.analysis.layers.moments import CrossMoments
from txray.analysis.layers.result import SIMILARITY_SCHEMA, LayerSimilarity
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


def layer_similarity(
    before_model: nn.Module | TextModel | StoredActivations,
    after_model: nn.Module | TextModel | StoredActivations,
    corpus: Corpus,
    *,
    layers: str | Layer | Sequence[str | Layer] = "rnn",
    layers_after: str | Layer | Sequence[str | Layer] | None = None,
    names: tuple[str, str] | None = None,
    max_words: int | None = None,
    batch_positions: int = 16_384,
    memory: int | None = None,
) -> LayerSimilarity:
    """Return the similarity of the layers of two models, in one pass over a corpus.

    Both models read the same documents, and the activations at the same words are compared; the pieces of a word are
    pooled as by its model. The models may differ in type, size and tokenizer. Pass one model twice to compare its own
    layers. Activations are not stored, so memory does not grow with the corpus.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> similarity = txray.layer_similarity(model, model, corpus, layers=["embedding", "rnn"])
    >>> similarity.table.height
    4

    Args:
        before_model: a model as in `txray.collect`.
        after_model: another one, or the same.
        corpus: the documents.
        layers: one or several layers of `before_model`: names of modules, patterns, or `Layer` objects, whose selection
            is ignored.
        layers_after: layers of `after_model`; `layers` by default.
        names: names of the two models; those of their types by default.
        max_words: maximum number of words to read; all by default.
        batch_positions: maximum number of padded positions in a batch. It affects speed and memory, and the result only
            by the rounding of the models' own arithmetic.
        memory: maximum size of the sums in bytes; half of the free memory by default.

    Returns:
        One row per pair of layers. Every word is accounted for: words read = `words` + `skipped`, by reason.

    Raises:
        UnknownNameError: unknown layer.
        UsageError: no layer, a type of model that txray cannot read with, not enough memory, or fewer than 3 words that
            both models read.
        CorpusError: the corpus is empty.
        CaptureError: activations that are not finite, or a layer without activations per position.

    Warns:
        PaddingWarning, RandomPassWarning, RepeatedCallWarning: as `txray.collect`.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited.
    """
    layers_after = layers if layers_after is None else layers_after
    for argument, requested in (("layers", layers), ("layers_after", layers_after)):
        if not requested:
            raise UsageError(f"similarity: {argument}={requested!r}; pass at least one name")
    sides = _sides(before_model, after_model, layers, layers_after, corpus)
    _require_memory(sides, memory)
    model_names = names or _names(sides, same=before_model is after_model)
    source = corpus if max_words is None else corpus.take_words(max_words)
    sums = {pair: CrossMoments(*(sides.neurons[i] for i in pair)) for pair in sides.pairs()}
    skipped: Counter[str] = Counter()
    unread = [Counter[str]() for _ in sides.runs]
    bytes_per_word = sum(4 * neurons for neurons in sides.neurons)
    with progress(f"similarity of {model_names[0]} and {model_names[1]}", max_words) as advance:
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
            f"similarity: {counted} words of corpus {source.name!r} are read by both {model_names[0]!r} and "
            f"{model_names[1]!r}{f' ({reasons})' if reasons else ''}; at least {_MIN_WORDS} are needed, and many more "
            "than neurons for a meaningful result"
        )
    return LayerSimilarity(
        *model_names,
        tuple(sides.hook_points[i].layer for i in sides.before),
        tuple(sides.hook_points[j].layer for j in sides.after),
        source.name,
        counted,
        dict(sorted(skipped.items())),
        dict(sorted(unread[0].items())),
        dict(sorted(unread[-1].items())),
        _table(sides, sums),
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
    before_model: nn.Module | TextModel | StoredActivations,
    after_model: nn.Module | TextModel | StoredActivations,
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


def _require_memory(sides: _Sides, memory: int | None) -> None:
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
        f"similarity: needs about {format_bytes(needed)} of memory for {len(pairs)} pairs of layers of up to "
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


def _table(sides: _Sides, sums: dict[tuple[int, int], CrossMoments]) -> pl.DataFrame:
    rows = []
    hook_points = sides.hook_points
    with progress("similarity", len(sides.before) * len(sides.after), unit="pairs") as advance:
        for i, j in product(sides.before, sides.after):
            both = sums[i, j] if i <= j else sums[j, i].transposed()
            matches = best_matches(both)
            measures = (
                cka(both, sums[i, i], sums[j, j]),
                cka_debiased(both, sums[i, i], sums[j, j]),
                matches.best_before,
                matches.best_after,
                matches.one_to_one,
            )
            finite = (None if math.isnan(value) else value for value in measures)
            constant = int(both.constant_x.sum()), int(both.constant_y.sum())
            rows.append((hook_points[i].layer, hook_points[j].layer, *finite, *constant))
            advance()
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA, orient="row")
