"""The manifest of a stage folder: names of the files, and a check of what was written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from txray.errors import StageError, UsageError
from txray.preferences.folds import MAX_FOLDS
from txray.text import is_text

FORMAT = 2
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.safetensors"
"""In the folder of a stage that is still being collected, instead of everything else."""

MANIFEST_KEYS = ("format", "name", "features", "neurons", "folds", "selections", "checksums", "runner_ups")
"""Keys of a manifest that saving writes; a stage that was never saved has none of them."""

_REQUIRED_FILES = ("exemplars.parquet", "tags.parquet", "scales.parquet")

_FILE_NAME = re.compile(r"[\w.-]{1,100}")
_FILE_NAME_BYTES = 200


def require_names(name: str, feature_types: Iterable[str]) -> None:
    """Raise if a stage folder cannot hold these names, so that mistakes surface before the work and not after it.

    Raises:
        UsageError: a name with half of a surrogate pair, or a feature type that cannot be part of a file name.
    """
    if not is_text(name):
        raise UsageError(
            f"stage {name!r}: the name holds half of a surrogate pair, which is no text; rename it"
        )
    for feature_type in feature_types:
        if not _FILE_NAME.fullmatch(feature_type) or len(feature_type.encode()) > _FILE_NAME_BYTES:
            raise UsageError(
                f"stage {name!r}: feature type {feature_type!r} cannot be part of a file name; rename the annotation "
                "to at most 100 letters, digits, '_', '-' and '.'"
            )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a stage folder.

    Raises:
        StageError: it cannot be read, is of another format, or holds other values than were written.
    """
    file = folder / MANIFEST
    try:
        manifest: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise StageError(f"{file}: not a readable manifest ({error}); collect the stage again") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version != FORMAT:
        raise StageError(f"{file}: format {version!r}, txray reads format {FORMAT}; collect the stage again")
    wrong = [name for name, fits in _FIELDS.items() if not fits(manifest.get(name))]
    if not wrong:
        tables = {
            f"{part}.{feature_type}.parquet"
            for feature_type in manifest["features"]
            for part in ("features", "preferences")
        }
        concepts = manifest.get("concepts") or {}
        tables |= {f"histograms.{feature_type}.parquet" for feature_type in concepts}
        if not {*tables, *_REQUIRED_FILES} <= manifest["checksums"].keys():
            wrong = ["checksums"]
        if not concepts.keys() <= set(manifest["features"]):
            wrong = ["concepts"]
    if wrong:
        raise StageError(
            f"{file}: lacks {', '.join(wrong)}, or they are not as written; collect the stage again"
        )
    try:
        # They become names of files.
        require_names(manifest["name"], manifest["features"])
    except UsageError as error:
        raise StageError(f"{file}: {error}") from error
    return dict(manifest)


def _is_map(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(is_text, value)) and all(map(fits, value.values()))


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1 << 40


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": is_text,
    "features": lambda value: isinstance(value, list) and bool(value) and all(map(is_text, value)),
    "neurons": lambda value: _is_map(value, _is_count) and bool(value),
    "folds": lambda value: _is_count(value) and value <= MAX_FOLDS,
    "selections": lambda value: _is_map(value, is_text),
    "checksums": lambda value: _is_map(value, is_text),
    "runner_ups": lambda value: value is None or _is_map(value, lambda layers: isinstance(layers, list)),
    # Known to a collection only; a stage made by hand may lack it.
    "words": lambda value: value is None or _is_count(value),
    "layers": lambda value: value is None or _is_map(value, lambda account: isinstance(account, dict)),
    "corpus": lambda value: value is None or isinstance(value, dict),
    "concepts": lambda value: value is None or _is_map(value, lambda names: isinstance(names, list)),
    "model": lambda value: value is None or isinstance(value, dict),
}
"""Field of a manifest -> whether a value can be what was written there."""
