"""The bare forward pass that collection is measured against: the same inputs in the same batches, no hooks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from txray.capture.forward.hooks import evaluating
from txray.capture.model_adapter import ModelAdapter, adapter_for
from txray.capture.text.batching import batches
from txray.capture.text.encoding import ModelInput
from txray.corpus import Document
from txray.models import TextModel


class BareForward:
    """Documents encoded and batched beforehand, so that only the model is timed."""

    def __init__(
        self, model: nn.Module | TextModel, documents: Iterable[Document], batch_positions: int
    ) -> None:
        self._adapter: ModelAdapter = adapter_for(model, outputs=False)
        inputs = (one for document in documents for one in self._adapter.encode(document)[1])
        self._batches: list[list[ModelInput]] = list(
            batches(inputs, batch_positions, padded=self._adapter.padded)
        )

    def __call__(self) -> None:
        """Run it."""
        with evaluating(self._adapter.module):
            for batch in self._batches:
                for _ in self._adapter.chunks(batch):
                    pass
