"""The bare forward pass that collection is measured against: the same inputs in the same batches, no hooks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from txray.capture.batching import batches
from txray.capture.encoding import Encoded
from txray.capture.hooks import evaluating
from txray.capture.model_adapter import ModelAdapter, reader_of
from txray.corpus import Document
from txray.models import TextModel


class BareForward:
    """Documents encoded and batched beforehand, so that only the model is timed."""

    def __init__(
        self, model: nn.Module | TextModel, documents: Iterable[Document], batch_positions: int
    ) -> None:
        self._reader: ModelAdapter = reader_of(model, outputs=False)
        encoded = (one for document in documents for one in self._reader.encode(document)[1])
        self._batches: list[list[Encoded]] = list(
            batches(encoded, batch_positions, padded=self._reader.padded)
        )

    def __call__(self) -> None:
        """Run it."""
        with evaluating(self._reader.module):
            for batch in self._batches:
                for _ in self._reader.windows(batch):
                    pass
