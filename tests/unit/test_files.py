from __future__ import annotations

import errno
import sys
from functools import partial
from pathlib import Path

import pytest

from txray.errors import OutputError
from txray.files import (
    TEMP_PREFIX,
    atomic_file,
    atomic_folder,
    cache_folder,
    remove_temporaries,
    require_replaceable,
    sha256_of,
    write_text,
)


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "stage"
    with atomic_folder(target, markers=("a.txt",)) as place:
        (place / "a.txt").write_text("1")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["stage"]


def test_a_failed_folder_leaves_the_former_one(tmp_path: Path) -> None:
    target = tmp_path / "stage"
    with atomic_folder(target, markers=("a.txt",)) as place:
        (place / "a.txt").write_text("1")
    with pytest.raises(ValueError, match="stop"), atomic_folder(target, markers=("a.txt",)) as place:
        (place / "a.txt").write_text("2")
        raise ValueError("stop")
    assert (target / "a.txt").read_text() == "1"
    with atomic_folder(target, markers=("a.txt",)) as place:
        (place / "b.txt").write_text("3")
    assert [path.name for path in target.iterdir()] == ["b.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for markers in (("manifest.json",), ("manifest.json", "checkpoint.safetensors"), ()):
        with pytest.raises(OutputError, match="already exists"), atomic_folder(tmp_path, markers=markers):
            pass
    with (
        pytest.raises(OutputError, match="already exists"),
        atomic_folder(tmp_path / "thesis.txt", markers=()),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failed_file_leaves_the_former_one(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    write_text(target, "first")
    with pytest.raises(ValueError, match="stop"), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    for atomic in (partial(atomic_folder, markers=()), atomic_file):
        with (
            pytest.raises(OutputError, match="x: cannot be written: No space left on device"),
            atomic(tmp_path / "x"),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "page.html", "x")


def test_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class LibraryError(Exception):
    """What a library raises that writes files on its own."""


@pytest.mark.parametrize("words", ["parquet: No space left on device (os error 28)", "Read-only file system"])
def test_a_disk_that_a_library_tells_of_is_one_line_too(words: str, tmp_path: Path) -> None:
    for atomic in (partial(atomic_folder, markers=()), atomic_file):
        with pytest.raises(OutputError, match="x: cannot be written: (No|Read)"), atomic(tmp_path / "x"):
            raise LibraryError(words)
        with pytest.raises(LibraryError), atomic(tmp_path / "x"):
            raise LibraryError("something else")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_put_in_place_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "stage"
    with atomic_folder(target, markers=("a.txt",)) as place:
        (place / "a.txt").write_text("1")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if to == target and (self / "b.txt").exists():
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="busy"), atomic_folder(target, markers=("a.txt",)) as place:
        (place / "b.txt").write_text("2")
    assert (target / "a.txt").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_only_what_txray_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".notes").write_text("mine")
    (tmp_path / ".link").symlink_to(tmp_path / ".git", target_is_directory=True)
    (tmp_path / f"{TEMP_PREFIX}state.1-0").write_text("half")
    (tmp_path / f"{TEMP_PREFIX}epoch-001.abc").mkdir()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", ".link", ".notes"]


def test_what_a_killed_process_left_behind_is_nothing(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / f"{TEMP_PREFIX}checkpoint.1-0").write_text("torso")
    require_replaceable(place, ("marker",))
    with atomic_folder(place, markers=("marker",)) as new:
        (new / "marker").write_text("")
    assert [file.name for file in place.iterdir()] == ["marker"]
    (place / "marker").rename(place / "other")
    with pytest.raises(OutputError, match="already exists"):
        require_replaceable(place, ("marker",))


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/txray"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/txray"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/txray"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/txray"),
        ("win32", {}, "home/AppData/Local/txray"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/txray"),
    ],
)
def test_the_cache_folder_is_that_of_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
