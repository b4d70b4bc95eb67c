"""Preferences for other tools: pandas, Arrow, CSV, Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from txray._optional import import_package
from txray.files import atomic_file

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences
    from txray.preferences.stage import Stage

_FORMULA = r"^[=+\-@\t\r\n'＝＋－＠]"
"""Words that a spreadsheet runs as a formula; and those with an apostrophe, so that taking it away undoes all."""


def as_pandas(preferences: Preferences) -> Any:
    """See `Preferences.to_pandas`."""
    pandas = import_package("pandas", "to_pandas")
    table = preferences.table()
    # Column by column, because polars' own way needs pyarrow as well.
    columns = {
        column.name: pandas.Series(column.to_list(), dtype=str)
        if column.dtype == pl.String
        else column.to_numpy()
        for column in table
    }
    frame = pandas.DataFrame(columns)
    frame.attrs.update(origin(preferences))
    return frame


def as_arrow(preferences: Preferences) -> Any:
    """See `Preferences.to_arrow`."""
    import_package("pyarrow", "to_arrow")
    return preferences.table().to_arrow().replace_schema_metadata(origin(preferences))


def origin(preferences: Preferences) -> Mapping[str, str]:
    """What a table of preferences is of."""
    return {name: getattr(preferences, name) for name in ("stage", "layer", "feature_type", "selection")}


def write_csv(preferences: Preferences, path: Path | str, *, spreadsheet: bool) -> Path:
    """See `Preferences.write_csv`."""
    target = Path(path)
    table = preferences.table()
    if spreadsheet:
        word = pl.col("feature")
        table = table.with_columns(
            pl.when(word.str.contains(_FORMULA)).then(pl.lit("'") + word).otherwise(word).alias("feature")
        )
    with atomic_file(target) as temporary:
        # Words always in quotes: none is taken for a number or for a gap by a reader that looks at quotes.
        table.write_csv(temporary, quote_style="non_numeric")
    return target


def as_dataset(stage: Stage, feature_type: str, layer: str | None) -> Any:
    """See `Stage.to_dataset`."""
    datasets = import_package("datasets", "to_dataset")
    layers = stage.layers if layer is None else (layer,)
    tables = [
        stage.preferences(name, feature_type).table().select(pl.lit(name).alias("layer"), pl.all())
        for name in layers
    ]
    description = (
        f"txray preferences of stage {stage.name!r} for the feature type {feature_type!r}: one row per layer, neuron "
        "and feature that the neuron prefers"
    )
    return datasets.Dataset(pl.concat(tables).to_arrow(), info=datasets.DatasetInfo(description=description))
