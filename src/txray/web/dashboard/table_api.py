"""Rows of the long tables, as plain JSON values, in chunks."""

from __future__ import annotations

from typing import Any

import polars as pl

from txray.analysis.rules import changed_most_first, is_significant, is_tested, state_in_words
from txray.web.compact import rounded
from txray.web.dashboard.figures.matching import matched
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

MAX_ROWS = 500
"""Rows per request."""

_SHOWN = (
    "place",
    "layer",
    "neuron",
    "shown",
    "length_before",
    "length_after",
    "beyond_before",
    "beyond_after",
)
_ROUNDED = (
    "mass_after",
    "hellinger",
    "hellinger_corrected",
    "hellinger_corrected_low",
    "hellinger_corrected_high",
    "z_score",
    "q_value",
)


def neuron_rows(view: UrlState, store: ResultStore, start: int, number: int) -> dict[str, Any]:
    """Return up to `MAX_ROWS` of the neurons that pass the filters, in the order of a view.

    Returns:
        `total`, `start`, `rows`; in a row, `label` is the state in words, and `faint` says that it is not significant.

    Raises:
        JobPending: the stages are being compared.
        TxrayError: they cannot be compared.
    """
    filtered = FilteredComparison.of(view, store)
    rows = filtered.picked[order_of(filtered, view)[start : start + min(number, MAX_ROWS)]].select(
        *_SHOWN,
        *_ROUNDED,
        id=pl.format("{}/{}", pl.col("layer").cast(pl.String), "neuron"),
        label=state_in_words(pending=filtered.pair.pending),
        faint=is_tested() & ~is_significant(store.config.fdr),
    )
    return {
        "total": len(filtered.picked),
        "start": start,
        "rows": [
            {**row, **{name: rounded(row[name]) for name in _ROUNDED}} for row in rows.iter_rows(named=True)
        ],
    }


def order_of(filtered: FilteredComparison, view: UrlState) -> pl.Series:
    """Return the row numbers of `filtered.picked` in the order of a view; neurons without a value come last."""
    picked, descending = filtered.picked, view.descending

    def sort() -> pl.Series:
        if view.sort == "change":
            return changed_most_first(picked, filtered.store.config.tested_fdr, descending=descending)
        key = pl.col(view.sort).list.first() if view.sort.startswith("beyond_") else pl.col(view.sort)
        order = pl.arg_sort_by([key, pl.col("place")], descending=[descending, False], nulls_last=True)
        return picked.select(order.alias("order"))["order"]

    # Scrolling needs the same order many times, and takes one chunk of rows at a time.
    key = ("order", id(picked), view.sort, descending)
    return filtered.store.memoize(key, lambda: (picked, sort()), lambda ordered: 4 * len(ordered[1]))[1]


def pair_rows(view: UrlState, store: ResultStore, start: int, number: int) -> dict[str, Any]:
    """Return some of the pairs of a matching, most similar first, then neurons without a match.

    Raises:
        JobPending: the layers are being matched.
        TxrayError: they cannot be matched.
    """
    table = matched(view, store).pairs
    descending = view.descending if view.sort == "affinity" else True
    ordered = table.sort(["state", "affinity"], descending=[False, descending], nulls_last=True)
    rows = ordered[start : start + min(number, MAX_ROWS)]
    return {
        "total": len(table),
        "start": start,
        "rows": [
            {
                **row,
                "id": f"{row['before']}/{row['after']}",
                "faint": row["state"] != "matched",
                "affinity": rounded(row["affinity"]),
            }
            for row in rows.iter_rows(named=True)
        ],
    }
