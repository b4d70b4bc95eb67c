"""Stage folders read layer by layer, and noticed when they change."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.hostile import IN_CORPORA
from tests.builders.layered_stages import AFTER, BEFORE, HIGH, LAYERS, LOW, SILENT, stage_of
from tests.builders.preferences import arrays
from txray.errors import StageError, UnknownNameError, UsageError
from txray.preferences import Stage, StageFolder
from txray.web.dashboard.stage_catalog import StageCatalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stage folder of one's own."""
    return stage_of("own").save(tmp_path / "own")


def test_every_layer_reads_as_the_whole_stage_does(folders: list[Path]) -> None:
    for path in folders:
        whole, folder = Stage.load(path), StageFolder.open(path)
        assert folder.name == whole.name
        assert folder.layers == whole.layers
        assert folder.feature_types == whole.feature_types
        for (layer, kind), expected in whole.collected.items():
            read = folder.preferences(layer=layer, feature_type=kind)
            assert folder.n_neurons[layer] == read.n_neurons == expected.n_neurons
            assert (read.stage, read.layer, read.feature_type, read.selection) == (
                expected.stage,
                expected.layer,
                expected.feature_type,
                expected.selection,
            )
            assert all(
                np.array_equal(values, arrays(expected)[name]) for name, values in arrays(read).items()
            )


@pytest.mark.parametrize("neuron", [0, SILENT, LAYERS[LOW] - 1])
def test_one_neuron_reads_as_its_rows_of_the_layer(folders: list[Path], neuron: int) -> None:
    folder = StageFolder.open(folders[1])
    whole, alone = (
        folder.preferences(layer=LOW, feature_type="token"),
        folder.preferences_of_neuron(neuron, layer=LOW),
    )
    mine = whole.neuron == neuron
    assert alone.n_neurons == whole.n_neurons
    assert np.array_equal(alone.features, whole.features)
    for name in ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max"):
        assert np.array_equal(getattr(alone, name), getattr(whole, name)[mine])
    assert alone.table(neuron).equals(whole.table(neuron))


def test_exemplars_come_strongest_first(folders: list[Path]) -> None:
    folder = StageFolder.open(folders[1])
    expected = Stage.load(folders[1]).exemplars.filter(layer=HIGH, neuron=3).sort("rank")
    found = folder.exemplars_of_neuron(3, layer=HIGH)
    assert len(found) == 3
    assert found["activation"].is_sorted(descending=True)
    assert found.equals(expected)
    assert folder.exemplars_of_neuron(SILENT, layer=LOW).is_empty()


def test_exemplars_of_older_stages_have_every_column(folder: Path) -> None:
    file = folder / "exemplars.parquet"
    pl.read_parquet(file).drop("activations").write_parquet(file)
    found = StageFolder.open(folder).exemplars_of_neuron(0, layer=LOW)
    assert len(found) == 3
    assert found["activations"].is_null().all()


def test_tags_are_those_of_the_stage(folders: list[Path]) -> None:
    assert StageFolder.open(folders[0]).tags.equals(Stage.load(folders[0]).tags)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(folders: list[Path]) -> None:
    folder = StageFolder.open(folders[0])
    with pytest.raises(UnknownNameError, match="layer of stage 'start' 'lowe'.*did you mean 'low'"):
        folder.preferences(layer="lowe", feature_type="token")
    with pytest.raises(UnknownNameError, match="feature type of stage 'start' 'word'"):
        folder.preferences(layer=LOW, feature_type="word")


def _rewrite(folder: Path) -> None:
    shutil.rmtree(folder)
    stage_of("own", seed=9).save(folder)


def _delete(folder: Path) -> None:
    shutil.rmtree(folder)


def _replace(folder: Path) -> None:
    stage_of("another", seed=9).save(folder)


def _touch(folder: Path) -> None:
    manifest = folder / "manifest.json"
    told = manifest.stat()
    os.utime(manifest, ns=(told.st_atime_ns, told.st_mtime_ns + 5))


@pytest.mark.parametrize("change", [_rewrite, _delete, _replace, _touch])
def test_a_folder_that_changed_underneath_is_not_read(folder: Path, change: object) -> None:
    stage = StageFolder.open(folder)
    stage.preferences(layer=LOW, feature_type="token")
    assert stage.changed == ""
    assert callable(change)
    change(folder)
    told = "is gone; put it back" if change is _delete else "has changed on disk"
    assert told in stage.changed
    assert str(folder) in stage.changed
    for read in (
        lambda: stage.preferences(layer=HIGH, feature_type="token"),
        lambda: stage.preferences_of_neuron(0, layer=LOW),
        lambda: stage.exemplars_of_neuron(0, layer=LOW),
        lambda: stage.tags,
        lambda: stage.vocabulary("pos"),
    ):
        with pytest.raises(StageError, match=told) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_damaged_table_is_told_in_one_line(folder: Path) -> None:
    stage = StageFolder.open(folder)
    (folder / "preferences.token.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(StageError, match="cannot be read .*; collect the stage again") as caught:
        stage.preferences(layer=LOW, feature_type="token")
    assert "\n" not in str(caught.value)
    assert stage.preferences(layer=LOW, feature_type="pos").n_neurons == LAYERS[LOW]


def test_another_content_has_another_fingerprint(folder: Path) -> None:
    first = StageFolder.open(folder).fingerprint
    _touch(folder)
    assert StageFolder.open(folder).fingerprint == first
    _rewrite(folder)
    assert StageFolder.open(folder).fingerprint != first


def test_a_feature_kind_cannot_lead_out_of_the_folder(folder: Path) -> None:
    outside = "x/../../evil"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["features"].append(outside)
    for part in ("features", "preferences"):
        manifest["checksums"][f"{part}.{outside}.parquet"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StageError, match="cannot be part of a file name"):
        StageFolder.open(folder)


def test_a_library_keeps_order_and_finds_by_name(folders: list[Path]) -> None:
    catalog = StageCatalog(folders)
    assert catalog.names == ["start", BEFORE, AFTER, "wide"]
    assert [stage.path for stage in catalog] == folders
    assert catalog[AFTER].path == folders[2]
    assert catalog.feature_types == ["token", "pos"]
    assert catalog.layers == [LOW, HIGH, "wide"]
    with pytest.raises(UnknownNameError, match="unknown stage 'strat'.*did you mean 'start'"):
        catalog["strat"]


def test_a_library_refuses_what_it_cannot_serve(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stage; name at least one"):
        StageCatalog([])
    with pytest.raises(UsageError, match="several stages are named 'start'") as twice:
        StageCatalog([folders[0], folders[1], folders[0]])
    with pytest.raises(StageError, match=r"not a stage folder \(it has no manifest.json\)") as wrong:
        StageCatalog([folders[0], tmp_path])
    with pytest.raises(StageError, match="there is no such folder") as missing:
        StageCatalog([tmp_path / "missing"])
    assert all("\n" not in str(caught.value) for caught in (twice, wrong, missing))


def test_reload_opens_what_changed_and_only_that(folder: Path, folders: list[Path]) -> None:
    catalog = StageCatalog([folders[0], folder])
    other, former = catalog["start"], catalog["own"]
    _rewrite(folder)
    assert catalog.changes() == [f"stage folder {folder} has changed on disk"]
    assert catalog.reload() == []
    assert catalog.changes() == []
    assert catalog.revision == 1
    assert catalog["start"] is other
    assert catalog["own"].fingerprint != former.fingerprint
    expected = Stage.load(folder).preferences(layer=LOW)
    assert np.array_equal(catalog["own"].preferences(layer=LOW, feature_type="token").sum, expected.sum)


def test_reload_keeps_what_is_gone_until_it_is_back(folder: Path, tmp_path: Path) -> None:
    catalog = StageCatalog([folder])
    folder.rename(tmp_path / "away")
    (problem,) = catalog.reload()
    assert "there is no such folder" in problem
    assert "\n" not in problem
    assert catalog.names == ["own"]
    assert len(catalog.changes()) == 1
    (tmp_path / "away").rename(folder)
    assert catalog.reload() == []
    assert catalog.changes() == []
    assert catalog["own"].preferences(layer=LOW, feature_type="token").n_neurons == LAYERS[LOW]


def test_reload_refuses_a_stage_that_is_named_like_another(folder: Path, folders: list[Path]) -> None:
    catalog = StageCatalog([folders[0], folder])
    stage_of("start", seed=9).save(folder)
    (problem,) = catalog.reload()
    assert "now holds a stage 'start'" in problem
    assert catalog.names == ["start", "own"]
    stage_of("renamed", seed=9).save(folder)
    assert catalog.reload() == []
    assert catalog.names == ["start", "renamed"]


def test_hostile_words_are_read_as_they_were_written(stages: dict[str, Stage], folders: list[Path]) -> None:
    names, counts = StageFolder.open(folders[0]).vocabulary("token")
    assert set(IN_CORPORA) <= set(names)
    assert counts.sum() == stages["start"].preferences(layer=LOW).words
