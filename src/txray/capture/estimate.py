"""Estimate the memory of a collection from the text alone, before the model runs."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from txray.capture.hook_point import HookPoint
from txray.capture.source import ActivationSource
from txray.capture.text.features import SUBWORD, features_of
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.preferences.dense_stats import CELL_BYTES
from txray.preferences.output_tokens import OUTPUT
from txray.preferences.preferences import ROW_BYTES
from txray.preferences.sparse_stats import SORTING_BYTES
from txray.progress import progress

_CGROUP = Path("/sys/fs/cgroup")

_MARGIN = 2.0
"""Units of a module that are active at a word, as a multiple of those of the dry run."""

_SHARE = 0.8
"""Share of the free memory that tallies may use; the model needs the rest."""


def require_memory(
    hook_points: Sequence[HookPoint],
    adapter: ActivationSource,
    corpus: Corpus,
    feature_types: Sequence[str],
    folds: int,
    memory: int | None,
) -> int:
    """Raise if a collection does not fit into memory; return its estimate otherwise.

    Only selections that may credit every neuron for every word need much memory: they may need all (fold, feature)
    pairs of the text for each neuron. A pass over the text, without the model, counts these pairs. Units behind a
    module, such as the latents of a sparse autoencoder, are few at each word: twice as many as in the dry run are
    assumed. Feature types that only the model or its tokenizer provides are not estimated.

    Args:
        hook_points, adapter, corpus, feature_types, folds: of the collection.
        memory: maximum number of bytes; most of the free memory by default.

    Returns:
        Upper bound in bytes, reached if every neuron is credited for every feature (an estimate for units behind a
        module); 0 if no selection needs much.

    Raises:
        UsageError: the collection needs more memory; the message lists what would fit.
    """
    layers = [_LayerSize.of(point) for point in hook_points if point.selection.threshold is not None]
    feature_types = [feature_type for feature_type in feature_types if feature_type not in (OUTPUT, SUBWORD)]
    if not layers or not feature_types:
        return 0
    allowed = allowed_memory() if memory is None else memory
    counts = _count_pairs(adapter, corpus, feature_types, folds)
    sizes = list(counts.values())
    needed = _bytes_of(layers, sizes)
    if needed <= allowed:
        return needed
    options = ["selection='max-1' or 'max-5'"]
    largest = sorted(layers, key=lambda layer: layer.neurons, reverse=True)
    fitting_layers = [n for n in range(1, len(layers)) if _bytes_of(largest[:n], sizes) <= allowed]
    if fitting_layers:
        options.append(f"{fitting_layers[-1]} of the {len(layers)} layers at a time")
    if (one_fold := _bytes_of(layers, [replace(count, pairs=count.distinct) for count in sizes])) <= allowed:
        options.append(f"folds=1 ({format_bytes(one_fold)})")
    options += [
        f"only the feature type {feature_type!r} ({format_bytes(alone)})"
        for feature_type in feature_types
        if len(feature_types) > 1 and (alone := _bytes_of(layers, [counts[feature_type]])) <= allowed
    ]
    pairs = ", ".join(f"{count.pairs:,} (fold, {feature_type})" for feature_type, count in counts.items())
    raise UsageError(
        f"collect: needs about {format_bytes(needed)} of memory for {pairs} pairs and "
        f"{sum(layer.neurons for layer in layers):,} neurons, {format_bytes(allowed)} may be used; options that fit: "
        f"{'; '.join(options)}"
    )


@dataclass(frozen=True)
class _FeatureCount:
    """Numbers of words, of (fold, feature) pairs and of distinct features in a text, for one feature type."""

    words: int
    pairs: int
    distinct: int


@dataclass(frozen=True)
class _LayerSize:
    """Number of neurons of a layer, and the largest number that a word may credit."""

    neurons: int
    credited: int

    @classmethod
    def of(cls, hook_point: HookPoint) -> _LayerSize:
        neurons, through = hook_point.n_neurons, hook_point.through
        # The mean and the sign decide how many count only if they are those of the module itself.
        if through is None or hook_point.selection.sign != "positive":
            return cls(neurons, neurons)
        return cls(neurons, min(neurons, math.ceil(_MARGIN * through.density * neurons)))

    def cells(self, count: _FeatureCount) -> int:
        """Return the maximum number of (fold, feature, neuron) that are in use."""
        return min(self.neurons * count.pairs, self.credited * count.words)

    def peak(self, count: _FeatureCount) -> int:
        """Return the bytes that a tally needs besides its preferences while it is converted."""
        dense, sparse = CELL_BYTES * self.neurons * count.pairs, SORTING_BYTES * self.cells(count)
        return min(dense, sparse) if self.credited < self.neurons else dense


def bytes_of(neurons: Collection[int], pairs: Collection[int]) -> int:
    """Return the peak size of all tallies in bytes, reached when the last one is converted to preferences.

    Args:
        neurons: number of neurons of each layer.
        pairs: number of (fold, feature) pairs of each feature type.
    """
    return _bytes_of([_LayerSize(n, n) for n in neurons], [_FeatureCount(n, n, n) for n in pairs])


def _bytes_of(layers: Collection[_LayerSize], counts: Collection[_FeatureCount]) -> int:
    rows = sum(layer.cells(count) for layer in layers for count in counts)
    return ROW_BYTES * rows + max(layer.peak(count) for layer in layers for count in counts)


def _count_pairs(
    adapter: ActivationSource, corpus: Corpus, feature_types: Sequence[str], folds: int
) -> dict[str, _FeatureCount]:
    """Return the counts of each feature type."""
    folds_seen: dict[str, dict[str, int]] = {feature_type: {} for feature_type in feature_types}
    words = 0
    with progress("estimating memory") as advance:
        for document in corpus:
            encoded, _ = adapter.encode(document)
            bit = 1 << (encoded.fold_key % folds)
            words += len(document.words)
            for feature_type, bits_of in folds_seen.items():
                for feature in set(features_of(feature_type, encoded)):
                    bits_of[feature] = bits_of.get(feature, 0) | bit
            advance(len(document.words))
    return {
        name: _FeatureCount(words, sum(map(int.bit_count, bits_of.values())), len(bits_of))
        for name, bits_of in folds_seen.items()
    }


def allowed_memory() -> int:
    """Return the default maximum size of all tallies in bytes."""
    return int(_SHARE * free_memory())


def free_memory() -> int:
    """Return the bytes of memory available without swapping; 4 GiB if the system does not say."""
    return min(_free_on_machine(), _free_in_container())


def _free_in_container() -> int:
    """Return the bytes left in this container; a huge number outside of one."""
    try:
        limit, used = (
            (_CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current")
        )
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return 1 << 62


def _free_on_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def format_bytes(number: float) -> str:
    """Return a number of bytes in a readable unit, e.g. `1.5 GiB`."""
    power = int(np.clip(np.log2(max(number, 1)) // 10, 0, 4))
    return f"{number / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
