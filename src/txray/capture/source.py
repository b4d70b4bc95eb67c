"""Interface of the sources of activations: a model that runs under hooks, or stored activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from txray.capture.forward.hooks import Tap, capturing, evaluating
from txray.capture.forward.routes import RoutedRows
from txray.capture.text.batching import batches
from txray.capture.text.encoding import EncodedDocument, ModelInput
from txray.capture.text.forward_chunk import ForwardChunk
from txray.capture.text.prefetch import prefetched
from txray.corpus.document import Document
from txray.models.base_model import input_device
from txray.models.fingerprint import model_fingerprint


class Outputs(Protocol):
    """Holds the tensors of one chunk, by the labels of their taps; each is taken once."""

    def take(self, label: str) -> Tensor:
        """Return the tensor of a layer."""

    def take_routed(self, label: str) -> RoutedRows:
        """Return the rows of an expert."""


Read = Callable[[list[ModelInput]], Iterator[tuple[ForwardChunk, Outputs]]]
"""Yields the chunks of a batch, each with the tensors of its layers."""


class ActivationSource(Protocol):
    """Encodes documents, and yields the activations of layers for batches of them."""

    @property
    def name(self) -> str:
        """Return the name of the model in manifests."""

    @property
    def pooling(self) -> str:
        """Return how the pieces of a word are combined: `max`, `mean`, `first` or `last`."""

    @property
    def padded(self) -> bool:
        """Return whether inputs of different length may share a batch."""

    @property
    def chunk_steps(self) -> int | None:
        """Return the maximum number of time steps of a chunk; None if a chunk is a whole batch."""

    @property
    def settings(self) -> dict[str, Any]:
        """Return how documents are read, as plain JSON values for the manifest."""

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the encoding and of the code that runs; see `txray.identity`."""

    def identify(self) -> dict[str, Any]:
        """Return the entry of the model in the manifest: `type`, `fingerprint` and what else identifies it."""

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """Return the encoded document, with the number of skipped words, and its inputs."""

    def batches(self, inputs: Iterable[ModelInput], positions: int) -> Iterator[list[ModelInput]]:
        """Yield the inputs in batches of at most `positions` padded positions."""

    def reading(self, taps: Sequence[Tap]) -> AbstractContextManager[Read]:
        """Return a context manager in which batches can be read."""


class ModuleSource:
    """Base of sources that run a module: forward passes under hooks.

    Subclasses set `module`, `name`, `autocast` and `padded`, and define `chunks`.
    """

    module: nn.Module
    name: str
    autocast: torch.dtype | None
    padded: bool

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model over a batch; the hooks have the activations of a chunk when it is yielded."""
        raise NotImplementedError

    def identify(self) -> dict[str, Any]:
        """Return the class of the model and a fingerprint of its weights."""
        return {"type": self.name, "fingerprint": model_fingerprint(self.module)}

    def batches(self, inputs: Iterable[ModelInput], positions: int) -> Iterator[list[ModelInput]]:
        """Yield batches of inputs of similar length, read ahead if the model runs on another device."""
        model_batches = batches(inputs, positions, padded=self.padded)
        # Next to a model on the CPU, another thread would only compete with it.
        return model_batches if input_device(self.module).type == "cpu" else prefetched(model_batches)

    @contextmanager
    def reading(self, taps: Sequence[Tap]) -> Iterator[Read]:
        """Hook the layers inside the block; the model is in evaluation mode, and is restored afterwards."""
        with capturing(self.module, taps) as captured, evaluating(self.module, self.autocast):
            yield lambda batch: ((chunk, captured) for chunk in self.chunks(batch))
