"""Significance, tested states, the order of changes and the sentences, against plain Python over the rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from txray.analysis import CONFIDENT_STATES, SHOWN_STATES, STATES, Findings, rules
from txray.analysis.rules import (
    changed_least_first,
    changed_most_first,
    confident_state,
    is_significant,
    state_in_words,
)
from txray.analysis.states import STATE_NAMES, fdr_label, paper_label, state_label

SOURCE = Path(__file__).parents[3] / "src" / "txray"
SIZES = ("hellinger_corrected_low", "hellinger_corrected", "hellinger_corrected_high")
LAYERS = ("a", "b", "c", "d", "e", "f")


def table(tested: tuple[str, ...] = LAYERS, size: int = 50, seed: int = 0) -> pl.DataFrame:
    """Made-up rows of six layers, with nulls in the layers whose tests are not done."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for layer in LAYERS:
        for neuron in range(size):
            state = str(rng.choice(STATES, p=[0.5, 0.2, 0.2, 0.1]))
            shared, one_sided = state == "shared", state in ("avoided", "gained")
            row: dict[str, Any] = {"layer": layer, "neuron": neuron, "state": state}
            row["hellinger"] = float(rng.random()) if shared else None
            row["mass_before"] = 0.0 if state in ("gained", "unpreferred") else float(rng.integers(1, 9))
            row["mass_after"] = 0.0 if state in ("avoided", "unpreferred") else float(rng.integers(1, 9))
            able = shared and rng.random() < 0.8
            row["q_value"] = float(rng.choice([0.001, 0.05, 0.0500001, 0.4])) if able else None
            row["z_score"] = float(rng.integers(-2, 6)) if able else None
            row["signal"] = float(rng.normal()) if able else None
            ends = sorted(rng.random(3).round(1).tolist()) if able and rng.random() < 0.9 else [None] * 3
            row |= dict(zip(SIZES, ends, strict=True))
            row["detectable"] = float(rng.random()) if able and rng.random() < 0.9 else None
            row["confident_state"] = "undecided" if one_sided and rng.random() < 0.6 else state
            if layer not in tested:
                row |= dict.fromkeys(
                    ("q_value", "z_score", "signal", *SIZES, "detectable", "confident_state")
                )
            rows.append(row)
    return pl.DataFrame(
        rows,
        schema_overrides={
            "layer": pl.Enum(LAYERS),
            "state": pl.Enum(STATES),
            "confident_state": pl.Enum(CONFIDENT_STATES),
            "q_value": pl.Float64,
            "z_score": pl.Float64,
            "signal": pl.Float64,
            **dict.fromkeys((*SIZES, "detectable"), pl.Float64),
        },
    )


def significant(row: dict[str, Any], fdr: float = 0.05) -> bool:
    """The definition, in words of one row."""
    if row["q_value"] is not None and row["q_value"] <= fdr:
        return True
    return row["confident_state"] in ("avoided", "gained")


@pytest.mark.parametrize("fdr", [0.001, 0.05, 0.2])
@pytest.mark.parametrize("tested", [(), ("b",), LAYERS])
def test_significant_is_a_small_q_value_or_a_confident_state(fdr: float, tested: tuple[str, ...]) -> None:
    rows = table(tested)
    result = rows.select(result=is_significant(fdr))["result"]
    assert result.null_count() == 0
    assert result.to_list() == [significant(row, fdr) for row in rows.to_dicts()]
    assert any(result) is bool(tested)


def test_a_state_is_confident_where_both_tests_are_passed() -> None:
    rows = [
        ("avoided", 0.05, 0.05, "avoided"),
        ("avoided", 0.051, 0.01, "undecided"),
        ("gained", 0.01, 0.051, "undecided"),
        ("gained", None, 0.01, "undecided"),
        ("shared", 0.9, None, "shared"),
        ("unpreferred", None, None, "unpreferred"),
    ]
    columns = ["state", "rate_q_value", "absence_p_value", "expected"]
    result = pl.DataFrame(rows, schema=columns, orient="row").with_columns(confident_state(0.05))
    assert result["confident_state"].to_list() == result["expected"].to_list()
    assert result["confident_state"].dtype == pl.Enum(CONFIDENT_STATES)


def test_untested_is_a_state_of_its_own() -> None:
    rows = table(("a", "c"))
    shown = rows.select(rules.tested_state())["confident_state"]
    assert shown.dtype == pl.Enum(SHOWN_STATES)
    for row, state in zip(rows.to_dicts(), shown, strict=True):
        assert state == (row["confident_state"] if row["layer"] in "ac" else "untested")
    words = rows.select(words=state_in_words(pending=True))["words"]
    for row, text in zip(rows.to_dicts(), words, strict=True):
        tested = row["confident_state"]
        assert text == (STATE_NAMES[tested] if tested else f"{STATE_NAMES[row['state']]}, not yet tested")


def test_observed_and_tested_states_have_different_names() -> None:
    for state in ("avoided", "gained"):
        assert state_label(state, tested=True) == f"{STATE_NAMES[state]}, significant"
        assert state_label(state, tested=False) == f"{STATE_NAMES[state]}, observed"
        assert paper_label(state, tested=True) == f"{STATE_NAMES[state]}, significant ({state})"
    assert paper_label("undecided", tested=True) == "undecided"
    assert state_label("untested", tested=True, pending=True) == "not yet tested"
    assert state_label("untested", tested=True) == "not tested"


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("tested", [(), ("b",), LAYERS])
def test_changed_most_is_one_order(tested: tuple[str, ...], descending: bool) -> None:
    rows = table(tested)
    fdr = 0.05 if tested else None

    def key(index: int) -> tuple[Any, ...]:
        row, keys = rows.row(index, named=True), []
        if fdr is not None:
            keys.append(0 if significant(row) else 1 if row["confident_state"] is None else 2)
        names = ("hellinger_corrected_low", "z_score", "hellinger")
        for name in names if fdr is not None else names[2:]:
            value = row[name]
            keys += [value is None, 0 if value is None else -value if descending else value]
        return (*keys, -max(row["mass_before"], row["mass_after"]), index)

    result = changed_most_first(rows, fdr, descending=descending).to_list()
    assert result == sorted(range(len(rows)), key=key)


def test_changed_least_begins_with_the_smallest_change_that_is_not_significant() -> None:
    rows = table()

    def key(index: int) -> tuple[Any, ...]:
        row, keys = rows.row(index, named=True), []
        for value in (row["hellinger_corrected_high"], row["signal"], row["hellinger"]):
            keys += [value is None, 0 if value is None else abs(value)]
        return (significant(row), *keys, index)

    assert changed_least_first(rows, 0.05).to_list() == sorted(range(len(rows)), key=key)


def test_an_order_of_nothing_is_empty() -> None:
    assert changed_most_first(table().clear(), 0.05).to_list() == []
    empty = Findings.of(table().clear(), 0.05, pending=True)
    assert empty.sentences("x", "y")[0].startswith("Observed, not tested: none of 0 neurons")


@pytest.mark.parametrize("tested", [("c",), ("a", "f"), LAYERS])
def test_sentences_count_the_tested_layers_alone(tested: tuple[str, ...]) -> None:
    rows = table(tested)
    text = " ".join(Findings.of(rows, 0.05, pending=len(tested) < 6).sentences("x", "y"))
    every = Counter(row["state"] for row in rows.to_dicts())
    done = [row for row in rows.to_dicts() if row["layer"] in tested]
    tried = [row for row in done if row["q_value"] is not None]
    changed = sum(row["q_value"] <= 0.05 for row in tried)
    assert f"{every['shared']} of 300 neurons are in use in both x and y" in text
    assert f"rate (FDR) of 5%, {changed} of {len(tried)} tested neurons changed significantly" in text
    for state in ("avoided", "gained"):
        observed = sum(row["state"] == state for row in done)
        sure = sum(row["confident_state"] == state for row in done)
        significant_ones = f"{sure or 'none'} of them significant"
        assert f"{observed} {STATE_NAMES[state]} ({state}), {significant_ones}" in text
    partial = len(tested) < 6
    assert (f"{len(tested)} of 6 layers tested so far" in text) is partial
    assert (f"{300 - len(done)} neurons of {6 - len(tested)} layers are not yet tested" in text) is partial
    assert (
        f"{every['avoided']} only before (avoided), {every['gained']} only after (gained)" in text
    ) is partial


def test_what_cannot_be_tested_is_not_called_pending() -> None:
    text = " ".join(Findings.of(table(("a",)), 0.05).sentences("x", "y"))
    assert "1 of 6 layers tested: " in text
    assert "are not tested" in text
    assert "so far" not in text
    assert "yet" not in text


@pytest.mark.parametrize(("pending", "words"), [(True, "not yet tested"), (False, "not tested")])
def test_without_tests_nothing_is_called_significant(pending: bool, words: str) -> None:
    rows = table(())
    for neurons in (rows, rows.drop("confident_state", "q_value", "z_score", "signal", *SIZES)):
        result = Findings.of(neurons, 0.05 if pending else None, pending=pending)
        text = " ".join(result.sentences("x", "y"))
        assert f"Observed, {words}: " in text
        assert "significant" not in text
        assert result.changes == f"observed, {words}"
        assert result.untested == 300
        assert not result.finished


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([], "0 only before"),
        (["avoided"], "1 only before, significant"),
        (["undecided"], "1 only before, not significant"),
        (["undecided", "undecided"], "2 only before, none of them significant"),
        (["avoided"] * 1000 + ["undecided"] * 234, "1,234 only before, 1,000 of them significant"),
    ],
)
def test_numbers_of_avoided_neurons_read_well(states: list[str], words: str) -> None:
    rows = pl.DataFrame(
        {"state": ["shared", *["avoided"] * len(states)], "confident_state": ["shared", *states]}
    ).with_columns(q_value=pl.lit(None, pl.Float64))
    assert Findings.of(rows, 0.05).of_state("avoided") == words


@pytest.mark.parametrize("tested", [("c",), LAYERS])
def test_a_count_never_stands_without_its_size_and_its_power(tested: tuple[str, ...]) -> None:
    rows = table(tested)
    result = Findings.of(rows, 0.05)
    tried = [row for row in rows.to_dicts() if row["q_value"] is not None]
    changed = [row for row in tried if row["q_value"] <= 0.05]

    def medians(of: list[dict[str, Any]]) -> str:
        value, low, high = (
            float(np.median([row[name] for row in of if row[name] is not None]))
            for name in ("hellinger_corrected", "hellinger_corrected_low", "hellinger_corrected_high")
        )
        return f"{value:.2f} ({low:.2f} to {high:.2f})"

    detectable = float(
        np.median([np.inf if row["detectable"] is None else row["detectable"] for row in tried])
    )
    for text in (result.changes, result.headline):
        assert f"by {medians(changed)} in the median; median of all tested {medians(tried)}" in text
    assert f"change of {detectable:.2f} would have been found" in result.power
    assert result.power[1:] in " ".join(result.sentences("x", "y"))
    # Where nothing is significant, one clause must not stand without the other.
    nothing = Findings.of(rows.with_columns(q_value=pl.when(pl.col("q_value").is_not_null()).then(1.0)), 0.05)
    assert nothing.changed == 0
    assert nothing.power in nothing.changes


def test_a_test_of_a_minimum_says_so() -> None:
    result = Findings.of(table().with_columns(min_effect=pl.lit(0.2)), 0.05)
    for text in (result.changes, result.headline):
        assert "changed by at least 0.2" in text
    assert "found to be at least 0.2" in result.power


def test_where_nothing_could_be_found_the_sentences_say_so() -> None:
    rows = table().with_columns(detectable=pl.lit(None, pl.Float64))
    assert "not even a complete change" in Findings.of(rows, 0.05).power


@pytest.mark.parametrize(("fdr", "label"), [(0.05, "5% FDR"), (0.07, "7% FDR"), (0.001, "0.1% FDR")])
def test_rates_are_percentages(fdr: float, label: str) -> None:
    assert fdr_label(fdr) == label


def test_significance_is_defined_once() -> None:
    defining = re.compile(
        r"""q_value["']\]?\)?(\.\w+\(\))* *<=|is_in\(\[["']avoided["'], ["']gained["']\]\)"""
    )
    places = {
        str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if defining.search(file.read_text())
    }
    assert places == {"analysis/rules.py"}
