"""Runner-ups in tallies, stage folders and merged stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders.preferences import arrays, frozen, stage_of
from txray.errors import ShapeError, StageError, UsageError
from txray.preferences import Preferences, Stage, StageFolder, Tally, merge_folders, merge_stages
from txray.preferences.runner_ups import RunnerUps, can_count

WORDS = ["a", "b", "a", "c", "b", "a"]
WINNERS = np.array([0, 1, 0, 2, 1, 3])
SECONDS = np.array([1, 0, 1, 3, 2, 0])
FOLDS = np.array([0, 0, 1, 1, 0, 1])
VALUES = np.array([0.5, 1.0, 0.25, 2.0, 4.0, 8.0])


def tally_of(rows: slice = slice(None), words: list[str] = WORDS) -> Tally:
    """A tally of four neurons and two folds whose runner-ups are half as active."""
    tally = Tally(4, 2)
    tally.count_runner_ups()
    ids = tally.feature_ids(words[rows])
    tally.count_occurrences(FOLDS[rows], ids)
    tally.update(FOLDS[rows], WINNERS[rows], ids, VALUES[rows])
    tally.update_runner_ups(FOLDS[rows], WINNERS[rows], SECONDS[rows], ids, VALUES[rows] / 2)
    return tally


def stage(preferences: Preferences, name: str = "s") -> Stage:
    return replace(stage_of([(0, 0, "a", 1.0)], name, n_neurons=4), collected={("rnn", "token"): preferences})


def rows_of(runner_ups: RunnerUps | None) -> list[tuple[float, ...]]:
    assert runner_ups is not None
    return list(zip(*(column.tolist() for column in vars(runner_ups).values()), strict=True))


def test_second_places_are_counted_by_winner_fold_and_feature() -> None:
    preferences = frozen(tally_of())
    # winner, fold, neuron, feature (a, b, c), count, sum, sum of squares, maximum
    assert rows_of(preferences.runner_ups) == [
        (0, 0, 1, 0, 1, 0.25, 0.0625, 0.25),
        (1, 0, 0, 1, 1, 0.5, 0.25, 0.5),
        (1, 0, 2, 1, 1, 2.0, 4.0, 2.0),
        (0, 1, 1, 0, 1, 0.125, 0.015625, 0.125),
        (2, 1, 3, 2, 1, 1.0, 1.0, 1.0),
        (3, 1, 0, 0, 1, 4.0, 16.0, 4.0),
    ]
    counts = preferences.runner_ups.counts(4).toarray()  # type: ignore[union-attr]
    assert counts.tolist() == [[0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


def test_shards_in_any_order_merge_to_the_whole() -> None:
    whole = arrays(frozen(tally_of()))
    for parts in ((slice(0, 2), slice(2, 6)), (slice(2, 6), slice(0, 2))):
        first, second = map(tally_of, parts)
        first.merge(second)
        for name, column in arrays(frozen(first)).items():
            np.testing.assert_array_equal(column, whole[name], err_msg=name)


def test_a_part_without_runner_ups_leaves_none_of_the_whole() -> None:
    known, unknown = tally_of(slice(0, 2)), Tally(4, 2)
    known.merge(unknown)
    assert frozen(known).runner_ups is None
    with pytest.raises(UsageError, match="not counted"):
        known.update_runner_ups(FOLDS, WINNERS, SECONDS, FOLDS, VALUES)


def test_the_state_of_a_tally_holds_them() -> None:
    one, other = tally_of(slice(0, 3)), Tally(4, 2)
    other.load_state_dict(one.state_dict())
    for tally in (one, other):
        ids = tally.feature_ids(WORDS[3:])
        tally.update_runner_ups(FOLDS[3:], WINNERS[3:], SECONDS[3:], ids, VALUES[3:])
    assert rows_of(frozen(one).runner_ups) == rows_of(frozen(other).runner_ups)
    unknown = Tally(4, 2)
    unknown.load_state_dict(Tally(4, 2).state_dict())
    assert frozen(unknown).runner_ups is None


def test_a_stage_folder_holds_them(tmp_path: Path) -> None:
    preferences = frozen(tally_of())
    stage(preferences).save(tmp_path / "s")
    for opened in (Stage.load(tmp_path / "s"), StageFolder.open(tmp_path / "s")):
        assert rows_of(opened.preferences().runner_ups) == rows_of(preferences.runner_ups)
        assert opened.preferences().without(1).wins().tolist() == [3, 0, 2, 1]


def test_folders_written_without_them_open_and_say_so(tmp_path: Path) -> None:
    stage(replace(frozen(tally_of()), runner_ups=None)).save(tmp_path / "s")
    assert not list((tmp_path / "s").glob("runner_ups*"))
    assert "runner_ups" not in json.loads((tmp_path / "s" / "manifest.json").read_text())
    for opened in (Stage.load(tmp_path / "s"), StageFolder.open(tmp_path / "s")):
        with pytest.raises(UsageError, match="no runner-ups"):
            opened.preferences().without(0)


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    stage(frozen(tally_of())).save(tmp_path / "s")
    file = tmp_path / "s" / "runner_ups.token.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StageError, match=r"runner_ups\.token"):
        Stage.load(tmp_path / "s")


def test_folders_merge_them_as_stages_do(tmp_path: Path) -> None:
    parts = [
        stage(frozen(tally_of(rows)), f"s{number}") for number, rows in enumerate((slice(0, 3), slice(3, 6)))
    ]
    folders = [part.save(tmp_path / part.name) for part in parts]
    merged = Stage.load(merge_folders(folders, tmp_path / "merged")).preferences()
    whole = frozen(tally_of())
    assert rows_of(merged.runner_ups) == rows_of(whole.runner_ups)
    assert rows_of(merge_stages(parts).preferences().runner_ups) == rows_of(whole.runner_ups)


def test_a_stage_merged_with_one_that_lacks_them_has_none(tmp_path: Path) -> None:
    known, unknown = stage(frozen(tally_of(slice(0, 3))), "s0"), frozen(tally_of(slice(3, 6)))
    parts = [known, stage(replace(unknown, runner_ups=None), "s1")]
    folders = [part.save(tmp_path / part.name) for part in parts]
    assert Stage.load(merge_folders(folders, tmp_path / "merged")).preferences().runner_ups is None


def test_layers_too_large_for_their_keys_have_none() -> None:
    assert can_count(100_000, 16)
    assert not can_count(1 << 20, 16)
    tally = Tally(1 << 20, 16)
    tally.count_runner_ups()
    assert not tally.counts_runner_ups


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="lengths"):
        RunnerUps(*(np.zeros(n, np.int64) for n in (1, 1, 1, 1, 1)), *(np.zeros(2) for _ in range(3)))
