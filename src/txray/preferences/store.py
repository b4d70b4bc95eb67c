"""The stage folder: a manifest and Parquet tables that any tool can read.

    manifest.json               format, model, corpus, layers, selection, word accounting, checksums
    features.<kind>.parquet     feature, fold, count: occurrences in the corpus
    preferences.<kind>.parquet  layer, fold, neuron, feature, count, sum, sum_sq, max
    exemplars.parquet           the strongest occurrences of every neuron
    tags.parquet                token, pos, count: which tags each token carried
    scales.parquet              layer, neuron, mean, deviation: what activations were standardized with
    documents.parquet           kind, hash, words: which texts and groups were read

A folder is complete or absent: it is written to a temporary sibling, synced and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from txray.errors import StageError, TxrayError, in_one_line
from txray.files import atomic_folder, sha256_of
from txray.preferences.documents import DOCUMENT_SCHEMA, as_documents
from txray.preferences.exemplars import EXEMPLAR_SCHEMA, as_exemplars
from txray.preferences.folds import MOST_FOLDS
from txray.preferences.preferences import Preferences
from txray.preferences.scales import SCALE_SCHEMA
from txray.preferences.stage import Stage
from txray.preferences.tags import TAG_SCHEMA
from txray.text import is_text

FORMAT = 2
MANIFEST = "manifest.json"
DOCUMENTS = "documents.parquet"
CHECKPOINT = "checkpoint.safetensors"
"""In the folder of a stage that is still being collected, instead of everything else."""


def save_stage(stage: Stage, folder: Path | str) -> Path:
    """Write a stage folder, complete or not at all.

    Args:
        stage: what to write.
        folder: created, or replaced if it holds a stage already.

    Returns:
        The folder.

    Raises:
        OutputError: the place cannot be written, or holds something else than a stage.
    """
    target = Path(folder)
    with atomic_folder(target, markers=(MANIFEST, CHECKPOINT)) as place:
        for feature_type in stage.feature_types:
            write_rows(_of_kind(stage, feature_type), place / f"preferences.{feature_type}.parquet")
        write_others(stage, place)
    return target


def write_others(stage: Stage, place: Path) -> None:
    """Write all of a stage but its rows, which lie in `place` already."""
    for feature_type in stage.feature_types:
        _features(_of_kind(stage, feature_type)[0]).write_parquet(place / f"features.{feature_type}.parquet")
    stage.exemplars.select(*EXEMPLAR_SCHEMA).write_parquet(place / "exemplars.parquet")
    stage.tags.select(*TAG_SCHEMA).write_parquet(place / "tags.parquet")
    stage.scales.select(*SCALE_SCHEMA).write_parquet(place / "scales.parquet")
    stage.documents.select(*DOCUMENT_SCHEMA).write_parquet(place / DOCUMENTS)
    _write_manifest(stage, place)


def _of_kind(stage: Stage, feature_type: str) -> list[Preferences]:
    return [
        stage.collected[layer, feature_type]
        for layer in stage.layers
        if (layer, feature_type) in stage.collected
    ]


def _write_manifest(stage: Stage, place: Path) -> None:
    first = {layer: stage.preferences(layer, stage.feature_types[0]) for layer in stage.layers}
    manifest = {
        **stage.manifest,
        "format": FORMAT,
        "name": stage.name,
        "features": list(stage.feature_types),
        "neurons": {layer: preferences.n_neurons for layer, preferences in first.items()},
        "folds": first[stage.layers[0]].folds,
        "selections": {layer: preferences.selection for layer, preferences in first.items()},
        "checksums": {file.name: sha256_of(file) for file in sorted(place.glob("*.parquet"))},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (place / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="strict")


OF_FOLDERS = ("format", "name", "features", "neurons", "folds", "selections", "checksums")
"""Keys of a manifest that saving writes; a stage that was never saved has none of them."""


def load_stage(folder: Path | str) -> Stage:
    """Read a stage folder.

    Raises:
        StageError: missing, unfinished, of another format, or damaged.
    """
    return _loaded(Path(folder), rows=True)


def load_outline(folder: Path | str) -> Stage:
    """Read a stage folder, but neither rows nor exemplars, which are the most of it: all neurons seem un-preferred.

    Raises:
        StageError: as for `load_stage`; the checksums of everything are looked at.
    """
    return _loaded(Path(folder), rows=False)


def _loaded(place: Path, *, rows: bool) -> Stage:
    manifest = read_manifest(place)
    for name, expected in manifest["checksums"].items():
        file = place / name
        if not file.is_file():
            raise StageError(f"stage folder {place}: {name} is missing; collect the stage again")
        if sha256_of(file) != expected:
            raise StageError(
                f"stage folder {place}: {name} is damaged (checksum differs); collect the stage again"
            )
    try:
        return _read(place, manifest, rows=rows)
    # Tables that are whole and yet not what they should be fail in many ways.
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        TxrayError,
        pl.exceptions.PolarsError,
    ) as error:
        text = in_one_line(error)
        raise StageError(f"stage folder {place}: cannot be read ({text}); collect the stage again") from error


def _read(place: Path, manifest: dict[str, Any], *, rows: bool) -> Stage:
    collected: dict[tuple[str, str], Preferences] = {}
    for feature_type in manifest["features"]:
        vocabulary = read_vocabulary(place, manifest, feature_type)
        file = place / f"preferences.{feature_type}.parquet"
        of_kind = _table(file) if rows else pl.read_parquet(file, n_rows=0)
        for layer in manifest["neurons"]:
            of_layer = of_kind.filter(pl.col("layer") == layer)
            collected[layer, feature_type] = _preferences(manifest, layer, feature_type, vocabulary, of_layer)
    # Cast, so that columns of another kind are found now and not where they are used.
    exemplars = read_exemplars(place) if rows else pl.DataFrame(schema=EXEMPLAR_SCHEMA)
    tags, scales = (
        pl.read_parquet(place / f"{name}.parquet").cast(schema)  # type: ignore[arg-type]
        for name, schema in (("tags", TAG_SCHEMA), ("scales", SCALE_SCHEMA))
    )
    stage = Stage(manifest["name"], collected, exemplars, manifest, tags, scales)
    return replace(stage, documents=as_documents(pl.read_parquet(place / DOCUMENTS)))


def read_exemplars(place: Path) -> pl.DataFrame:
    """The exemplars of a stage folder, with columns as in `EXEMPLAR_SCHEMA`."""
    return as_exemplars(pl.read_parquet(place / "exemplars.parquet"))


def read_block(place: Path, layer: str, feature_type: str, fold: int) -> pl.DataFrame:
    """The rows of one fold of a layer, as they stand in the file, without reading those of the others.

    Args:
        place: the stage folder.
        layer, kind, fold: which.
    """
    file = place / f"preferences.{feature_type}.parquet"
    wanted = pl.scan_parquet(file).filter(pl.col("layer") == layer, pl.col("fold") == fold)
    return _checked(file, wanted.collect())


def feature_ids(features: pl.Series, names: NDArray[np.object_]) -> NDArray[np.int64]:
    """(n,) the place of each feature among these names."""
    # A cast to an enumeration looks the strings up in bulk, far faster than a search per row.
    return features.cast(pl.Enum(names.tolist())).to_physical().to_numpy().astype(np.int64)


Vocabulary = tuple[NDArray[np.object_], NDArray[np.int64]]
"""Features of one kind, sorted, and how often each occurs in the corpus, fold by fold."""


def read_vocabulary(place: Path, manifest: Mapping[str, Any], feature_type: str) -> Vocabulary:
    """What `read_layer` needs of a feature type, and all layers have in common.

    Args:
        place: the stage folder.
        manifest: from `read_manifest`.
        kind: one of its features.
    """
    return _read_features(place / f"features.{feature_type}.parquet", manifest["folds"])


def read_layer(
    place: Path,
    manifest: Mapping[str, Any],
    layer: str,
    feature_type: str,
    vocabulary: Vocabulary,
    neuron: int | None = None,
) -> Preferences:
    """The preferences of one layer, without reading those of the others; checksums are not looked at.

    Args:
        place: the stage folder.
        manifest: from `read_manifest`.
        layer, kind: which.
        vocabulary: from `read_vocabulary`.
        neuron: only this one of the layer is read; the others seem un-preferred.
    """
    file = place / f"preferences.{feature_type}.parquet"
    wanted = pl.scan_parquet(file).filter(pl.col("layer") == layer)
    if neuron is not None:
        wanted = wanted.filter(pl.col("neuron") == neuron)
    rows = _checked(file, wanted.collect())
    return _preferences(manifest, layer, feature_type, vocabulary, rows)


def _preferences(
    manifest: Mapping[str, Any], layer: str, feature_type: str, vocabulary: Vocabulary, rows: pl.DataFrame
) -> Preferences:
    names, corpus_counts = vocabulary
    if (rows["count"] < 1).any() or (rows["sum"] < 0).any():
        raise ValueError(f"preferences.{feature_type}.parquet: a count below 1 or a sum below 0")
    return Preferences(
        stage=manifest["name"],
        layer=layer,
        feature_type=feature_type,
        selection=manifest["selections"][layer],
        n_neurons=manifest["neurons"][layer],
        features=names,
        corpus_counts=corpus_counts,
        fold=rows["fold"].to_numpy().astype(np.int64),
        neuron=rows["neuron"].to_numpy().astype(np.int64),
        feature_id=feature_ids(rows["feature"], names),
        **{name: rows[name].to_numpy() for name in ("count", "sum", "sum_sq", "max")},
    )


def _table(file: Path) -> pl.DataFrame:
    """The rows of preferences, or of features, all of them whole and of the kinds that are written."""
    return _checked(file, pl.read_parquet(file))


def _checked(file: Path, table: pl.DataFrame) -> pl.DataFrame:
    numbers = {"count": pl.Int64, "sum": pl.Float64, "sum_sq": pl.Float64, "max": pl.Float64}
    for name, dtype in table.schema.items():
        if table[name].null_count() or (name in numbers and dtype != numbers[name]):
            raise ValueError(f"{file.name}: column {name!r} has gaps, or is of kind {dtype}")
        if dtype == pl.Float64 and not table[name].is_finite().all():
            raise ValueError(f"{file.name}: column {name!r} holds what is no number")
    return table


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a stage folder.

    Raises:
        StageError: missing, unreadable, or of another format.
    """
    file = folder / MANIFEST
    if (folder / CHECKPOINT).is_file() and not file.is_file():
        raise StageError(
            f"{folder}: holds an unfinished collection; start the same 'txray collect' again to complete it"
        )
    if not file.is_file():
        raise StageError(
            f"{folder}: no stage folder (it has no {MANIFEST}); name a folder that 'txray collect' wrote"
        )
    try:
        manifest: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise StageError(f"{file}: not a readable manifest ({error}); collect the stage again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise StageError(f"{file}: format {found!r}, txray reads format {FORMAT}; collect the stage again")
    wrong = [name for name, fits in _FIELDS.items() if not fits(manifest.get(name))]
    if not wrong:
        tables = {
            f"{part}.{feature_type}.parquet"
            for feature_type in manifest["features"]
            for part in ("features", "preferences")
        }
        if not {*tables, *_ALWAYS} <= manifest["checksums"].keys():
            wrong = ["checksums"]
    if wrong:
        raise StageError(
            f"{file}: lacks {', '.join(wrong)}, or they are not as written; collect the stage again"
        )
    return dict(manifest)


_ALWAYS = ("exemplars.parquet", "tags.parquet", "scales.parquet")


def _is_map(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(is_text, value)) and all(map(fits, value.values()))


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1 << 40


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": is_text,
    "features": lambda value: isinstance(value, list) and bool(value) and all(map(is_text, value)),
    "neurons": lambda value: _is_map(value, _is_count) and bool(value),
    "folds": lambda value: _is_count(value) and value <= MOST_FOLDS,
    "selections": lambda value: _is_map(value, is_text),
    "checksums": lambda value: _is_map(value, is_text),
    # What only a collection knows; a stage made by hand may lack it.
    "words": lambda value: value is None or _is_count(value),
    "layers": lambda value: value is None or _is_map(value, lambda account: isinstance(account, dict)),
    "corpus": lambda value: value is None or isinstance(value, dict),
    "model": lambda value: value is None or isinstance(value, dict),
}
"""Field of a manifest -> whether a value can be what was written there."""


def _features(preferences: Preferences) -> pl.DataFrame:
    feature_id, fold = np.nonzero(preferences.corpus_counts.T)
    return pl.DataFrame(
        {
            "feature": _named(preferences.features, feature_id),
            "fold": fold.astype(np.uint16),
            "count": preferences.corpus_counts[fold, feature_id],
        }
    )


def _read_features(file: Path, folds: int) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    table = _table(file)
    # Written in sorted order, feature by feature, so each run of one feature is one of the sorted vocabulary.
    place = table["feature"].rle_id().to_numpy().astype(np.int64)
    names = table["feature"].filter(np.diff(place, prepend=-1) > 0).to_numpy()
    if len(names) != table["feature"].n_unique():
        raise ValueError(f"{file.name}: the rows of a feature do not stand together")
    counts = np.zeros((folds, len(names)), np.int64)
    counts[table["fold"].to_numpy(), place] = table["count"].to_numpy()
    return names, counts


def _named(names: NDArray[np.object_], feature_id: NDArray[np.int64]) -> pl.Series:
    return pl.Series(names.tolist(), dtype=pl.String).gather(feature_id)


def write_rows(of_kind: Iterable[Preferences], file: Path) -> None:
    """Write part by part: a table of everything would take as much memory again.

    Args:
        of_kind: of all layers, or of parts of them, in the order of the file: by layer, then fold, then neuron.
        file: to be written.
    """

    def parts(*_: object) -> Iterator[pl.DataFrame]:
        for preferences in of_kind:
            for start in range(0, len(preferences.fold), _WRITTEN_ROWS):
                yield _rows(preferences, slice(start, start + _WRITTEN_ROWS))

    # lz4: a quarter larger than zstd on real text, and read twice as fast.
    register_io_source(parts, schema=_ROW_SCHEMA).sink_parquet(file, compression="lz4", maintain_order=True)


def _rows(preferences: Preferences, part: slice) -> pl.DataFrame:
    feature_type = _named(preferences.features, preferences.feature_id[part])
    return pl.DataFrame(
        {
            "layer": pl.Series([preferences.layer], dtype=pl.String).new_from_index(0, len(feature_type)),
            "fold": preferences.fold[part].astype(np.uint16),
            "neuron": preferences.neuron[part].astype(np.uint32),
            "feature": feature_type,
            **{name: getattr(preferences, name)[part] for name in ("count", "sum", "sum_sq", "max")},
        },
        schema=_ROW_SCHEMA,
    )


_WRITTEN_ROWS = 1 << 18

_ROW_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "fold": pl.UInt16(),
    "neuron": pl.UInt32(),
    "feature": pl.String(),
    "count": pl.Int64(),
    "sum": pl.Float64(),
    "sum_sq": pl.Float64(),
    "max": pl.Float64(),
}
