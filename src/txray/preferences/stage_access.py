"""Preferences by name of layer and feature type: shared by stages in memory and stages on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.arguments import checked_call
from txray.errors import UnknownNameError, UsageError
from txray.preferences import export
from txray.preferences.histogram_files import Histograms
from txray.preferences.neuron import NeuronPreferences
from txray.preferences.output_tokens import OUTPUT, agreement_of, has_sign
from txray.preferences.preferences import Preferences, require_neuron
from txray.preferences.tags import usual_tags


class StageAccess:
    """Base of `Stage` and `StageFolder`, which differ in where the preferences come from."""

    __iter__: ClassVar[None] = None  # or Python would iterate by stage[0], stage[1], ...

    if TYPE_CHECKING:  # fields in memory, properties on disk

        @property
        def name(self) -> str:
            """Name of the stage."""

        @property
        def layers(self) -> tuple[str, ...]:
            """Names of the layers, in the order of collection."""

        @property
        def feature_types(self) -> tuple[str, ...]:
            """The feature types, in the order of collection."""

        @property
        def n_neurons(self) -> Mapping[str, int]:
            """Number of neurons per layer."""

        @property
        def histograms(self) -> Histograms:
            """(layer, feature type) -> activations in bins by concept."""

        @property
        def tags(self) -> pl.DataFrame:
            """The tags that each token carried."""

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, layers={list(self.layers)}, "
            f"feature_types={list(self.feature_types)})"
        )

    def __getitem__(self, key: str | tuple[str, str]) -> Preferences:
        """Return preferences by name: `stage["rnn", "token"]`, or `stage["rnn"]` if there is one feature type.

        Raises:
            UsageError: several feature types and none named, or a key that is not one or two names.
            UnknownNameError: no such layer or feature type.
        """
        names = key if isinstance(key, tuple) else (key,)
        if not (1 <= len(names) <= 2 and all(isinstance(name, str) for name in names)):
            raise UsageError(f'stage {self.name!r}: [{key!r}]; index it as stage["layer", "feature type"]')
        if len(names) == 1 and len(self.feature_types) > 1:
            raise UsageError(
                f"stage {self.name!r}: several feature types; index it as stage[{key!r}, {self.feature_types[0]!r}]"
            )
        return self.preferences(layer=names[0], feature_type=[*names, *self.feature_types][1])

    @checked_call
    def preferences(self, *, layer: str | None = None, feature_type: str = "token") -> Preferences:
        """Return the preferences of one layer for one feature type.

        Args:
            layer: may be omitted if the stage has only one.
            feature_type: e.g. `token` or `pos`.

        Raises:
            UsageError: several layers and none named.
            UnknownNameError: no such layer or feature type.

        Example:
            >>> stage.preferences(layer="rnn", feature_type="pos").table()  # doctest: +SKIP
        """
        return self._preferences(self._layer(layer), self._feature_type(feature_type))

    def neuron(
        self, number: int, *, layer: str | None = None, feature_type: str = "token"
    ) -> NeuronPreferences:
        """Return what one neuron prefers: its most distinctive words, their tags, and its strongest occurrences.

        Args:
            number: index of the neuron in its layer, from 0.
            layer: may be omitted if the stage has only one.
            feature_type: type of the features to list.

        Raises:
            UsageError: no such neuron, or several layers and none named.
            UnknownNameError: no such layer or feature type.

        Example:
            >>> stage.neuron(13).words.head()  # doctest: +SKIP
        """
        layer = self._layer(layer)
        require_neuron(number, self.n_neurons[layer], stage=self.name, layer=layer)
        has_tags = {"token", "pos"} <= set(self.feature_types)
        return NeuronPreferences.of(
            number,
            self._neuron_preferences(number, layer, self._feature_type(feature_type)),
            pos=self._neuron_preferences(number, layer, "pos") if "pos" in self.feature_types else None,
            exemplars=self._neuron_exemplars(number, layer),
            token_tags=usual_tags([self.tags]) if has_tags else {},
            output_tokens=self.output_tokens_of_neuron(number, layer=layer),
            agreement=self.agreement_of_neuron(number, layer=layer),
        )

    def output_tokens_of_neuron(self, number: int, *, layer: str | None = None) -> pl.DataFrame:
        """Return the tokens that one neuron promotes and suppresses; columns as in `Stage.output_tokens`."""
        return self._layer_output_tokens(self._layer(layer)).filter(neuron=number)

    @checked_call
    def output_agreement(self, *, layer: str | None = None) -> pl.DataFrame:
        """Return how often the model predicts the tokens that a neuron promotes where the neuron wins.

        Args:
            layer: may be omitted if the stage has only one.

        Returns:
            polars, one row per neuron: neuron; wins; share, of the wins at which the predicted token is among those
            that the neuron promotes (or suppresses, if its negative activations were selected); expected, the share at
            all words; difference = share - expected; low and high, bounds of its 95% interval, from leaving out each
            fold of documents in turn. Null without wins or tokens; the bounds also if all wins are in one fold, or the
            tokens are predicted at no word or at every word.

        Raises:
            UsageError: the stage was collected without `output` or output tokens, or activations were selected by their
                absolute size, so that their sign is unknown.

        Example:
            >>> stage.output_agreement().sort("difference")  # doctest: +SKIP
        """
        layer = self._layer(layer)
        tokens = self._layer_output_tokens(layer)
        if OUTPUT not in self.feature_types or tokens.is_empty():
            raise UsageError(
                f"stage {self.name!r}: lacks the predicted words or the tokens that neurons promote; collect it with "
                "the feature type 'output' and output_tokens=20"
            )
        return agreement_of(self._preferences(layer, OUTPUT), tokens)

    def agreement_of_neuron(self, number: int, *, layer: str | None = None) -> pl.DataFrame | None:
        """Return the row of one neuron in `output_agreement`; None where that would raise."""
        layer = self._layer(layer)
        tokens = self.output_tokens_of_neuron(number, layer=layer)
        if OUTPUT not in self.feature_types or tokens.is_empty():
            return None
        preferences = self._neuron_preferences(number, layer, OUTPUT)
        if not has_sign(preferences.selection):
            return None
        return agreement_of(preferences, tokens).filter(neuron=number)

    def to_dataset(self, *, layer: str | None = None, feature_type: str = "token") -> Any:
        """Return the preferences for one feature type as a Hugging Face data set.

        Args:
            layer: only this one; all by default.
            feature_type: e.g. `token` or `pos`.

        Returns:
            `datasets.Dataset` in memory: the column layer, and those of `Preferences.table`; one row per feature that
            a neuron prefers, layer by layer in the order of collection, within each in the order of that table.

        Raises:
            UsageError: the package datasets is not installed.
            UnknownNameError: no such layer or feature type.
        """
        layers: Iterable[str] = self.layers if layer is None else (layer,)
        tables = {name: self.preferences(layer=name, feature_type=feature_type).table() for name in layers}
        return export.to_dataset(self.name, feature_type, tables)

    def bin_edges(self) -> dict[str, NDArray[np.float32]]:
        """Return layer -> bounds of the bins of activations; empty for a stage without concepts."""
        keys = {layer: (layer, feature_type) for layer, feature_type in self.histograms}
        return {layer: self.histograms[key].edges for layer, key in keys.items()}

    def _layer(self, layer: str | None) -> str:
        if layer is None:
            if len(self.layers) > 1:
                raise UsageError(f"stage {self.name!r}: several layers, name one of {', '.join(self.layers)}")
            return self.layers[0]
        if layer not in self.layers:
            raise UnknownNameError.of(f"layer of stage {self.name!r}", layer, self.layers)
        return layer

    def _feature_type(self, feature_type: str) -> str:
        if feature_type not in self.feature_types:
            raise UnknownNameError.of(
                f"feature type of stage {self.name!r}", feature_type, self.feature_types
            )
        return feature_type

    def _preferences(self, layer: str, feature_type: str) -> Preferences:
        raise NotImplementedError

    def _neuron_preferences(self, number: int, layer: str, feature_type: str) -> Preferences:
        """Return preferences that hold at least those of one neuron."""
        return self._preferences(layer, feature_type)

    def _neuron_exemplars(self, number: int, layer: str) -> pl.DataFrame:
        raise NotImplementedError

    def _layer_output_tokens(self, layer: str) -> pl.DataFrame:
        raise NotImplementedError
