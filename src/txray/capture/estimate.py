"""Estimate the memory of a collection from the text alone, before the model runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from txray.capture.features import OUTPUT, SUBWORD, features_of
from txray.capture.hook_point import HookPoint
from txray.capture.model_adapter import ModelAdapter
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.preferences.dense_stats import CELL_BYTES
from txray.preferences.preferences import ROW_BYTES
from txray.progress import progress

_CGROUP = Path("/sys/fs/cgroup")

_SHARE = 0.8
"""Share of the free memory that tallies may use; the model needs the rest."""


def require_memory(
    hook_points: Sequence[HookPoint],
    adapter: ModelAdapter,
    corpus: Corpus,
    feature_types: Sequence[str],
    folds: int,
    memory: int | None,
) -> int:
    """Raise if a collection does not fit into memory; return its estimate otherwise.

    Only selections that may credit every neuron for every word need much memory: they may need all (fold, feature)
    pairs of the text for each neuron. A pass over the text, without the model, counts these pairs. Feature types that
    only the model or its tokenizer provides are not estimated.

    Args:
        hook_points, adapter, corpus, feature_types, folds: of the collection.
        memory: maximum number of bytes; most of the free memory by default.

    Returns:
        Upper bound in bytes, reached if every neuron is credited for every feature; 0 if no selection needs much.

    Raises:
        UsageError: the collection needs more memory; the message lists what would fit.
    """
    neurons = [point.n_neurons for point in hook_points if point.selection.threshold is not None]
    feature_types = [feature_type for feature_type in feature_types if feature_type not in (OUTPUT, SUBWORD)]
    if not neurons or not feature_types:
        return 0
    allowed = allowed_memory() if memory is None else memory
    pairs, distinct = _count_pairs(adapter, corpus, feature_types, folds)
    needed = bytes_of(neurons, pairs.values())
    if needed <= allowed:
        return needed
    options = ["selection='max-1' or 'max-5'"]
    largest = sorted(neurons, reverse=True)
    fitting_layers = [n for n in range(1, len(neurons)) if bytes_of(largest[:n], pairs.values()) <= allowed]
    if fitting_layers:
        options.append(f"{fitting_layers[-1]} of the {len(neurons)} layers at a time")
    if (one_fold := bytes_of(neurons, distinct.values())) <= allowed:
        options.append(f"folds=1 ({format_bytes(one_fold)})")
    options += [
        f"only the feature type {feature_type!r} ({format_bytes(alone)})"
        for feature_type in feature_types
        if len(feature_types) > 1 and (alone := bytes_of(neurons, [pairs[feature_type]])) <= allowed
    ]
    counts = ", ".join(f"{pairs[feature_type]:,} (fold, {feature_type})" for feature_type in feature_types)
    raise UsageError(
        f"collect: needs about {format_bytes(needed)} of memory for {counts} pairs and {sum(neurons):,} neurons, "
        f"{format_bytes(allowed)} may be used; options that fit: {'; '.join(options)}"
    )


def bytes_of(neurons: Collection[int], pairs: Collection[int]) -> int:
    """Return the peak size of all tallies in bytes, reached when the last one is converted to preferences.

    Args:
        neurons: number of neurons of each layer.
        pairs: number of (fold, feature) pairs of each feature type.
    """
    return ROW_BYTES * sum(neurons) * sum(pairs) + CELL_BYTES * max(neurons) * max(pairs)


def _count_pairs(
    adapter: ModelAdapter, corpus: Corpus, feature_types: Sequence[str], folds: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of (fold, feature) pairs and of distinct features in the text, by feature type."""
    folds_seen: dict[str, dict[str, int]] = {feature_type: {} for feature_type in feature_types}
    with progress("estimating memory") as advance:
        for document in corpus:
            encoded, _ = adapter.encode(document)
            bit = 1 << (encoded.fold_key % folds)
            for feature_type, bits_of in folds_seen.items():
                for feature in set(features_of(feature_type, encoded)):
                    bits_of[feature] = bits_of.get(feature, 0) | bit
            advance(len(document.words))
    pairs = {name: sum(map(int.bit_count, bits_of.values())) for name, bits_of in folds_seen.items()}
    return pairs, {name: len(bits_of) for name, bits_of in folds_seen.items()}


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
