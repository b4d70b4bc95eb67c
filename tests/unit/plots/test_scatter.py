from __future__ import annotations

import math

import numpy as np
import pytest

from tests.builders.figures import Text, distribution, numbers_in, title_of
from txray.analysis import Comparison, compare
from txray.plots import hellinger_length


@pytest.fixture
def comparison(text: Text) -> Comparison:
    return compare(
        text.stage("unsup", seed=0, silent=[0, 1, 2])[0],
        text.stage("sup", seed=1, silent=[2, 3, 4, 5, 6])[0],
        permutations=0,
    )


def test_marks_are_the_shared_neurons(comparison: Comparison) -> None:
    figure = hellinger_length(comparison)
    drawn = {}
    for trace in figure.data:
        assert trace.type == "scatter"
        for neuron, x, y in zip(trace.customdata, trace.x, trace.y, strict=True):
            drawn[int(neuron)] = (x, y)
    assert sorted(drawn) == list(range(7, 40))
    for neuron, (length, distance) in drawn.items():
        p, q = (distribution(side, neuron) for side in (comparison.before, comparison.after))
        union = set(p) | set(q)
        assert length == len(union)
        expected = sum((math.sqrt(p.get(f, 0)) - math.sqrt(q.get(f, 0))) ** 2 for f in union)
        assert distance == pytest.approx(math.sqrt(expected / 2), rel=1e-9)


def test_marks_tell_whether_a_neuron_prefers_more_or_fewer(comparison: Comparison) -> None:
    for trace in hellinger_length(comparison).data:
        change = {
            int(np.sign(len(distribution(comparison.after, n)) - len(distribution(comparison.before, n))))
            for n in trace.customdata
        }
        expected = {"fewer": -1, "more": 1, "as many": 0}
        assert change == {next(sign for name, sign in expected.items() if trace.name.startswith(name))}
        assert trace.name.endswith(f"({len(trace.x)})")


def test_the_title_tells_shared_neurons_and_median(comparison: Comparison) -> None:
    figure = hellinger_length(comparison)
    distances = [y for trace in figure.data for y in trace.y]
    assert numbers_in(title_of(figure)) == [33, 40, round(float(np.median(distances)), 2)]


def test_hover_tells_the_whole_story(comparison: Comparison) -> None:
    trace = hellinger_length(comparison).data[0]
    neuron = int(trace.customdata[0])
    row = comparison.neurons.row(neuron, named=True)
    story = trace.hovertext[0].replace("<br>", " ")
    assert f"neuron {neuron}: in both stages" in story
    assert f"{row['hellinger']:.3f}" in story
    assert f"unsup: {row['length_before']} tokens" in story
    assert f"sup: {row['length_after']} tokens" in story
    assert f"{row['wins_after']} wins" in story
    for side in (comparison.before, comparison.after):
        assert side.table(neuron)["feature"][0] in story


def test_axes_are_logarithmic_length_and_whole_distance(comparison: Comparison) -> None:
    layout = hellinger_length(comparison).layout
    assert layout.xaxis.type == "log"
    assert layout.yaxis.range[0] < 0
    assert layout.yaxis.range[1] > 1


def test_crowded_marks_are_fainter(text: Text) -> None:
    same = text.stage("a", seed=0)[0]
    figure = hellinger_length(compare(same, same, permutations=0))
    lonely = hellinger_length(
        compare(*(text.stage(n, seed=s)[0] for n, s in (("a", 0), ("b", 1))), permutations=0)
    )
    assert min(o for trace in lonely.data for o in trace.marker.opacity) >= 0.15
    assert max(o for trace in lonely.data for o in trace.marker.opacity) > min(
        o for trace in figure.data for o in trace.marker.opacity
    )


def test_no_shared_neuron_is_said_in_words(text: Text) -> None:
    before = text.stage("a", seed=0, silent=range(20))[0]
    after = text.stage("b", seed=0, silent=range(20, 40))[0]
    figure = hellinger_length(compare(before, after, permutations=0))
    assert title_of(figure) == "No neuron is in use in both a and b"
    said = [note.text.replace("<br>", " ") for note in figure.layout.annotations]
    assert any("20 are in use only before, 20 only after, 0 in neither" in text for text in said)
