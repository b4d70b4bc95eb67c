"""Partial stages of made-up text whose rows grow as those of real text do, and what merging them takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from txray.preferences import Preferences, Stage, merge_folders, merge_stages
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.sparse_stats import Rows

FOLDS = 16
NEURONS = 11_008
_BITS = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Size:
    """How much text is made up.

    Attributes:
        shards: partial stages.
        words: of each.
        layers: of each.
        exponent: rows = factor * words ** exponent.
        features: of the vocabulary.
    """

    shards: int
    words: int
    layers: int
    exponent: float
    features: int


def preferences(size: Size, layer: int, seed: int) -> Preferences:
    """One layer of one shard: pairs drawn by Zipf's law, whose distinct ones grow with a power of the draws.

    Draws by rank ** -s have draws ** (1 / s) distinct values, so s is the inverse of the exponent. The values name
    pairs all over the layer; two shards have the frequent ones in common.
    """
    drawn = np.random.default_rng((seed, layer)).zipf(1 / size.exponent, size.words)
    pair, count = np.unique(drawn, return_counts=True)
    mixed = (pair.astype(np.uint64) + np.uint64(layer << 48)) * _BITS
    mixed ^= mixed >> np.uint64(31)
    mixed *= _BITS
    cell = (mixed >> np.uint64(1)).astype(np.int64)
    fold, neuron, feature = (
        cell % FOLDS,
        cell // FOLDS % NEURONS,
        cell // (FOLDS * NEURONS) % size.features,
    )
    key = (fold * NEURONS + neuron) * size.features + feature
    value = count * np.random.default_rng((seed, layer, 1)).uniform(0.1, 2.0, len(count))
    rows = Rows.combined([Rows(key, count, value, value**2 / count, value / count)])
    group, feature = np.divmod(rows.key, size.features)
    fold, neuron = np.divmod(group, NEURONS)
    corpus_counts = np.ones((FOLDS, size.features), np.int64)
    names = np.array(sorted(f"feature-{number}" for number in range(size.features)), dtype=object)
    return Preferences(
        "s", f"layers.{layer:02d}", "token", "max-1", NEURONS, names, corpus_counts, fold, neuron, feature,
        rows.count, rows.sum, rows.sum_sq, rows.max,
    )  # fmt: skip


def make(size: Size, folder: Path) -> list[Path]:
    """The stage folders of all shards."""
    folders = []
    for number in range(size.shards):
        collected = {
            (f"layers.{layer:02d}", "token"): preferences(size, layer, number) for layer in range(size.layers)
        }
        corpus = {"name": "c", "documents": 1, "documents_digest": f"{number:x}"}
        manifest = {"words": size.words, "corpus": {**corpus, "shard": shard(number, size.shards)}}
        stage = Stage("s", collected, pl.DataFrame(schema=EXEMPLAR_SCHEMA), manifest)
        folders.append(stage.save(folder / f"part-{number:05d}"))
    return folders


def shard(number: int, of: int) -> dict[str, object]:
    """As manifests tell it."""
    return {"number": number + 1, "of": of, "name": "c", "fingerprint": "f"}


@dataclass(frozen=True)
class Cost:
    """Cost of merging some folders.

    Attributes:
        seconds: of processor time, reading and writing included, without the start of the process.
        merging: of it, the merging of what was read; 0 where it is not told apart.
        peak: bytes that the process has held at most, less what it held before.
        rows_in, rows: that went in and came out.
    """

    seconds: float
    merging: float
    peak: int
    rows_in: int
    rows: int


def in_memory(folders: list[Path], out: Path) -> float:
    """Load all, merge at once, save; seconds of merging."""
    stages = [Stage.load(folder) for folder in folders]
    started = time.process_time()
    whole = merge_stages(stages)
    took = time.process_time() - started
    whole.save(out)
    return took


def folder_by_folder(folders: list[Path], out: Path) -> float:
    """A fold of a layer at a time."""
    merge_folders(folders, out)
    return 0.0


WAYS: dict[str, Callable[[list[Path], Path], float]] = {
    "in memory": in_memory,
    "folder by folder": folder_by_folder,
}


def cost(way: str, folders: list[Path], out: Path) -> Cost:
    """Return the cost of one way, measured in a process of its own because peaks are those of processes."""
    command = [sys.executable, "-m", "benchmarks.scale.partials", way, str(out), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def tree(folders: list[Path], folder: Path) -> list[Cost]:
    """Two by two until one is left, level by level; each merge by a process of its own, as in a cluster."""
    costs: list[Cost] = []
    level = 0
    while len(folders) > 1:
        level += 1
        merged = []
        for number, pair in enumerate(zip(folders[::2], folders[1::2], strict=True)):
            merged.append(folder / f"level-{level}-{number}")
            costs.append(cost("in memory", list(pair), merged[-1]))
        folders = merged
    return costs


def n_rows(folder: Path) -> int:
    """Of the preferences of tokens."""
    return int(pl.scan_parquet(folder / "preferences.token.parquet").select(pl.len()).collect().item())


def _memory(what: str) -> int:
    """Bytes of this process: `VmRSS`, or `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def main(way: str, out: Path, folders: list[Path]) -> None:
    """Merge, and print what it took."""
    before = _memory("VmRSS")
    started = time.process_time()
    merging = WAYS[way](folders, out)
    seconds = time.process_time() - started
    peak = _memory("VmHWM") - before
    print(json.dumps(vars(Cost(seconds, merging, peak, sum(map(n_rows, folders)), n_rows(out)))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), list(map(Path, sys.argv[3:])))
