"""How alike the layers of two models are: both read the same documents, and only sums of products are kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from torch import nn

from txray.analysis.layers.cka import best_matches, cka, cka_debiased
from txray.analysis.layers.moments import CrossMoments
from txray.analysis.layers.result import SIMILARITY_SCHEMA, LayerSimilarity
from txray.capture.estimate import format_bytes, free_memory
from txray.capture.hook_point import HookPoint
from txray.capture.layers import Layer, hook_points_for, warn_of_reading
from txray.capture.model_adapter import ModelAdapter, adapter_for
from txray.capture.padding import settle_padding
from txray.capture.selection import Selection
from txray.capture.word_activations import DocumentBlock, WordActivations, blocks, read_block
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.progress import progress

UNREAD_FIRST = "not read by the first model"
UNREAD_SECOND = "not read by the second model"
UNREAD_BOTH = "not read by either model"
UNANSWERED = "outside the output of a layer"

_BLOCK_BYTES = 128 * 2**20
"""Activations of about this size are held at a time."""

_SHARE = 0.5
"""Of the memory that is free: the rest is for the models and the activations of a block."""

_FEWEST = 3
"""Two words have a correlation of 1 or -1, whatever the neurons."""

_RAW = Selection("all")


def layer_similarity(
    first: nn.Module | TextModel,
    second: nn.Module | TextModel,
    corpus: Corpus,
    layers: Sequence[str | Layer] = ("rnn",),
    layers_second: Sequence[str | Layer] | None = None,
    *,
    names: tuple[str, str] | None = None,
    max_words: int | None = None,
    batch_positions: int = 16_384,
    memory: int | None = None,
) -> LayerSimilarity:
    """Say how alike the layers of two models are as wholes, in one pass over a corpus.

    Both models read the same documents, and the activations of the same words are held against each other. A word of
    several pieces has the activation that its model pools. Models may differ in kind, size and tokenizer; they may be
    one and the same, to hold its layers against each other. Activations are not kept: memory does not grow with the
    corpus.

    Args:
        first: a model of `txray.models`, a Hugging Face model loaded by `txray.load_model`, or any module in a
            `TextModel`.
        second: another one, or the same.
        corpus: the documents.
        layers: of the first model: names of modules, patterns, or `Layer` objects, whose selection does not count.
        layers_second: of the second model; the same by default.
        names: what to call the two models; the names of their own kinds by default.
        max_words: read this many words of the corpus; all by default.
        batch_positions: padded positions in a batch; changes speed and memory, and the result only by the rounding
            of the models' own arithmetic.
        memory: bytes that the sums may take; half of what is free by default.

    Returns:
        One row per pair of layers. Every word is accounted for: words read = `words` + `skipped`, by reason.

    Raises:
        UnknownNameError: no such layer.
        UsageError: no layers requested for, a kind of model that txray cannot read for, more memory needed than there is,
            or fewer than 3 words that both models read.
        CorpusError: the corpus is empty.
        CaptureError: activations that are not numbers, or a layer without activations per position.

    Warns:
        PaddingWarning, RandomPassWarning, RepeatedCallWarning: as `txray.collect` does.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited.
    """
    for what, requested in (("layers", layers), ("layers_second", layers_second)):
        if requested is not None and (isinstance(requested, str) or not requested):
            raise UsageError(f"similarity: {what}={requested!r}; give a list of at least one name")
    sides = _sides(first, second, layers, layers if layers_second is None else layers_second, corpus)
    _require_memory(sides, memory)
    called = names or _names(sides, same=first is second)
    source = corpus if max_words is None else corpus.take(max_words)
    sums = {pair: CrossMoments(*(sides.neurons[i] for i in pair)) for pair in sides.pairs()}
    skipped: Counter[str] = Counter()
    unread = [Counter[str]() for _ in sides.runs]
    width = sum(4 * neurons for neurons in sides.neurons)
    with progress(f"similarity of {called[0]} and {called[1]}", max_words) as advance:
        for block in blocks(source, max(1, _BLOCK_BYTES // width)):
            found: list[WordActivations] = []
            for run, (adapter, hook_points) in enumerate(sides.runs):
                read, left_out = read_block(adapter, hook_points, block, batch_positions)
                found += read
                unread[run] += left_out
                advance(block.words / len(sides.runs))
            words = _common(sides, block, found, skipped)
            activations = [each.finite(block, words) for each in found]
            for (i, j), moments in sums.items():
                moments.update(activations[i], activations[j])
    counted = next(iter(sums.values())).words
    if counted < _FEWEST:
        told = "; ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
        raise UsageError(
            f"similarity: {counted} words of corpus {source.name!r} are read by both {called[0]!r} and {called[1]!r}"
            f"{f' ({told})' if told else ''}; at least {_FEWEST} are needed, and many more than neurons for a result "
            "that means something"
        )
    return LayerSimilarity(
        *called,
        tuple(sides.hook_points[i].layer for i in sides.first),
        tuple(sides.hook_points[j].layer for j in sides.second),
        source.name,
        counted,
        dict(sorted(skipped.items())),
        dict(sorted(unread[0].items())),
        dict(sorted(unread[-1].items())),
        _table(sides, sums),
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """The layers of both models, numbered through.

    Attributes:
        runs: readers with the hook_points that they serve, in the order of the numbers: two, or one where both sides are
            the same model.
        first, second: numbers of the layers on either side, in the order of the request.
    """

    runs: Sequence[tuple[ModelAdapter, Sequence[HookPoint]]]
    first: Sequence[int]
    second: Sequence[int]

    @property
    def hook_points(self) -> list[HookPoint]:
        """All layers."""
        return [hook_point for _, hook_points in self.runs for hook_point in hook_points]

    @property
    def neurons(self) -> list[int]:
        """Of each layer."""
        return [hook_point.layout.neurons for hook_point in self.hook_points]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every pair of layers whose moments are needed, once, the smaller number first."""
        own = {(i, i) for i in (*self.first, *self.second)}
        yield from sorted(own | {(min(i, j), max(i, j)) for i in self.first for j in self.second})


def _sides(
    first: nn.Module | TextModel,
    second: nn.Module | TextModel,
    layers: Sequence[str | Layer],
    layers_second: Sequence[str | Layer],
    corpus: Corpus,
) -> _Sides:
    adapter = adapter_for(first, outputs=False, corpus=corpus)
    adapter_after = adapter if second is first else adapter_for(second, outputs=False, corpus=corpus)
    hook_points, others = _raw_hook_points(adapter, layers), _raw_hook_points(adapter_after, layers_second)
    by_layer = {hook_point.layer: hook_point for hook_point in (*others, *hook_points)}
    # A layer of one model that is to be read in two ways needs two passes.
    if second is first and all(by_layer[hook_point.layer] == hook_point for hook_point in others):
        number = {layer: i for i, layer in enumerate(by_layer)}
        run = (adapter, list(by_layer.values()))
        return _Sides(
            [run],
            [number[hook_point.layer] for hook_point in hook_points],
            [number[hook_point.layer] for hook_point in others],
        )
    both = range(len(hook_points)), range(len(hook_points), len(hook_points) + len(others))
    return _Sides([(adapter, hook_points), (adapter_after, others)], *both)


def _raw_hook_points(adapter: ModelAdapter, layers: Sequence[str | Layer]) -> list[HookPoint]:
    """The layers as they are: neither signed nor standardized."""
    plain = [replace(each, selection=None) if isinstance(each, Layer) else each for each in layers]
    hook_points = hook_points_for(adapter, plain, _RAW)
    warn_of_reading(hook_points, stacklevel=5)
    settle_padding(adapter, hook_points)
    return hook_points


def _names(sides: _Sides, *, same: bool) -> tuple[str, str]:
    first, second = sides.runs[0][0].name, sides.runs[-1][0].name
    return (f"{first} (first)", f"{second} (second)") if first == second and not same else (first, second)


def _require_memory(sides: _Sides, memory: int | None) -> None:
    """Refuse what cannot fit, before a model runs."""
    allowed = int(_SHARE * free_memory()) if memory is None else memory
    pairs = list(sides.pairs())
    needed = _bytes_of(sides, pairs)
    if needed <= allowed:
        return
    singles = (_Sides(sides.runs, [i], [j]) for i in sides.first for j in sides.second)
    single = max(_bytes_of(sides, each.pairs()) for each in singles)
    advice = "compare fewer layers at a time" if single <= allowed else "choose layers of fewer neurons"
    raise UsageError(
        f"similarity: needs about {format_bytes(needed)} of memory for {len(pairs)} pairs of layers of up to "
        f"{max(sides.neurons):,} neurons, {format_bytes(allowed)} may be used; {advice} (one against one takes at most "
        f"{format_bytes(single)})"
    )


def _bytes_of(sides: _Sides, pairs: Iterable[tuple[int, int]]) -> int:
    """What the products of all pairs of neurons take."""
    cells = [sides.neurons[i] * sides.neurons[j] for i, j in pairs]
    # The largest is held three times while a block of words is joined to it.
    return 8 * (sum(cells) + 2 * max(cells))


def _common(
    sides: _Sides, block: DocumentBlock, found: Sequence[WordActivations], skipped: Counter[str]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Numbers of the words that all layers answer to; the others are counted by reason."""
    read_first, read_second = found[sides.first[0]].read, found[sides.second[0]].read
    both = read_first & read_second
    answered = np.logical_and.reduce([each.answered for each in found])
    skipped.update(
        {
            reason: int(which.sum())
            for reason, which in (
                (UNREAD_FIRST, ~read_first & read_second),
                (UNREAD_SECOND, read_first & ~read_second),
                (UNREAD_BOTH, ~read_first & ~read_second),
                (UNANSWERED, both & ~answered),
            )
            if which.any()
        }
    )
    return np.flatnonzero(answered)


def _table(sides: _Sides, sums: dict[tuple[int, int], CrossMoments]) -> pl.DataFrame:
    rows = []
    with progress("similarity", len(sides.first) * len(sides.second), unit="pairs") as advance:
        for i in sides.first:
            for j in sides.second:
                both = sums[i, j] if i <= j else sums[j, i].transposed()
                matches = best_matches(both)
                measures = (
                    cka(both, sums[i, i], sums[j, j]),
                    cka_debiased(both, sums[i, i], sums[j, j]),
                    matches.best_first,
                    matches.best_second,
                    matches.one_to_one,
                )
                rows.append(
                    (
                        sides.hook_points[i].layer,
                        sides.hook_points[j].layer,
                        *(None if math.isnan(value) else value for value in measures),
                        int(both.constant_first.sum()),
                        int(both.constant_second.sum()),
                    )
                )
                advance()
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA, orient="row")
