"""The sentence about one neuron."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders.stages import stage_of, vocabulary
from txray.analysis import Comparison, compare
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.rules import is_significant

STAGES = ("A", "B")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    words = vocabulary(60)
    before = stage_of("a", words, silent=range(3), seed=1)
    after = stage_of("b", words, silent=range(2, 6), n_words=700, seed=2)
    return compare(before, after, permutations=200)


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    return comparison.neurons.with_columns(significant=is_significant(0.05)).to_dicts()


def test_lengths_are_named_stage_by_stage(comparison: Comparison) -> None:
    for row in rows(comparison):
        text = neuron_sentence(row, "token", STAGES, 0.05)
        if row["state"] == "unpreferred":
            assert text == "Prefers nothing in either stage."
            continue
        for length, stage in zip((row["length_before"], row["length_after"]), STAGES, strict=True):
            assert (
                f"{'nothing' if length == 0 else f'{length} token'}{'s' if length > 1 else ''} in {stage}"
                in text
            )


def test_verdicts_are_those_of_the_tests(comparison: Comparison) -> None:
    states = set()
    for row in rows(comparison):
        text = neuron_sentence(row, "token", STAGES, 0.05)
        states.add(row["confident_state"])
        if row["q_value"] is not None:
            assert ("not significant" in text) is (row["q_value"] > 0.05)
            assert f"{row['distance_matched']:.3f}, {row['distance_null']:.3f} if nothing had changed" in text
            assert f"q = {row['q_value']:.3g}" in text
        elif row["confident_state"] in ("avoided", "gained"):
            assert f": significant (5% FDR, text-matched, q = {row['rate_q_value']:.3g})" in text
        elif row["confident_state"] == "undecided":
            assert "not significant (5% FDR, text-matched)" in text
    assert len(states) > 2


def test_what_is_not_tested_is_called_observed(comparison: Comparison) -> None:
    row = next(row for row in rows(comparison) if row["state"] == "shared")
    assert neuron_sentence(row, "token", STAGES, None).endswith("Observed, not tested.")
    waiting = neuron_sentence(row, "token", STAGES, None, if_untested="Not yet tested.")
    assert waiting.endswith("Not yet tested.")
    assert "significant" not in waiting


def test_an_untestable_neuron_says_so(comparison: Comparison) -> None:
    row = next(row for row in rows(comparison) if row["state"] == "shared")
    assert "Too rarely active" in neuron_sentence({**row, "q_value": None}, "token", STAGES, 0.05)
