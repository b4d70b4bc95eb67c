"""Latents of a sparse autoencoder of 16,384 latents: time against the bare pass that includes it, and peak memory.

    python -m benchmarks.latents FOLDER            time, as a ratio
    python -m benchmarks.latents FOLDER SELECTION  one collection of 100,000 words, for /usr/bin/time -v

FOLDER is created at first, in the format of SAELens: a random encoder whose thresholds let each latent be active at the
same small share of the words, as trained ones are.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks import models, texts
from benchmarks.timing import Ratio, ratio
from txray import Corpus, Layer, Stage, TextModel, collect, load_autoencoder
from txray.capture.forward.hooks import capturing, evaluating
from txray.capture.model_adapter import adapter_for
from txray.capture.text.batching import batches

LAYER = "encoder.layer.3"
N_LATENTS, ACTIVE = 16_384, 64
_ROWS = 512


def write_autoencoder(
    folder: Path, model: TextModel, *, n_latents: int = N_LATENTS, active: int = ACTIVE, words: int = 4_000
) -> None:
    """Write an autoencoder for `LAYER`, of which about `active` latents respond to a word."""
    rows = BarePass(model, texts.corpus(words), None).rows
    generator = torch.Generator().manual_seed(0)
    mean = rows.mean(dim=0)
    encoder = torch.randn((rows.shape[1], n_latents), generator=generator) / rows.shape[1] ** 0.5
    threshold = torch.cat(
        [((rows - mean) @ part).quantile(1 - active / n_latents, dim=0) for part in encoder.split(512, dim=1)]
    )
    folder.mkdir(parents=True)
    config = {"architecture": "jumprelu", "d_in": rows.shape[1], "d_sae": n_latents, "dtype": "float32"}
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {
        "W_enc": encoder,
        "W_dec": encoder.T.contiguous(),
        "b_enc": torch.zeros(n_latents),
        "b_dec": mean,
        "threshold": threshold.clamp(min=0),
    }
    save_file(weights, folder / "sae_weights.safetensors")


class BarePass:
    """The model over documents that were encoded beforehand, and the autoencoder over the rows of the words.

    Attributes:
        rows: (n, n_neurons) activations of the layer at the pieces of all words, if there is no autoencoder.
        active: number of active latents of the latest pass.
    """

    def __init__(self, model: TextModel, corpus: Corpus, encoder: nn.Module | None) -> None:
        self._adapter = adapter_for(model, outputs=False)
        self._encoder = encoder
        inputs = (one for document in corpus for one in self._adapter.encode(document)[1])
        self._batches = list(batches(inputs, 16_384, padded=self._adapter.padded))
        self.active = 0
        self.rows = torch.zeros(0) if encoder is not None else torch.cat(list(self._rows()))

    def _rows(self) -> Sequence[Tensor]:
        rows = []
        with evaluating(self._adapter.module), capturing(self._adapter.module, LAYER) as captured:
            for batch in self._batches:
                for chunk in self._adapter.chunks(batch):
                    row = np.repeat(chunk.row, np.diff(chunk.starts, append=len(chunk.step)))
                    words = captured.take(LAYER)[torch.from_numpy(row), torch.from_numpy(chunk.step)]
                    if self._encoder is None:
                        rows.append(words)
                        continue
                    for part in words.split(_ROWS):
                        self.active += int((self._encoder.encode(part) > 0).sum())  # type: ignore[operator]
        return rows

    def __call__(self) -> None:
        """Run it."""
        self.active = 0
        self._rows()


def collected(model: TextModel, corpus: Corpus, folder: Path, selection: str) -> Stage:
    """Return the stage of the latents."""
    layer = Layer(LAYER, through=load_autoencoder(folder))
    return collect(model, corpus, layers=layer, selection=selection, name="latents")


def overhead(folder: Path, selection: str = "threshold=0", words: int = 30_000, rounds: int = 3) -> Ratio:
    """Return how much longer collection takes than the bare pass that includes the same autoencoder."""
    model, corpus = models.pretrained(), texts.resampled("reviews", words, seed=1).cache()
    bare = BarePass(model, corpus, load_autoencoder(folder))
    return ratio(
        lambda: collected(model, corpus, folder, selection), bare, rounds=rounds, clock=time.process_time
    )


def main(folder: Path, selections: Sequence[str]) -> None:
    """Measure the time or, with a selection, collect once."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = models.pretrained()
    if not folder.exists():
        write_autoencoder(folder, model)
    if not selections:
        for selection in ("threshold=0", "max-1", "max-32"):
            times = overhead(folder, selection)
            print(
                f"{selection}: {times.value:.2f} x ({times.low:.2f} to {times.high:.2f}); "
                f"{times.first:.1f} s collecting, {times.second:.1f} s bare",
                flush=True,
            )
        return
    corpus = texts.resampled("reviews", 100_000, seed=0)
    started = time.perf_counter()
    stage = collected(model, corpus, folder, selections[0])
    preferences = stage.preferences()
    print(
        f"{stage.manifest['words']:,} words, {preferences.wins().sum():,} activations of {preferences.n_neurons:,} "
        f"latents, {len(preferences.count):,} rows in {time.perf_counter() - started:.0f} s"
    )
    stage.save(folder.with_name(f"{folder.name}-stage"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
