from __future__ import annotations

import pytest

from tests.builders.figures import Text, numbers_in, title_of
from txray.analysis import compare
from txray.errors import UsageError
from txray.plots import states


def state_in(legend: str) -> str:
    """The word of the paper, in brackets at the end of a legend entry."""
    return legend.rsplit("(", 1)[1].rstrip(")")


def test_every_neuron_has_its_state(text: Text) -> None:
    a = text.stage("unsup", seed=0, silent=[0, 1, 2, 3])[0]
    b = text.stage("sup", seed=1, silent=[3, *range(10, 20)])[0]
    figure = states(compare(a, b, permutations=0))
    shares = {state_in(trace.name): trace.x[0] for trace in figure.data}
    assert shares == pytest.approx({"shared": 65.0, "avoided": 25.0, "gained": 7.5, "unpreferred": 2.5})
    assert numbers_in(title_of(figure)) == [26, 40, 10, 3]


def test_several_comparisons_are_rows_and_the_title_tells_the_last(text: Text) -> None:
    a, b, c = (text.stage(n, seed=s, silent=range(s))[0] for n, s in (("a", 0), ("b", 5), ("c", 9)))
    figure = states(compare(a, b, permutations=0), compare(b, c, permutations=0))
    assert [list(trace.y) for trace in figure.data] == [[0, 1]] * 4
    assert sum(trace.x[1] for trace in figure.data) == pytest.approx(100)
    assert "in both b and c" in title_of(figure)
    assert "stages a, b, c" in figure.layout.annotations[-1].text


def test_a_narrow_bar_has_a_short_label_or_none(text: Text) -> None:
    a = text.stage("a", seed=0)[0]
    figure = states(compare(a, text.stage("b", seed=1, silent=[1])[0], permutations=0))
    labels = {state_in(trace.name): trace.text[0] for trace in figure.data}
    assert labels == {"shared": "in both stages 39 (98%)", "avoided": "1", "gained": "", "unpreferred": ""}


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        states()
