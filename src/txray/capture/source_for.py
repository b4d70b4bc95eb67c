"""Choose the source of activations for a model or for stored activations."""

from __future__ import annotations

from torch import nn

from txray.activations.stored import StoredActivations
from txray.capture.model_adapter import Autocast, ModelAdapter, adapter_for
from txray.capture.stored.adapter import StoredAdapter
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.load import as_source
from txray.models.text_model import TextModel

Source = ModelAdapter | StoredAdapter
"""Adapter of a model, or of stored activations."""


def source_for(
    model: nn.Module | TextModel | StoredActivations,
    *,
    outputs: bool,
    autocast: Autocast | None = None,
    corpus: Corpus | None = None,
) -> Source:
    """Return the adapter of a model, or of stored activations; arguments as for `adapter_for`.

    Raises:
        UnknownNameError: unknown dtype.
        UsageError: as `adapter_for`; or `autocast` for stored activations.
    """
    model = as_source(model)
    if not isinstance(model, StoredActivations):
        return adapter_for(model, outputs=outputs, autocast=autocast, corpus=corpus)
    if autocast is not None:
        raise UsageError(f"autocast={autocast!r}: stored activations are read, not computed; omit it")
    return StoredAdapter(model, outputs=outputs)
