"""Hugging Face data sets that were saved to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from txray._optional import import_extra
from txray.corpus.columns import ColumnOptions
from txray.corpus.corpus import Corpus
from txray.corpus.datasets import from_dataset
from txray.corpus.sources import kind_of
from txray.errors import CorpusError, UnknownNameError, UsageError, in_one_line

_SPLITS, _STATE = "dataset_dict.json", "state.json"
"""Files in a folder with several splits, and in one with a single data set."""


def read_hf(path: Path, split: str | None = None, **options: Unpack[ColumnOptions]) -> Corpus:
    """Read a folder that `save_to_disk` of the package datasets wrote; needs that package.

    Columns and values are treated as by `txray.corpus.from_dataset`. Parquet files, as the hub has them, are read by
    the format `parquet`, without that package.

    Args:
        path: the folder.
        split: needed if the folder holds several.
        options: `text`, `words`, `id`, `label`, `group`, `annotations`, `tokenized` and `html` of
            `txray.corpus.from_dataset`.

    Raises:
        CorpusError: nothing readable at `path`; while reading: an unusable value, with its row.
        UnknownNameError: no such split or column.
        UsageError: a split of a single data set, or none of several; a column that holds something else than is needed;
            datasets is not installed.
    """
    datasets = import_extra("format 'hf' needs", "hf", "datasets")
    if kind_of(path) != "folder" or not any((path / name).is_file() for name in (_SPLITS, _STATE)):
        raise CorpusError(
            f"{path}: is not a folder that save_to_disk wrote (it has no {_STATE} or {_SPLITS}); for Parquet files use "
            "the format 'parquet'"
        )
    try:
        loaded = datasets.load_from_disk(str(path))
    # A damaged folder raises any kind of exception.
    except Exception as error:
        reason = in_one_line(error)
        raise CorpusError(f"{path}: cannot be loaded ({reason}); save the data set again") from error
    dataset, name = _of_split(path, loaded, split)
    return from_dataset(dataset, name=name, **options)


def _of_split(path: Path, loaded: Any, split: str | None) -> tuple[Any, str]:
    if not isinstance(loaded, dict):
        if split is not None and split != str(loaded.split):
            raise UsageError(
                f"{path}: holds a single data set, so {split!r} cannot be chosen; omit the split"
            )
        return loaded, path.name
    if split is None and len(loaded) > 1:
        raise UsageError(f"{path}: needs a split, one of {', '.join(loaded)} (split=..., or --split)")
    if split is not None and split not in loaded:
        raise UnknownNameError.of("split", split, loaded, where=str(path))
    name = split if split is not None else next(iter(loaded))
    return loaded[name], f"{path.name}/{name}"
