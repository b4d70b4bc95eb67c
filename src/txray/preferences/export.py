"""Export tables of preferences to other tools: pandas, Arrow, CSV, Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from txray._optional import import_package
from txray.files import atomic_file

_FORMULA = r"^[=+\-@\t\r\n'＝＋－＠]"
"""Words that a spreadsheet runs as a formula, and those with an apostrophe, so that removing it restores all."""


def to_pandas(table: pl.DataFrame, attrs: Mapping[str, str]) -> Any:
    """Return a table as a pandas data frame; see `Preferences.to_pandas`."""
    pandas = import_package("pandas", "to_pandas")
    # Column by column, because polars' own way needs pyarrow as well.
    columns = {
        column.name: pandas.Series(column.to_list(), dtype=str)
        if column.dtype == pl.String
        else column.to_numpy()
        for column in table
    }
    frame = pandas.DataFrame(columns)
    frame.attrs.update(attrs)
    return frame


def to_arrow(table: pl.DataFrame, metadata: Mapping[str, str]) -> Any:
    """Return a table as an Arrow table; see `Preferences.to_arrow`."""
    import_package("pyarrow", "to_arrow")
    return table.to_arrow().replace_schema_metadata(metadata)


def write_csv(table: pl.DataFrame, path: Path | str, *, spreadsheet: bool) -> Path:
    """Write a table as a CSV file; see `Preferences.write_csv`."""
    target = Path(path)
    if spreadsheet:
        word = pl.col("feature")
        table = table.with_columns(
            pl.when(word.str.contains(_FORMULA)).then(pl.lit("'") + word).otherwise(word).alias("feature")
        )
    with atomic_file(target) as temporary:
        # Words always in quotes, so that readers that respect quotes take none for a number or a gap.
        table.write_csv(temporary, quote_style="non_numeric")
    return target


def to_dataset(stage_name: str, feature_type: str, tables: Mapping[str, pl.DataFrame]) -> Any:
    """Return the tables of some layers, by name, as one data set; see `Stage.to_dataset`."""
    datasets = import_package("datasets", "to_dataset")
    rows = [table.select(pl.lit(layer).alias("layer"), pl.all()) for layer, table in tables.items()]
    description = (
        f"txray preferences of stage {stage_name!r} for the feature type {feature_type!r}: one row per layer, neuron "
        "and feature that the neuron prefers"
    )
    return datasets.Dataset(pl.concat(rows).to_arrow(), info=datasets.DatasetInfo(description=description))
