"""One layer's share of a collection: select activations, tally them per feature kind, keep exemplars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.batching import Encoded
from txray.capture.features import OUTPUT, features_of
from txray.capture.reading import Window
from txray.capture.selection import Selection
from txray.corpus.document import Document
from txray.errors import CaptureError
from txray.preferences import ExemplarTally, Occurrence, Preferences, Tally

_CONTEXT = 8
"""Words shown either side of an exemplar."""

_LONGEST = 200
"""Characters shown of a word in an exemplar."""

NOT_POSITIVE = "no positive activation"


class LayerTally:
    """Preferences and exemplars of one layer, accumulated window by window.

    Attributes:
        counted: words that credited at least one neuron.
        skipped: words that credited none, by reason.
    """

    def __init__(
        self, layer: str, features: Sequence[str], selection: Selection, folds: int, exemplars: int
    ) -> None:
        """Start empty; the number of neurons is taken from the first window."""
        self.counted = 0
        self.skipped: Counter[str] = Counter()
        self._layer = layer
        self._features = tuple(features)
        self._selection = selection
        self._folds = folds
        self._k = exemplars
        self._tallies: dict[str, Tally] = {}
        self._exemplars = ExemplarTally(1, 0)

    def update(
        self,
        activations: Tensor,
        batch: list[Encoded],
        keys: list[int],
        window: Window,
    ) -> None:
        """Add one window.

        Args:
            activations: (n_documents, time, n_neurons) of the whole window.
            batch: (n_documents,) documents.
            keys: (n_documents,) stable hashes of the document ids.
            window: which words it covers.

        Raises:
            CaptureError: activations that are not finite.
        """
        if not self._tallies:
            n_neurons = activations.shape[-1]
            self._tallies = {kind: Tally(n_neurons, self._folds) for kind in self._features}
            self._exemplars = ExemplarTally(n_neurons, self._k)
        if len(window.row) == 0:
            return
        flat = activations.reshape(-1, activations.shape[-1])
        place = torch.from_numpy(window.place).to(flat.device)
        document_key = np.array(keys, dtype=np.int64)[window.row]
        fold = document_key % self._folds
        ids = self._feature_ids(batch, window)
        for kind, feature_id in ids.items():
            self._tallies[kind].count_occurrences(fold, feature_id)
        if self._selection.rule == "max-1":
            word, neuron, value = self._strongest(flat, place, batch, window)
            for kind, feature_id in ids.items():
                self._tallies[kind].update(fold[word], neuron, feature_id[word], value)
        else:
            dense = self._signed(flat[place])
            self._check(dense.sum(dim=-1), batch, window)
            credited = (dense > 0).any(dim=-1).cpu().numpy()
            self._account(credited)
            values = dense.cpu().numpy()
            for kind, feature_id in ids.items():
                self._tallies[kind].update_dense(fold, feature_id, values)
            word, neuron, value = _strongest_words(dense, self._k)
        self._exemplars.update(
            neuron,
            value,
            document_key[word],
            window.position[word],
            lambda i: self._occurrence(batch, window, int(word[i])),
        )

    def freeze(self, stage: str) -> Iterator[Preferences]:
        """The preferences of each feature kind."""
        for kind, tally in self._tallies.items():
            yield tally.freeze(stage=stage, layer=self._layer, feature=kind, selection=str(self._selection))

    def exemplars(self) -> pl.DataFrame:
        """The exemplar table of this layer."""
        return self._exemplars.table(self._layer)

    def _strongest(
        self, flat: Tensor, place: Tensor, batch: list[Encoded], window: Window
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
        """Words, winning neurons and activations, of the words that have a positive maximum."""
        # The maximum runs over padding too: cheaper than copying the words' activations out first.
        best, winner = self._signed(flat).max(dim=-1)
        best = best[place]
        self._check(best, batch, window)
        value = best.float().cpu().numpy() if best.dtype is torch.bfloat16 else best.cpu().numpy()
        neuron = winner[place].cpu().numpy()
        credited = value > 0
        self._account(credited)
        word = np.flatnonzero(credited)
        return word, neuron[word], value[word]

    def _signed(self, activations: Tensor) -> Tensor:
        match self._selection.sign:
            case "absolute":
                return activations.abs()
            case "negative":
                return -activations
            case _:
                return activations

    def _check(self, per_word: Tensor, batch: list[Encoded], window: Window) -> None:
        finite = torch.isfinite(per_word)
        if not bool(finite.all()):
            first = int(torch.nonzero(~finite)[0])
            document = batch[int(window.row[first])].document
            position = int(window.position[first])
            raise CaptureError(
                f"layer {self._layer!r}: activation {float(per_word[first])} in document {document.id!r}, "
                f"word {position} ({document.words[position][:40]!r}); the model's weights are broken, or "
                "its activations overflow"
            )

    def _account(self, credited: NDArray[np.bool_]) -> None:
        n_credited = int(credited.sum())
        self.counted += n_credited
        if n_credited < len(credited):
            self.skipped[NOT_POSITIVE] += len(credited) - n_credited

    def _feature_ids(self, batch: list[Encoded], window: Window) -> dict[str, NDArray[np.int64]]:
        ids: dict[str, NDArray[np.int64]] = {}
        # Words of a window are listed document by document, in reading order.
        starts = np.flatnonzero(np.concatenate(([True], window.row[1:] != window.row[:-1])))
        ends = np.append(starts[1:], len(window.row))
        spans = [
            (int(window.row[a]), int(window.position[a]), int(window.position[b - 1]) + 1, a, b)
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        for kind in self._features:
            names: list[str] = []
            if kind == OUTPUT:
                names = window.outputs or []
            else:
                for row, first, last, _, _ in spans:
                    names += features_of(kind, batch[row])[first:last]
            ids[kind] = self._tallies[kind].ids_of(names)
        return ids

    def _occurrence(self, batch: list[Encoded], window: Window, i: int) -> Occurrence:
        row, position = int(window.row[i]), int(window.position[i])
        document: Document = batch[row].document
        words = document.words
        return Occurrence(
            document=document.id,
            position=position,
            word=_shown(words[position]),
            before=" ".join(map(_shown, words[max(0, position - _CONTEXT) : position])),
            after=" ".join(map(_shown, words[position + 1 : position + 1 + _CONTEXT])),
            output=None if window.outputs is None else window.outputs[i],
            probability=None if window.probability is None else float(window.probability[row]),
            label=document.labels.get("label"),
        )


def _shown(word: str) -> str:
    # A megabyte that passes for a word would be kept eight times per neuron.
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"


def _strongest_words(
    dense: Tensor, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
    """The `k` strongest words of each neuron: words, neurons, activations, positive ones only."""
    top = dense.topk(min(k, len(dense)), dim=0)
    neuron = np.broadcast_to(np.arange(dense.shape[1]), top.values.shape)
    value = top.values.cpu().numpy()
    positive = value > 0
    return top.indices.cpu().numpy()[positive], neuron[positive], value[positive]
