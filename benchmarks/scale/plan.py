"""The arithmetic of a large collection: what is assumed, and what follows from it and from what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ROW = 56
"""Bytes of a row in memory, and on the wire."""


@dataclass(frozen=True)
class Assumed:
    """Assumptions of the plan.

    Attributes:
        words: of the text.
        parameters: of the model.
        layers, neurons: of its MLPs.
        peak: operations per second of a GPU in bfloat16 without sparsity, as its maker says (H100 SXM).
        utilisation: share of them that a forward pass in full batches reaches.
        tokens_per_word: of the model's tokenizer on English text.
        tally: seconds of one processor core per million words and layer (docs/performance.md, 12,000 neurons).
        price: of a GPU, dollars per hour.
        gpus: at the same time.
        network: bytes per second between two machines.
    """

    words: float = 1e9
    parameters: float = 6.74e9
    layers: int = 32
    neurons: int = 11_008
    peak: float = 989e12
    utilisation: float = 0.4
    tokens_per_word: float = 1.35
    tally: float = 0.4
    price: float = 3.0
    gpus: int = 64
    network: float = 1.25e9

    @property
    def words_per_second(self) -> float:
        """Of the forward pass alone, two operations per parameter and token."""
        tokens = self.utilisation * self.peak / (2 * self.parameters)
        return tokens / self.tokens_per_word

    @property
    def seconds_per_million(self) -> tuple[float, float]:
        """Of the forward pass, and of tallying its activations on one core."""
        return 1e6 / self.words_per_second, self.tally * self.layers

    @property
    def gpu_hours(self) -> float:
        """The model waits while its activations are tallied."""
        return self.words / 1e6 * sum(self.seconds_per_million) / 3600


@dataclass(frozen=True)
class Measured:
    """Measurements that the plan is based on.

    Attributes:
        factor, exponent: rows of one layer = factor * words ** exponent, for as many neurons as were measured.
        wider: how many times as many rows a layer of the assumed width has.
        stored: bytes of a row in a file.
        tree_seconds, tree_bytes: of merging two stages, per million rows that come out, and at most held per row.
        folder_seconds: of merging folder by folder, per million rows that go in.
        folder_bytes: held at most, per row of the largest block of all folders together.
    """

    factor: float
    exponent: float
    wider: float
    stored: float
    tree_seconds: float
    tree_bytes: float
    folder_seconds: float
    folder_bytes: float

    def rows(self, words: float, layers: int) -> float:
        """Of a stage; no layer has more than the words that credit one of its neurons."""
        return layers * min(words, self.wider * self.factor * words**self.exponent)


def lines(assumed: Assumed, measured: Measured) -> Iterator[tuple[str, str]]:
    """Return the plan as quantities and values."""
    forward, tally = assumed.seconds_per_million
    yield "words/s of a GPU, forward pass only", f"{assumed.words_per_second:,.0f}"
    yield "seconds per million words: forward pass, tallying", f"{forward:.0f}, {tally:.0f}"
    yield "words/s of a GPU, collecting", f"{1e6 / (forward + tally):,.0f}"
    yield "GPU hours", f"{assumed.gpu_hours:,.1f}"
    yield f"price at ${assumed.price:g} per hour", f"${assumed.gpu_hours * assumed.price:,.0f}"
    yield f"minutes on {assumed.gpus} GPUs", f"{60 * assumed.gpu_hours / assumed.gpus:,.0f}"
    whole = measured.rows(assumed.words, assumed.layers)
    bound = assumed.words * assumed.layers
    yield (
        "rows of the merged stage, by the fit",
        f"{whole:.2g} ({100 * whole / bound:.0f}% of the maximum)",
    )
    yield "merged stage in memory; on disk", f"{size(whole * ROW)}; {size(whole * measured.stored)}"
    part_words = assumed.words / assumed.gpus
    part = measured.rows(part_words, assumed.layers)
    yield f"rows of one of {assumed.gpus} parts", f"{part:.2g}"
    yield "a part in memory; on disk", f"{size(part * ROW)}; {size(part * measured.stored)}"
    yield "all parts on disk", size(assumed.gpus * part * measured.stored)
    moved, merged, count = 0.0, 0.0, assumed.gpus
    while count > 1:
        moved += count * measured.rows(assumed.words / count, assumed.layers)
        count = (count + 1) // 2
        merged += count * measured.rows(assumed.words / count, assumed.layers)
    yield "tree: maximum traffic between machines", size(moved * ROW)
    yield (
        f"tree: transfer of the last two halves at {assumed.network / 1.25e8:g} Gbit/s",
        f"{2 * measured.rows(assumed.words / 2, assumed.layers) * ROW / assumed.network / 60:,.0f} min",
    )
    yield "tree: core hours of merging", f"{merged / 1e6 * measured.tree_seconds / 3600:,.1f}"
    yield "tree: last merge", f"{whole / 1e6 * measured.tree_seconds / 3600:,.1f} h"
    yield "tree: memory of the last merge", size(whole * measured.tree_bytes)
    going_in = assumed.gpus * part
    yield "folders: rows that go in", f"{going_in:.2g}"
    yield "folders: core hours", f"{going_in / 1e6 * measured.folder_seconds / 3600:,.1f}"
    block = going_in / assumed.layers / 16
    yield "folders: rows of a block (a fold of a layer)", f"{block:.2g}"
    yield "folders: memory", size(block * measured.folder_bytes)


def size(number: float) -> str:
    """Bytes as people write them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} PB"
