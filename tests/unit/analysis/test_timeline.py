from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import random_events, stage_of
from tests.unit.analysis.test_tag_mass_test import stage as tagged_stage
from txray.analysis import (
    Timeline,
    compare,
    effect_size,
    gini,
    half_mass,
    layer_affinity,
    mass_match,
    rank_correlation,
    timeline,
)
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.preferences import Stage

SCORES = pl.DataFrame({"stage": ["a", "b", "c", "d"], "perplexity": [1000.0, 600.0, 250.0, 60.0]})


def stages(n: int = 4) -> list[Stage]:
    """Stages that resemble their neighbours: each keeps half of the events of the one before."""
    events = random_events(1200, seed=0)
    made = [stage_of(events, "a")]
    for number, name in enumerate("bcdefgh"[: n - 1], start=1):
        events = [*events[600:], *random_events(600, seed=number)]
        made.append(stage_of(events, name))
    return made


@pytest.fixture(scope="module")
def line() -> Timeline:
    return timeline(stages(), scores=SCORES, permutations=200)


def test_each_stage_is_told(line: Timeline) -> None:
    assert line.names == ["a", "b", "c", "d"]
    for row, stage in zip(line.stages.iter_rows(named=True), stages(), strict=True):
        preferences = stage.preferences()
        assert row["preferred"] == (preferences.lengths() > 0).sum()
        assert row["length"] == pytest.approx(preferences.lengths()[preferences.lengths() > 0].mean())
        assert row["mass_gini"] == pytest.approx(gini(preferences.mass()))
        assert row["half_mass"] == half_mass(preferences.mass())
        assert row["words"] == preferences.words
        assert row["pos_divergence"] is None
    assert line.stages["perplexity"].to_list() == SCORES["perplexity"].to_list()


def test_each_change_is_that_of_the_comparison(line: Timeline) -> None:
    made = {stage.name: stage for stage in stages()}
    wanted = [("previous", "a", "b"), ("previous", "b", "c"), ("previous", "c", "d")]
    wanted += [("first", "a", "b"), ("first", "a", "c"), ("first", "a", "d")]
    wanted += [("last", "a", "d"), ("last", "b", "d"), ("last", "c", "d")]
    assert line.changes.select("reference", "before", "after").rows() == wanted
    for row in line.changes.iter_rows(named=True):
        found = compare(made[row["before"]], made[row["after"]], permutations=200)
        assert row["hellinger"] == found.summary["mean_hellinger"]
        assert row["signal"] == pytest.approx(found.neurons["signal"].mean())
        assert row["tested"] == found.summary["tested"]
        assert row["changed"] == found.summary["changed"]
        assert row["shared"] == found.summary["shared"]
        shared = found.neurons.filter(pl.col("state") == "shared")
        assert row["rarefied_length_after"] == pytest.approx(shared["rarefied_length_after"].mean())


def test_the_matrix_holds_every_pair_of_stages(line: Timeline) -> None:
    found = line.matrix()
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 0).all()
    observed = line.matrix(column="hellinger")
    assert observed[0, 1] < observed[0, 2]
    assert observed[1, 3] == compare(*stages()[1::2], permutations=0).summary["mean_hellinger"]
    # Stages that are no neighbours, first or last of one another are only measured, not tested.
    sides = [stage.preferences() for stage in stages(5)[1:4:2]]
    longer = timeline(stages(5), permutations=200)
    assert longer.matrix()[1, 3] == pytest.approx(effect_size(*sides).layer)


def test_flows_add_up_to_the_neurons(line: Timeline) -> None:
    for (before, after), rows in line.flows.group_by("before", "after"):
        assert rows["neurons"].sum() == 12
        found = line.steps["rnn"][line.names.index(after) - 1]  # type: ignore[arg-type]
        assert found.before.stage == before
        undecided = rows.filter(pl.col("state") == "undecided")
        assert undecided["neurons"].sum() == found.summary["undecided"]
        assert set(undecided["observed"]) == {"avoided", "gained"}
        of_state = rows.group_by("observed").agg(pl.col("neurons").sum())
        assert {row: n for row, n in of_state.iter_rows() if n} == {
            state: n
            for state in ("shared", "avoided", "gained", "unpreferred")
            if (n := found.summary[state])
        }


def test_correlation_is_of_steps_with_steps(line: Timeline) -> None:
    moved = line.changes.filter(pl.col("reference") == "previous")
    scored = np.abs(np.diff(np.log(SCORES["perplexity"].to_numpy())))
    for change in ("signal", "hellinger", "changed_share"):
        assert line.correlation("perplexity", change=change) == rank_correlation(
            moved[change].to_numpy(), scored
        )
    # Numbers that are not all positive have no logarithm.
    signed = timeline(stages(), scores=SCORES.with_columns(gain=pl.col("perplexity") - 150), permutations=0)
    hellinger = signed.changes.filter(pl.col("reference") == "previous")["hellinger"].to_numpy()
    differences = np.abs(np.diff(SCORES["perplexity"].to_numpy()))
    assert signed.correlation("gain", change="hellinger") == rank_correlation(hellinger, differences)


def test_scores_that_are_no_finite_numbers_are_left_out() -> None:
    broken = SCORES.with_columns(perplexity=pl.Series([float("inf"), 600.0, float("-inf"), float("nan")]))
    found = timeline(stages(), scores=broken, permutations=0)
    assert found.stages["perplexity"].to_list() == [None, 600.0, None, None]
    assert found.correlation("perplexity").n == 0


def test_what_is_measured_does_not_depend_on_what_is_tested(line: Timeline) -> None:
    untested = timeline(stages(), permutations=0)
    np.testing.assert_array_equal(untested.matrix(), line.matrix())


def test_without_tests_nothing_is_called_changed() -> None:
    found = timeline(stages(), permutations=0)
    assert found.changes["changed"].is_null().all()
    assert found.changes["signal"].is_not_null().all()
    assert (found.flows.filter(pl.col("state") == "undecided")["neurons"] == 0).all()
    assert not found.steps["rnn"][0].tested


def test_parts_of_speech_stand_beside_their_controls() -> None:
    made = [tagged_stage(0, follows="tag"), replace(tagged_stage(1, follows="word"), name="t")]
    rows = timeline(made, permutations=0).stages
    for row, stage in zip(rows.iter_rows(named=True), made, strict=True):
        match = mass_match(stage)
        assert row["pos_divergence"] == match.divergence
        assert row["pos_p_value"] == match.p_value
        assert row["pos_shuffled_low"] == pytest.approx(np.quantile(match.shuffled, 0.025))
        assert row["pos_shuffled_low"] < row["pos_shuffled"] < row["pos_shuffled_high"]


def test_several_layers_are_followed_each_on_its_own() -> None:
    made = [
        replace(stage, collected={**stage.collected, ("top", "token"): other.preferences()})
        for stage, other in zip(stages(3), stages(4)[1:], strict=True)
    ]
    found = timeline(made, permutations=0)
    assert list(found.steps) == ["rnn", "top"]
    alone = timeline(stages(3), permutations=0)
    np.testing.assert_array_equal(found.matrix("rnn"), alone.matrix())
    assert not np.array_equal(found.matrix("top", "signal"), alone.matrix(column="signal"))
    with pytest.raises(UsageError, match="name one of rnn, top"):
        found.matrix()
    with pytest.raises(UnknownNameError, match="'top'"):
        found.matrix("topp")
    only = timeline(made, layers=["top"], permutations=0)
    assert only.changes["layer"].unique().to_list() == ["top"]


def test_saved_whole(line: Timeline, tmp_path: Path) -> None:
    folder = line.save(tmp_path / "line")
    for name in ("stages", "changes", "flows", "distances"):
        assert pl.read_parquet(folder / f"{name}.parquet").equals(getattr(line, name))
        assert (folder / f"{name}.csv").exists()
    told = json.loads((folder / "timeline.json").read_text())
    assert told["correlations"]["rnn: perplexity"]["rho"] == line.correlation("perplexity").rho
    assert line.save(folder) == folder


def test_what_cannot_be_followed_is_told() -> None:
    made = stages()
    with pytest.raises(UsageError, match="at least two"):
        timeline(made[:1])
    with pytest.raises(UsageError, match="different names"):
        timeline([made[0], made[0]])
    with pytest.raises(UnknownNameError, match="layer of every stage 'rn'"):
        timeline(made, layers=["rn"])
    with pytest.raises(UnknownNameError, match="pos"):
        timeline(made, feature_type="pos")
    with pytest.raises(ShapeError, match="13 neurons"):
        timeline([made[0], stage_of(random_events(50), "e", n_neurons=13)])
    with pytest.raises(UsageError, match="no layer in common"):
        timeline([made[0], replace(made[1], collected={("top", "token"): made[1].preferences()})])
    for wrong, said in (
        (SCORES.rename({"stage": "epoch"}), "must be 'stage'"),
        (pl.concat([SCORES, SCORES]), "each stage once"),
        (SCORES.with_columns(stage=pl.lit("z") + pl.col("stage")), "none of which"),
        (SCORES.with_columns(note=pl.lit("good")), "not numbers"),
        (SCORES.with_columns(mass=1.0, length=2.0), r"\['mass', 'length'\] have the names of columns"),
    ):
        with pytest.raises(UsageError, match=said):
            timeline(made, scores=wrong)
    line = timeline(made, permutations=0, scores=SCORES)
    with pytest.raises(UnknownNameError, match="score"):
        line.correlation("loss")
    with pytest.raises(UnknownNameError, match="measure of change"):
        line.correlation("perplexity", change="speed")
    with pytest.raises(UnknownNameError, match="column"):
        line.matrix(column="speed")


def brute_force(first: Stage, second: Stage, min_wins: int) -> tuple[float, float]:
    """Mean best overlap, and mutual share, neuron by neuron."""
    sides = [
        [
            {row["feature"]: row["probability"] for row in side.table(neuron).iter_rows(named=True)}
            for neuron in range(side.n_neurons)
            if side.wins()[neuron] >= min_wins
        ]
        for side in (first.preferences(), second.preferences())
    ]
    overlap = np.array([[sum(np.sqrt(p[f] * q.get(f, 0)) for f in p) for q in sides[1]] for p in sides[0]])
    mutual = [i for i, row in enumerate(overlap) if overlap[:, row.argmax()].argmax() == i]
    return overlap.max(axis=1).mean(), len(mutual) / min(overlap.shape)


def test_layers_are_compared_by_their_nearest_neurons() -> None:
    first, second = stages(2)
    both = replace(second, collected={**second.collected, ("top", "token"): first.preferences()})
    found = layer_affinity(first, both, min_wins=80)
    assert found.select("layer_before", "layer_after").rows() == [("rnn", "rnn"), ("rnn", "top")]
    affinity, mutual = brute_force(first, second, 80)
    assert found["affinity"][0] == pytest.approx(affinity)
    assert found["mutual_share"][0] == pytest.approx(mutual)
    assert found["affinity"][1] == pytest.approx(1)
    assert found["mutual_share"][1] == 1
    assert found["chance"][1] < 0.95
    assert layer_affinity(first, both, min_wins=80).equals(found)


def test_layers_without_frequent_neurons_tell_nothing() -> None:
    first, second = stages(2)
    assert layer_affinity(first, second, min_wins=10_000).row(0)[2:] == (None, None, None)
    with pytest.raises(UsageError, match="min_wins=0"):
        layer_affinity(first, second, min_wins=0)
