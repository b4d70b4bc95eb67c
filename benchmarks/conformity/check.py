"""Compare what txray credits with the reference, for every layer of an architecture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.conformity.architectures import Architecture
from benchmarks.conformity.reference import TOLERANCE, Credits, Tap, activations, credited
from benchmarks.conformity.text import documents, tokenizer
from txray import Corpus, Layer, Stage, TextModel, collect
from txray.capture.layers import LayerShape, layer_shapes
from txray.capture.layout import Layout
from txray.errors import TxrayError, in_one_line
from txray.models import from_transformers

SELECTIONS = ("max-1", "all")


@dataclass
class Conformity:
    """Result of the comparison for one architecture.

    Attributes:
        name: name of the architecture.
        refused: why it cannot be built or read; empty if it can.
        ran: number of layers that run in a forward pass.
        checked: number of layers whose credits were compared, for each of `SELECTIONS`.
        pairs: number of (neuron, word) pairs that were compared.
        wrong: layer and selection -> number of pairs that differ.
        refusals: layer -> why it cannot be collected.
        batches: how inputs share a batch.
    """

    name: str
    refused: str = ""
    ran: int = 0
    checked: int = 0
    pairs: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    batches: str = ""

    @property
    def n_wrong(self) -> int:
        """Return the number of pairs that differ, over all layers and selections."""
        return sum(self.wrong.values())

    @property
    def exact(self) -> bool:
        """Return whether every pair of every layer that was compared is right."""
        return not self.refused and self.checked > 0 and not self.wrong


def check(architecture: Architecture) -> Conformity:
    """Return how txray reads a tiny model of an architecture, compared with plain transformers and NumPy."""
    result = Conformity(architecture.name)
    try:
        module = architecture.build()
        model = from_transformers(module, tokenizer())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = layer_shapes(model)
    except Exception as error:
        result.refused = in_one_line(error, limit=120)
        return result
    result.ran = len(shapes)
    layers = _collectable(model, shapes, result)
    if not layers:
        return result
    taps = {layer.name: Tap(layer.name, layer.input, layout.axes, layout.dropped) for layer, layout in layers}
    values = activations(module, taps.values(), model.max_length)
    for selection in SELECTIONS:
        stage = _collected(model, [layer for layer, _ in layers], selection)
        result.batches = stage.manifest["reading"]["batches"]
        for name, tap in taps.items():
            expected = credited(values[tap], selection)
            wrong = n_wrong(stage, name, expected)
            result.pairs += expected.most.size
            if wrong:
                result.wrong[f"{name} ({selection})"] = wrong
    result.checked = len(taps)
    return result


def _collectable(
    model: TextModel, shapes: Sequence[LayerShape], result: Conformity
) -> list[tuple[Layer, Layout]]:
    """Return the layers that can be collected; the reasons of the others are noted."""
    usable = [(Layer(shape.name), shape.layout) for shape in shapes if shape.layout is not None]
    for shape in shapes:
        if shape.layout is None:
            result.refusals[shape.name] = f"no activation per position: {shape.shape}"
    try:
        _collected(model, [layer for layer, _ in usable], "max-1")
    except TxrayError:
        collectable = []
        for layer, layout in usable:
            try:
                _collected(model, [layer], "max-1")
                collectable.append((layer, layout))
            except TxrayError as error:
                result.refusals[layer.name] = in_one_line(error, limit=160)
        return collectable
    return usable


def _collected(model: TextModel, layers: Sequence[Layer], selection: str) -> Stage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect(
            model,
            Corpus.from_documents("text", documents()),
            layers=layers,
            selection=selection,
            name="stage",
        )


def n_wrong(stage: Stage, layer: str, expected: Credits) -> int:
    """Return the number of (neuron, word) pairs whose count or sum differs by more than rounding."""
    preferences = stage.preferences(layer=layer)
    count, total = (np.zeros(expected.least.shape) for _ in range(2))
    neuron, word, counts, sums = (
        preferences.table()[column].to_numpy() for column in ("neuron", "feature", "count", "sum")
    )
    column = np.searchsorted(expected.words, word)
    count[neuron, column], total[neuron, column] = counts, sums
    off = (count < expected.least) | (count > expected.most)
    clear = expected.least == expected.most
    slack = TOLERANCE * expected.scale * np.maximum(1, expected.most)
    off |= clear & (np.abs(total - expected.total) > slack + 1e-5 * np.abs(expected.total))
    return int(off.sum())
