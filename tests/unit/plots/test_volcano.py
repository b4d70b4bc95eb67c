from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import Text, caption_of, numbers_in, plain_words, significant, title_of
from txray.analysis import Comparison, compare
from txray.errors import UsageError
from txray.plots import theme, volcano
from txray.plots.features import distinctive


@pytest.fixture(scope="module")
def text() -> Text:
    """Enough folds that some neurons change for sure, and some do not."""
    return Text(plain_words(300), n_words=6_000, folds=16)


@pytest.fixture(scope="module")
def comparison(text: Text) -> Comparison:
    return significant(
        text.stage("unsup", seed=0, silent=[0, 1])[0], text.stage("sup", seed=1, silent=[1, 2])[0]
    )


def test_marks_are_neurons_and_colours_what_is_more_than_chance(comparison: Comparison) -> None:
    *marks, labels = volcano(comparison).data
    rows = comparison.neurons.filter(
        pl.all_horizontal(pl.col("z_score", "hellinger_corrected").is_not_null())
    )
    changed, least = pl.col("q_value") <= 0.05, pl.col("hellinger_corrected_low").fill_null(0)
    groups = {
        theme.UNDECIDED: ~changed,
        theme.CHANGED_BY[0.0]: changed & (least < 0.1),
        theme.CHANGED_BY[0.1]: changed & (least >= 0.1) & (least < 0.3),
        theme.CHANGED_BY[0.3]: changed & (least >= 0.3),
    }
    assert sum(len(trace.x) for trace in marks) == len(rows)
    assert len(marks) > 2
    for trace in marks:
        mine = rows.filter(groups[trace.marker.color])
        assert list(trace.customdata) == mine["neuron"].to_list()
        np.testing.assert_array_equal(trace.x, mine["hellinger_corrected"].to_numpy())
        np.testing.assert_array_equal(trace.y, mine["z_score"].to_numpy())
        assert trace.name.endswith(f"({len(mine)})")
        assert "q-value" in trace.hovertext[0]
        assert "most distinctive" in trace.hovertext[0]
    assert len(labels.text) > 0


def test_labels_name_changed_neurons_by_what_outdoes_its_frequency(comparison: Comparison) -> None:
    *marks, labels = volcano(comparison).data
    names = distinctive(comparison.after, 3)
    at = {
        (x, y): neuron
        for trace in marks
        if trace.marker.color != theme.UNDECIDED
        for x, y, neuron in zip(trace.x, trace.y, trace.customdata, strict=True)
    }
    for x, y, text in zip(labels.x, labels.y, labels.text, strict=True):
        neuron = at[x, y]
        assert text == f"{neuron}: {', '.join(names[neuron])}"


def test_bars_are_intervals_of_named_neurons(comparison: Comparison) -> None:
    *marks, labels = volcano(comparison).data
    assert all(trace.error_x.array is None for trace in marks)
    rows = {row["neuron"]: row for row in comparison.neurons.iter_rows(named=True)}
    named = [rows[int(text.split(":")[0])] for text in labels.text]
    for sign, end, bars in ((1, "high", labels.error_x.array), (-1, "low", labels.error_x.arrayminus)):
        np.testing.assert_allclose(
            np.asarray(labels.x) + sign * np.asarray(bars),
            [row[f"hellinger_corrected_{end}"] for row in named],
        )


def test_the_title_counts_changes_among_tests(comparison: Comparison) -> None:
    summary = comparison.summary
    size = [summary[f"median_corrected{of}{end}"] for of in ("_changed", "") for end in ("", "_low", "_high")]
    assert numbers_in(title_of(volcano(comparison))) == [
        *(summary["changed"], summary["tested"], 5),
        *(round(value, 2) for value in size),
    ]


def test_neurons_of_unknown_size_are_counted_in_the_caption(comparison: Comparison) -> None:
    neurons = comparison.neurons.with_columns(
        hellinger_corrected=pl.when(pl.col("neuron") > 9).then("hellinger_corrected")
    )
    figure = volcano(replace(comparison, neurons=neurons))
    drawn = sorted(n for trace in figure.data if trace.customdata is not None for n in trace.customdata)
    assert min(drawn) == 10
    missing = comparison.summary["tested"] - len(drawn)
    assert f"not drawn: {missing} tested neurons of unknown distance" in caption_of(figure).replace(
        "<br>", " "
    )


def test_only_tested_comparisons_are_drawn(text: Text) -> None:
    untested = compare(text.stage("a", seed=0)[0], text.stage("b", seed=1)[0], permutations=0)
    with pytest.raises(UsageError, match=r"comparison\.test"):
        volcano(untested)


def test_a_stage_against_itself_lies_at_nothing(text: Text) -> None:
    same = text.stage("a", seed=0)[0]
    (grey,) = volcano(significant(same, same)).data
    assert set(grey.x) == set(grey.y) == {0.0}


def test_nothing_to_test_is_said(text: Text) -> None:
    half = range(20)
    apart = significant(
        text.stage("a", seed=0, silent=list(half))[0], text.stage("b", seed=1, silent=list(range(20, 40)))[0]
    )
    figure = volcano(apart)
    assert any("No neuron is in use in both" in note.text for note in figure.layout.annotations)


def test_distinctive_features_are_those_of_highest_lift(comparison: Comparison) -> None:
    table = comparison.after.table().filter(pl.col("lift") > 1)
    found = distinctive(comparison.after, 4)
    for neuron in range(comparison.after.n_neurons):
        mine = table.filter(pl.col("neuron") == neuron).sort(["lift", "feature"], descending=[True, False])
        assert set(found[neuron]) <= set(mine["feature"])
        lifts = dict(mine.select("feature", "lift").iter_rows())
        assert [lifts[name] for name in found[neuron]] == pytest.approx(mine["lift"].head(4).to_list())
