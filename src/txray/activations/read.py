"""Recognize the format of stored activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import polars as pl

from txray._optional import import_extra
from txray.activations.arrays import SUFFIXES, array_files
from txray.activations.folder import FolderFiles
from txray.activations.neurox import NeuroXHdf5, NeuroXJson
from txray.activations.stored import ActivationFiles, Pooling, StoredActivations
from txray.activations.tables import DatasetTable, FrameTable, TableFiles, parquet_files
from txray.activations.writer import INDEX, UNFINISHED
from txray.errors import CaptureError, UnknownNameError, UsageError, in_one_line

HDF5, JSON = (".hdf5", ".h5"), (".json", ".jsonl")
_DATASET = ("dataset_info.json", "state.json")
_FILES = (*HDF5, *JSON, *SUFFIXES, ".parquet")


def is_activations(path: Path | str) -> bool:
    """Return whether a path holds stored activations, judged by the names of files.

    A folder with files of activations counts only if it is none of a model.
    """
    path = Path(path)
    if path.is_file():
        return path.suffix.lower() in _FILES
    if not path.is_dir():
        return False
    names = {file.name for file in path.iterdir()}
    if INDEX in names or UNFINISHED in names:
        return True
    if "config.json" in names or "model.safetensors" in names:
        return False
    suffixes = {Path(name).suffix.lower() for name in names}
    arrays = bool(suffixes & set(SUFFIXES)) and bool(names & {"tokens.json", "tokens.jsonl"})
    return arrays or set(_DATASET) <= names or bool(suffixes & {*HDF5, ".parquet"})


def read_activations(source: Path | str | Any, *, pooling: Pooling = "max") -> StoredActivations:
    """Open stored activations; `txray.collect` and `txray.layer_similarity` take the result in place of a model.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> stage = txray.collect(model, corpus, name="untrained", save_activations="activations")
    >>> stored = read_activations("activations")
    >>> stored.layers["rnn"].neurons
    8
    >>> again = txray.collect(stored, corpus, name="untrained")
    >>> bool((again["rnn", "token"].sum == stage["rnn", "token"].sum).all())
    True

    Args:
        source: a folder that `txray.collect(save_activations=...)` wrote; a file of NeuroX (`.hdf5`, `.json`), or a
            folder of such files with one layer each; `.safetensors`, `.npz` or `.npy` files of (tokens, neurons) arrays
            with the tokens in `tokens.jsonl` beside them; `.parquet` files; a data set of Hugging Face, or the folder
            that it was saved to; or a DataFrame of polars.
        pooling: how the pieces of a word are combined if tokens are pieces of words: their `max`, their `mean`, or the
            `first` or `last` piece. Ignored for folders of txray, which know that of the model.

    Raises:
        UnknownNameError: unknown pooling.
        UsageError: there is nothing of a known format, or a package is missing.
        CaptureError: a file is damaged, or its shapes do not agree with its tokens.
    """
    if pooling not in get_args(Pooling):
        raise UnknownNameError.of("pooling", pooling, get_args(Pooling))
    if not isinstance(source, str | Path):
        return StoredActivations(_of_object(source, pooling))
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    return StoredActivations(_of_folder(path, pooling) if path.is_dir() else _of_file(path, pooling))


def _of_object(source: Any, pooling: str) -> ActivationFiles:
    if isinstance(source, pl.DataFrame):
        return TableFiles(FrameTable(source), "DataFrame", pooling)
    if hasattr(source, "select_columns") and hasattr(source, "with_format") and hasattr(source, "__len__"):
        if not len(source):
            raise CaptureError("data set: has no rows")
        return TableFiles(DatasetTable(source), "data set", pooling)
    raise UsageError(
        f"read_activations: got a {type(source).__name__}; pass a path, a data set of Hugging Face (one split), or a "
        "DataFrame of polars"
    )


def _of_file(path: Path, pooling: str) -> ActivationFiles:
    suffix = path.suffix.lower()
    if suffix in HDF5:
        return NeuroXHdf5([path], str(path), pooling)
    if suffix in JSON:
        return NeuroXJson([path], str(path), pooling)
    if suffix in SUFFIXES:
        return array_files(path, pooling)
    if suffix == ".parquet":
        return parquet_files([path], str(path), pooling)
    raise UsageError(f"{path}: stored activations are {', '.join(_FILES)} files, or folders of them")


def _of_folder(path: Path, pooling: str) -> ActivationFiles:
    if (path / UNFINISHED).is_file():
        raise CaptureError(
            f"{path}: its collection is not finished; run it again with the same settings to complete it"
        )
    if (path / INDEX).is_file():
        return FolderFiles(path)
    if all((path / name).is_file() for name in _DATASET):
        datasets = import_extra(f"{path}: a data set needs", "hf", "datasets")
        try:
            dataset = datasets.load_from_disk(str(path))
        except Exception as error:
            raise CaptureError(f"{path}: no data set that can be read ({in_one_line(error)})") from error
        files = _of_object(dataset, pooling)
        files.location = str(path)
        return files
    by_suffix: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        by_suffix.setdefault(file.suffix.lower(), []).append(file)
    if hdf5 := [file for suffix in HDF5 for file in by_suffix.get(suffix, ())]:
        return NeuroXHdf5(hdf5, str(path), pooling)
    if any(suffix in by_suffix for suffix in SUFFIXES):
        return array_files(path, pooling)
    if ".parquet" in by_suffix:
        return parquet_files(by_suffix[".parquet"], str(path), pooling)
    if ".json" in by_suffix:
        return NeuroXJson(by_suffix[".json"], str(path), pooling)
    raise UsageError(f"{path}: holds no {INDEX} and no {', '.join(_FILES)} files")
