"""Stages where nobody has any."""

from __future__ import annotations

from pathlib import Path

import pytest

from txray.preferences import Stage
from txray.web.dashboard.demo import demo_stages


def test_the_demo_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.web.dashboard.demo.cache_folder", lambda: tmp_path)
    told: list[str] = []
    folders = demo_stages(told.append, words=2_000, epochs=1)
    assert [folder.name for folder in folders] == ["untrained", "unsup", "zero-shot", "sup"]
    assert {name for folder in folders for name in Stage.load(folder).feature_types} == {"token", "pos"}
    assert "the first time" in told[0]

    made = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    again: list[str] = []
    assert demo_stages(again.append) == folders
    assert len(again) == 1
    assert str(tmp_path) in again[0]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == made


def test_a_demo_that_was_interrupted_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.web.dashboard.demo.cache_folder", lambda: tmp_path)

    def interrupt(line: str) -> None:
        if line.endswith("zero-shot"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_stages(interrupt, words=2_000, epochs=1)
    folders = demo_stages(lambda line: None, words=2_000, epochs=1)
    assert [folder.name for folder in folders] == ["untrained", "unsup", "zero-shot", "sup"]
