"""What the tables of evidence are made of."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import statistics
from benchmarks.evidence.__main__ import PAGE, TABLES, filled
from benchmarks.evidence.conditions import CHANGED, KINDS, UNCHANGED, Condition
from benchmarks.evidence.tables import Table, auc, number, percent, ratio

from tests.builders.preferences import frozen
from txray import synthetic
from txray.preferences import Tally


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


SMALL = Condition("small", words=(6_000, 3_000), shift=0.5, document_words=(100, 50))


def test_statistics_are_measured_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "STORED", tmp_path)
    monkeypatch.setattr(statistics, "_PERMUTATIONS", 100)
    table = statistics.comparison_of_statistics([SMALL], seeds=(1,))
    assert [row[0] for row in table.rows] == [*statistics.STATISTICS, *statistics.BASELINES]
    assert all(len(row) == len(table.columns) for row in table.rows)
    areas = [float(row[table.columns.index("AUC")]) for row in table.rows]
    assert all(0.3 < area < 1 for area in areas)
    # A stored result is not measured again.
    monkeypatch.setattr(statistics, "stages", None)
    assert statistics.comparison_of_statistics([SMALL], seeds=(1,)).rows == table.rows
    assert statistics.by_condition([SMALL], seeds=(1,)).rows[0][1:] == table.rows[0][1:]


def test_unchanged_neurons_are_counted_condition_by_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "STORED", tmp_path)
    monkeypatch.setattr(statistics, "_PERMUTATIONS", 60)
    ((name, neurons, share, *others),) = statistics.calibration([SMALL], seeds=(1,)).rows
    assert name == "small"
    measured = statistics.measurements(SMALL, 1, changes=False)
    p_values = measured.filter(statistic=next(iter(statistics.STATISTICS)), group="unchanged")[
        "p_value"
    ].drop_nulls()
    assert int(neurons) == len(p_values)
    assert share.startswith(percent(float((p_values < 0.05).mean())))  # type: ignore[arg-type]
    assert len(others) == len(statistics.STATISTICS) - 1


def test_conditions_are_fixed() -> None:
    assert len({condition.name for condition in UNCHANGED}) == len(UNCHANGED) >= 25
    assert len({condition.name for condition in CHANGED}) == len(CHANGED)
    assert set(KINDS) == {"changed", *synthetic.KINDS}


def test_baselines_are_those_of_their_formulas() -> None:
    """Neuron 0 responds half as strongly afterwards, neuron 1 to the other word, neuron 2 is as before."""
    before = [(0, 0, "a", 1.0), (0, 0, "b", 0.5), (1, 1, "a", 1.0), (1, 2, "a", 1.0), (1, 2, "b", 0.2)]
    after = [(0, 0, "a", 0.5), (0, 0, "b", 0.25), (1, 1, "b", 1.0), (1, 2, "a", 1.0), (1, 2, "b", 0.2)]
    sides = []
    for events in (before, after):
        tally = Tally(3, 2)
        words = ["a"] * 10 + ["b"] * 10
        tally.count_occurrences(np.zeros(20, np.int64), tally.feature_ids(words))
        for fold, neuron, word, value in events:
            tally.update(
                np.array([0 * fold]), np.array([neuron]), tally.feature_ids([word]), np.array([value])
            )
        sides.append(frozen(tally))
    assert statistics.relative_norm(*sides) == pytest.approx([1 / 2 - 1 / 3, 0, 0])
    assert statistics.correlation(*sides) == pytest.approx([-1, 1, -1])


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    assert statistics.wilson(5, 100) == pytest.approx((0.0215, 0.1118), abs=1e-4)
    assert statistics.wilson(0, 50)[0] == pytest.approx(0, abs=1e-12)
