"""The subjects of an analysis: stages or preferences, and which of their layers are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from txray.errors import UsageError
from txray.layer_patterns import matching_names
from txray.preferences.preferences import Preferences
from txray.preferences.stage import Stage


def preferences_of(subject: Stage | Preferences, layer: str | None, feature_type: str) -> Preferences:
    """Return the preferences themselves, or those of one layer of a stage.

    Args:
        subject: a stage, or preferences, which are returned as they are.
        layer: of the stage; required only if it has several layers.
        feature_type: of the stage.

    Raises:
        UsageError: several layers, and none is named.
        UnknownNameError: an unknown layer or feature type.
    """
    if isinstance(subject, Preferences):
        return subject
    return subject.preferences(layer=layer, feature_type=feature_type)


def same_documents(before: Stage | Preferences, after: Stage | Preferences) -> bool | None:
    """Return whether two stages read the same documents, according to their manifests; None if unknown."""
    return same_documents_of(*(side.manifest if isinstance(side, Stage) else {} for side in (before, after)))


def same_documents_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool | None:
    """Return whether two manifests name the same documents; None if one of them names none."""
    digests = [(manifest.get("corpus") or {}).get("documents_digest") for manifest in (before, after)]
    return None if None in digests else digests[0] == digests[1]


def common_layers(stages: Sequence[Stage], layers: str | Sequence[str] | None, caller: str) -> list[str]:
    """Return the layers that every stage has, in the order of the first stage.

    Args:
        stages: at least one.
        layers: a name or pattern, or several, see `matching_names`; None for all.
        caller: the name of the function, for the error.

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
