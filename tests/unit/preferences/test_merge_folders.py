"""Merging folder by folder gives the stage that merging in memory gives, and holds one block at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import arrays, random_events, stage_of
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_collect import same_preferences
from tests.unit.preferences.test_merge import LINEAR, only, whole_and_shards
from txray.capture import collect
from txray.corpus import Document
from txray.errors import OutputError, ShapeError, StageError, UsageError
from txray.preferences import Stage, StageFolder, folder_merge, merge_folders, merge_stages


def saved(stages: list[Stage], folder: Path) -> list[Path]:
    return [stage.save(folder / f"part-{number}") for number, stage in enumerate(stages)]


def same_stage(one: Stage, other: Stage) -> None:
    assert one.collected.keys() == other.collected.keys()
    for key, preferences in one.collected.items():
        for name, array in arrays(preferences).items():
            np.testing.assert_array_equal(array, arrays(other.collected[key])[name], err_msg=f"{key} {name}")
    for name in ("exemplars", "tags", "scales"):
        assert getattr(one, name).equals(getattr(other, name)), name
    checksums = [{**stage.manifest, "checksums": {}} for stage in (one, other)]
    assert checksums[0] == checksums[1]


@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_folders_merge_to_what_stages_merge_to(
    selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.preferences.store._ROWS_PER_WRITE", 100)
    whole, shards = whole_and_shards(4, selection=selection)
    parts = saved(shards, tmp_path)
    merge_stages([Stage.load(part) for part in parts]).save(tmp_path / "in-memory")
    assert merge_folders(parts, tmp_path / "merged") == tmp_path / "merged"
    merged = Stage.load(tmp_path / "merged")
    same_stage(Stage.load(tmp_path / "in-memory"), merged)
    same_preferences(only(whole, LINEAR), only(merged, LINEAR), atol=1e-5)


def test_features_and_rows_that_only_some_have(tmp_path: Path) -> None:
    events = random_events(300)
    stages = [
        stage_of([event for event in events if event[0] < 2], "a"),
        stage_of([(fold, neuron, f"only-{word}", value) for fold, neuron, word, value in events[:9]], "b"),
        stage_of(events[9:40], "c"),
    ]
    stages[2] = replace(stages[2], manifest={"words": 31, "corpus": {"name": "c", "documents_digest": "1"}})
    parts = saved(stages, tmp_path)
    merge_folders(parts, tmp_path / "merged", "all of them")
    merge_stages([Stage.load(part) for part in parts], "all of them").save(tmp_path / "in-memory")
    merged = Stage.load(tmp_path / "merged")
    assert merged.name == "all of them"
    same_stage(Stage.load(tmp_path / "in-memory"), merged)


def test_exemplars_of_two_stages_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shards = whole_and_shards(6)
    parts = saved(shards, tmp_path)
    most, known = 0, folder_merge.strongest

    def watched(tables: Any, *rest: Any) -> Any:
        nonlocal most
        held = list(tables)
        most = max(most, sum(map(len, held)))
        return known(held, *rest)

    monkeypatch.setattr(folder_merge, "strongest", watched)
    merge_folders(parts, tmp_path / "merged")
    merged = Stage.load(tmp_path / "merged").exemplars
    assert merged.equals(merge_stages(shards).exemplars)
    assert 0 < most <= len(merged) + max(len(shard.exemplars) for shard in shards)


def test_no_more_than_one_block_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shards = whole_and_shards(3)
    parts = saved(shards, tmp_path)
    largest, known = 0, folder_merge._merged

    def watched(table: pl.DataFrame, *rest: Any) -> Any:
        nonlocal largest
        largest = max(largest, len(table))
        return known(table, *rest)

    monkeypatch.setattr(folder_merge, "_merged", watched)
    merge_folders(parts, tmp_path / "merged")
    sizes = [
        pl.read_parquet(part / "preferences.token.parquet").group_by("layer", "fold").len() for part in parts
    ]
    blocks = pl.concat(sizes).group_by("layer", "fold").agg(pl.col("len").sum())
    assert largest == int(blocks["len"].max())  # type: ignore[arg-type]
    assert int(blocks["len"].max()) < int(blocks["len"].sum()) / 10  # type: ignore[arg-type]


def test_what_cannot_be_merged_leaves_nothing(tmp_path: Path) -> None:
    _, shards = whole_and_shards(2, n=8)
    parts = saved(shards, tmp_path)
    with pytest.raises(UsageError, match="shard 1/2 twice"):
        merge_folders([parts[0], parts[0]], tmp_path / "merged")
    with pytest.raises(UsageError, match="no stages"):
        merge_folders([], tmp_path / "merged")
    _, (_, other) = whole_and_shards(2, n=8, folds=4)
    with pytest.raises(ShapeError, match="folds"):
        merge_folders([parts[0], other.save(tmp_path / "other")], tmp_path / "merged")
    file = parts[1] / "preferences.token.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StageError, match=r"preferences\.token\.parquet is damaged"):
        merge_folders(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(OutputError, match="already exists"):
        merge_folders(parts[:1], tmp_path / "mine")


def test_an_outline_has_everything_but_rows(tmp_path: Path) -> None:
    stage = stage_of(random_events(200))
    outline = Stage(**StageFolder.open(stage.save(tmp_path / "s")).contents(rows=False))
    assert outline.exemplars.schema == stage.exemplars.schema
    assert outline.manifest["words"] == 200
    preferences = outline.preferences()
    assert len(preferences.fold) == 0
    np.testing.assert_array_equal(preferences.corpus_counts, stage.preferences().corpus_counts)


def in_pairs(stages: list[Stage]) -> list[Stage]:
    return [merge_stages(stages[start : start + 2]) for start in range(0, len(stages), 2)]


def one_after_the_other(stages: list[Stage]) -> list[Stage]:
    return [merge_stages(stages[:2]), *stages[2:]]


@pytest.mark.parametrize("step", [in_pairs, one_after_the_other])
def test_shards_merge_in_steps(step: Callable[[list[Stage]], list[Stage]]) -> None:
    whole, shards = whole_and_shards(5)
    stages = shards[::-1]
    while len(stages) > 1:
        stages = step(stages)
    assert stages[0].manifest == whole.manifest
    same_preferences(only(whole, LINEAR), only(stages[0], LINEAR), atol=1e-5)


def test_what_was_merged_in_steps_still_knows_its_shards() -> None:
    _, shards = whole_and_shards(4)
    first, second = merge_stages(shards[:2]), merge_stages(shards[1:3])
    assert first.manifest["corpus"]["shards_missing"] == ["3/4", "4/4"]
    with pytest.raises(UsageError, match="shard 2/4 twice"):
        merge_stages([first, second])
    assert merge_stages([first, shards[3]]).manifest["corpus"]["shards_missing"] == ["3/4"]


def test_whether_one_neuron_wins_most_is_looked_at_anew(tmp_path: Path) -> None:
    model = small_model()
    model.embedding.weight.data[model.vocabulary.encode(["mill"]), 3] += 100
    made = documents(40)
    corpus = corpus_of(made)
    asked: dict[str, Any] = {"layers": ["embedding"], "name": "s"}
    whole = collect(model, corpus, **asked)
    only_mills = corpus_of([Document(f"m{i}", ("mill",) * (1 + i)) for i in range(9)])
    of_mills = collect(model, only_mills, **asked)
    assert len(of_mills.manifest["warnings"]) == 1
    assert whole.manifest["warnings"] == []
    assert merge_stages([of_mills, whole]).manifest["warnings"] == []
    merge_folders(saved([of_mills, whole], tmp_path), tmp_path / "merged")
    assert Stage.load(tmp_path / "merged").manifest["warnings"] == []
    merge_folders([tmp_path / "part-0"], tmp_path / "alone")
    assert Stage.load(tmp_path / "alone").manifest["warnings"] == of_mills.manifest["warnings"]
