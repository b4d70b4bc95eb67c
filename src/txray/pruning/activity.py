"""What neurons do on a text: means, sizes, and samples, which rankings and ablations need."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.capture.activations import as_numpy, is_finite, pooled
from txray.capture.checkpoint import NoCheckpoints
from txray.capture.encoding import ModelInput
from txray.capture.hook_point import HookPoint
from txray.capture.layers import hook_points_for, warn_of_reading
from txray.capture.loop import DocumentStream, run
from txray.capture.model_adapter import ForwardChunk, adapter_for
from txray.capture.padding import settle_padding
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, UsageError
from txray.models.text_model import TextModel
from txray.preferences.stage import Stage
from txray.pruning.mask import Ablation, Mask, When
from txray.pruning.masking import resolved

SAMPLES = 512
"""Words whose activations are kept, for resampling."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Activations of one layer over the words of a text.

    Attributes:
        layer: as asked for.
        words: how many.
        mean: (n_neurons,) in units of the layer's output.
        mean_absolute: (n_neurons,) of their size; None where only a stage's scales are known.
        root_mean_square: (n_neurons,).
        samples: (n, n_neurons) at some words, chosen by a hash of document and position; None where not known.
    """

    layer: str
    words: int
    mean: NDArray[np.float64]
    mean_absolute: NDArray[np.float64] | None
    root_mean_square: NDArray[np.float64]
    samples: NDArray[np.float32] | None

    @classmethod
    def of_stage(cls, stage: Stage, layer: str | None = None) -> Activity:
        """What a stage knows, where it was collected with a selection that standardizes, such as `max-1/zscore`.

        Args:
            stage: of the model.
            layer: may be left out where there is one.

        Raises:
            UsageError: the stage has no scales of the layer.
        """
        chosen = stage.layers[0] if layer is None and len(stage.layers) == 1 else layer
        rows = stage.scales.filter(pl.col("layer") == chosen).sort("neuron")
        if not len(rows):
            raise UsageError(
                f"stage {stage.name!r}: has no means of the neurons of layer {chosen!r}; collect it with a selection "
                "like 'max-1/zscore', or let a text tell them"
            )
        mean, deviation = rows["mean"].to_numpy(), rows["deviation"].to_numpy()
        words = int(stage.manifest.get("words", 0))
        return cls(str(chosen), words, mean, None, np.sqrt(mean**2 + deviation**2), None)

    @classmethod
    def over(
        cls,
        model: nn.Module | TextModel,
        corpus: Corpus,
        layer: str = "rnn",
        *,
        max_words: int | None = None,
        batch_positions: int = 16_384,
        seed: int = 0,
    ) -> Activity:
        """Run a model over a text.

        Args:
            model: as for `txray.collect`.
            corpus: read once; with a `max_words` of it.
            layer: its name.
            max_words: at most; all by default.
            batch_positions: padded positions in a batch.
            seed: of the words that are kept.

        Raises:
            UnknownNameError: no such layer.
            UsageError: a kind of model that txray cannot read for.
            CorpusError: the corpus is empty.
            CaptureError: activations that are no numbers.
        """
        adapter = adapter_for(model, outputs=False, corpus=corpus)
        (hook_point,) = hook_points_for(adapter, [resolved(adapter.module, layer)], Selection("all"))
        warn_of_reading([hook_point], stacklevel=3)
        settle_padding(adapter, [hook_point])
        tally = _Tally(hook_point, seed)
        source = corpus if max_words is None else corpus.take(max_words)
        stream = DocumentStream(source, adapter, tagged=False)
        run(adapter, stream, [tally], batch_positions, f"activity of {layer}", max_words, NoCheckpoints())
        return tally.activity(layer)

    def mask(
        self,
        neurons: Sequence[int],
        ablation: Ablation = "mean",
        *,
        when: When = "every-step",
        seed: int = 0,
    ) -> Mask:
        """A mask whose neurons give their mean, or what they gave at other words.

        Args:
            neurons: of the layer.
            ablation: `zero`, `mean` or `resample`.
            when: see `Mask`.
            seed: of what is drawn.

        Raises:
            UsageError: a neuron that does not exist, or nothing to resample from.
        """
        plain = Mask(self.layer, neurons, when=when, seed=seed)
        if ablation == "zero":
            return plain
        plain.require_within(len(self.mean))
        chosen = list(plain.neurons)
        if ablation == "mean":
            return Mask(self.layer, chosen, ablation, when, self.mean[chosen], seed)
        if self.samples is None:
            raise UsageError(
                f"layer {self.layer!r}: a stage keeps no activations to resample from; let a text give them "
                "(Activity.over)"
            )
        return Mask(self.layer, chosen, ablation, when, self.samples[:, chosen], seed)


class _Tally:
    """Sums over words, and the words of the smallest hashes."""

    def __init__(self, hook_point: HookPoint, seed: int) -> None:
        self.hook_point = hook_point
        self._seed = np.uint64(seed)
        self._words = 0
        n = hook_point.layout.neurons
        self._sum, self._absolute, self._square = np.zeros(n), np.zeros(n), np.zeros(n)
        self._kept: list[tuple[int, int, int, NDArray[np.float32]]] = []
        self._number = count()  # arrays cannot be compared where documents of one id have the same hash

    def update(self, output: Tensor, batch: list[ModelInput], chunk: ForwardChunk) -> None:
        """Add one chunk."""
        if len(chunk.row) == 0:
            return
        flat, steps = self.hook_point.flat(output, len(batch), chunk.steps)
        covered, groups = self.hook_point.covered_words(chunk, steps)
        if not len(groups):
            return
        dense = pooled(flat, groups)
        if not is_finite(dense):
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: activations are not finite; the model's weights are broken, or its "
                "activations overflow"
            )
        values = as_numpy(dense).astype(np.float64)
        self._words += len(values)
        self._sum += values.sum(axis=0)
        self._absolute += np.abs(values).sum(axis=0)
        self._square += np.square(values).sum(axis=0)
        keys = np.array([model_input.encoded.key for model_input in batch], np.uint64)[chunk.row[covered]]
        with np.errstate(over="ignore"):
            mixed = (keys ^ self._seed) * np.uint64(0x9E3779B97F4A7C15) + chunk.word[covered].astype(
                np.uint64
            )
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
        for i in np.argsort(mixed, kind="stable")[:SAMPLES].tolist():
            word = int(chunk.word[covered][i])
            entry = (-int(mixed[i]), word, next(self._number), values[i].astype(np.float32))
            if len(self._kept) < SAMPLES:
                heapq.heappush(self._kept, entry)
            elif entry[:2] > self._kept[0][:2]:
                heapq.heapreplace(self._kept, entry)
            else:
                break

    def state(self) -> dict[str, NDArray[Any]]:
        """Nothing: a pass is short, and begins anew."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing."""

    def activity(self, layer: str) -> Activity:
        """What was found."""
        n = max(self._words, 1)
        samples = [values for *_, values in sorted(self._kept, key=lambda each: each[:3])]
        return Activity(
            layer,
            self._words,
            self._sum / n,
            self._absolute / n,
            np.sqrt(self._square / n),
            np.stack(samples) if samples else None,
        )
