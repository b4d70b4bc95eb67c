"""Collect one layer: select activations, tally them per feature type, keep exemplars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
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
    row_sums,
    select,
    strongest_groups,
)
from txray.capture.concept_tally import ConceptTally
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.runner_ups import SecondPlaces, second_places
from txray.capture.strongest_positions import StrongestPositions, Surroundings
from txray.capture.text.context import around
from txray.capture.text.encoding import EncodedDocument, Indices
from txray.capture.text.features import SUBWORD, features_of
from txray.capture.text.words import ChunkWords, occurrence_of
from txray.preferences import ExemplarTally, Preferences, Tally
from txray.preferences.grouped_stats import run_starts
from txray.preferences.histograms import ConceptHistograms
from txray.preferences.serialization import as_bytes, from_bytes, with_prefix

NOT_POSITIVE = "no positive activation"
NOT_ABOVE = "no activation above the threshold"
NOT_STRONGEST = "not the strongest position of any neuron"
OUTSIDE = "outside the layer's output"
NOT_ROUTED = "not routed to this expert"


class LayerTally:
    """Preferences and exemplars of one layer, accumulated chunk by chunk.

    Attributes:
        hook_point: source of the activations.
        counted: number of words that credited at least one neuron.
        skipped: number of words that credited none, by reason; without those that the model never read.
    """

    def __init__(
        self,
        hook_point: HookPoint,
        feature_types: Sequence[str],
        folds: int,
        exemplars: int,
        concepts: ConceptTally | None = None,
    ) -> None:
        """Start empty; `concepts` counts the activations in bins."""
        self._concepts = concepts
        self.hook_point = hook_point
        self.counted = 0
        self.skipped: Counter[str] = Counter()
        self._folds = folds
        n_neurons = hook_point.n_neurons
        self._tallies = {feature_type: Tally(n_neurons, folds) for feature_type in feature_types}
        if hook_point.selection.k is not None:
            for tally in self._tallies.values():
                tally.count_runner_ups()
        self._exemplars = ExemplarTally(n_neurons, exemplars)
        self._positions = StrongestPositions() if hook_point.selection.rule == "max-position" else None

    def update(self, activations: ChunkActivations) -> None:
        """Add one chunk.

        Raises:
            CaptureError: activations are not finite.
        """
        covered = activations.covered
        words = ChunkWords.of(activations.chunk, self._folds)
        ids = self._count_features(words)
        if not covered.all():
            words = words.where(covered)
            outside = int((~covered).sum()) - activations.not_routed
            self.skipped += Counter({OUTSIDE: outside, NOT_ROUTED: activations.not_routed})
            ids = {feature_type: feature_id[covered] for feature_type, feature_id in ids.items()}
        if not is_finite(activations.flat):
            self._require_finite(activations, words)
        if SUBWORD in self._tallies:
            self._update_pieces(activations, words)
        if self._concepts is not None:
            self._concepts.update(activations, words)
        if self._positions is not None:
            for complete in self._positions.offer(as_numpy(activations.of_words()), words):
                self._add_document(*complete)
            return
        selected = self._select(activations.flat, activations.groups)
        if isinstance(selected, SelectedActivations):
            self._account(len(run_starts(selected.group)), len(words))
            strong = selected
        else:
            self._account(int((selected > 0).any(dim=-1).sum()), len(words))
            strong = strongest_groups(selected, self._exemplars.k, words.key, words.word)
        seconds = self._second_places(activations.flat, activations.groups, selected)
        for feature_type, feature_id in ids.items():
            _add(self._tallies[feature_type], words.fold, feature_id, selected)
            _add_second_places(self._tallies[feature_type], words.fold, feature_id, seconds)
        # One word can be an exemplar of a hundred neurons.
        groups, occurrence = strong.group.tolist(), cache(words.occurrence)
        self._exemplars.update(
            strong.neuron,
            strong.value,
            words.key[strong.group],
            words.word[strong.group],
            lambda i: occurrence(groups[i]),
            lambda rows: around(
                words.row, words.word, strong.group[rows], strong.neuron[rows], activations.at
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
        if self._concepts is not None:
            parts["concepts"] = self._concepts.state_dict()
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state_dict` returned."""
        for feature_type, tally in self._tallies.items():
            tally.load_state_dict(with_prefix(f"kind.{feature_type}/", state))
        self._exemplars.load_state_dict(with_prefix("exemplars/", state))
        if self._positions is not None:
            self._positions.load_state_dict(with_prefix("positions/", state))
        if self._concepts is not None:
            self._concepts.load_state_dict(with_prefix("concepts/", state))
        self.counted, skipped = from_bytes(state["account/words"])
        self.skipped = Counter(skipped)

    def freeze(self, stage: str) -> Iterator[Preferences]:
        """Yield the preferences of each feature type; each tally is released as it is frozen, to save memory."""
        for feature_type in list(self._tallies):
            yield self._tallies.pop(feature_type).freeze(
                stage=stage,
                layer=self.hook_point.layer,
                feature_type=feature_type,
                selection=str(self.hook_point.selection),
            )

    def histograms(self, stage: str) -> Iterator[ConceptHistograms]:
        """Yield the histograms of each feature type whose features are concepts."""
        if self._concepts is not None:
            yield from self._concepts.freeze(stage, self.hook_point.layer)

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

    def _require_finite(self, activations: ChunkActivations, words: ChunkWords) -> None:
        """Raise if an activation of a word or of a piece is not finite; those of padding may be anything."""
        layer = self.hook_point.layer
        # Sums, because the maximum of a word can be finite while its other activations are not.
        words.require_finite(layer, row_sums(activations.of_words()), np.arange(len(words)))
        if SUBWORD in self._tallies:
            _, word_of_piece = words.pieces(activations.pieces)
            words.require_finite(layer, row_sums(activations.flat[activations.groups.rows]), word_of_piece)

    def _select(self, flat: Tensor, groups: WordGroups) -> Tensor | SelectedActivations:
        return select(flat, groups, self.hook_point.selection, sparse=self.hook_point.through is not None)

    def _second_places(
        self, flat: Tensor, groups: WordGroups, selected: Tensor | SelectedActivations
    ) -> SecondPlaces | None:
        """Return the second places of groups, if the selection has any and they are counted."""
        k = self.hook_point.selection.k
        counted = all(tally.counts_runner_ups for tally in self._tallies.values())
        if k is None or not counted or not isinstance(selected, SelectedActivations):
            return None
        return second_places(flat, groups, selected, k)

    def _update_pieces(self, activations: ChunkActivations, words: ChunkWords) -> None:
        """Tally the pieces of words individually."""
        tally = self._tallies[SUBWORD]
        names, word_of_piece = words.pieces(activations.pieces)
        groups = activations.groups.pieces()
        selected = self._select(activations.flat, groups)
        fold, feature_id = words.fold[word_of_piece], tally.feature_ids(names)
        _add(tally, fold, feature_id, selected)
        seconds = self._second_places(activations.flat, groups, selected)
        _add_second_places(tally, fold, feature_id, seconds)

    def _add_document(
        self,
        encoded: EncodedDocument,
        n_covered: int,
        strongest: SelectedActivations,
        surroundings: Surroundings,
    ) -> None:
        """Add a whole document, for which each neuron is credited with its strongest word."""
        words = strongest.group
        self._account(len(np.unique(words)), n_covered)
        fold = np.full(len(words), encoded.fold_key % self._folds, np.int64)
        for feature_type, tally in self._tallies.items():
            names = features_of(feature_type, encoded)
            feature_id = tally.feature_ids([names[word] for word in words.tolist()])
            tally.update(fold, strongest.neuron, feature_id, strongest.value)
        self._exemplars.update(
            strongest.neuron,
            strongest.value,
            np.full(len(words), encoded.key, np.int64),
            words,
            lambda i: occurrence_of(encoded, int(words[i])),
            lambda rows: surroundings(strongest.neuron[rows]),
        )

    def _account(self, credited: int, words: int) -> None:
        """Count the words that credited a neuron, and the others as skipped."""
        self.counted += credited
        if credited < words:
            reason = NOT_ABOVE if self.hook_point.selection.threshold else NOT_POSITIVE
            self.skipped[NOT_STRONGEST if self._positions is not None else reason] += words - credited


def _add(tally: Tally, fold: Indices, feature_id: Indices, activations: Tensor | SelectedActivations) -> None:
    """Tally selected activations, given the fold and the feature of each group."""
    if isinstance(activations, SelectedActivations):
        group = activations.group
        tally.update(fold[group], activations.neuron, feature_id[group], activations.value)
    else:
        tally.update_dense(fold, feature_id, as_numpy(activations))


def _add_second_places(
    tally: Tally, fold: Indices, feature_id: Indices, seconds: SecondPlaces | None
) -> None:
    """Tally second places, given the fold and the feature of each group."""
    if seconds is not None:
        group = seconds.group
        tally.update_runner_ups(fold[group], seconds.winner, seconds.neuron, feature_id[group], seconds.value)
