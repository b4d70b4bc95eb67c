"""Bins of activations: from a sample of the text that depends on the documents, and not on their order."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from txray.capture.activations import as_numpy
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.loop import DocumentStream, run
from txray.capture.source import ActivationSource
from txray.capture.text.features import SUBWORD, features_of
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError, UsageError
from txray.preferences.folds import document_key
from txray.preferences.histograms import bin_edges, require_few
from txray.preferences.output_tokens import OUTPUT
from txray.progress import progress

SAMPLE_WORDS = 4_096
_LONGEST = 256
"""Words of a document in the sample; a long document says less than several."""

Concepts = Mapping[str, tuple[str, ...]]
"""Feature type -> its features to look for; an empty tuple stands for all."""


@dataclass(frozen=True, eq=False)
class ConceptSample:
    """Some documents of a corpus, and how many concepts it has.

    Attributes:
        documents: those with the smallest hashes, with about `SAMPLE_WORDS` words.
        n_concepts: feature type -> number of features to look for; 0 if only the model knows them.
    """

    documents: Sequence[Document]
    n_concepts: Mapping[str, int]

    @classmethod
    def of(cls, corpus: Corpus, adapter: ActivationSource, concepts: Concepts) -> ConceptSample:
        """Read a corpus without the model.

        Raises:
            UsageError: a feature type has too many features.
        """
        chosen: list[tuple[int, int, Document]] = []
        words = 0
        features: dict[str, set[str]] = {feature_type: set(names) for feature_type, names in concepts.items()}
        unlisted = [name for name, listed in concepts.items() if not listed and name not in (OUTPUT, SUBWORD)]
        with progress("sampling documents") as advance:
            for number, document in enumerate(corpus):
                if unlisted:
                    encoded, _ = adapter.encode(document)
                    for feature_type in unlisted:
                        features[feature_type].update(features_of(feature_type, encoded))
                        require_few(feature_type, len(features[feature_type]))
                part = document.cut(_LONGEST)
                # A heap of the smallest hashes: the largest is dropped while the rest has enough words.
                heapq.heappush(chosen, (-document_key(f"sample {document.id}"), number, part))
                words += len(part.words)
                while words - len(chosen[0][2].words) >= SAMPLE_WORDS:
                    words -= len(heapq.heappop(chosen)[2].words)
                advance(len(document.words))
        documents = [document for _, _, document in sorted(chosen, key=lambda entry: -entry[0])]
        return cls(documents, {feature_type: len(names) for feature_type, names in features.items()})


class _Sampler:
    """Stores the raw activations of one layer at the words of a few documents."""

    def __init__(self, hook_point: HookPoint) -> None:
        raw = replace(hook_point.selection, rule="all", sign="positive", standardize="none")
        self.hook_point = replace(hook_point, selection=raw, scale=None)
        self._parts: list[NDArray[np.floating]] = []

    def update(self, activations: ChunkActivations) -> None:
        """Store one chunk."""
        self._parts.append(as_numpy(activations.of_words()))

    def edges(self) -> NDArray[np.float32]:
        """Return the bins of each neuron."""
        values = np.concatenate([np.zeros((0, self.hook_point.n_neurons), np.float32), *self._parts])
        if not np.isfinite(values).all():
            raise CaptureError(
                f"layer {self.hook_point.layer!r}: activations of neuron "
                f"{int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])} are not finite; the model's weights are "
                "broken, or its activations overflow"
            )
        return bin_edges(values)


def measure_bins(
    sample: ConceptSample, adapter: ActivationSource, hook_points: Sequence[HookPoint], positions: int
) -> dict[str, NDArray[np.float32]]:
    """Return the bins of the neurons of each layer, by the activations at the words of a sample.

    Raises:
        CaptureError: activations are not finite.
    """
    samplers = [_Sampler(hook_point) for hook_point in hook_points]
    stream = DocumentStream(Corpus.from_documents("sample", sample.documents), adapter, tagged=False)
    run(adapter, stream, samplers, positions, "bins of activations")
    return {sampler.hook_point.layer: sampler.edges() for sampler in samplers}


def require_concepts(concepts: Concepts, feature_types: Sequence[str]) -> None:
    """Raise for concepts of a type that is not collected, or that words do not have.

    Raises:
        UsageError: such a feature type.
    """
    for feature_type in concepts:
        if feature_type == SUBWORD:
            raise UsageError("concepts: 'subword' is a type of pieces; pass a feature type of words")
        if feature_type not in feature_types:
            raise UsageError(
                f"concepts: feature type {feature_type!r} is not collected; add it to the feature types "
                f"({', '.join(feature_types)})"
            )
