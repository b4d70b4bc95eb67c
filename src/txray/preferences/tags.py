"""Which part of speech a token has most often."""

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
    """How often each (token, tag) pair occurred, sorted by token and tag."""
    rows = [(token, tag, count) for (token, tag), count in sorted(pairs.items())]
    return pl.DataFrame(rows, schema=TAG_SCHEMA, orient="row")


def token_tags(stages: Iterable[Stage]) -> dict[str, str]:
    """The tag that each token carries most often over all stages; the first by name among equals.

    Args:
        stages: those that were not collected with both `token` and `pos` contribute nothing.
    """
    return usual_tags(stage.tags for stage in stages)


def usual_tags(tables: Iterable[pl.DataFrame]) -> dict[str, str]:
    """The tag that each token carries most often over all tables of `TAG_SCHEMA`; the first by name among equals."""
    counted = (
        pl.concat([pl.DataFrame(schema=TAG_SCHEMA), *tables])
        .group_by("token", "pos")
        .agg(pl.col("count").sum())
        .sort(["token", "count", "pos"], descending=[False, True, False])
        .unique("token", keep="first", maintain_order=True)
    )
    return dict(counted.select("token", "pos").iter_rows())
