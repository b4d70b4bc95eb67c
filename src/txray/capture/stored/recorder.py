"""Save the activations of a collection while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.activations.writer import ActivationWriter, Rows, SaveActivations
from txray.capture.forward.routes import RoutedRows
from txray.capture.hook_point import HookPoint
from txray.capture.source import ActivationSource
from txray.capture.text.encoding import EncodedDocument, Indices, ModelInput
from txray.capture.text.forward_chunk import ForwardChunk
from txray.errors import UsageError


class ActivationRecorder:
    """Saves, for each piece of a word that is counted, the activations of all layers before any selection.

    Pieces are saved instead of words, because every pooling and the feature type `subword` can be computed from them,
    and a collection from them is bit-identical to one from the model.
    """

    def __init__(
        self,
        options: SaveActivations,
        settings: Mapping[str, Any],
        source: ActivationSource,
        hook_points: Sequence[HookPoint],
    ) -> None:
        """Claim the folder.

        Args:
            options: where and how to write.
            settings: everything that the activations depend on, as plain JSON values.
            source: source of the activations.
            hook_points: the layers, in the order of the tensors that `update` receives.

        Raises:
            UsageError: the neurons of an expert, which sees only some positions, cannot be saved; or another collection
                is unfinished in the folder.
            OutputError: the folder holds something else, or cannot be written.
        """
        routed = [point.layer for point in hook_points if point.tap.route is not None]
        if routed:
            raise UsageError(
                f"save_activations: layer {routed[0]!r} is an expert, which sees only some positions; save a layer "
                "that sees every position"
            )
        self._writer = ActivationWriter(options, settings)
        self._source = source
        # A layer that is read through several modules is saved once.
        self._points = {point.own_layer: (number, point) for number, point in enumerate(hook_points)}
        self._numbers: WeakKeyDictionary[EncodedDocument, int] = WeakKeyDictionary()
        self._numbers_of_inputs: WeakKeyDictionary[ModelInput, int] = WeakKeyDictionary()

    def add_document(self, encoded: EncodedDocument, inputs: Sequence[ModelInput]) -> None:
        """Save a document, in the order of the corpus, before any of its activations."""
        about = {"skipped": dict(encoded.skipped), "read_as": encoded.read_as}
        self._numbers[encoded] = self._writer.add_document(encoded.document, encoded.forms, about)
        for number, model_input in enumerate(inputs):
            self._numbers_of_inputs[model_input] = number

    def update(self, chunk: ForwardChunk, tensors: Sequence[Tensor | RoutedRows]) -> None:
        """Save the activations of a chunk."""
        sizes = np.diff(chunk.starts, append=len(chunk.step))
        row, word = np.repeat(chunk.row, sizes), np.repeat(chunk.word, sizes)
        document = np.array([self._numbers[model_input.encoded] for model_input in chunk.batch])
        number = np.array([self._numbers_of_inputs[model_input] for model_input in chunk.batch])
        piece = self._pieces(chunk, sizes)
        step = np.array([chunk.batch[i].steps[p] for i, p in zip(row.tolist(), piece.tolist(), strict=True)])
        columns = np.stack((document[row], number[row], word, step), axis=1)
        begins = np.array(
            [step_ == model_input.steps[0] for step_, model_input in self._firsts(chunk, row, step)]
        )
        named = bool(chunk.batch[0].pieces)
        positions = np.array([len(model_input.ids) for model_input in chunk.batch])
        outputs = chunk.outputs
        rows = Rows(
            columns=columns,
            inputs=np.stack((document, number, positions), axis=1)[begins],
            probability=None if chunk.probability is None else chunk.probability[begins],
            tokens=[chunk.batch[i].pieces[p] for i, p in zip(row.tolist(), piece.tolist(), strict=True)]
            if named
            else [],
            outputs=[] if outputs is None else [outputs[i] for i in np.repeat(np.arange(len(sizes)), sizes)],
        )
        values = {}
        for layer, (index, point) in self._points.items():
            tensor = tensors[index]
            assert isinstance(tensor, Tensor)
            flat, steps = point.flat(tensor, len(chunk.batch), chunk.steps)
            position, inside = point.positions(chunk, steps)
            # Positions outside the layer's output are recognized by `lag` and `missing` when they are read.
            index_of_row = torch.from_numpy(np.where(inside, position, 0)).to(flat.device)
            chosen = flat[index_of_row]
            if not inside.all():
                chosen[torch.from_numpy(~inside).to(flat.device)] = 0
            values[layer] = chosen
        self._writer.append(rows, values)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the state of the open file as arrays."""
        return self._writer.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue as when `state_dict` returned this state."""
        self._writer.load_state_dict(state)

    def finish(self, corpus: Mapping[str, Any]) -> Path:
        """Write what is left, and the index."""
        source = self._source
        about = {
            "model": source.identify(),
            "reading": source.settings,
            "pooling": source.pooling,
            "padded": source.padded,
            "chunk_steps": source.chunk_steps,
            "corpus": corpus,
        }
        layers = {layer: _settings(point) for layer, (_, point) in self._points.items()}
        return self._writer.finish(layers, about)

    @staticmethod
    def _pieces(chunk: ForwardChunk, sizes: Indices) -> Indices:
        """Return (n_pieces,) the index of each piece of the chunk among the pieces of its input."""
        first = np.zeros(len(chunk.row), np.int64)
        ends = np.flatnonzero(np.diff(chunk.row, append=-1)) + 1
        start = 0
        for end in ends.tolist():
            model_input = chunk.batch[int(chunk.row[start])]
            index = np.searchsorted(model_input.words, chunk.word[start:end])
            first[start:end] = model_input.starts[index]
            start = end
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.repeat(first, sizes) + within

    @staticmethod
    def _firsts(chunk: ForwardChunk, row: Indices, step: Indices) -> list[tuple[int, ModelInput]]:
        """Return the first step of each input in this chunk, -1 for an input without words in it."""
        first = np.full(len(chunk.batch), -1)
        rows, index = np.unique(row, return_index=True)
        first[rows] = step[index]
        return list(zip(first.tolist(), chunk.batch, strict=True))


def _settings(point: HookPoint) -> dict[str, Any]:
    """Return how a layer was read, as plain JSON values."""
    return {
        "neurons": point.heads or point.layout.neurons,
        "missing": 0 if point.layout.windows else point.layout.missing,
        "lag": point.lag,
        "of": point.tap.side,
        "call": point.call,
        "calls": point.calls,
        "call_assumed": point.call_assumed,
        "random": point.random,
        **({} if point.tap.part is None else {"part": point.tap.part}),
        **({} if point.heads is None else {"heads": point.heads}),
        **({"stacked": True} if point.tap.stacked else {}),
    }
