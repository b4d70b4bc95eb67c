"""Adapter of stored activations: documents are looked up, and rows are read instead of running a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.activations.stored import StoredActivations, StoredInput, StoredLayer
from txray.capture.forward.hooks import Tap
from txray.capture.forward.layout import Layout
from txray.capture.forward.routes import RoutedRows
from txray.capture.forward.through import Through, module_for
from txray.capture.hook_point import THROUGH, HookPoint
from txray.capture.layer import Layer, Layers, as_layers
from txray.capture.selection import Selection
from txray.capture.source import Outputs, Read
from txray.capture.stored.alignment import words_of_tokens
from txray.capture.text.batching import batches
from txray.capture.text.encoding import SHARED_PIECE, EncodedDocument, Indices, ModelInput
from txray.capture.text.forward_chunk import ForwardChunk
from txray.corpus.document import Document
from txray.errors import CaptureError, UsageError
from txray.identity import identity_of
from txray.layer_patterns import matching_names
from txray.preferences import document_key

NOT_STORED = "no stored activations"
"""Reason for words that are skipped."""

_MAX_POSITIONS = 1 << 26
"""Positions of a batch that fit into no memory with their activations."""

_TEST_ROWS = 64
"""Rows from which the number of units of a module is determined."""


@dataclass(frozen=True, eq=False)
class StoredModelInput(ModelInput):
    """An input whose activations are stored.

    Attributes:
        stored: the rows of all its tokens.
        counted: (n_pieces,) index in `stored` of each piece that belongs to a word.
    """

    stored: StoredInput = field(kw_only=True)
    counted: Indices = field(kw_only=True)

    @property
    def rows(self) -> Indices:
        """Return (n_pieces,) the row of each piece."""
        return self.stored.rows[self.counted]


class StoredAdapter:
    """Adapter of stored activations; see `ActivationSource`."""

    def __init__(self, stored: StoredActivations, *, outputs: bool) -> None:
        """Adapt stored activations; `outputs`: whether the outputs of the model are needed."""
        files = stored.files
        self.stored = stored
        self.name = stored.name
        self.pooling = files.pooling
        self.padded = files.padded
        self.chunk_steps = files.chunk_steps
        self.settings: dict[str, Any] = {**files.settings, "activations": files.format}
        self.fingerprint = identity_of("stored activations", files.pooling)
        self._outputs = outputs

    def identify(self) -> dict[str, Any]:
        """Return the model that the activations are from, with a fingerprint of the files."""
        known = {
            key: value for key, value in self.stored.files.model.items() if key not in ("type", "fingerprint")
        }
        model = self.stored.files.model.get("fingerprint")
        return {
            "type": self.name,
            "fingerprint": self.stored.fingerprint,
            **known,
            **({} if model is None else {"model_fingerprint": model}),
        }

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """Return the document with its stored inputs.

        Raises:
            CaptureError: the stored tokens are not those of the document.
        """
        n = len(document.words)
        forms = [word.lower() for word in document.words]
        key = document_key(document.id), document.fold_key
        text = self.stored.find(document)
        if text is None:
            return EncodedDocument(document, *key, forms, 0, Counter({NOT_STORED: n})), []
        for position, form in text.forms.items():
            if 0 <= position < n:
                forms[position] = form
        cut = document.cut_from is not None
        by_input = [self._words(document, text.document, stored, cut) for stored in text.inputs]
        read = np.unique(np.concatenate([np.zeros(0, np.int64), *by_input]))
        skipped = text.skipped.copy()
        n_read = int((read >= 0).sum())
        if n_read + skipped.total() != n:
            aligned = any(stored.word is None for stored in text.inputs)
            skipped = _skipped(n, n_read, int(read.max(initial=-1)) if aligned else -1)
        encoded = EncodedDocument(document, *key, forms, n_read, skipped, text.read_as)
        model_inputs = (
            _model_input(encoded, stored, word) for stored, word in zip(text.inputs, by_input, strict=True)
        )
        return encoded, [model_input for model_input in model_inputs if len(model_input.words)]

    def _words(self, document: Document, stored: Document, tokens: StoredInput, cut: bool) -> Indices:
        """Return (n_tokens,) the word of each token of an input; -1 for none."""
        if tokens.word is None:
            return words_of_tokens(document.words, tokens.tokens, document.id, cut=cut)
        # A document may have a list of words.
        if stored.words[: len(document.words)] != tuple(document.words) or (
            len(stored.words) != len(document.words) and not cut
        ):
            pairs = zip(stored.words, document.words, strict=False)
            shorter = min(len(stored.words), len(document.words))
            i = next((i for i, (one, other) in enumerate(pairs) if one != other), shorter)
            one, other = (
                repr(words[i][:40]) if i < len(words) else "no word"
                for words in (stored.words, document.words)
            )
            raise CaptureError(
                f"document {document.id!r}: word {i} is {other}, but activations are stored for {one}; pass the text "
                "whose activations were stored, such as StoredActivations.corpus()"
            )
        return np.where(tokens.word < len(document.words), tokens.word, -1)

    def batches(self, inputs: Iterable[ModelInput], positions: int) -> Iterator[list[ModelInput]]:
        """Yield the batches in which the model read the documents, if it had the same number of positions."""
        return batches(inputs, positions, padded=self.padded)

    @contextmanager
    def reading(self, taps: Sequence[Tap]) -> Iterator[Read]:
        """Read rows of the files inside the block."""
        layers = {tap.label: self.stored.layers[tap.layer] for tap in taps}
        yield lambda batch: self._chunks(batch, layers)

    def _chunks(
        self, batch: list[ModelInput], layers: dict[str, StoredLayer]
    ) -> Iterator[tuple[ForwardChunk, Outputs]]:
        lengths = np.array([len(model_input.ids) for model_input in batch])
        sizes = [len(model_input.words) for model_input in batch]
        pieces = np.array([len(model_input.steps) for model_input in batch])
        row = np.repeat(np.arange(len(batch)), sizes)
        word = np.concatenate([model_input.words for model_input in batch])
        step = np.concatenate([model_input.steps for model_input in batch])
        starts = np.concatenate(
            [
                model_input.starts + int(offset)
                for model_input, offset in zip(batch, np.cumsum(pieces) - pieces, strict=True)
            ]
        )
        rows = np.concatenate([_stored(model_input).rows for model_input in batch])
        probability = _probability(batch)
        outputs = self._texts(batch) if self._outputs else None
        # An input may be shorter than the window of a layer, and the model was given a longer one.
        missing = max(int(layer.settings.get("missing", 0)) for layer in layers.values())
        longest = max(int(lengths.max()), missing + 1)
        chunk_steps = self.chunk_steps or longest
        if len(batch) * min(chunk_steps, longest) > _MAX_POSITIONS:
            raise CaptureError(
                f"{self.stored.files.location}: an input of {longest:,} positions is longer than any that a model "
                "reads at once; collect the activations again"
            )
        for begin in range(0, longest, chunk_steps):
            chosen = (step[starts] >= begin) & (step[starts] < begin + chunk_steps)
            piece = np.repeat(chosen, np.diff(starts, append=len(step)))
            counts = np.diff(starts, append=len(step))[chosen]
            yield (
                ForwardChunk(
                    batch=batch,
                    row=row[chosen],
                    word=word[chosen],
                    starts=np.cumsum(counts) - counts,
                    step=step[piece] - begin,
                    lengths=np.clip(lengths - begin, 0, chunk_steps),
                    steps=min(chunk_steps, longest - begin),
                    outputs=None if outputs is None else [outputs[i] for i in np.flatnonzero(chosen)],
                    probability=probability,
                ),
                _StoredOutputs(
                    self.stored,
                    layers,
                    rows[piece],
                    np.repeat(row[chosen], counts),
                    step[piece] - begin,
                    (len(batch), min(chunk_steps, longest - begin)),
                ),
            )

    def _texts(self, batch: list[ModelInput]) -> list[str]:
        """Return the output of the model at each word of a batch."""
        texts: list[str] = []
        for model_input in batch:
            stored = _stored(model_input)
            outputs = stored.stored.outputs
            if outputs is None:
                raise CaptureError(
                    f"{self.stored.files.location}: holds no outputs of the model; omit the feature type 'output'"
                )
            texts += [outputs[int(stored.counted[i])] for i in model_input.starts]
        return texts

    def hook_points(self, layers: Layers, selection: Selection) -> list[HookPoint]:
        """Return the hook points of layers, which are named as in the stage of the model.

        Raises:
            UnknownNameError: a layer is not stored.
            UsageError: a layer occurs twice, or has an option that only a model can carry out.
        """
        points: list[HookPoint] = []
        for layer, names in self.names_of_layers(layers).items():
            for name in names:
                point = self._hook_point(layer, name, selection)
                if any(point.layer == other.layer for other in points):
                    raise UsageError(f"collect: layer {point.layer!r} is selected twice; select it once")
                points.append(point)
        return points

    def names_of_layers(self, layers: Layers) -> dict[Layer, list[str]]:
        """Return the names of the stored layers that each layer or pattern matches.

        Raises:
            UnknownNameError: a layer matches nothing.
            UsageError: an option of a layer occurs twice, or only a model can carry it out.
        """
        known = list(self.stored.layers)
        names = {}
        for requested in as_layers(layers):
            layer = requested if isinstance(requested, Layer) else Layer(requested)
            for option, given in (("layout", layer.layout != "auto"), ("lag", layer.lag is not None)):
                if given:
                    raise UsageError(
                        f"layer {layer.name!r}: {option}={getattr(layer, option)!r} describes the output of a model; "
                        "omit it for stored activations"
                    )
            names[layer] = matching_names(layer.label, known)
        return names

    def _hook_point(self, layer: Layer, name: str, selection: Selection) -> HookPoint:
        stored = self.stored.layers[name]
        settings = stored.settings
        point = HookPoint(
            layer=name,
            tap=Tap(
                label=name,
                layer=name,
                side="input" if settings.get("of") == "input" else "output",
                part=settings.get("part"),
                stacked=bool(settings.get("stacked", False)),
            ),
            layout=Layout("batch-time-neurons", stored.neurons, missing=int(settings.get("missing", 0))),
            lag=int(settings.get("lag", 0)),
            pooling=self.pooling,
            selection=Selection.parse(layer.selection or selection),
            call=int(settings.get("call", 0)),
            calls=int(settings.get("calls", 1)),
            call_assumed=bool(settings.get("call_assumed", False)),
            random=bool(settings.get("random", False)),
        )
        return point if layer.through is None else self._read_through(point, layer)

    def _read_through(self, point: HookPoint, layer: Layer) -> HookPoint:
        assert layer.through is not None
        files = self.stored.files
        inputs = (one for number in range(files.n_documents) for one in files.text(number).inputs)
        first = next((one for one in inputs if len(one.rows)), None)
        if first is None:
            raise UsageError(
                f"layer {point.layer!r}: no stored document has activations to try a module with; omit through"
            )
        rows = [files.rows(point.layer, int(row), int(row) + 1) for row in first.rows[:_TEST_ROWS]]
        flat = torch.cat(rows).to(self.stored.device)
        through = Through.of(point.layer, module_for(layer.through, layer.name), flat)
        label = f"{point.layer}{THROUGH}{through.name}"
        tap = replace(point.tap, label=label)
        return replace(point, layer=label, tap=tap, through=through, random=point.random or through.random)


class _StoredOutputs:
    """Reads the activations of one chunk when they are taken; see `Outputs`."""

    def __init__(
        self,
        stored: StoredActivations,
        layers: dict[str, StoredLayer],
        rows: Indices,
        row: Indices,
        step: Indices,
        size: tuple[int, int],
    ) -> None:
        """Describe a chunk.

        Args:
            stored: the activations.
            layers: the layers by the labels of their taps.
            rows, row, step: (n_pieces,) stored row, input, and time step of each piece.
            size: number of inputs, and of time steps.
        """
        self._stored = stored
        self._layers = layers
        self._rows = rows
        self._row = row
        self._step = step
        self._size = size

    def take(self, label: str) -> Tensor:
        """Return (inputs, steps, neurons) the output of a layer, with zeros where nothing is stored."""
        layer = self._layers[label]
        lag, missing = int(layer.settings.get("lag", 0)), int(layer.settings.get("missing", 0))
        inputs, steps = self._size
        steps -= missing
        dtype = getattr(torch, layer.dtype)
        output = torch.zeros((inputs * steps, layer.neurons), dtype=dtype)
        step = self._step + lag
        inside = (step >= 0) & (step < steps)
        target = self._row * steps + step
        rows, target, row = self._rows[inside], target[inside], self._row[inside]
        jumps = (np.diff(rows, prepend=-2) != 1) | (np.diff(target, prepend=-2) != 1)
        begins = np.flatnonzero(jumps | (np.diff(row, prepend=-1) != 0))
        for begin, end in pairwise(np.append(begins, len(rows)).tolist()):
            first, size = int(rows[begin]), end - begin
            at = int(target[begin])
            output[at : at + size] = self._stored.files.rows(layer.name, first, first + size)
        return output.reshape(inputs, steps, layer.neurons).to(self._stored.device)

    def take_routed(self, label: str) -> RoutedRows:
        """Raise: experts are not stored."""
        raise CaptureError(f"layer {label!r}: stored activations have no experts")


def _stored(model_input: ModelInput) -> StoredModelInput:
    assert isinstance(model_input, StoredModelInput)
    return model_input


def _model_input(encoded: EncodedDocument, stored: StoredInput, word: Indices) -> StoredModelInput:
    counted = np.flatnonzero(word >= 0)
    words, starts = np.unique(word[counted], return_index=True)
    return StoredModelInput(
        encoded=encoded,
        ids=range(stored.positions),
        words=words,
        starts=starts,
        steps=stored.step[counted],
        pieces=[stored.tokens[i] for i in counted.tolist()] if len(stored.tokens) else (),
        stored=stored,
        counted=counted,
    )


def _skipped(n_words: int, n_read: int, last: int) -> Counter[str]:
    """Return the number of words without a token, by reason; those before word `last` share one with another word."""
    shared = max(0, last + 1 - n_read)
    return +Counter({SHARED_PIECE: shared, NOT_STORED: n_words - n_read - shared})


def _probability(batch: list[ModelInput]) -> NDArray[np.float64] | None:
    """Return (n_inputs,) the probability of each input; None if it is not stored."""
    values = [_stored(model_input).stored.probability for model_input in batch]
    return None if None in values else np.array(values, np.float64)
