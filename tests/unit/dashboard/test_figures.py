"""Each panel sets a number beside a reference of the same estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.unit.dashboard.builders import LOW, stage_of
from tests.unit.dashboard.conftest import DeskMaker, settled
from txray.dashboard.desk import Desk
from txray.dashboard.figures import scatter
from txray.dashboard.results import Choices
from txray.dashboard.scene import Scene
from txray.dashboard.view import View


def test_a_tested_pair_shows_matched_distances_beside_their_null(desk: Desk, view: View) -> None:
    scene = settled(Scene.of, view, desk)
    drawing = scatter.draw(scene)
    rows = scene.shared
    marks = [y for trace in drawing.figure.data if trace.customdata is not None for y in trace.y]
    assert sorted(marks) == sorted(rows["distance_matched"].to_list())
    matched, null, plain = (
        np.median(rows[name].to_numpy()) for name in ("distance_matched", "distance_null", "hellinger")
    )
    assert f"{matched:.2f}, {null:.2f} if nothing had changed" in drawing.finding
    assert f"{matched:.2f}" != f"{plain:.2f}"
    assert "equal numbers of wins" in drawing.figure.layout.yaxis.title.text


def test_an_untested_pair_shows_plain_distances_alone(tmp_path: Path, desk_over: DeskMaker) -> None:
    folders = [
        stage_of(name, layers={LOW: 8}, seed=seed).save(tmp_path / name)
        for name, seed in (("a", 1), ("b", 2))
    ]
    desk = desk_over(folders, tmp_path / "cache", Choices(permutations=0))
    scene = settled(Scene.of, View(before="a", after="b", feature="token"), desk)
    drawing = scatter.draw(scene)
    marks = [y for trace in drawing.figure.data if trace.customdata is not None for y in trace.y]
    assert sorted(marks) == sorted(scene.shared["hellinger"].to_list())
    assert "nothing had changed" not in drawing.finding + str(drawing.figure.to_dict())
