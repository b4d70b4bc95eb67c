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

from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, HIGH, LAYERS, LOW, SILENT, TAGS, stage_of
from tests.unit.web.dashboard.conftest import StoreMaker, all_tested, settled, until
from txray.errors import StageError, TxrayError, UnknownNameError
from txray.preferences import Stage
from txray.web.dashboard.jobs.queue import JobPending, JobStatus
from txray.web.dashboard.jobs.tasks import TESTED
from txray.web.dashboard.result_store import ResultStore, common_layers
from txray.web.dashboard.results import ComparisonConfig


def test_a_second_desk_on_the_same_cache_answers_at_once(
    store: ResultStore, folders: list[Path], cache: Path, store_over: StoreMaker
) -> None:
    again = store_over(folders, cache)
    sides = again.catalog[BEFORE], again.catalog[AFTER]
    found = again.pair(*sides, "token")
    assert found.tested == found.layers == tuple(LAYERS)
    assert found.neurons.equals(all_tested(store).neurons)
    assert again.neuron_table(sides[0], "token").equals(store.neuron_table(store.catalog[BEFORE], "token"))
    assert again.version == "0.0.0"
    assert [status.pid for status in again.job_status()] == [None, None]


def test_a_pair_waits_and_tells_what_for(folders: list[Path], tmp_path: Path, store_over: StoreMaker) -> None:
    fresh = store_over(folders[:2], tmp_path)
    sides = tuple(fresh.catalog)
    with pytest.raises(JobPending, match=r"reading start \(token\)"):
        fresh.pair(sides[0], sides[1], "token", HIGH)
    first = settled(fresh.pair, sides[0], sides[1], "token", HIGH)
    if not first.tested:
        assert first.neurons["q_value"].is_null().all()
        assert set(first.neurons["shown"]) == {"untested"}
        assert first.pending
        current = fresh.job_status()[1].current
        assert current is None or current.arguments["layer"] in LAYERS
    before = fresh.version
    until(lambda: fresh.pair(sides[0], sides[1], "token").tested == tuple(LAYERS), "tests")
    assert fresh.version != before


def test_the_layer_that_is_looked_at_is_tested_before_those_that_wait(
    tmp_path: Path, store_over: StoreMaker
) -> None:
    layers = dict.fromkeys(("a", "b", "c", "d"), 5)
    folders = [
        stage_of(name, layers=layers, seed=seed, silent=()).save(tmp_path / name)
        for name, seed in (("first", 1), ("second", 2))
    ]
    asked = store_over(folders, tmp_path / "cache")
    sides = tuple(asked.catalog)
    settled(asked.pair, *sides, "token")
    asked.pair(*sides, "token", "d")
    waiting = asked.job_status()[1].waiting
    assert [(job.arguments["layer"], job.urgent) for job in waiting][:: len(waiting) - 1] == [
        ("d", True),
        ("c", False),
    ]


def test_what_is_tested_joins_what_is_compared(store: ResultStore) -> None:
    found = all_tested(store).neurons
    assert found["place"].to_list() == list(range(len(found)))
    assert set(TESTED) <= set(found.columns)
    for row in found.iter_rows(named=True):
        assert row["shown"] == row["confident_state"]
        assert (row["q_value"] is not None) <= (row["state"] == "shared")
    assert "undecided" in found["shown"].to_list()


def test_without_permutations_nothing_is_tested(
    folders: list[Path], cache: Path, store_over: StoreMaker
) -> None:
    plain = store_over(folders, cache, ComparisonConfig(permutations=0))
    found = plain.pair(plain.catalog[BEFORE], plain.catalog[AFTER], "token")
    assert found.tested == ()
    assert found.neurons["confident_state"].is_null().all()
    assert (
        found.neurons["shown"].cast(pl.String).to_list() == found.neurons["state"].cast(pl.String).to_list()
    )
    assert plain.job_status()[1] == JobStatus(None, None, (), 0, None)


def test_other_choices_have_results_of_their_own(
    folders: list[Path], cache: Path, store_over: StoreMaker
) -> None:
    mass = store_over(folders, cache, ComparisonConfig("mass", permutations=200))
    plain = store_over(folders, cache)
    sides = mass.catalog[BEFORE], mass.catalog[AFTER]
    distances = [
        settled(each.pair, *sides, "token").neurons["hellinger"].drop_nulls().to_list()
        for each in (mass, plain)
    ]
    assert distances[0] != distances[1]
    all_tested(plain)
    for config in (
        ComparisonConfig(fdr=0.01, permutations=200),
        ComparisonConfig(permutations=201),
        ComparisonConfig(permutations=200, seed=1),
    ):
        assert store_over(folders, cache, config).pair(*sides, "token").tested == ()


def test_prepare_reads_every_stage_and_kind(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker
) -> None:
    fresh = store_over(folders[1:], tmp_path)
    fresh.prepare(*list(fresh.catalog)[:2], "token")
    until(lambda: fresh.job_status()[0].n_finished == 5, "all neuron tables")
    assert len(fresh.neuron_table(fresh.catalog["wide"], "token")) == 21
    assert len(fresh.neuron_table(fresh.catalog[AFTER], "pos")) == 21


def test_two_desks_on_one_cache_do_not_break_each_other(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker
) -> None:
    both = [store_over(folders[:2], tmp_path) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: all_tested(each, "start", BEFORE), both))
    assert found[0].neurons.equals(found[1].neurons)
    assert not list(tmp_path.rglob(".txray-*"))


@pytest.mark.parametrize("harm", ["damaged", "removed"])
@pytest.mark.parametrize("part", ["token-mean", "token-mean-index"])
def test_a_damaged_digest_is_made_anew(
    harm: str,
    part: str,
    store: ResultStore,
    folders: list[Path],
    cache: Path,
    tmp_path: Path,
    store_over: StoreMaker,
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    again = store_over(folders, tmp_path / "cache")
    stage = again.catalog[BEFORE]
    file = again.cache.path("stages", stage.fingerprint, part)
    if harm == "damaged":
        file.write_bytes(b"PAR1 no table")
        with pytest.raises(StageError, match="reload to make it again") as caught:
            again.feature_index(stage, "token", "word1")
        assert "\n" not in str(caught.value)
    elif part.endswith("index"):
        file.unlink()
        with pytest.raises(StageError, match="reload to make it again"):
            again.feature_index(stage, "token", "word1")
    else:
        file.unlink()
    again.retry_failed()
    found = settled(again.feature_index, stage, "token", "word1")
    assert found.equals(store.feature_index(store.catalog[BEFORE], "token", "word1"))
    assert len(found)


@pytest.mark.parametrize("part", ["token-mean-0-0", "token-mean-0-0-curve"])
def test_a_damaged_matching_is_made_anew(
    part: str, folders: list[Path], tmp_path: Path, store_over: StoreMaker
) -> None:
    asked = store_over(folders[1:3], tmp_path)
    sides = tuple(asked.catalog)
    expected = settled(asked.matching, *sides, LOW, LOW, "token")
    name = "0-0-curve.parquet" if part.endswith("curve") else "0-0.parquet"
    (file,) = tmp_path.rglob(name)
    file.write_bytes(b"nothing")
    again = store_over(folders[1:3], tmp_path)
    with pytest.raises(StageError, match="reload to make it again"):
        again.matching(*sides, LOW, LOW, "token")
    found = settled(again.matching, *sides, LOW, LOW, "token")
    assert found.pairs.equals(expected.pairs)
    assert found.curve.equals(expected.curve)
    assert found.share == expected.share


def test_a_damaged_digest_does_not_stop_comparisons_for_good(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker
) -> None:
    asked = store_over(folders[1:3], tmp_path, ComparisonConfig(permutations=0))
    sides = tuple(asked.catalog)
    settled(asked.neuron_table, sides[0], "token")
    settled(asked.neuron_table, sides[1], "token")
    asked.cache.path("stages", sides[1].fingerprint, "token-mean").write_bytes(b"nothing")
    with pytest.raises(TxrayError, match="reload to make it again"):
        settled(asked.pair, *sides, "token")
    asked.retry_failed()
    assert len(settled(asked.pair, *sides, "token").neurons) == 21


def stop(store: ResultStore, queue: int) -> int:
    """Stop the worker of a queue; return its id."""
    until(lambda: store.job_status()[queue].pid, "a process")
    pid = store.job_status()[queue].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_killed_process_is_one_line_until_it_is_tried_again(
    folders: list[Path], tmp_path: Path, store_over: StoreMaker
) -> None:
    asked = store_over(folders[:2], tmp_path)
    stage = asked.catalog["start"]
    settled(asked.neuron_table, stage, "pos")
    pid = stop(asked, 0)
    with pytest.raises(JobPending):
        asked.neuron_table(stage, "token")
    until(lambda: asked.job_status()[0].current, "the job")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TxrayError, match="its process ended") as caught:
        settled(asked.neuron_table, stage, "token")
    assert "\n" not in str(caught.value)
    with pytest.raises(TxrayError, match="its process ended"):
        asked.neuron_table(stage, "token")
    assert asked.retry_failed() == []
    assert len(settled(asked.neuron_table, stage, "token")) == 21


def test_tests_that_failed_are_told_with_what_is_there(
    folders: list[Path], cache: Path, tmp_path: Path, store: ResultStore, store_over: StoreMaker
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    asked = store_over(folders, tmp_path / "cache", ComparisonConfig(permutations=201))
    sides = asked.catalog[BEFORE], asked.catalog[AFTER]
    asked.pair(*sides, "token")
    os.kill(stop(asked, 1), signal.SIGKILL)
    until(lambda: asked.pair(*sides, "token").problem, "a problem")
    found = asked.pair(*sides, "token")
    assert "testing" in found.problem
    assert "its process ended" in found.problem
    assert "\n" not in found.problem
    assert len(found.neurons) == 21
    asked.retry_failed()
    assert all_tested(asked).problem == ""


def test_a_stage_that_changed_is_read_anew_after_trying_again(tmp_path: Path, store_over: StoreMaker) -> None:
    folder = stage_of("own").save(tmp_path / "own")
    asked = store_over([folder], tmp_path / "cache")
    former = settled(asked.neuron_table, asked.catalog["own"], "token")
    new = stage_of("own", seed=9)
    new.save(folder)
    assert asked.neuron_table(asked.catalog["own"], "token").equals(former)
    version = asked.version
    assert asked.retry_failed() == []
    assert asked.version != version
    found = settled(asked.neuron_table, asked.catalog["own"], "token")
    assert found.filter(layer=LOW)["wins"].to_list() == new.preferences(layer=LOW).wins().tolist()
    assert not found.equals(former)
    shutil.rmtree(folder)
    (problem,) = asked.retry_failed()
    assert "there is no such folder" in problem


def test_closing_leaves_no_process(folders: list[Path], tmp_path: Path, store_over: StoreMaker) -> None:
    asked = store_over(folders[:2], tmp_path)
    sides = tuple(asked.catalog)
    settled(asked.pair, *sides, "token")
    until(lambda: asked.job_status()[1].pid, "the second process")
    pids = [status.pid for status in asked.job_status()]
    asked.close()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(JobPending):
        asked.neuron_table(sides[0], "pos")
    assert [status.current for status in asked.job_status()] == [None, None]


@pytest.mark.parametrize("feature", ["word3", IN_CORPORA[0], IN_CORPORA[6], "", "w" * 3_000, "not there"])
def test_postings_and_marks_tell_who_prefers_a_feature(
    feature: str, store: ResultStore, stages: dict[str, Stage]
) -> None:
    stage, marks, expected = store.catalog[BEFORE], [], {}
    for layer, size in LAYERS.items():
        whole = stages[BEFORE].preferences(layer=layer).table().filter(feature=feature)
        marks += [neuron in whole["neuron"].to_list() for neuron in range(size)]
        expected |= {(layer, row[0]): row[1:] for row in whole.select("neuron", "count", "lift").iter_rows()}
    found = store.feature_index(stage, "token", feature)
    assert found.columns == ["layer", "neuron", "count", "mass", "probability", "lift"]
    assert {
        (row[0], row[1]): row[2:] for row in found.select("layer", "neuron", "count", "lift").iter_rows()
    } == {key: (count, float(np.float32(lift))) for key, (count, lift) in expected.items()}
    assert store.prefers(stage, "token", feature).tolist() == marks
    assert any(marks) == (feature != "not there")


def test_tag_mass_is_the_mass_on_every_tag(store: ResultStore, stages: dict[str, Stage]) -> None:
    found = settled(store.mass_by_tag, store.catalog[BEFORE])
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


def test_what_does_not_exist_is_said_at_once(store: ResultStore) -> None:
    before, wide = store.catalog[BEFORE], store.catalog["wide"]
    with pytest.raises(UnknownNameError, match="feature type of stage 'wide' 'pos'"):
        store.neuron_table(wide, "pos")
    with pytest.raises(UnknownNameError, match="layer of stage 'wide' 'lo'"):
        store.matching(before, wide, LOW, "lo", "token")
    with pytest.raises(TxrayError, match="have no layer of the same size"):
        settled(store.pair, before, wide, "token")


def test_a_stage_beside_itself_has_not_moved(store: ResultStore) -> None:
    stage = store.catalog["start"]
    found = settled(store.pair, stage, stage, "token").neurons
    assert set(found["hellinger"].drop_nulls()) == {0.0}


def test_common_layers_are_those_of_every_stage(store: ResultStore) -> None:
    every = list(store.catalog)
    assert common_layers(every[:3]) == list(LAYERS)
    assert common_layers(every) == []
