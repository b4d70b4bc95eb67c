"""The neuron or the text: what a change of the model does, what a change of the text does, and their interaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.comparison import Comparison, compare, restored, stored_settings
from txray.analysis.decomposition_tables import (
    COMPARED,
    INTERACTION,
    MARGINS,
    VERDICTS,
    interaction_rows,
    layer_rows,
    neuron_rows,
    table_of_margins,
    verdict_table,
)
from txray.analysis.result_folder import ResultFolder, SavedResult, figure_name
from txray.analysis.shown_distance import corrected_words
from txray.analysis.significance.tests import SignificanceSettings, require_folds
from txray.analysis.square import arranged, names_of_corpora, names_of_models, two_names
from txray.analysis.states import fdr_label, significant_label
from txray.analysis.subjects import common_layers
from txray.errors import UnknownNameError, UsageError
from txray.notebook import card, table
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.preferences import Weight
from txray.preferences.stage import Stage
from txray.preferences.stage_like import StageLike, as_stages
from txray.progress import progress
from txray.text import plural

if TYPE_CHECKING:
    import plotly.graph_objects as go

_FIGURES = ("decomposition", "model_and_text")
_SIDES = ("a-on-a", "a-on-b", "b-on-a", "b-on-b")
"""Folders of the stages of a saved decomposition: the model, then the text."""


@dataclass(frozen=True, eq=False)
class Decomposition(SavedResult):
    """Effects of the model and of the text, from both models on both texts.

    Each layer has five margins: `model_on_a` and `model_on_b`, what the model changes on text a and on text b;
    `text_in_a` and `text_in_b`, what the text changes in model a and in model b; `interaction`, how much what the model
    changes differs between the texts.

    Attributes:
        margins: polars, one row per layer and margin: layer, margin, hellinger_corrected (of the layer) with its 95%
            interval, p_value (of the layer), median_corrected (over neurons), tested, significant, significant_share,
            unknown (neurons that cannot be tested), text_matched.
        neurons: polars, one row per layer, margin and neuron: layer, margin, neuron, state (tested; null for the
            interaction), hellinger_corrected with its 95% interval, p_value, q_value, z_score, significant (null if
            that cannot be told).
        comparisons: layer -> margin -> comparison, without the interaction.
        stages: model a on text a and on text b, then model b on both, reduced to what was compared.
        models, texts: names to show.
        feature_type: the feature type.
        settings: fdr, permutations, seed and weight.
    """

    SUMMARY_FILE = "decomposition.json"

    margins: pl.DataFrame
    neurons: pl.DataFrame
    comparisons: Mapping[str, Mapping[str, Comparison]]
    stages: tuple[Stage, ...]
    models: tuple[str, str]
    texts: tuple[str, str]
    feature_type: str
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        stages: StageLike | Iterable[StageLike],
        *,
        layers: str | Sequence[str] | None = None,
        feature_type: str = "token",
        weight: Weight = "mean",
        models: Sequence[str] | None = None,
        texts: Sequence[str] | None = None,
        permutations: int = 10_000,
        fdr: float = 0.05,
        seed: int = 0,
        min_effect: float = 0.0,
    ) -> Decomposition:
        """Decompose four stages that were collected already.

        Args:
            stages: or their folders, or one folder of the four: model a on text a and on text b, then model b on both.
                If their manifests say that they are in another order, they are arranged; the first stays the first.
            layers: names or patterns of the layers; by default all that every stage has.
            feature_type: the feature type.
            weight: what the preference distributions normalise.
            models: names of the two models to show; by default their types, or A and B.
            texts: names of the two texts to show; by default those of the corpora, or a and b.
            permutations: maximum number of permutations per neuron.
            fdr: false discovery rate within each layer and margin.
            seed: random seed.
            min_effect: corrected Hellinger distance that an effect must exceed; see `Comparison.test`.

        Raises:
            UsageError: not four stages of two models on two texts, no layer in common, or one fold.
            UnknownNameError: an unknown layer, feature type or weight.
            ShapeError: the two models do not have the same neurons.

        Example:
            >>> Decomposition.of(["a-on-a", "a-on-b", "b-on-a", "b-on-b"]).margins
        """
        settings = SignificanceSettings(permutations=permutations, fdr=fdr, seed=seed, min_effect=min_effect)
        return _decompose(as_stages(stages), layers, feature_type, weight, models, texts, settings)

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of the layers."""
        return tuple(self.comparisons)

    @property
    def fdr(self) -> float:
        """Return the false discovery rate of the tests."""
        return float(self.settings["fdr"])

    def layer(self, name: str | None = None) -> str:
        """Return the layer of this name, or the only layer if none is named.

        Raises:
            UsageError: several layers, and none is named.
            UnknownNameError: an unknown layer.
        """
        if name is None and len(self.layers) > 1:
            raise UsageError(f"decomposition: several layers, name one of {', '.join(self.layers)}")
        if name is not None and name not in self.layers:
            raise UnknownNameError.of("layer of the decomposition", name, self.layers)
        return self.layers[0] if name is None else name

    @property
    def verdicts(self) -> pl.DataFrame:
        """Return what explains each neuron's differences: layer, neuron, verdict, interaction.

        The verdict is `model`, `text` or `both` if differences between the models, between the texts or between both
        are significant on at least one text or in at least one model; `neither` if all four comparisons are tested and
        none is significant; `unused` if the neuron is in use in none of the four stages; `unknown` if one of the two
        cannot be told. `interaction` says whether the interaction is
        significant; null if that cannot be told.
        """
        return verdict_table(self.neurons)

    @property
    def summary(self) -> dict[str, Any]:
        """Return names, settings, and the margins and counts of verdicts of each layer, as plain JSON values."""
        return {
            "models": list(self.models),
            "texts": list(self.texts),
            "stages": [stage.name for stage in self.stages],
            "feature": self.feature_type,
            **self.settings,
            "layers": {
                layer: {
                    "margins": {row.pop("margin"): row for row in self._rows(layer)},
                    "verdicts": self._verdict_counts(layer),
                }
                for layer in self.layers
            },
        }

    def _rows(self, layer: str) -> list[dict[str, Any]]:
        return self.margins.filter(pl.col("layer") == layer).drop("layer").to_dicts()

    def _verdict_counts(self, layer: str) -> dict[str, int]:
        counts = dict(
            self.verdicts.filter(pl.col("layer") == layer)["verdict"]
            .cast(pl.String)
            .value_counts()
            .iter_rows()
        )
        return {verdict: int(counts.get(verdict, 0)) for verdict in VERDICTS}

    def margin_name(self, margin: str) -> str:
        """Return what a margin compares, in words: `model: A → B, on reviews`."""
        return ", ".join(filter(None, self.margin_parts(margin)))

    def margin_parts(self, margin: str) -> tuple[str, str]:
        """Return what a margin varies and what it holds fixed: `model: A → B`, `on reviews`."""
        (a, b), (one, two) = self.models, self.texts
        return {
            "model_on_a": (f"model: {a} → {b}", f"on {one}"),
            "model_on_b": (f"model: {a} → {b}", f"on {two}"),
            "text_in_a": (f"text: {one} → {two}", f"in {a}"),
            "text_in_b": (f"text: {one} → {two}", f"in {b}"),
            INTERACTION: ("interaction of model and text", ""),
        }[margin]

    def sentences(self, layer: str | None = None) -> list[str]:
        """Return the findings of a layer in words: how far neurons move by model and text, and what explains them."""
        layer = self.layer(layer)
        rows = {row["margin"]: row for row in self._rows(layer)}
        parts = [f"{self.margin_name(margin)} {corrected_words(rows[margin])}" for margin in COMPARED]
        counts, joint = self._verdict_counts(layer), rows[INTERACTION]
        in_use = sum(counts.values()) - counts["unused"]
        sentences = [
            f"Corrected Hellinger distance of the layer (95% interval): {'; '.join(parts)}.",
            f"Of {plural(in_use, 'neuron')} in use, {counts['model']:,} differ significantly by the model alone, "
            f"{counts['text']:,} by the text alone, {counts['both']:,} by both and {counts['neither']:,} by neither "
            f"({fdr_label(self.fdr)}); for {counts['unknown']:,} it is unknown.",
        ]
        if not joint["tested"]:
            return [*sentences, "Interaction: unknown, because no neuron can be tested."]
        return [
            *sentences,
            f"Interaction: what the model changes differs between the texts in {joint['significant']:,} of "
            f"{plural(joint['tested'], 'tested neuron')} ({fdr_label(self.fdr)}); in the layer, "
            f"{corrected_words(joint)}, p = {joint['p_value']:.3g}.",
        ]

    def __repr__(self) -> str:
        counts = [
            f"{row['margin']} {row['significant']} of {row['tested']}"
            for row in (self._rows(self.layers[0]) if len(self.layers) == 1 else [])
        ]
        tests = f": {significant_label(self.fdr)}: {', '.join(counts)}" if counts else ""
        return (
            f"Decomposition(models={list(self.models)}, texts={list(self.texts)}, layers={list(self.layers)}, "
            f"{self.feature_type!r}{tests})"
        )

    def _repr_html_(self) -> str:
        headings = [
            "layer",
            "effect",
            "corrected Hellinger distance of the layer (95% interval)",
            "p-value of the layer",
        ]
        headings += ["median over neurons", "significant neurons"]
        rows = [
            (
                row["layer"],
                self.margin_name(row["margin"]),
                corrected_words(row),
                row["p_value"],
                row["median_corrected"],
                f"{row['significant']:,} of {row['tested']:,}",
            )
            for row in self.margins.iter_rows(named=True)
        ]
        sentences = self.sentences() if len(self.layers) == 1 else [f"{len(self.layers)} layers."]
        title = f"The neuron or the text ({self.feature_type})"
        return card(title, sentences, table("Effects", headings, rows))

    def plot(self, figure: str = "decomposition", *, layer: str | None = None) -> go.Figure:
        """Draw the decomposition.

        Args:
            figure: a function of `txray.plots`: `decomposition` (the margins) or `model_and_text` (the neurons).
            layer: required only if there are several.

        Raises:
            UnknownNameError, UsageError: an unknown figure, or as `layer`.
        """
        from txray import plots

        drawn: go.Figure = getattr(plots, figure_name(figure, _FIGURES))(self, layer)
        return drawn

    def _contents(self) -> dict[str, Any]:
        pairs = [
            (layer, margin, comparison)
            for layer, of_layer in self.comparisons.items()
            for margin, comparison in of_layer.items()
        ]
        compared = pl.concat(
            [
                comparison.neurons.with_columns(layer=pl.lit(layer), margin=pl.lit(margin))
                for layer, margin, comparison in pairs
            ]
        )
        return {
            "tables": {"margins": self.margins, "neurons": self.neurons},
            "arrays": {"comparisons": compared},
            "stages": dict(zip(_SIDES, self.stages, strict=True)),
            "settings": {
                "models": list(self.models),
                "texts": list(self.texts),
                "feature_type": self.feature_type,
                "settings": dict(self.settings),
                "comparisons": [
                    {
                        "layer": layer,
                        "margin": margin,
                        "summary": dict(comparison.summary),
                        **stored_settings(comparison),
                    }
                    for layer, margin, comparison in pairs
                ],
            },
        }

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Decomposition:
        stages = tuple(folder.stage(name) for name in _SIDES)
        compared, feature_type = folder.table("comparisons"), folder.settings["feature_type"]
        comparisons: dict[str, dict[str, Comparison]] = {}
        for entry in folder.settings["comparisons"]:
            layer, margin = entry["layer"], entry["margin"]
            rows = compared.filter(layer=layer, margin=margin).drop("layer", "margin")
            before, after = COMPARED[margin]
            comparisons.setdefault(layer, {})[margin] = restored(
                (stages[before], stages[after]),
                rows,
                entry["summary"],
                {**entry, "feature_type": feature_type},
            )
        models, texts = folder.settings["models"], folder.settings["texts"]
        return cls(
            folder.table("margins"),
            folder.table("neurons"),
            comparisons,
            stages,
            (models[0], models[1]),
            (texts[0], texts[1]),
            feature_type,
            folder.settings["settings"],
        )


def _decompose(
    stages: Sequence[Stage],
    layers: str | Sequence[str] | None,
    feature_type: str,
    weight: Weight,
    models: Sequence[str] | None,
    texts: Sequence[str] | None,
    settings: SignificanceSettings,
) -> Decomposition:
    square = arranged(stages)
    facts = {name: getattr(settings, name) for name in ("fdr", "permutations", "seed", "min_effect")}
    names_of_layers = common_layers(square, layers, "decompose")
    model_names = two_names(names_of_models(square) if models is None else models, "models")
    text_names = two_names(names_of_corpora(square) if texts is None else texts, "texts")
    of_layers = {
        layer: [stage.preferences(layer=layer, feature_type=feature_type) for stage in square]
        for layer in names_of_layers
    }
    for sides in of_layers.values():
        for before, after in COMPARED.values():
            require_folds(sides[before], sides[after])
    comparisons: dict[str, dict[str, Comparison]] = {}
    neurons, margins = [], []
    with progress("decomposing", len(MARGINS) * len(of_layers), unit="margins") as advance:
        for layer, sides in of_layers.items():
            comparisons[layer] = {}
            for margin, (before, after) in COMPARED.items():
                comparison = compare(
                    square[before],
                    square[after],
                    layer=layer,
                    feature_type=feature_type,
                    weight=weight,
                    **facts,
                )
                comparisons[layer][margin] = comparison
                neurons.append(neuron_rows(comparison, layer, margin))
                margins.append(layer_rows(comparison, neurons[-1], layer, margin, settings))
                advance()
            of_neurons, of_layer = interaction_rows(sides, layer, weight, settings)
            neurons.append(of_neurons)
            margins.append(of_layer)
            advance()
    return Decomposition(
        table_of_margins(margins),
        pl.concat(neurons),
        comparisons,
        tuple(_reduced(stage, names_of_layers, feature_type) for stage in square),
        model_names,
        text_names,
        feature_type,
        {**facts, "weight": weight},
    )


def _reduced(stage: Stage, layers: Sequence[str], feature_type: str) -> Stage:
    """Return a stage with nothing but the layers, the feature type, and the parts of speech that go with tokens."""
    types = {feature_type, "pos"} if feature_type == "token" else {feature_type}
    collected = {key: part for key, part in stage.collected.items() if key[0] in layers and key[1] in types}
    # Of the manifest, what says which model read which text.
    manifest = {
        name: stage.manifest[name]
        for name in ("model", "reading", "corpus", "layers")
        if name in stage.manifest
    }
    return Stage(stage.name, collected, pl.DataFrame(schema=EXEMPLAR_SCHEMA), manifest, stage.tags)
