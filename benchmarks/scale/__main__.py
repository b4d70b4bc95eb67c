"""`python -m benchmarks.scale DATA`: measure growth and merging, and print what docs/scale.md tells.

DATA is a folder with `imdb/imdb_train_25k.csv.gz`. Some forty minutes on one core; without DATA the merging alone.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from benchmarks.scale import growth, partials, plan

WORDS = 820_000
SIZE = partials.Size(shards=8, words=16_000_000, layers=2, exponent=0.8, features=60_000)
MEASURED = plan.Measured(
    factor=6.4,
    exponent=0.776,
    wider=1.08,
    stored=24,
    tree_seconds=1.6,
    tree_bytes=200,
    folder_seconds=0.8,
    folder_bytes=300,
)
"""What docs/scale.md works with: the figures that this module printed."""


def grown(data: Path) -> None:
    """How rows grow with words, by layer, and with neurons; how the vocabulary does."""
    rows_by_layer = growth.rows(data, WORDS)
    words = [int(number) for number in rows_by_layer["words"]]
    mlps = [amounts for layer, amounts in rows_by_layer.items() if layer.endswith(".intermediate")]
    rows_by_layer["mean of the intermediate layers"] = [
        float(np.mean(amounts)) for amounts in zip(*mlps, strict=True)
    ]
    for layer, amounts in rows_by_layer.items():
        if layer != "words":
            power = growth.Power.of(words, amounts)
            print(
                f"{layer}: {amounts[-1]:,.0f} rows at {words[-1]:,} words; {power.factor:.2f} * words ** "
                f"{power.exponent:.3f}, in the end ** {power.latest:.3f}; {power.at(1e9):.3g} at 1e9"
            )
    print("rows by neurons looked at, 100,000 words:", growth.by_width(data, 100_000))
    print(f"bytes of a stored row: {growth.bytes_per_row(data, 100_000):.1f}")
    words, features, pairs = growth.vocabulary(data)
    for what, amounts in (("features", features), ("(fold, feature)", pairs)):
        power = growth.Power.of(words, amounts)
        print(
            f"{what}: {amounts[-1]:,.0f} at {words[-1]:,} words; ** {power.exponent:.3f}, in the end ** "
            f"{power.latest:.3f}; {power.at(1e9):.3g} at 1e9"
        )


def merged(size: partials.Size) -> None:
    """Measure the merging of synthetic parts."""
    with tempfile.TemporaryDirectory() as folder:
        folders = partials.make(size, Path(folder))
        stored = sum((folder / "preferences.token.parquet").stat().st_size for folder in folders)
        rows = sum(map(partials.n_rows, folders))
        print(f"{size.shards} parts, {rows:,} rows, {stored / rows:.1f} bytes each stored", flush=True)
        for cost in partials.tree(folders, Path(folder)):
            _tell("tree, two of a level", cost)
        for way in partials.WAYS:
            _tell(f"all parts, {way}", partials.cost(way, folders, Path(folder) / way))


def _tell(what: str, cost: partials.Cost) -> None:
    print(
        f"{what}: {cost.rows_in:,} rows in, {cost.rows:,} out; {cost.seconds:.1f} s, {cost.merging:.1f} of it merging "
        f"({1e6 * cost.seconds / cost.rows:.2f} s per million out, {1e6 * cost.seconds / cost.rows_in:.2f} in); peak "
        f"{plan.size(cost.peak)}, {cost.peak / cost.rows:.0f} bytes per row out",
        flush=True,
    )


def main(data: Path | None) -> None:
    """Measure, and print."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if data is not None:
        grown(data)
    merged(SIZE)
    for quantity, value in plan.lines(plan.Assumed(), MEASURED):
        print(f"| {quantity} | {value} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
