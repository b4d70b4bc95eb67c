"""Rows of the tables, as plain JSON values, a screenful at a time."""

from __future__ import annotations

from typing import Any

import polars as pl

from txray.dashboard.desk import Desk
from txray.dashboard.figures.matching import matched
from txray.dashboard.scene import Scene
from txray.dashboard.view import View

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
    "q_value",
    "beyond_before",
    "beyond_after",
)


def neuron_rows(view: View, desk: Desk, start: int, number: int) -> dict[str, Any]:
    """Some of the neurons that a view leaves, sorted as it says.

    Args:
        view: completed.
        desk: for the pair.
        start: of the first row.
        number: of rows, at most `MOST`.

    Returns:
        `total`, `start`, `rows`; of a row `faint` tells that nothing about it is more than chance.

    Raises:
        NotReady: the stages are being compared.
        TxrayError: they cannot be.
    """
    scene = Scene.of(view, desk)
    rows = scene.picked[order_of(scene, view)[start : start + min(number, MOST)]]
    level = desk.choices.level
    faint = rows.select((~_sure(level)).fill_null(value=False))
    return {
        "total": len(scene.picked),
        "start": start,
        "rows": [
            {
                **row,
                "id": f"{row['layer']}/{row['neuron']}",
                "faint": bool(scene.pair.tested) and weak,
                **{
                    name: _rounded(row[name])
                    for name in _SHOWN
                    if name in ("mass_after", "q_value") or name.startswith("hellinger")
                },
            }
            for row, weak in zip(rows.select(_SHOWN).iter_rows(named=True), faint.to_series(), strict=True)
        ],
    }


def _sure(level: float) -> pl.Expr:
    """Whether something about a neuron is more than chance."""
    return (pl.col("q_value") <= level).fill_null(value=False) | pl.col("confident_state").cast(
        pl.String
    ).is_in(["avoided", "gained"]).fill_null(value=False)


def order_of(scene: Scene, view: View) -> pl.Series:
    """Rows of `scene.picked` in the order of a view; neurons without a value come last.

    Args:
        scene: of the view.
        view: whose order counts.
    """
    falling = view.falling
    by: list[pl.Expr]
    if view.sort == "change":
        # What is more than chance comes first, whichever way one sorts.
        by = [
            _sure(scene.desk.choices.level),
            pl.coalesce("signal", "hellinger"),
            pl.col("mass_after"),
        ]
        order = [True, falling, True]
    elif view.sort.startswith("beyond_"):
        by, order = [pl.col(view.sort).list.first()], [falling]
    else:
        by, order = [pl.col(view.sort)], [falling]
    picked = scene.picked

    def sort() -> pl.Series:
        found = pl.arg_sort_by([*by, pl.col("place")], descending=[*order, False], nulls_last=True)
        return picked.select(found.alias("order"))["order"]

    # Whoever scrolls asks for the same order again and again; and a screenful is all that is taken from the rows.
    key = ("order", id(picked), view.sort, falling)
    return scene.desk.kept(key, lambda: (picked, sort()), lambda held: 4 * len(held[1]))[1]


def pair_rows(view: View, desk: Desk, start: int, number: int) -> dict[str, Any]:
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
