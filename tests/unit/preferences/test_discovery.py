"""What a folder named on the command line stands for."""

from __future__ import annotations

from pathlib import Path

from txray.preferences.discovery import stage_folders


def make(place: Path, *names: str, file: str = "manifest.json") -> None:
    for name in names:
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / file).write_text("{}")


def test_a_stage_stands_for_itself(tmp_path: Path) -> None:
    make(tmp_path, "a")
    make(tmp_path, "begun", file="checkpoint.safetensors")
    assert stage_folders([tmp_path / "begun", tmp_path / "a"]) == [tmp_path / "begun", tmp_path / "a"]


def test_a_folder_of_stages_stands_for_them_in_the_order_of_the_story(tmp_path: Path) -> None:
    make(tmp_path, ".epoch-3.tmp", "sup", "epoch-10", "zero-shot", "epoch-2", "unsup", "untrained", "other")
    names = [folder.name for folder in stage_folders([tmp_path])]
    assert names == ["untrained", "epoch-2", "epoch-10", "other", "unsup", "zero-shot", "sup"]


def test_an_experiment_stands_for_its_stages(tmp_path: Path) -> None:
    make(tmp_path / "stages", "b", "a")
    make(tmp_path.parent / "named", "x")
    found = stage_folders([tmp_path.parent / "named", tmp_path])
    assert [folder.name for folder in found] == ["x", "a", "b"]


def test_what_holds_no_stage_stays_to_be_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = [tmp_path, tmp_path / "missing", tmp_path / "file"]
    assert stage_folders(asked) == asked
