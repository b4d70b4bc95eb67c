"""Stored activations: what a model computed once, written to files and read back instead of running it.

SaveActivations      options of writing; `ActivationWriter` writes shards     writer
read_activations     recognizes the format of files and data sets            read
StoredActivations    layers, documents and rows of any format                stored
ActivationFiles      one format: txray's folders, NeuroX, arrays, tables     folder, neurox, arrays, tables
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.activations.read import read_activations as read_activations
    from txray.activations.stored import StoredActivations as StoredActivations
    from txray.activations.stored import StoredLayer as StoredLayer
    from txray.activations.writer import SaveActivations as SaveActivations

# Imported on first use, because torch is needed.
__getattr__, __dir__, __all__ = attach(__name__)
