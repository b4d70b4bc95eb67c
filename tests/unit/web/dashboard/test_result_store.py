"""Results that are made once, kept, and made anew where they are damaged."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.unit.web.dashboard.builders import (
    AFTER,
    BEFORE,
    HIGH,
    HOSTILE,
    LAYERS,
    LOW,
    SILENT,
    TAGS,
    stage_of,
)
from tests.unit.web.dashboard.conftest import DeskMaker, all_tested, settled, until
from txray.errors import StageError, TxrayError, UnknownNameError
from txray.preferences import Stage
from txray.web.dashboard.jobs.tasks import TESTED
from txray.web.dashboard.jobs.worker import JobPending, JobWorker
from txray.web.dashboard.result_store import ResultStore, common_layers
from txray.web.dashboard.results import ComparisonConfig


def test_a_second_desk_on_the_same_cache_answers_at_once(
    desk: ResultStore, folders: list[Path], cache: Path, desk_over: DeskMaker
) -> None:
    again = desk_over(folders, cache)
    sides = again.library[BEFORE], again.library[AFTER]
    found = again.pair(*sides, "token")
    assert found.tested == found.layers == tuple(LAYERS)
    assert found.neurons.equals(all_tested(desk).neurons)
    assert again.digest(sides[0], "token").equals(desk.digest(desk.library[BEFORE], "token"))
    assert again._quick._thread is again._slow._thread is None
    assert again.version == "0.0.0"
    assert again.doing() == []


def test_a_pair_waits_and_tells_what_for(folders: list[Path], tmp_path: Path, desk_over: DeskMaker) -> None:
    fresh = desk_over(folders[:2], tmp_path)
    sides = tuple(fresh.library)
    with pytest.raises(JobPending, match=r"reading start \(token\)"):
        fresh.pair(sides[0], sides[1], "token", HIGH)
    first = settled(fresh.pair, sides[0], sides[1], "token", HIGH)
    if not first.tested:
        assert first.neurons["q_value"].is_null().all()
        assert set(first.neurons["shown"]) == {"untested"}
        assert first.pending
        until(fresh.doing, "work")
        assert fresh.doing()[0].startswith(f"testing start against {BEFORE}, layer {HIGH}")
    before = fresh.version
    until(lambda: fresh.pair(sides[0], sides[1], "token").tested == tuple(LAYERS), "tests")
    assert fresh.version != before


def test_the_layer_that_is_looked_at_is_tested_before_those_that_wait(
    tmp_path: Path, desk_over: DeskMaker
) -> None:
    layers = dict.fromkeys(("a", "b", "c", "d"), 5)
    folders = [
        stage_of(name, layers=layers, seed=seed, silent=()).save(tmp_path / name)
        for name, seed in (("first", 1), ("second", 2))
    ]
    asked = desk_over(folders, tmp_path / "cache")
    sides = tuple(asked.library)
    settled(asked.pair, *sides, "token")
    asked.pair(*sides, "token", "d")
    assert [request.arguments["layer"] for request in asked._slow._line.urgent.values()] == ["d"]
    assert "c" in [request.arguments["layer"] for request in asked._slow._line.later.values()]


def test_what_is_tested_joins_what_is_compared(desk: ResultStore) -> None:
    found = all_tested(desk).neurons
    assert found["place"].to_list() == list(range(len(found)))
    assert set(TESTED) <= set(found.columns)
    for row in found.iter_rows(named=True):
        assert row["shown"] == row["confident_state"]
        assert (row["q_value"] is not None) <= (row["state"] == "shared")
    assert "unsure" in found["shown"].to_list()


def test_without_permutations_nothing_is_tested(
    folders: list[Path], cache: Path, desk_over: DeskMaker
) -> None:
    plain = desk_over(folders, cache, ComparisonConfig(permutations=0))
    found = plain.pair(plain.library[BEFORE], plain.library[AFTER], "token")
    assert found.tested == ()
    assert found.neurons["confident_state"].is_null().all()
    assert (
        found.neurons["shown"].cast(pl.String).to_list() == found.neurons["state"].cast(pl.String).to_list()
    )
    assert plain._slow._thread is None


def test_other_choices_have_results_of_their_own(
    folders: list[Path], cache: Path, desk_over: DeskMaker
) -> None:
    mass = desk_over(folders, cache, ComparisonConfig("mass", permutations=200))
    plain = desk_over(folders, cache)
    sides = mass.library[BEFORE], mass.library[AFTER]
    distances = [
        settled(each.pair, *sides, "token").neurons["hellinger"].drop_nulls().to_list()
        for each in (mass, plain)
    ]
    assert distances[0] != distances[1]
    strict = desk_over(folders, cache, ComparisonConfig(level=0.01, permutations=200))
    assert (
        strict._tests(*sides, "token", LOW, urgent=True).out
        != plain._tests(*sides, "token", LOW, urgent=True).out
    )


def test_prepare_reads_every_stage_and_kind(
    folders: list[Path], tmp_path: Path, desk_over: DeskMaker
) -> None:
    fresh = desk_over(folders[1:], tmp_path)
    fresh.prepare(*list(fresh.library)[:2], "token")
    until(lambda: fresh._quick.finished == 5, "all digests")
    assert len(fresh.digest(fresh.library["wide"], "token")) == 21
    assert len(fresh.digest(fresh.library[AFTER], "pos")) == 21


def test_two_desks_on_one_cache_do_not_break_each_other(
    folders: list[Path], tmp_path: Path, desk_over: DeskMaker
) -> None:
    both = [desk_over(folders[:2], tmp_path) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: all_tested(each, "start", BEFORE), both))
    assert found[0].neurons.equals(found[1].neurons)
    assert not list(tmp_path.rglob(".txray-*"))


@pytest.mark.parametrize("harm", ["damaged", "removed"])
@pytest.mark.parametrize("part", ["token-mean", "token-mean-postings"])
def test_a_damaged_digest_is_made_anew(
    harm: str,
    part: str,
    desk: ResultStore,
    folders: list[Path],
    cache: Path,
    tmp_path: Path,
    desk_over: DeskMaker,
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    again = desk_over(folders, tmp_path / "cache")
    stage = again.library[BEFORE]
    file = again.cache.place("stages", stage.fingerprint, part)
    if harm == "damaged":
        file.write_bytes(b"PAR1 no table")
        with pytest.raises(StageError, match="reload to make it anew") as caught:
            again.postings(stage, "token", "word1")
        assert "\n" not in str(caught.value)
    elif part.endswith("postings"):
        file.unlink()
        with pytest.raises(StageError, match="reload to make it anew"):
            again.postings(stage, "token", "word1")
    else:
        file.unlink()
    again.try_again()
    found = settled(again.postings, stage, "token", "word1")
    assert found.equals(desk.postings(desk.library[BEFORE], "token", "word1"))
    assert len(found)


@pytest.mark.parametrize("part", ["token-mean-0-0", "token-mean-0-0-curve"])
def test_a_damaged_matching_is_made_anew(
    part: str, folders: list[Path], tmp_path: Path, desk_over: DeskMaker
) -> None:
    asked = desk_over(folders[1:3], tmp_path)
    sides = tuple(asked.library)
    expected = settled(asked.matching, *sides, LOW, LOW, "token")
    name = "0-0-curve.parquet" if part.endswith("curve") else "0-0.parquet"
    (file,) = tmp_path.rglob(name)
    file.write_bytes(b"nothing")
    again = desk_over(folders[1:3], tmp_path)
    with pytest.raises(StageError, match="reload to make it anew"):
        again.matching(*sides, LOW, LOW, "token")
    found = settled(again.matching, *sides, LOW, LOW, "token")
    assert found.pairs.equals(expected.pairs)
    assert found.curve.equals(expected.curve)
    assert found.share == expected.share


def test_a_damaged_digest_does_not_stop_comparisons_for_good(
    folders: list[Path], tmp_path: Path, desk_over: DeskMaker
) -> None:
    asked = desk_over(folders[1:3], tmp_path, ComparisonConfig(permutations=0))
    sides = tuple(asked.library)
    settled(asked.digest, sides[0], "token")
    settled(asked.digest, sides[1], "token")
    asked.cache.place("stages", sides[1].fingerprint, "token-mean").write_bytes(b"nothing")
    with pytest.raises(TxrayError, match="reload to make it anew"):
        settled(asked.pair, *sides, "token")
    asked.try_again()
    assert len(settled(asked.pair, *sides, "token").neurons) == 21


def stopped(process: JobWorker) -> int:
    """Stop the process that works; its id."""
    assert process._child is not None
    os.kill(process._child.pid, signal.SIGSTOP)
    return process._child.pid


def test_a_killed_process_is_one_line_until_it_is_tried_again(
    folders: list[Path], tmp_path: Path, desk_over: DeskMaker
) -> None:
    asked = desk_over(folders[:2], tmp_path)
    stage = asked.library["start"]
    settled(asked.digest, stage, "pos")
    pid = stopped(asked._quick)
    with pytest.raises(JobPending):
        asked.digest(stage, "token")
    until(asked.doing, "the request")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TxrayError, match="the process that does it ended") as caught:
        settled(asked.digest, stage, "token")
    assert "\n" not in str(caught.value)
    with pytest.raises(TxrayError, match="the process that does it ended"):
        asked.digest(stage, "token")
    assert asked.try_again() == []
    assert len(settled(asked.digest, stage, "token")) == 21


def test_tests_that_failed_are_told_with_what_is_there(
    folders: list[Path], cache: Path, tmp_path: Path, desk: ResultStore, desk_over: DeskMaker
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    asked = desk_over(folders, tmp_path / "cache", ComparisonConfig(permutations=201))
    sides = asked.library[BEFORE], asked.library[AFTER]
    asked.pair(*sides, "token")
    until(lambda: asked._slow._child, "a process")
    pid = stopped(asked._slow)
    os.kill(pid, signal.SIGKILL)
    until(lambda: asked.pair(*sides, "token").problem, "a problem")
    found = asked.pair(*sides, "token")
    assert "testing" in found.problem
    assert "the process that does it ended" in found.problem
    assert "\n" not in found.problem
    assert len(found.neurons) == 21
    asked.try_again()
    assert all_tested(asked).problem == ""


def test_a_stage_that_changed_is_read_anew_after_trying_again(tmp_path: Path, desk_over: DeskMaker) -> None:
    folder = stage_of("own").save(tmp_path / "own")
    asked = desk_over([folder], tmp_path / "cache")
    former = settled(asked.digest, asked.library["own"], "token")
    new = stage_of("own", seed=9)
    new.save(folder)
    assert asked.digest(asked.library["own"], "token").equals(former)
    version = asked.version
    assert asked.try_again() == []
    assert asked.version != version
    found = settled(asked.digest, asked.library["own"], "token")
    assert found.filter(layer=LOW)["wins"].to_list() == new.preferences(layer=LOW).wins().tolist()
    assert not found.equals(former)
    shutil.rmtree(folder)
    (problem,) = asked.try_again()
    assert "there is no such folder" in problem


def test_closing_leaves_no_process(folders: list[Path], tmp_path: Path, desk_over: DeskMaker) -> None:
    asked = desk_over(folders[:2], tmp_path)
    sides = tuple(asked.library)
    settled(asked.pair, *sides, "token")
    until(lambda: asked._slow._child, "the second process")
    children = [process._child for process in (asked._quick, asked._slow)]
    asked.close()
    for child in children:
        assert child is not None
        assert child.poll() is not None
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)
    with pytest.raises(JobPending):
        asked.digest(sides[0], "pos")
    assert asked.doing() == []


@pytest.mark.parametrize("feature", ["word3", HOSTILE[0], HOSTILE[6], "", "w" * 3_000, "not there"])
def test_postings_and_marks_tell_who_prefers_a_feature(
    feature: str, desk: ResultStore, stages: dict[str, Stage]
) -> None:
    stage, marks, expected = desk.library[BEFORE], [], {}
    for layer, size in LAYERS.items():
        whole = stages[BEFORE].preferences(layer=layer).table().filter(feature=feature)
        marks += [neuron in whole["neuron"].to_list() for neuron in range(size)]
        expected |= {(layer, row[0]): row[1:] for row in whole.select("neuron", "count", "lift").iter_rows()}
    found = desk.postings(stage, "token", feature)
    assert found.columns == ["layer", "neuron", "count", "mass", "probability", "lift"]
    assert {
        (row[0], row[1]): row[2:] for row in found.select("layer", "neuron", "count", "lift").iter_rows()
    } == {key: (count, float(np.float32(lift))) for key, (count, lift) in expected.items()}
    assert desk.preferred(stage, "token", feature).tolist() == marks
    assert any(marks) == (feature != "not there")


def test_tag_mass_is_the_mass_on_every_tag(desk: ResultStore, stages: dict[str, Stage]) -> None:
    found = settled(desk.tag_mass, desk.library[BEFORE])
    assert found.names == sorted(TAGS)
    size, start = sum(LAYERS.values()), 0
    expected = np.zeros((size, len(TAGS)))
    for layer, neurons in LAYERS.items():
        totals = stages[BEFORE].preferences(layer=layer, feature_type="pos").totals
        expected[start + totals.neuron, totals.feature_id] = totals.sum
        start += neurons
    for picked in (np.ones(size, bool), np.arange(size) % 3 == 0, np.arange(size) == SILENT):
        assert np.allclose(found.of(picked), expected[picked].sum(axis=0), rtol=1e-6)
    assert found.of(np.arange(size) == SILENT).tolist() == [0.0] * len(TAGS)
    assert (
        found.corpus.tolist()
        == stages[BEFORE].preferences(layer=LOW, feature_type="pos").feature_counts().tolist()
    )


def test_what_does_not_exist_is_said_at_once(desk: ResultStore) -> None:
    before, wide = desk.library[BEFORE], desk.library["wide"]
    with pytest.raises(UnknownNameError, match="feature type of stage 'wide' 'pos'"):
        desk.digest(wide, "pos")
    with pytest.raises(UnknownNameError, match="layer of stage 'wide' 'lo'"):
        desk.matching(before, wide, LOW, "lo", "token")
    with pytest.raises(TxrayError, match="have no layer of the same size"):
        settled(desk.pair, before, wide, "token")


def test_a_stage_beside_itself_has_not_moved(desk: ResultStore) -> None:
    stage = desk.library["start"]
    found = settled(desk.pair, stage, stage, "token").neurons
    assert set(found["hellinger"].drop_nulls()) == {0.0}


def test_common_layers_are_those_of_every_stage(desk: ResultStore) -> None:
    every = list(desk.library)
    assert common_layers(every[:3]) == list(LAYERS)
    assert common_layers(every) == []
