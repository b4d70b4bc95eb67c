"""The most frequent part of speech of each token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from txray.preferences.stage import Stage

TAG_SCHEMA: dict[str, pl.DataType] = {"token": pl.String(), "pos": pl.String(), "count": pl.Int64()}
"""Columns of the table of tokens with their tags."""


def tag_table(pairs: Counter[tuple[str, str]]) -> pl.DataFrame:
    """Return a table of the counts of (token, tag) pairs, sorted by token and tag."""
    rows = [(token, tag, count) for (token, tag), count in sorted(pairs.items())]
    return pl.DataFrame(rows, schema=TAG_SCHEMA, orient="row")


def token_tags(stages: Iterable[Stage]) -> dict[str, str]:
    """Return the most frequent tag of each token over all stages; ties go to the first by name.

    Args:
        stages: those collected without `token` or without `pos` contribute nothing.
    """
    return usual_tags(stage.tags for stage in stages)


def usual_tags(tables: Iterable[pl.DataFrame]) -> dict[str, str]:
    """Return the most frequent tag of each token over tables of `TAG_SCHEMA`; ties go to the first by name."""
    counts = (
        pl.concat([pl.DataFrame(schema=TAG_SCHEMA), *tables])
        .group_by("token", "pos")
        .agg(pl.col("count").sum())
        .sort(["token", "count", "pos"], descending=[False, True, False])
        .unique("token", keep="first", maintain_order=True)
    )
    return dict(counts.select("token", "pos").iter_rows())
