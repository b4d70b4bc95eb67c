from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom
from scipy.stats import t as student

from tests.builders.figures import (
    Text,
    caption_of,
    distribution,
    numbers_in,
    plain_words,
    rarer,
    title_of,
)
from txray.analysis import Comparison, compare
from txray.plots import length_shift, stage_styles


@pytest.fixture
def comparison(text: Text) -> Comparison:
    return compare(
        text.stage("unsup", seed=0, silent=[0, 1])[0],
        text.stage("sup", seed=1, silent=[2, *range(10, 25)])[0],
        permutations=0,
    )


def lengths_of(comparison: Comparison) -> list[tuple[int, int]]:
    """(before, after) of every shared neuron, by plain loops."""
    pairs = [
        (len(distribution(comparison.before, n)), len(distribution(comparison.after, n)))
        for n in range(comparison.before.n_neurons)
    ]
    return [pair for pair in pairs if all(pair)]


def test_every_shared_neuron_has_its_line(comparison: Comparison) -> None:
    figure = length_shift(comparison)
    drawn = []
    for trace in figure.data:
        if trace.mode == "lines":
            ends = list(zip(*[iter(trace.x)] * 3, strict=True))
            assert all(gap is None for *_, gap in ends)
            signs = {(after > before) - (after < before) for before, after, _ in ends}
            assert signs == {{"f": -1, "m": 1, "a": 0}[trace.name[0]]}
            drawn += [(before, after) for before, after, _ in ends]
    assert sorted(drawn) == sorted(lengths_of(comparison))


def test_a_marker_counts_the_neurons_of_its_length(comparison: Comparison) -> None:
    top, bottom = (trace for trace in length_shift(comparison).data if trace.mode == "markers")
    for trace, side in ((top, 0), (bottom, 1)):
        lengths = [pair[side] for pair in lengths_of(comparison)]
        assert list(trace.x) == sorted(set(lengths))
        told = [int(text.split("<br>")[1].split(" ")[0]) for text in trace.hovertext]
        assert told == [lengths.count(length) for length in sorted(set(lengths))]


def test_the_title_tells_the_mean_change(comparison: Comparison) -> None:
    pairs = lengths_of(comparison)
    before, after = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    number, change, first, second = numbers_in(title_of(length_shift(comparison)).split(";")[0])
    assert number == len(pairs)
    assert change == pytest.approx(100 * abs(after / before - 1), abs=0.51)
    assert (first, second) == (pytest.approx(before, rel=0.005), pytest.approx(after, rel=0.005))
    assert ("more" if after > before else "fewer") in title_of(length_shift(comparison))


def test_lengths_at_equal_numbers_of_wins_stand_beside_plain_ones(text: Text) -> None:
    # After wins a fifth of the words: shorter for that reason alone.
    before = text.stage("a", seed=0)[0]
    comparison = compare(before, rarer(text.stage("b", seed=0)[0], keep=0.2), permutations=0)
    plain, equal = title_of(length_shift(comparison)).split("; ")
    assert "fewer tokens in b" in plain
    expected = []
    for side, other in ((comparison.before, comparison.after), (comparison.after, comparison.before)):
        lengths = []
        for neuron in comparison.neurons.filter(pl.col("state") == "shared")["neuron"]:
            counts = side.table(neuron)["count"].to_numpy()
            drawn = min(counts.sum(), other.table(neuron)["count"].sum())
            lengths.append((1 - hypergeom.pmf(0, counts.sum(), counts, drawn)).sum())
        expected.append(np.array(lengths))
    change = expected[1] - expected[0]
    reach = student.ppf(0.975, len(change) - 1) * change.std(ddof=1) / len(change) ** 0.5
    means = [side.mean() for side in expected]
    shown = [float(number.replace("−", "-")) for number in re.findall(r"[+−]?\d+\.\d", equal)]
    wanted = [*means, change.mean(), change.mean() - reach, change.mean() + reach]
    np.testing.assert_allclose(shown, wanted, atol=0.051)
    lengths = comparison.neurons.filter(pl.col("state") == "shared")
    fall = lengths["length_before"].to_numpy().mean() - lengths["length_after"].to_numpy().mean()
    assert abs(change.mean()) < 0.2 * fall


def test_tokens_have_a_log_axis_and_tags_a_linear_one(text: Text) -> None:
    long = Text(plain_words(2000), n_words=20_000, n_neurons=8)
    tokens = compare(long.stage("a", seed=0)[0], long.stage("b", seed=1)[0], permutations=0)
    tags = compare(long.stage("a", seed=0)[1], long.stage("b", seed=1)[1], permutations=0)
    assert length_shift(tokens).layout.xaxis.type == "log"
    linear = length_shift(tags).layout.xaxis
    assert linear.type == "linear"
    assert linear.dtick == 1


def test_of_many_neurons_a_sample_is_drawn_and_said() -> None:
    many = Text(plain_words(500), n_words=30_000, n_neurons=1500)
    comparison = compare(many.stage("a", seed=0)[0], many.stage("b", seed=1)[0], permutations=0)
    figure = length_shift(comparison)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert sum(len(trace.x) // 3 for trace in lines) == 300
    shared = len(lengths_of(comparison))
    assert shared > 1000
    assert f"an even sample of 300 of {shared:,}" in caption_of(figure)
    counts = [int(trace.name.split("(")[1].rstrip(")").replace(",", "")) for trace in lines]
    assert sum(counts) == shared
    for trace, number in zip(lines, counts, strict=True):
        assert len(trace.x) // 3 == pytest.approx(300 * number / shared, abs=2)


def test_rows_wear_their_stage(comparison: Comparison) -> None:
    styles = stage_styles(["untrained", "unsup", "sup"])
    rows = [trace for trace in length_shift(comparison, styles=styles).data if trace.mode == "markers"]
    assert [row.marker.symbol for row in rows] == [styles["unsup"].symbol, styles["sup"].symbol]


def test_a_stage_against_itself_and_an_empty_pair(text: Text) -> None:
    same = text.stage("a", seed=0)[0]
    assert "as many tokens in a as in a" in title_of(length_shift(compare(same, same, permutations=0)))
    dead = text.stage("dead", seed=0, silent=range(40))[0]
    figure = length_shift(compare(same, dead, permutations=0))
    assert title_of(figure) == "No neuron is in use in both a and dead"
    assert any("no length can change" in note.text for note in figure.layout.annotations)
