"""How much memory a collection will take, found out from the encoded alone, before the model runs."""

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

_GROUP = Path("/sys/fs/cgroup")

_SHARE = 0.8
"""Of the memory that is free: the model's own activations need some, too."""


def require_memory(
    hook_points: Sequence[HookPoint],
    adapter: ModelAdapter,
    corpus: Corpus,
    feature_types: Sequence[str],
    folds: int,
    memory: int | None,
) -> int:
    """Refuse a collection that cannot fit, and say what would.

    Only selections that may credit every neuron of every word can be large: then memory is that of all (fold,
    feature) pairs of the encoded for each neuron, which a pass over the encoded, without the model, counts. Kinds of
    feature that only the model or its tokenizer gives are left out of the estimate.

    Args:
        hook_points: of the collection.
        adapter: of the model.
        corpus: to be read.
        feature_types: the feature types.
        folds: disjoint groups of documents.
        memory: bytes that may be used; most of what is free by default.

    Returns:
        The estimate in bytes, which is reached only if every neuron is credited for every feature; 0 where there is
        nothing to fear.

    Raises:
        UsageError: it does not fit.
    """
    neurons = [
        hook_point.layout.neurons for hook_point in hook_points if hook_point.selection.threshold is not None
    ]
    feature_types = [feature_type for feature_type in feature_types if feature_type not in (OUTPUT, SUBWORD)]
    if not neurons or not feature_types:
        return 0
    allowed = allowed_memory() if memory is None else memory
    pairs, distinct = _counted(adapter, corpus, feature_types, folds)
    needed = bytes_of(neurons, pairs.values())
    if needed <= allowed:
        return needed
    ways = ["selection='max-1' or 'max-5'"]
    largest = sorted(neurons, reverse=True)
    fitting = [n for n in range(1, len(neurons)) if bytes_of(largest[:n], pairs.values()) <= allowed]
    if fitting:
        ways.append(f"{fitting[-1]} of the {len(neurons)} layers at a time")
    if (one_fold := bytes_of(neurons, distinct.values())) <= allowed:
        ways.append(f"folds=1 ({format_bytes(one_fold)})")
    ways += [
        f"only the feature {feature_type!r} ({format_bytes(alone)})"
        for feature_type in feature_types
        if len(feature_types) > 1 and (alone := bytes_of(neurons, [pairs[feature_type]])) <= allowed
    ]
    told = ", ".join(f"{pairs[feature_type]:,} (fold, {feature_type})" for feature_type in feature_types)
    raise UsageError(
        f"collect: needs about {format_bytes(needed)} of memory for {told} pairs and {sum(neurons):,} neurons, "
        f"{format_bytes(allowed)} may be used; what would fit: {'; '.join(ways)}"
    )


def bytes_of(neurons: Collection[int], pairs: Collection[int]) -> int:
    """What tallies take at most, when the last of them becomes preferences beside those of all others.

    Args:
        neurons: of each layer.
        pairs: (fold, feature) pairs of each feature type.
    """
    return ROW_BYTES * sum(neurons) * sum(pairs) + CELL_BYTES * max(neurons) * max(pairs)


def _counted(
    adapter: ModelAdapter, corpus: Corpus, feature_types: Sequence[str], folds: int
) -> tuple[dict[str, int], dict[str, int]]:
    """(fold, feature) pairs of the encoded, and distinct feature_types, by kind."""
    seen: dict[str, dict[str, int]] = {feature_type: {} for feature_type in feature_types}
    with progress("estimating memory") as advance:
        for document in corpus:
            encoded, _ = adapter.encode(document)
            bit = 1 << (encoded.fold_key % folds)
            for feature_type, found in seen.items():
                for feature in set(features_of(feature_type, encoded)):
                    found[feature] = found.get(feature, 0) | bit
            advance(len(document.words))
    return (
        {
            feature_type: sum(bits.bit_count() for bits in found.values())
            for feature_type, found in seen.items()
        },
        {feature_type: len(found) for feature_type, found in seen.items()},
    )


def allowed_memory() -> int:
    """Bytes that tallies may take where nobody says how many."""
    return int(_SHARE * free_memory())


def free_memory() -> int:
    """Bytes of memory that can be used without swapping; a guess of 4 GiB where the system does not say."""
    return min(_free_of_machine(), _free_of_group())


def _free_of_group() -> int:
    """What a container leaves free; no limit where there is none."""
    try:
        most, used = (
            (_GROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current")
        )
        return max(0, int(most) - int(used))
    except (OSError, ValueError):
        return 1 << 62


def _free_of_machine() -> int:
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
    """A number of bytes as people write it."""
    power = int(np.clip(np.log2(max(number, 1)) // 10, 0, 4))
    return f"{number / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
