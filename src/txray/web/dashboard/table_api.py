"""Rows of the tables, as plain JSON values, a screenful at a time."""

from __future__ import annotations

from typing import Any

import polars as pl

from txray.analysis.findings import changed_most_first, is_significant, is_tested, state_in_words
from txray.web.dashboard.figures.matching import matched
from txray.web.dashboard.filtered_comparison import FilteredComparison
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

MOST = 500
"""Rows that one request can ask for."""

_SHOWN = (
    "place",
    "layer",
    "neuron",
    "shown",
    "length_before",
    "length_after",
    "mass_after",
    "hellinger",
    "hellinger_corrected",
    "hellinger_corrected_low",
    "hellinger_corrected_high",
    "z_score",
    "q_value",
    "beyond_before",
    "beyond_after",
)


def neuron_rows(view: UrlState, desk: ResultStore, start: int, number: int) -> dict[str, Any]:
    """Some of the neurons that a view leaves, sorted as it says.

    Args:
        view: completed.
        desk: for the pair.
        start: of the first row.
        number: of rows, at most `MOST`.

    Returns:
        `total`, `start`, `rows`; of a row `label` is its state in words, and `faint` tells that it is not significant.

    Raises:
        NotReady: the stages are being compared.
        TxrayError: they cannot be.
    """
    scene = FilteredComparison.of(view, desk)
    rows = scene.picked[order_of(scene, view)[start : start + min(number, MOST)]]
    words = rows.select(
        label=state_in_words(pending=scene.pair.pending),
        faint=is_tested() & ~is_significant(desk.choices.fdr),
    )
    return {
        "total": len(scene.picked),
        "start": start,
        "rows": [
            {
                **row,
                "id": f"{row['layer']}/{row['neuron']}",
                "label": label,
                "faint": faint,
                **{
                    name: _rounded(row[name])
                    for name in _SHOWN
                    if name in ("mass_after", "z_score", "q_value") or name.startswith("hellinger")
                },
            }
            for row, (label, faint) in zip(
                rows.select(_SHOWN).iter_rows(named=True), words.iter_rows(), strict=True
            )
        ],
    }


def order_of(scene: FilteredComparison, view: UrlState) -> pl.Series:
    """Rows of `scene.picked` in the order of a view; neurons without a value come last.

    Args:
        scene: of the view.
        view: whose order counts.
    """
    picked, falling = scene.picked, view.falling

    def sort() -> pl.Series:
        if view.sort == "change":
            return changed_most_first(picked, scene.desk.choices.tested_fdr, descending=falling)
        key = pl.col(view.sort).list.first() if view.sort.startswith("beyond_") else pl.col(view.sort)
        order = pl.arg_sort_by([key, pl.col("place")], descending=[falling, False], nulls_last=True)
        return picked.select(order.alias("order"))["order"]

    # Whoever scrolls asks for the same order again and again; and a screenful is all that is taken from the rows.
    key = ("order", id(picked), view.sort, falling)
    return scene.desk.kept(key, lambda: (picked, sort()), lambda held: 4 * len(held[1]))[1]


def pair_rows(view: UrlState, desk: ResultStore, start: int, number: int) -> dict[str, Any]:
    """Some of the pairs of a matching, the most alike first, then neurons that match none.

    Raises:
        NotReady: it is being made.
        TxrayError: it cannot be made.
    """
    table = matched(view, desk).pairs
    falling = view.falling if view.sort == "affinity" else True
    ordered = table.sort(["state", "affinity"], descending=[False, falling], nulls_last=True)
    rows = ordered[start : start + min(number, MOST)]
    return {
        "total": len(table),
        "start": start,
        "rows": [
            {
                **row,
                "id": f"{row['before']}/{row['after']}",
                "faint": row["state"] != "matched",
                "affinity": _rounded(row["affinity"]),
            }
            for row in rows.iter_rows(named=True)
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
