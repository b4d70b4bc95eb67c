"""Files of results: complete or absent, used or removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl
import pytest

from txray.errors import StageError
from txray.web.dashboard.cache import Cache, read_note, read_result, write_result

TABLE = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "<script>"], "c": [["p"], [], None]})
DAY = 86_400


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_a_result_comes_back_with_its_note(tmp_path: Path) -> None:
    file = Cache(tmp_path / "new").path("stages", "abc", "token-mean")
    assert file.parent.name == "abc"
    write_result(file, TABLE, "a “note”", rows=2)
    assert read_result(file).equals(TABLE)
    assert read_note(file) == "a “note”"
    write_result(file, TABLE)
    assert read_note(file) == ""
    assert [each.name for each in file.parent.iterdir()] == ["token-mean.parquet"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 something else PAR1"])
def test_a_damaged_result_is_told_in_one_line_and_removed(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r.parquet"
    file.write_bytes(content)
    with pytest.raises(StageError, match="cannot be read .*; reload to make it again") as caught:
        read_result(file)
    assert "\n" not in str(caught.value)
    assert not file.exists()
    with pytest.raises(StageError, match="cannot be read"):
        read_result(file)


def test_tidy_removes_what_nobody_used_for_a_month(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    files = {name: cache.path("stages", name, "token-mean") for name in ("old", "new", "used")}
    for file in files.values():
        write_result(file, TABLE)
        age(file, 31)
        age(file.parent, 31 if file is not files["new"] else 29)
    lone = cache.path("pairs", "lone")
    write_result(lone, TABLE)
    age(lone, 31)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    age(foreign, 99)
    read_result(files["used"])
    assert cache.tidy() == 2
    assert not files["old"].parent.exists()
    assert not lone.exists()
    assert files["new"].is_file()
    assert files["used"].is_file()
    assert foreign.is_file()
    assert cache.tidy() == 0


def test_tidy_of_a_folder_that_is_not_there_removes_nothing(tmp_path: Path) -> None:
    assert Cache(tmp_path / "missing").tidy() == 0
