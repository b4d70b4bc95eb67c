"""Rows of a stage against words read: measured on real text with a real model, and fitted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from benchmarks.models import pretrained
from txray import Corpus, Document, collect, read_corpus
from txray.preferences import Stage, fold_of, merge_stages

LAYERS = ("encoder.layer.*.intermediate", "encoder.layer.*.output.dense")
FOLDS = 16
FIRST = 6_250
"""Words of the first part; each further part is as long as all before it together."""


@dataclass(frozen=True)
class Power:
    """amount = factor * words ** exponent, fitted to logarithms.

    Attributes:
        factor, exponent: of the fit.
        latest: exponent between the last two points alone, which is smaller where growth slows down.
    """

    factor: float
    exponent: float
    latest: float

    @classmethod
    def of(cls, words: list[int], amounts: list[float]) -> Power:
        """Fit the points of which the amount is known, the upper half of them."""
        x, y = np.log(words), np.log(amounts)
        half = len(x) // 2
        exponent, offset = np.polyfit(x[half:], y[half:], 1)
        return cls(float(np.exp(offset)), float(exponent), float((y[-1] - y[-2]) / (x[-1] - x[-2])))

    def at(self, words: float) -> float:
        """The amount that the fit foretells."""
        return float(self.factor * words**self.exponent)


def reviews(data: Path) -> Corpus:
    """Reviews with all their words: no vocabulary is closed by `<unk>`, which would hide the growth."""
    return read_corpus("imdb", data / "imdb" / "imdb_train_25k.csv.gz")


def parts(corpus: Corpus, words: int) -> Iterator[Corpus]:
    """The text in parts that double what was read."""
    edges = [FIRST]
    while edges[-1] * 2 <= words:
        edges.append(edges[-1] * 2)
    documents: list[Document] = []
    read = 0
    for document in corpus:
        documents.append(document)
        read += len(document.words)
        if read >= edges[0]:
            yield Corpus.from_documents(f"up to {edges.pop(0)}", documents)
            documents = []
            if not edges:
                return


def rows(data: Path, words: int) -> dict[str, list[float]]:
    """Rows, (fold, neuron, feature), of `max-1` over tokens per layer, after 6,250, 12,500, ... words.

    Returns:
        `words`, and per layer its rows, all of the same length.
    """
    model = pretrained()
    whole: Stage | None = None
    rows_by_layer: dict[str, list[float]] = {"words": []}
    for part in parts(reviews(data), words):
        stage = collect(model, part, layers=LAYERS, folds=FOLDS, exemplars=0, name="growth")
        whole = stage if whole is None else merge_stages([whole, stage])
        rows_by_layer["words"].append(whole.manifest["words"])
        for layer in whole.layers:
            rows_by_layer.setdefault(layer, []).append(len(whole.preferences(layer=layer).fold))
        print(json.dumps({name: amounts[-1] for name, amounts in rows_by_layer.items()}), flush=True)
    return rows_by_layer


class Taken(nn.Module):
    """The first so many neurons of a layer, as a layer of its own."""

    def __init__(self, neurons: int) -> None:
        super().__init__()
        self.neurons = neurons

    def forward(self, output: Tensor) -> Tensor:
        """A part of what the layer gives."""
        return output[..., : self.neurons]


class Widths(nn.Module):
    """A model of which one layer is also looked at as if it had fewer neurons."""

    def __init__(self, model: nn.Module, layer: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.first = nn.ModuleList(Taken(width) for width in widths)
        model.get_submodule(layer).register_forward_hook(self._look)

    def _look(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        for taken in self.first:
            taken(output)

    def forward(self, ids: Tensor, mask: Tensor) -> object:
        """As the model."""
        return self.model(input_ids=ids, attention_mask=mask.long())


WIDTHS = (96, 192, 384, 768, 1536)


def by_width(data: Path, words: int, layer: str = "encoder.layer.2.intermediate") -> dict[int, int]:
    """Neurons looked at -> rows, for one layer and text."""
    text_model = pretrained()
    module = Widths(text_model.module, layer, WIDTHS)
    model = replace(text_model, module=module, forward=lambda module, ids, mask: module(ids, mask))
    corpus = reviews(data)
    stage = collect(
        model, corpus, layers=["first.*"], folds=FOLDS, exemplars=0, name="widths", max_words=words
    )
    by_layer = (stage.preferences(layer=name) for name in stage.layers)
    return {preferences.n_neurons: len(preferences.fold) for preferences in by_layer}


def bytes_per_row(
    data: Path, words: int, layers: tuple[str, ...] = ("encoder.layer.2.intermediate",)
) -> float:
    """Of the file of preferences of a real stage."""
    stage = collect(pretrained(), reviews(data), layers=layers, folds=FOLDS, name="rows", max_words=words)
    with tempfile.TemporaryDirectory() as folder:
        file = stage.save(Path(folder) / "rows") / "preferences.token.parquet"
        return file.stat().st_size / sum(len(stage.preferences(layer=layer).fold) for layer in stage.layers)


def vocabulary(data: Path) -> tuple[list[int], list[float], list[float]]:
    """Words read, distinct features, and distinct (fold, feature), over all of the text, without a model."""
    seen: dict[str, int] = {}
    pairs, read, edge = 0, 0, FIRST
    words: list[int] = []
    features: list[float] = []
    of_folds: list[float] = []
    for document in reviews(data):
        bit = 1 << fold_of(document, FOLDS)
        for word in map(str.lower, document.words):
            before = seen.get(word, 0)
            if not before & bit:
                seen[word] = before | bit
                pairs += 1
        read += len(document.words)
        if read >= edge:
            words.append(read)
            features.append(len(seen))
            of_folds.append(pairs)
            edge *= 2
    return words, features, of_folds
