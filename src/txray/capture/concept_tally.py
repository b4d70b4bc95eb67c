"""Count the activations of one layer in bins, by concept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from txray.capture.concept_bins import Concepts
from txray.capture.hook_point import ChunkActivations
from txray.capture.text.encoding import Indices
from txray.capture.text.words import ChunkWords
from txray.preferences.histograms import CONTROL_GROUPS, ConceptHistograms, HistogramTally, control_group_of
from txray.preferences.serialization import with_prefix

_WORDS = 2_048
"""Words that are binned at a time: one bin takes as much memory as the activation."""


class ConceptTally:
    """Histograms of one layer, for each feature type whose features are concepts."""

    def __init__(self, edges: NDArray[np.float32], concepts: Concepts, folds: int) -> None:
        """Start empty, with the bins of the neurons."""
        self._edges = edges
        self._tallies = {
            feature_type: HistogramTally(len(edges), feature_type, folds, features)
            for feature_type, features in concepts.items()
        }

    def update(self, activations: ChunkActivations, words: ChunkWords) -> None:
        """Add the covered words of one chunk."""
        values = activations.raw_of_words().float()
        edges = torch.from_numpy(self._edges).to(values.device)
        features = {feature_type: words.features(feature_type) for feature_type in self._tallies}
        groups = {feature_type: _groups(feature_type, words) for feature_type in self._tallies}
        for start in range(0, len(values), _WORDS):
            part = slice(start, start + _WORDS)
            by_neuron = values[part].T.contiguous()
            bins = torch.searchsorted(edges, by_neuron, right=True, out_int32=True).T.cpu().numpy()
            for feature_type, tally in self._tallies.items():
                tally.update(bins, words.fold[part], features[feature_type][part], groups[feature_type][part])

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        return {
            f"{feature_type}/{name}": array
            for feature_type, tally in self._tallies.items()
            for name, array in tally.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""
        for feature_type, tally in self._tallies.items():
            tally.load_state_dict(with_prefix(f"{feature_type}/", state))

    def freeze(self, stage: str, layer: str) -> Iterator[ConceptHistograms]:
        """Yield the histograms of each feature type; each tally is released, to save memory."""
        for feature_type in list(self._tallies):
            yield self._tallies.pop(feature_type).freeze(stage, layer, self._edges)


def _groups(feature_type: str, words: ChunkWords) -> Indices:
    """Return (n_words,) the control group of each word: by its document for labels, otherwise by its form."""
    if feature_type == "label":
        fold_key = np.array([model_input.encoded.fold_key for model_input in words.chunk.batch], np.int64)
        # Other bits than those that decide the fold.
        return (fold_key[words.row] >> 24) % CONTROL_GROUPS
    forms = words.features("token")
    return np.fromiter(map(control_group_of, forms), np.int64, len(forms))
