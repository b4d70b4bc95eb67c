"""Figures of stages in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import Text, numbers_in, timeline_of, title_of
from txray import plots
from txray.analysis import Timeline
from txray.errors import UnknownNameError, UsageError
from txray.plots.flow import Flow, traces

NAMES = ["untrained", "epoch-01", "epoch-02", "epoch-03"]


@pytest.fixture(scope="module")
def line(text: Text) -> Timeline:
    silent = [list(range(12)), [0, 1, 2, 3], [1, 2], [2]]
    return timeline_of(
        [
            text.stage(name, seed=i, silent=each)
            for i, (name, each) in enumerate(zip(NAMES, silent, strict=True))
        ]
    )


def test_streams_join_what_neurons_are_in_two_stages(line: Timeline) -> None:
    sankey = plots.knowledge_flow(line).data[0]
    nodes = [(name, side) for name in NAMES for side in ("preferred", "un-preferred")]
    lengths = {
        stage: np.array(
            [*line.steps["rnn"]][max(i - 1, 0)].__getattribute__("before" if i == 0 else "after").lengths()
        )
        for i, stage in enumerate(NAMES)
    }
    into: dict[int, int] = {}
    for source, target, value in zip(sankey.link.source, sankey.link.target, sankey.link.value, strict=True):
        (before, was), (after, now) = nodes[source], nodes[target]
        assert NAMES.index(after) == NAMES.index(before) + 1
        into[target] = into.get(target, 0) + value
        both = ((lengths[before] > 0) == (was == "preferred")) & (
            (lengths[after] > 0) == (now == "preferred")
        )
        assert value <= both.sum()
    for node, (stage, side) in enumerate(nodes[2:], start=2):
        assert into.get(node, 0) == ((lengths[stage] > 0) == (side == "preferred")).sum()
    assert numbers_in(title_of(plots.knowledge_flow(line)))[:2] == [28, 40]


def test_a_node_without_neurons_is_not_drawn() -> None:
    links = (
        ("a", "b", "gained", "gained", 3),
        ("a", "b", "shared", "shared", 2),
        ("b", "c", "shared", "shared", 5),
    )
    figure = traces(Flow(("a", "b", "c"), (2, 5, 5), 5, links))
    sankey = figure.data[0]
    assert len(sankey.node.x) == len(sankey.node.y) == 4  # b and c have no un-preferred neurons
    told = [sankey.node.customdata[target] for target in sankey.link.target]
    assert [text.split("<br>")[0] for text in told] == ["<b>b</b>", "<b>b</b>", "<b>c</b>"]


def test_too_many_stages_do_not_flow(text: Text) -> None:
    made = timeline_of([text.stage(f"s{i}", seed=0) for i in range(25)], permutations=0)
    with pytest.raises(UsageError, match="25 stages"):
        plots.knowledge_flow(made)


def test_panels_hold_what_the_tables_hold(line: Timeline) -> None:
    traces = {trace.name: trace for trace in plots.timeline(line).data}
    np.testing.assert_array_equal(traces["perplexity"].y, line.stages["perplexity"].to_numpy())
    np.testing.assert_array_equal(traces["neurons in use"].y, line.stages["preferred"].to_numpy())
    np.testing.assert_array_equal(
        traces["neurons with half of the mass"].y, line.stages["half_mass"].to_numpy()
    )
    steps = line.changes.filter(pl.col("reference") == "previous")
    moved = traces["distance to the previous stage"]
    np.testing.assert_array_equal(moved.y[1:], steps["hellinger_corrected"].to_numpy())
    np.testing.assert_allclose(
        (moved.y + moved.error_y.array)[1:], steps["hellinger_corrected_high"].to_numpy()
    )
    np.testing.assert_allclose(
        (moved.y - moved.error_y.arrayminus)[1:], steps["hellinger_corrected_low"].to_numpy()
    )
    assert np.isnan(moved.y[0])
    first = line.changes.filter(pl.col("reference") == "first")
    np.testing.assert_array_equal(
        traces["distance to the first stage"].y[1:], first["hellinger_corrected"].to_numpy()
    )
    last = line.changes.filter(pl.col("reference") == "last")
    np.testing.assert_array_equal(
        traces["distance to the last stage"].y[:-1], last["hellinger_corrected"].to_numpy()
    )
    np.testing.assert_allclose(traces["changed, %"].y[1:], 100 * steps["changed_share"].to_numpy())
    np.testing.assert_array_equal(
        traces["only after, significant"].y[1:], steps["confident_gained"].to_numpy()
    )


def test_the_title_tells_the_correlation(line: Timeline) -> None:
    found = line.correlation("perplexity")
    assert found.rho is not None
    title = title_of(plots.timeline(line)).replace("<br>", " ")
    assert found.finding("neuron change", "perplexity change") in title
    bare = replace(line, scores=())
    assert title_of(plots.timeline(bare)).startswith("28 of 40 neurons are in use in untrained, 39 in")
    with pytest.raises(UnknownNameError, match="score"):
        plots.timeline(line, score="loss")


def test_without_tests_and_tags_there_are_fewer_panels(text: Text) -> None:
    untested = timeline_of([text.stage(name, seed=i) for i, name in enumerate(NAMES)], permutations=0)
    names = {trace.name for trace in plots.timeline(untested).data}
    assert "changed, %" not in names
    assert "tested" not in plots.timeline(untested).layout.title.text
    untagged = replace(untested, stages=untested.stages.with_columns(pos_divergence=pl.lit(None, pl.Float64)))
    assert "parts of speech" not in {trace.name for trace in plots.timeline(untagged).data}
    with pytest.raises(UsageError, match="no parts of speech"):
        plots.pos_first(untagged)


def test_parts_of_speech_stand_beside_band_and_untrained_model(line: Timeline) -> None:
    traces = {trace.name: trace for trace in plots.pos_first(line).data}
    np.testing.assert_array_equal(traces["parts of speech"].y, line.stages["pos_divergence"].to_numpy())
    band = traces["frequency-matched shuffle of tags, 95% of shuffles"]
    np.testing.assert_array_equal(band.y[:4], line.stages["pos_shuffled_high"].to_numpy())
    np.testing.assert_array_equal(band.y[4:], line.stages["pos_shuffled_low"].to_numpy()[::-1])
    assert set(traces["untrained model"].y) == {line.stages["pos_divergence"][0]}


@pytest.mark.parametrize(
    ("p_value", "closer"), [((0.005, 0.9, 0.9, 0.9), 1), ((0.03, 0.9, 0.9, 0.9), 0), ((0.01,) * 4, 4)]
)
def test_stages_that_track_parts_of_speech_are_counted_corrected(
    line: Timeline, p_value: tuple[float, ...], closer: int
) -> None:
    drawn = replace(line, stages=line.stages.with_columns(pos_p_value=pl.Series(p_value)))
    title = title_of(plots.pos_first(drawn))
    assert (f"significantly better than shuffled tags at {closer} of 4 stages" in title) == (closer > 0)
    assert ("no better than shuffled tags at any of 4 stages" in title) == (closer == 0)
    last = line.stages.row(-1, named=True)
    names = ("pos_divergence", "pos_shuffled", "pos_shuffled_low", "pos_shuffled_high")
    assert [round(number, 4) for number in numbers_in(title)[-4:]] == [round(last[name], 4) for name in names]


def test_the_matrix_of_stages_names_the_farthest(line: Timeline) -> None:
    figure = plots.stage_distances(line)
    np.testing.assert_array_equal(figure.data[0].z, line.matrix())
    i, j = sorted(np.unravel_index(np.argmax(line.matrix()), (4, 4)))
    assert f"to {line.matrix()[i, j]:.2f} ({NAMES[i]}, {NAMES[j]})" in title_of(figure)
    assert "Corrected Hellinger distance of 6 pairs of stages" in title_of(figure)


def test_no_stage_is_farthest_from_itself(text: Text) -> None:
    same = timeline_of([text.stage("one", seed=0), text.stage("other", seed=0)], permutations=0)
    assert title_of(plots.stage_distances(same)).endswith("of 1 pair of stages: 0.00 (one, other)")
    unknown = replace(
        same, distances=same.distances.with_columns(hellinger_corrected=pl.lit(None, pl.Float64))
    )
    figure = plots.stage_distances(unknown)
    assert title_of(figure) == "No two of 2 stages can be compared"
    assert any("No two stages have" in note.text for note in figure.layout.annotations)
