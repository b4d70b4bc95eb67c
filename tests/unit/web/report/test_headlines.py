"""The findings in words."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import polars as pl

from tests.builders.stages import stage_of, vocabulary
from txray.analysis import CONFIDENT_STATES, compare
from txray.preferences import Preferences
from txray.web.report.headlines import headline


def words_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def half(preferences: Preferences) -> int:
    """How many of the heaviest neurons it takes, one by one, to hold half of the mass."""
    left = preferences.mass().sum() / 2
    for number, mass in enumerate(sorted(preferences.mass(), reverse=True), start=1):
        left -= mass
        if left <= 1e-12:
            return number
    raise AssertionError


def test_numbers_are_those_of_the_neurons() -> None:
    words = vocabulary(60)
    before = stage_of("unsup", words, silent=range(3), seed=1)
    after = stage_of("sup", words, silent=range(2, 9), n_words=700, seed=2)
    text = words_of(headline(compare(before, after, permutations=0)))
    first, second = before.preferences(), after.preferences()
    was, now = first.lengths(), second.lengths()
    shared = (was > 0) & (now > 0)
    assert f" in both stages {shared.sum()} " in text
    for state, number in (("only before, observed", 6), ("only after, observed", 2), ("in neither", 1)):
        assert f"{state} {number} " in text
    change = now[shared].sum() / was[shared].sum() - 1
    assert change < 0
    assert f"tokens per neuron in both stages −{round(-100 * change)}%" in text
    assert f"{np.mean(was[shared]):.1f} tokens on average before and {np.mean(now[shared]):.1f} after" in text
    assert "11 of 20 neurons are in use in both unsup and sup" in text
    assert "Observed, not tested" in text
    assert f"held by {half(first)} neurons before and by {half(second)} after" in text


def test_a_tested_comparison_tells_what_is_significant() -> None:
    words = vocabulary(60)
    before = stage_of("unsup", words, silent=range(3), seed=1)
    after = stage_of("sup", words, silent=range(2, 9), n_words=700, seed=2)
    found = compare(before, after, permutations=500)
    # As if one of the six avoided ones were in doubt, and the others were not.
    avoided = found.neurons.filter(pl.col("state") == "avoided")["neuron"]
    doubtful, sure = pl.col("neuron") == avoided[0], pl.col("neuron").is_in(avoided[1:].implode())
    states = pl.when(doubtful).then(pl.lit("undecided")).when(sure).then(pl.lit("avoided"))
    kept = pl.col("confident_state").cast(pl.String)
    neurons = found.neurons.with_columns(
        confident_state=states.otherwise(kept).cast(pl.Enum(CONFIDENT_STATES))
    )
    comparison = replace(found, neurons=neurons)
    text, summary = words_of(headline(comparison)), comparison.summary
    assert f"{summary['changed']} of {summary['tested']} tested neurons changed significantly" in text
    assert " 6 only before (avoided), 5 of them significant; 2 only after (gained), " in text
    assert " only before, significant 5 " in text
    undecided = 1 + (neurons["state"] == "gained").sum() - summary["confident_gained"]
    assert f" undecided {undecided} " in text
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    lengths = [shared[f"rarefied_length_{side}"].mean() for side in ("before", "after")]
    assert f"prefer {lengths[0]:.1f} tokens before and {lengths[1]:.1f} after" in text
    matched, null, plain = (
        shared[name].mean() for name in ("distance_matched", "distance_null", "hellinger")
    )
    assert f"at equal numbers of wins {matched:.2f} the same if nothing had changed {null:.2f}" in text
    assert f"{plain:.2f}" not in text
    change = 100 * (lengths[1] / lengths[0] - 1)
    assert (
        f"tokens per neuron in both stages at equal numbers of wins {'+' if change > 0 else '−'}{abs(change):.0f}"
        in (re.sub(r"(\d)\.\d%", r"\1%", text))
    )
    untested = words_of(headline(compare(before, after, permutations=0)))
    assert "significant" not in untested
    assert f"mean Hellinger distance {plain:.2f}" in untested
    assert "if nothing had changed" not in untested


def test_nothing_shared_is_said_plainly() -> None:
    words = vocabulary(30)
    comparison = compare(
        stage_of("a", words, silent=range(10)),
        stage_of("b", words, silent=range(10, 20), seed=1),
        permutations=0,
    )
    text = words_of(headline(comparison))
    assert "none of 20 neurons is in use in both a and b" in text
    assert "mean Hellinger" not in text
    assert "None neurons" not in text


def test_names_are_escaped() -> None:
    words = vocabulary(30)
    name = "<img src=x onerror=alert(1)>"
    comparison = compare(stage_of(name, words), stage_of("b", words, seed=1, layer="rnn"), permutations=0)
    html = headline(comparison)
    assert "<img" not in html
    assert name in unescape(html)
