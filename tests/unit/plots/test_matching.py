from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import Text, distribution, numbers_in, stage_of, title_of
from txray import plots
from txray.analysis import Matching, layer_affinity, match
from txray.errors import UsageError


@pytest.fixture(scope="module")
def matching(text: Text) -> Matching:
    return match(
        text.stage("unsup", seed=0, silent=[4])[0], text.stage("sup", seed=1, silent=[4])[0], min_wins=5
    )


def test_cells_are_overlaps_and_matched_pairs_lie_on_the_diagonal(matching: Matching) -> None:
    (cells,) = plots.matching(matching).data
    pairs = matching.pairs.filter(pl.col("state") == "matched").sort(
        ["affinity", "before"], descending=[True, False]
    )
    assert 3 < len(pairs) < 39
    np.testing.assert_allclose(np.diag(cells.z)[: len(pairs)], pairs["affinity"].to_numpy())
    alone = [int((matching.pairs["state"] == f"unmatched-{side}").sum()) for side in ("before", "after")]
    assert cells.z.shape == tuple(len(pairs) + min(30, number) for number in alone)
    p, q = distribution(matching.before, pairs["before"][0]), distribution(matching.after, pairs["after"][1])
    assert cells.z[0, 1] == pytest.approx(sum(np.sqrt(p[name] * q.get(name, 0)) for name in p))
    assert numbers_in(title_of(plots.matching(matching)))[0] == len(pairs)
    for figure_of in (plots.matching, plots.matching_curve):
        assert "5% of the matches" in title_of(figure_of(matching))


def test_of_many_neurons_a_sample_is_drawn_and_said(matching: Matching) -> None:
    large = Text([f"word{i}" for i in range(900)], n_words=9_000, n_neurons=300)
    found = match(large.stage("a", seed=0)[0], large.stage("b", seed=0)[0], min_wins=5)
    figure = plots.matching(found)
    assert figure.data[0].z.shape[0] <= 120
    assert "90 of" in figure.layout.annotations[-1].text.replace("<br>", " ")


def test_nothing_to_match_is_said(text: Text) -> None:
    nothing = match(text.stage("a", seed=0)[0], text.stage("b", seed=1)[0], min_wins=10_000)
    assert any("10000 wins" in note.text for note in plots.matching(nothing).layout.annotations)
    assert plots.matching_curve(nothing).data


def test_curves_are_those_of_the_matching(matching: Matching) -> None:
    curve, chance, mark = plots.matching_curve(matching).data
    table = matching.curve()
    np.testing.assert_allclose(curve.y, 100 * table["share"].to_numpy())
    np.testing.assert_allclose(chance.y, 100 * table["null_share"].to_numpy())
    assert mark.y[0] == pytest.approx(100 * matching.matched_share)
    assert np.interp(mark.x[0], table["distance"], table["share"]) == pytest.approx(matching.matched_share)
    with pytest.raises(UsageError, match="0 matchings"):
        plots.matching_curve()
    with pytest.raises(UsageError, match="5 matchings"):
        plots.matching_curve(*[matching] * 5)


def test_layers_are_drawn_by_the_affinity_of_their_neurons(text: Text) -> None:
    stages = [stage_of(text.stage(name, seed=i)) for i, name in enumerate(("a", "b"))]
    table = layer_affinity(*stages, min_wins=5)
    figure = plots.layer_affinity(*stages, table)
    assert figure.data[0].z[0][0] == table["affinity"][0]
    assert numbers_in(title_of(figure)) == [
        *(1, 1),
        *(round(table[name][0], 2) for name in ("affinity", "chance")),
    ]
    tags = layer_affinity(*stages, feature_type="pos", min_wins=5)
    assert "feature type pos" in plots.layer_affinity(*stages, tags, "pos").layout.annotations[-1].text
    worse = table.with_columns(chance=pl.col("affinity") + 0.01)
    assert title_of(plots.layer_affinity(*stages, worse)).startswith("0 of 1 pair of layers of a and b")
    none = plots.layer_affinity(*stages, layer_affinity(*stages, min_wins=10_000))
    assert title_of(none) == "No layers of a and b can be compared"


def test_every_assigned_pair_is_drawn_beside_its_best_by_chance(matching: Matching) -> None:
    figure = plots.match_strength(matching)
    chance, matched, others = figure.data
    pairs = matching.pairs.filter(pl.col("affinity").is_not_null(), pl.col("state") != "unmatched-after")
    for marks, state in ((matched, "matched"), (others, "unmatched-before")):
        drawn = pairs.filter(pl.col("state") == state)["affinity"].to_numpy()
        assert list(marks.y) == sorted(drawn, reverse=True)
    assert sorted(chance.y) == sorted(pairs["chance"].to_numpy())
    assert sorted([*matched.x, *others.x]) == list(range(1, len(pairs) + 1))
    assert numbers_in(title_of(figure))[0] == len(matched.x)
