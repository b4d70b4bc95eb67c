"""Per-neuron statistics and a sample of the activations on a text, for rankings and ablations."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from txray.capture.activations import as_numpy, is_finite
from txray.capture.forward.padding import settle_padding
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.layers import hook_points_for, warn_of_reading
from txray.capture.loop import DocumentStream, run
from txray.capture.model_adapter import adapter_for
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, UsageError
from txray.hashing import FIRST_FACTOR, GOLDEN_GAMMA
from txray.models.text_model import TextModel
from txray.preferences.stage import Stage
from txray.pruning.choices import Ablation, Scope
from txray.pruning.mask import Mask
from txray.pruning.masking import resolve_layer_name

N_SAMPLES = 512
"""Number of words whose activations are stored for resampling."""


@dataclass(frozen=True, eq=False)
class ActivationStats:
    """Activation statistics of the neurons of one layer over a text.

    Attributes:
        layer: name of the layer, as requested.
        words: number of words.
        mean: (n_neurons,) mean activation.
        mean_absolute: (n_neurons,) mean absolute activation; None for statistics of a stage.
        root_mean_square: (n_neurons,).
        samples: (n, n_neurons) activations at words chosen by a hash of document and position; None for statistics of
            a stage.
    """

    layer: str
    words: int
    mean: NDArray[np.float64]
    mean_absolute: NDArray[np.float64] | None
    root_mean_square: NDArray[np.float64]
    samples: NDArray[np.float32] | None

    @classmethod
    def from_stage(cls, stage: Stage, layer: str | None = None) -> ActivationStats:
        """Return the statistics in a stage that was collected with a standardizing selection, such as `max-1/zscore`.

        Args:
            stage: stage of the model.
            layer: name of the layer; required only if the stage has several.

        Raises:
            UsageError: the stage has no scales of the layer.
        """
        name = stage.layers[0] if layer is None and len(stage.layers) == 1 else layer
        rows = stage.scales.filter(pl.col("layer") == name).sort("neuron")
        if not len(rows):
            raise UsageError(
                f"stage {stage.name!r}: has no mean activations of layer {name!r}; collect it with a selection such "
                "as 'max-1/zscore', or measure them on a text (ActivationStats.measure)"
            )
        mean, deviation = rows["mean"].to_numpy(), rows["deviation"].to_numpy()
        words = int(stage.manifest.get("words", 0))
        return cls(str(name), words, mean, None, np.sqrt(mean**2 + deviation**2), None)

    @classmethod
    def measure(
        cls,
        model: nn.Module | TextModel,
        corpus: Corpus,
        layer: str = "rnn",
        *,
        max_words: int | None = None,
        batch_positions: int = 16_384,
        seed: int = 0,
    ) -> ActivationStats:
        """Run a model over a text, and return the statistics of one layer.

        Args:
            model: as for `txray.collect`.
            corpus: text; read once.
            layer: name of the layer.
            max_words: maximum number of words; all by default.
            batch_positions: maximum number of padded positions per batch.
            seed: random seed of the sample.

        Raises:
            UnknownNameError: unknown layer.
            UsageError: a kind of model that txray cannot read.
            CorpusError: the corpus is empty.
            CaptureError: an activation is not finite.
        """
        adapter = adapter_for(model, outputs=False, corpus=corpus)
        (hook_point,) = hook_points_for(
            adapter, [resolve_layer_name(adapter.module, layer)], Selection("all")
        )
        warn_of_reading([hook_point])
        settle_padding(adapter, [hook_point])
        tally = _ActivationTally(hook_point, seed)
        source = corpus if max_words is None else corpus.take_words(max_words)
        stream = DocumentStream(source, adapter, tagged=False)
        title = f"activations of {layer}"
        run(adapter, stream, [tally], batch_positions, title, max_words)
        return tally.stats(layer)

    def mask(
        self,
        neurons: Sequence[int],
        ablation: Ablation = "mean",
        *,
        scope: Scope = "every-step",
        seed: int = 0,
    ) -> Mask:
        """Return a mask that replaces activations by their mean, or by those at other words.

        Args:
            neurons: neurons of the layer.
            ablation: `zero`, `mean` or `resample`.
            scope: see `Mask`.
            seed: random seed of `resample`.

        Raises:
            UsageError: a neuron does not exist, or there are no samples for `resample`.
        """
        zero_mask = Mask(self.layer, neurons, scope=scope, seed=seed)
        if ablation == "zero":
            return zero_mask
        zero_mask.require_within(len(self.mean))
        indices = list(zero_mask.neurons)
        if ablation == "mean":
            return Mask(self.layer, indices, ablation, scope, self.mean[indices], seed)
        if self.samples is None:
            raise UsageError(
                f"layer {self.layer!r}: a stage has no activations to resample from; measure them on a text "
                "(ActivationStats.measure)"
            )
        return Mask(self.layer, indices, ablation, scope, self.samples[:, indices], seed)


class _ActivationTally:
    """Sums over words, and the words with the smallest hashes."""

    def __init__(self, hook_point: HookPoint, seed: int) -> None:
        self.hook_point = hook_point
        self._seed = np.uint64(seed)
        self._words = 0
        n = hook_point.n_neurons
        self._sum, self._absolute, self._square = np.zeros(n), np.zeros(n), np.zeros(n)
        self._samples: list[tuple[int, int, int, NDArray[np.float32]]] = []
        self._counter = count()  # breaks ties between documents of one id: arrays cannot be compared

    def update(self, activations: ChunkActivations) -> None:
        """Add one chunk."""
        chunk, covered = activations.chunk, activations.covered
        if not covered.any():
            return
        dense = activations.of_words()
        if not is_finite(dense):
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: an activation is not finite; the model's weights are broken, or its "
                "activations overflow"
            )
        values = as_numpy(dense).astype(np.float64)
        self._words += len(values)
        self._sum += values.sum(axis=0)
        self._absolute += np.abs(values).sum(axis=0)
        self._square += np.square(values).sum(axis=0)
        keys = np.array([model_input.encoded.key for model_input in chunk.batch], np.uint64)
        keys = keys[chunk.row[covered]]
        words = chunk.word[covered]
        hashes = _sample_hash(keys ^ self._seed, words.astype(np.uint64))
        for i in np.argsort(hashes, kind="stable")[:N_SAMPLES].tolist():
            entry = (-int(hashes[i]), int(words[i]), next(self._counter), values[i].astype(np.float32))
            if len(self._samples) < N_SAMPLES:
                heapq.heappush(self._samples, entry)
            elif entry[:2] > self._samples[0][:2]:
                heapq.heapreplace(self._samples, entry)
            else:
                break

    def stats(self, layer: str) -> ActivationStats:
        """Return the statistics of all windows."""
        n = max(self._words, 1)
        samples = [values for *_, values in sorted(self._samples, key=lambda entry: entry[:3])]
        return ActivationStats(
            layer,
            self._words,
            self._sum / n,
            self._absolute / n,
            np.sqrt(self._square / n),
            np.stack(samples) if samples else None,
        )


def _sample_hash(keys: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of document and word. Not SplitMix64: that would change which words are sampled."""
    with np.errstate(over="ignore"):
        hashes = keys * np.uint64(GOLDEN_GAMMA) + words
        hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(FIRST_FACTOR)
    return hashes ^ (hashes >> np.uint64(32))
