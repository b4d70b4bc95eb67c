"""What the tables of evidence are made of."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from benchmarks.evidence.__main__ import PAGE, TABLES, filled
from benchmarks.evidence.tables import Table, auc, number, percent, ratio


def test_the_area_is_how_often_a_positive_scores_higher() -> None:
    random = np.random.default_rng(0)
    score, positive = random.integers(0, 5, 40), random.random(40) < 0.4
    pairs = list(product(score[positive].tolist(), score[~positive].tolist()))
    expected = sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs) / len(pairs)
    assert auc(score, positive) == pytest.approx(expected)
    assert math.isnan(auc([1.0, 2.0], [True, True]))


def test_a_table_replaces_what_stands_between_its_marks_alone() -> None:
    page = "head\n<!-- measured: a -->\nold\n<!-- end: a -->\ntail\n<!-- measured: b -->\n<!-- end: b -->\n"
    table = Table(["x", "y"], [["1", percent(ratio(1, 8))], [number(0.25), percent(ratio(0, 0))]])
    assert str(table) == "| x | y |\n| --- | ---: |\n| 1 | 12.5% |\n| 0.250 | – |\n"
    written = filled(page, "a", str(table))
    assert written == page.replace("old\n", f"\n{table}\n")
    assert filled(written, "a", str(table)) == written
    with pytest.raises(SystemExit, match="no marks '<!-- measured: c -->'"):
        filled(page, "c", "")


def test_the_page_has_a_place_for_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        assert filled(page, name, "x") != page
