"""The subjects of an analysis: stages or preferences, and which of their layers are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from txray.errors import ShapeError, UsageError
from txray.layer_patterns import matching_names
from txray.preferences.documents import documents_in_common
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.preferences import Preferences
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import StageFolder
from txray.preferences.stage_like import StageLike, as_stage


def subject(side: StageLike | Preferences) -> Stage | Preferences:
    """Return preferences as they are, and a stage or stage folder as a stage in memory.

    Raises:
        UsageError: neither a stage, nor its folder, nor preferences.
        StageError: a folder that is missing or damaged.
    """
    return side if isinstance(side, Preferences) else as_stage(side)


def preferences_of(subject: Stage | Preferences, layer: str | None, feature_type: str) -> Preferences:
    """Return preferences as they are, and of a stage those of one layer; see `Stage.preferences`."""
    if isinstance(subject, Preferences):
        return subject
    return subject.preferences(layer=layer, feature_type=feature_type)


def same_documents(
    before: Stage | StageFolder | Preferences, after: Stage | StageFolder | Preferences
) -> bool | None:
    """Return whether two stages read the same documents, according to their manifests; None if unknown."""
    manifests = [{} if isinstance(side, Preferences) else side.manifest for side in (before, after)]
    digests = [(manifest.get("corpus") or {}).get("documents_digest") for manifest in manifests]
    return None if None in digests else digests[0] == digests[1]


_OBSERVED = ("counted", "skipped", "random", "constant", "call_assumed")
"""Entries of a layer's account in a manifest that say what was observed there, not how the layer was read."""


def same_model(
    before: Stage | StageFolder | Preferences, after: Stage | StageFolder | Preferences, layer: str
) -> bool | None:
    """Return whether the same model, read in the same way, gave the neurons of a layer; None if that is unknown.

    The manifests decide: by the fingerprint of the model, which covers weights, structure and active adapters; by how
    text is read; and by the settings of the layer, such as its selection, and the modules between it and its neurons.
    False if any of these differ. Unknown for preferences without a manifest, activations stored without the
    fingerprint of their model, and layers that give different activations for the same input.
    """
    sides = [
        None if isinstance(side, Preferences) else _model_of(side.manifest, layer) for side in (before, after)
    ]
    if sides[0] is None or sides[1] is None:
        return None
    return sides[0] == sides[1]


def only_text(before: Stage | StageFolder, after: Stage | StageFolder, layers: Sequence[str]) -> bool:
    """Return whether only the text can explain differences in any of these layers: one model read two texts."""
    return same_documents(before, after) is not True and all(
        same_model(before, after, layer) is True for layer in layers
    )


def _model_of(manifest: Mapping[str, Any], layer: str) -> tuple[object, ...] | None:
    """Return what identifies the neurons of a layer; None if the manifest does not identify them."""
    model, account = manifest.get("model") or {}, (manifest.get("layers") or {}).get(layer) or {}
    reading = dict(manifest.get("reading") or {})
    # Stored activations have a fingerprint of their files, and perhaps that of the model beside it.
    stored = reading.pop("activations", None) is not None
    fingerprint = model.get("model_fingerprint" if stored else "fingerprint")
    if fingerprint is None or not account or account.get("random"):
        return None
    settings = {name: value for name, value in account.items() if name not in _OBSERVED}
    return fingerprint, reading, settings


def text_facts(
    before: Stage | StageFolder | Preferences, after: Stage | StageFolder | Preferences
) -> dict[str, int | float]:
    """Return what the summary of a comparison says of the texts: lengths of documents, and documents in common.

    Empty where it is unknown; see `document_lengths` and `documents_in_common`.
    """
    facts: dict[str, int | float] = {**document_lengths(before, after)}
    if isinstance(before, Preferences) or isinstance(after, Preferences):
        return facts
    return {**facts, **documents_in_common(before.documents, after.documents)}


def document_lengths(
    before: Stage | StageFolder | Preferences, after: Stage | StageFolder | Preferences
) -> dict[str, float]:
    """Return `words_per_document_before` and `_after`, means by the manifests; empty if either is unknown."""
    lengths = {}
    for name, side in (("before", before), ("after", after)):
        manifest = {} if isinstance(side, Preferences) else side.manifest
        words, documents = manifest.get("words"), (manifest.get("corpus") or {}).get("documents")
        if not words or not documents:
            return {}
        lengths[f"words_per_document_{name}"] = words / documents
    return lengths


def common_layers(stages: Sequence[Stage], layers: str | Sequence[str] | None, caller: str) -> list[str]:
    """Return the layers that every stage has, in the order of the first stage; all if `layers` is None.

    Args:
        stages: at least one.
        layers: names or patterns, see `matching_names`.
        caller: name of the function, for the error.

    Raises:
        UsageError: no layer in common, or an empty list of layers.
        UnknownNameError: a layer that not every stage has.
    """
    common = [layer for layer in stages[0].layers if all(layer in stage.layers for stage in stages)]
    if layers is None and common:
        return common
    if not common or not layers:
        raise UsageError(f"{caller}: stages {[stage.name for stage in stages]} have no layer in common")
    return matching_names(layers, common, "layer of every stage")


def stage_of(*preferences: Preferences, tags: pl.DataFrame | None = None) -> Stage:
    """Return a stage that holds only these preferences of one stage, at least one, and the tags of its tokens."""
    collected = {(part.layer, part.feature_type): part for part in preferences}
    stage = Stage(preferences[0].stage, collected, pl.DataFrame(schema=EXEMPLAR_SCHEMA))
    return stage if tags is None else Stage(stage.name, collected, stage.exemplars, tags=tags)


def tagged_stages(
    before: Stage | Preferences, after: Stage | Preferences, layer: str
) -> tuple[Stage, Stage] | None:
    """Return both stages with nothing but tokens and parts of speech of a layer; None if they lack either."""
    names = [(layer, "token"), (layer, "pos")]
    tagged = [
        stage_of(*(side.collected[name] for name in names), tags=side.tags)
        for side in (before, after)
        if isinstance(side, Stage) and set(names) <= side.collected.keys()
    ]
    return (tagged[0], tagged[1]) if len(tagged) == 2 else None


def require_comparable(before: Preferences, after: Preferences) -> None:
    """Raise if two preferences cannot be compared neuron by neuron.

    Raises:
        ShapeError: they hold different numbers of neurons, or another feature type or selection.
    """
    if before.n_neurons != after.n_neurons:
        raise ShapeError(
            f"stage {after.stage!r}: layer {after.layer!r} has {after.n_neurons} neurons, stage "
            f"{before.stage!r}: layer {before.layer!r} has {before.n_neurons}; compare needs the same layer of "
            "the same model (txray.match works across layers and models)"
        )
    require_same_feature_type(before, after, "compare")
    if before.selection != after.selection:
        raise ShapeError(
            f"stage {before.stage!r} was collected with selection {before.selection!r}, stage {after.stage!r} with "
            f"{after.selection!r}; collect both in the same way"
        )


def require_same_feature_type(before: Preferences, after: Preferences, verb: str) -> None:
    """Raise `ShapeError` for preferences of different feature types; `verb` says what was to be done with them."""
    if before.feature_type != after.feature_type:
        raise ShapeError(
            f"stage {before.stage!r} holds feature type {before.feature_type!r}, stage {after.stage!r} "
            f"{after.feature_type!r}; {verb} the same feature type"
        )


def require_tagged(tagged: tuple[Stage, Stage] | None, what: str) -> tuple[Stage, Stage]:
    """Return both stages of `Comparison.tagged`.

    Raises:
        UsageError: there are none; `what` needs them.
    """
    if tagged is None:
        raise UsageError(
            f"{what}: needs tokens and their parts of speech; compare two stages that were collected with both 'token' "
            "and 'pos'"
        )
    return tagged
