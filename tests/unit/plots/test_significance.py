"""Figures of tested comparisons, and of untested ones beside them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import (
    Text,
    caption_of,
    numbers_in,
    plain_words,
    rarer,
    significant,
    title_of,
)
from txray import plots
from txray.analysis import Comparison, compare
from txray.errors import UnknownNameError
from txray.plots import theme


@pytest.fixture(scope="module")
def text() -> Text:
    """Enough folds that some neurons change for sure, and some do not."""
    return Text(plain_words(300), n_words=6_000, folds=16)


@pytest.fixture(scope="module")
def pair(text: Text) -> tuple[Comparison, Comparison]:
    a, b = text.stage("unsup", seed=0, silent=[0, 1]), text.stage("sup", seed=1, silent=[1, 2, 3, 4])
    # By chi-square, every neuron changes.
    untested = compare(a[0], b[0], permutations=0)
    tested = untested.test(permutations=100, splits=2, draws=1, statistic="distance", text_matched=False)
    return tested, compare(a[1], b[1], permutations=0)


def test_neurons_without_significant_change_are_grey(pair: tuple[Comparison, Comparison]) -> None:
    comparison = pair[0]
    traces = {trace.name.rsplit(" (", 1)[0]: trace for trace in plots.hellinger_length(comparison).data}
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    undecided = shared.filter(pl.col("q_value") > 0.05)
    assert 0 < len(undecided) < len(shared)
    assert list(traces["not significant"].customdata) == undecided["neuron"].to_list()
    assert traces["not significant"].marker.color == theme.UNDECIDED
    drawn = sum(len(trace.x) for name, trace in traces.items() if name.endswith("sup"))
    assert drawn == len(shared) - len(undecided)


def test_the_matched_distance_stands_beside_its_own_null(text: Text) -> None:
    # Of the same text at another sampling: the plain distance lies far below what matched ones are by chance.
    a, b = text.stage("a", seed=0)[0], text.stage("b", seed=1)[0]
    comparison = significant(a, rarer(b, keep=0.2))
    figure = plots.hellinger_length(comparison)
    rows = comparison.neurons.filter(pl.col("state") == "shared")
    drawn = {
        neuron: y
        for trace in figure.data
        if trace.customdata is not None
        for neuron, y in zip(trace.customdata, trace.y.tolist(), strict=True)
    }
    assert drawn == dict(rows.select("neuron", "distance_matched").iter_rows())
    assert "equal numbers of wins" in figure.layout.yaxis.title.text
    (line,) = [trace for trace in figure.data if trace.name.startswith("if nothing had changed")]
    ordered = rows.sort("hellinger_length", "neuron")
    parts = np.array_split(np.arange(len(ordered)), len(line.x))
    np.testing.assert_allclose(line.y, [np.median(ordered["distance_null"].to_numpy()[p]) for p in parts])
    matched, null, plain = (
        float(np.median(rows[name].to_numpy())) for name in ("distance_matched", "distance_null", "hellinger")
    )
    assert abs(matched - plain) > 0.02
    changed, tested = comparison.summary["changed"], comparison.summary["tested"]
    assert numbers_in(title_of(figure))[2:7] == [round(matched, 2), round(null, 2), changed, tested, 5]


def test_the_plain_distance_stands_without_a_null(pair: tuple[Comparison, Comparison]) -> None:
    comparison = pair[0]
    figure = plots.hellinger_length(comparison, distance="plain")
    assert not [trace.name for trace in figure.data if "nothing had changed" in trace.name]
    assert "nothing had changed" not in title_of(figure)
    rows = comparison.neurons.filter(pl.col("state") == "shared")
    drawn = sorted(y for trace in figure.data for y in trace.y.tolist())
    assert drawn == sorted(rows["hellinger"].to_list())
    with pytest.raises(UnknownNameError, match="matched, plain"):
        plots.hellinger_length(comparison, distance="halves")  # type: ignore[arg-type]


def test_whatever_distance_was_tested_is_drawn_by_its_name(text: Text) -> None:
    other = compare(
        text.stage("a", seed=0)[0], text.stage("b", seed=1)[0], distance="total-variation", permutations=100
    )
    figure = plots.hellinger_length(other)
    assert "total variation distance at equal numbers of wins" in figure.layout.yaxis.title.text
    rows = other.neurons.filter(pl.col("state") == "shared")
    marks = [trace for trace in figure.data if trace.customdata is not None]
    assert sorted(y for trace in marks for y in trace.y) == sorted(rows["distance_matched"].to_list())
    assert "total variation distance at equal numbers" in figure.data[0].hovertext[0]
    assert "tested by chi-square, up to 100" in caption_of(figure)
    by_distance = plots.hellinger_length(
        other.test(distance="total-variation", permutations=100, statistic="distance")
    )
    assert "tested by total-variation, up to 100" in caption_of(by_distance)


def test_states_tell_undecided_ones_apart(pair: tuple[Comparison, Comparison]) -> None:
    summary = pair[0].summary
    shares = {trace.name.split(" (")[0]: trace.x[0] for trace in plots.states(pair[0]).data}
    wanted = {"in both stages": summary["shared"], "only before, significant": summary["confident_avoided"]}
    wanted |= {"only after, significant": summary["confident_gained"], "undecided": summary["undecided"]}
    for state, number in wanted.items():
        assert shares.get(state, 0) == pytest.approx(100 * number / 40), state
    assert "only before, observed" not in shares
    assert sum(shares.values()) == pytest.approx(100)
    assert "undecided" not in {trace.name.split(" (")[0] for trace in plots.states(pair[1]).data}


def test_the_table_of_gained_neurons_greys_undecided_ones(text: Text) -> None:
    before = text.stage("a", seed=0, silent=list(range(6)))[0]
    found = significant(before, text.stage("b", seed=1)[0])
    # Two of the six are in doubt, and they are the strongest.
    doubtful = pl.col("neuron").is_in([1, 4])
    states = pl.col("confident_state").cast(pl.String)
    comparison = replace(
        found,
        neurons=found.neurons.with_columns(
            confident_state=pl.when(doubtful).then(pl.lit("undecided")).otherwise(states),
            mass_after=pl.when(doubtful).then(1e6).otherwise("mass_after"),
        ),
    )
    rows = plots.gained_neurons(comparison, 3)
    assert rows["confident"].to_list() == [True] * 4 + [False] * 2
    assert set(rows["neuron"][4:]) == {1, 4}
    (table,) = plots.gained_table(comparison, 3).data
    colors = table.cells.font.color[0]
    assert list(colors) == [theme.INK] * 4 + [theme.FAINT] * 2
    assert [cell.endswith(", undecided") for cell in table.cells["values"][0]] == [False] * 4 + [True] * 2
    title = title_of(plots.gained_table(comparison, 3))
    mass = comparison.neurons.filter((pl.col("state") == "gained") & ~doubtful)["mass_after"].sum()
    share = 100 * mass / comparison.neurons["mass_after"].sum()
    assert numbers_in(title)[:4] == [6, 40, 4, 5]
    assert float(re.findall(r"with ([\d.]+)%", title)[0]) == pytest.approx(share, abs=0.05)
    untested = plots.gained_neurons(compare(comparison.before, comparison.after, permutations=0), 3)
    assert untested["confident"].is_null().all()


@pytest.mark.parametrize("most", [True, False])
def test_neurons_are_ranked_by_what_is_sure(
    pair: tuple[Comparison, Comparison], text: Text, most: bool
) -> None:
    draw = plots.most_changed_neurons if most else plots.least_changed_neurons
    comparison, tags = pair
    figure = draw(comparison, pos=tags, token_tags=text.tag_of, k=6, min_wins=1)
    heads = [note.text for note in figure.layout.annotations if "neuron" in note.text][:6]
    drawn = [int(numbers_in(head.split("neuron")[1])[0]) for head in heads]
    rows = {
        row["neuron"]: (
            row["q_value"] <= 0.05,
            row["hellinger_corrected_low"] if most else row["hellinger_corrected_high"],
            row["z_score"] if most else abs(row["signal"]),
        )
        for row in comparison.neurons.filter(pl.col("state") == "shared").iter_rows(named=True)
        if row["signal"] is not None
    }
    sign = -1 if most else 1
    assert drawn == sorted(rows, key=lambda n: (*(sign * value for value in rows[n]), n))[:6]
    assert [head.endswith("not significant</span>") for head in heads] == [not rows[n][0] for n in drawn]
    sizes = {row["neuron"]: row for row in comparison.neurons.iter_rows(named=True)}
    for neuron, head in zip(drawn, heads, strict=True):
        value, low, high = (sizes[neuron][f"hellinger_corrected{end}"] for end in ("", "_low", "_high"))
        assert f"distance {value:.2f} ({low:.2f} to {high:.2f})" in head
    values = [sizes[neuron]["hellinger_corrected"] for neuron in drawn]
    significant_ones = sum(rows[n][0] for n in drawn)
    assert numbers_in(title_of(figure)) == [
        *(6, round(min(values), 2), round(max(values), 2)),
        *((significant_ones,) if significant_ones else ()),
        5,
    ]


def test_tested_and_observed_states_are_bars_of_their_own(text: Text) -> None:
    a, b = text.stage("a", seed=0, silent=[0, 1])[0], text.stage("b", seed=1, silent=[1, 2, 3, 4])[0]
    figure = plots.states(significant(a, b), compare(a, b, permutations=0))
    bars = {trace.name.split(" (")[0]: list(trace.x) for trace in figure.data}
    assert bars["only before, observed"] == pytest.approx([0, 100 * 3 / 40])
    assert bars["only after, observed"] == pytest.approx([0, 100 * 1 / 40])
    assert bars["only before, significant"][1] == bars["only after, significant"][1] == 0
    # Overlaid, because otherwise the stripes replace the colour, and the bar is white.
    hatched = [trace.name.split(" (")[0] for trace in figure.data if trace.marker.pattern.shape]
    assert hatched == ["only before, observed", "only after, observed"]
    assert {trace.marker.pattern.fillmode for trace in figure.data} == {"overlay"}
    assert sum(x[0] for x in bars.values()) == pytest.approx(100) == sum(x[1] for x in bars.values())


def test_figures_of_untested_comparisons_say_so(text: Text) -> None:
    a, b = (text.stage(name, seed=seed, silent=[seed]) for seed, name in enumerate("ab"))
    tokens, tags = compare(a[0], b[0], permutations=0), compare(a[1], b[1], permutations=0)
    figures = [
        plots.states(tokens),
        plots.hellinger_length(tokens),
        plots.gained_table(tokens),
        plots.most_changed_neurons(tokens, pos=tags, token_tags=text.tag_of, k=2, min_wins=1),
    ]
    for figure in figures:
        assert "observed, not tested" in title_of(figure)
        assert "significant" not in title_of(figure)
    assert all(trace.name.split(" (")[0].endswith(", observed") for trace in figures[1].data)
