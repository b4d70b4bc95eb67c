"""Collect one layer: select activations, tally them per feature type, keep exemplars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from txray.capture.activations import (
    SelectedActivations,
    WordGroups,
    as_numpy,
    is_finite,
    pooled,
    pooled_at,
    row_sums,
    select,
    strongest_groups,
)
from txray.capture.context import around
from txray.capture.encoding import EncodedDocument, Indices, ModelInput
from txray.capture.features import SUBWORD, features_of
from txray.capture.hook_point import HookPoint
from txray.capture.model_adapter import ForwardChunk
from txray.capture.strongest_positions import StrongestPositions, Surroundings
from txray.capture.words import ChunkWords, occurrence_of
from txray.preferences import ExemplarTally, Preferences, Tally
from txray.preferences.grouped_stats import run_starts
from txray.preferences.serialization import as_bytes, from_bytes, with_prefix

NOT_POSITIVE = "no positive activation"
NOT_ABOVE = "no activation above the threshold"
NOT_STRONGEST = "not the strongest position of any neuron"
OUTSIDE = "outside the layer's output"


class LayerTally:
    """Preferences and exemplars of one layer, accumulated chunk by chunk.

    Attributes:
        hook_point: source of the activations.
        counted: number of words that credited at least one neuron.
        skipped: number of words that credited none, by reason; without those that the model never read.
        n_exemplars: number of exemplars per neuron.
    """

    def __init__(
        self, hook_point: HookPoint, feature_types: Sequence[str], folds: int, exemplars: int
    ) -> None:
        """Start empty."""
        self.hook_point = hook_point
        self.counted = 0
        self.skipped: Counter[str] = Counter()
        self._features = tuple(feature_types)
        self._folds = folds
        self.n_exemplars = exemplars
        n_neurons = hook_point.layout.neurons
        self._tallies = {feature_type: Tally(n_neurons, folds) for feature_type in feature_types}
        self._exemplars = ExemplarTally(n_neurons, exemplars)
        self._positions = StrongestPositions() if hook_point.selection.rule == "max-position" else None

    def update(self, output: Tensor, batch: list[ModelInput], chunk: ForwardChunk) -> None:
        """Add one chunk.

        Args:
            output: output of the layer for the whole chunk.
            batch: (n_inputs,) inputs of the model.
            chunk: the words that the output covers.

        Raises:
            CaptureError: activations are not finite.
        """
        if len(chunk.row) == 0:
            return
        flat, steps = self.hook_point.flat(output, len(batch), chunk.steps)
        covered, groups = self.hook_point.covered_words(chunk, steps)
        words = ChunkWords.of(batch, chunk, np.ones(len(covered), np.bool_), self._folds)
        ids = self._count_features(words)
        if not covered.all():
            words = ChunkWords.of(batch, chunk, covered, self._folds)
            self.skipped[OUTSIDE] += int((~covered).sum())
            ids = {feature_type: feature_id[covered] for feature_type, feature_id in ids.items()}
        if not is_finite(flat):
            # The maximum of a word can be finite while other activations are not, so check sums. Ignore padding.
            words.check(self.hook_point.layer)(row_sums(pooled(flat, groups)))
        if SUBWORD in self._features:
            self._update_pieces(flat, groups, words)
        if self._positions is not None:
            for complete in self._positions.offer(self._pooled(flat, groups, words), words):
                self._add_document(*complete)
            return
        activations = select(flat, groups, self.hook_point.selection, words.check(self.hook_point.layer))
        if isinstance(activations, SelectedActivations):
            self._account(len(run_starts(activations.group)), len(words))
            strong = activations
        else:
            self._account(int((activations > 0).any(dim=-1).sum()), len(words))
            strong = strongest_groups(activations, self.n_exemplars, words.key, words.word)
        for feature_type, feature_id in ids.items():
            _add(self._tallies[feature_type], words.fold, feature_id, activations)
        activations_at = partial(pooled_at, flat, groups)
        self._exemplars.update(
            strong.neuron,
            strong.value,
            words.key[strong.group],
            words.word[strong.group],
            lambda i: words.occurrence(int(strong.group[i])),
            lambda rows: around(
                words.row, words.word, strong.group[rows], strong.neuron[rows], activations_at
            ),
        )

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the whole state as arrays."""
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            **{f"kind.{feature_type}": tally.state_dict() for feature_type, tally in self._tallies.items()},
            "exemplars": self._exemplars.state_dict(),
            "account": {"words": as_bytes([self.counted, self.skipped])},
        }
        if self._positions is not None:
            parts["positions"] = self._positions.state_dict()
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""
        for feature_type, tally in self._tallies.items():
            tally.load_state_dict(with_prefix(f"kind.{feature_type}/", state))
        self._exemplars.load_state_dict(with_prefix("exemplars/", state))
        if self._positions is not None:
            self._positions.load_state_dict(with_prefix("positions/", state))
        self.counted, skipped = from_bytes(state["account/words"])
        self.skipped = Counter(skipped)

    def freeze(self, stage: str) -> Iterator[Preferences]:
        """Yield the preferences of each feature type; each tally is released as it is frozen, to save memory."""
        for feature_type in self._features:
            yield self._tallies.pop(feature_type).freeze(
                stage=stage,
                layer=self.hook_point.layer,
                feature_type=feature_type,
                selection=str(self.hook_point.selection),
            )

    def exemplars(self) -> pl.DataFrame:
        """Return the exemplar table of this layer."""
        return self._exemplars.table(self.hook_point.layer)

    def _count_features(self, read: ChunkWords) -> dict[str, Indices]:
        """Count the features of all words that the model read, and return the feature ids of each word.

        Words that the layer does not cover are counted too, so that all layers of a stage have the same counts.
        """
        ids = {}
        for feature_type, tally in self._tallies.items():
            if feature_type == SUBWORD:
                names, word_of_piece = read.pieces()
                tally.count_occurrences(read.fold[word_of_piece], tally.feature_ids(names))
            else:
                ids[feature_type] = tally.feature_ids(read.features(feature_type))
                tally.count_occurrences(read.fold, ids[feature_type])
        return ids

    def _update_pieces(self, flat: Tensor, groups: WordGroups, words: ChunkWords) -> None:
        """Tally the pieces of words individually."""
        tally = self._tallies[SUBWORD]
        names, word_of_piece = words.pieces()
        pieces = WordGroups(groups.rows, np.arange(len(groups.rows)), groups.pooling)
        check = words.check(self.hook_point.layer, word_of_piece)
        activations = select(flat, pieces, self.hook_point.selection, check)
        _add(tally, words.fold[word_of_piece], tally.feature_ids(names), activations)

    def _pooled(self, flat: Tensor, groups: WordGroups, words: ChunkWords) -> NDArray[np.floating]:
        dense = pooled(flat, groups)
        words.check(self.hook_point.layer)(row_sums(dense))
        return as_numpy(dense)

    def _add_document(
        self,
        encoded: EncodedDocument,
        n_covered: int,
        activations: SelectedActivations,
        surroundings: Surroundings,
    ) -> None:
        """Add a whole document, for which each neuron is credited with its strongest word."""
        self._account(len(np.unique(activations.group)), n_covered)
        fold = np.full(len(activations.group), encoded.fold_key % self._folds, np.int64)
        strongest_words = activations.group.tolist()
        for feature_type in self._features:
            names = features_of(feature_type, encoded)
            feature_id = self._tallies[feature_type].feature_ids([names[word] for word in strongest_words])
            self._tallies[feature_type].update(fold, activations.neuron, feature_id, activations.value)
        self._exemplars.update(
            activations.neuron,
            activations.value,
            np.full(len(activations.group), encoded.key, np.int64),
            activations.group,
            lambda i: occurrence_of(encoded, int(activations.group[i])),
            lambda rows: surroundings(activations.neuron[rows]),
        )

    def _account(self, credited: int, words: int) -> None:
        self.counted += credited
        if credited < words:
            self.skipped[self._reason()] += words - credited

    def _reason(self) -> str:
        if self.hook_point.selection.rule == "max-position":
            return NOT_STRONGEST
        return NOT_ABOVE if self.hook_point.selection.threshold else NOT_POSITIVE


def _add(tally: Tally, fold: Indices, feature_id: Indices, activations: Tensor | SelectedActivations) -> None:
    """Tally selected activations, given the fold and the feature of each group."""
    if isinstance(activations, SelectedActivations):
        group = activations.group
        tally.update(fold[group], activations.neuron, feature_id[group], activations.value)
    else:
        tally.update_dense(fold, feature_id, as_numpy(activations))
