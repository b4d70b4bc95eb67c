"""A folder remembers the settings it was made with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from txray.errors import UsageError
from txray.settings_lock import SettingsLock

SETTINGS = {"words": 10, "model": {"cell": "lstm", "sizes": (3, 4)}, "text": {"train": "ab", "test": "cd"}}


def lock(folder: Path, settings: Any = SETTINGS) -> SettingsLock:
    return SettingsLock(folder, "run.json", settings, "a run", opaque=("text", "weights"))


def stored(**changes: Any) -> dict[str, Any]:
    """Settings as a file gives them back, some of them changed."""
    plain: dict[str, Any] = json.loads(json.dumps(SETTINGS))
    return plain | changes


def test_the_same_settings_are_accepted_though_json_knows_no_tuples(tmp_path: Path) -> None:
    lock(tmp_path).require_same(stored())
    assert lock(tmp_path).settings == stored()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": 11}, "holds a run with words=11 (requested: 10)"),
        ({"words": None}, "holds a run with words=None (requested: 10)"),
        ({"model": {"cell": "gru", "sizes": [3, 4]}}, "model.cell='gru' (requested: 'lstm')"),
        ({"model": {"cell": "lstm", "sizes": [3]}}, "model.sizes=[3] (requested: [3, 4])"),
        ({"model": "lstm"}, "model='lstm' (requested: {'cell': 'lstm', 'sizes': [3, 4]})"),
        ({"text": {"train": "ab", "test": "xy"}}, "holds a run that differs in text.test;"),
        ({"text": {"train": "ab"}}, "holds a run that differs in text.test;"),
        ({"weights": "0f"}, "holds a run that differs in weights;"),
        ({"depth": 3}, "depth=3 (requested: None)"),
    ],
)
def test_another_setting_is_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        lock(tmp_path).require_same(stored(**changes))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(caught.value)
    assert "xy" not in str(caught.value)


def test_settings_that_one_side_lacks_can_be_ignored(tmp_path: Path) -> None:
    older = stored(former=1)
    del older["words"]
    lock(tmp_path).require_same(older, ignore_unknown=True)
    lock(tmp_path).require_same({}, ignore_unknown=True)
    with pytest.raises(UsageError, match=r"model\.cell"):
        lock(tmp_path).require_same(stored(model={"cell": "gru"}), ignore_unknown=True)


def test_a_new_or_empty_folder_or_one_with_leftovers_stores_nothing(tmp_path: Path) -> None:
    assert not lock(tmp_path / "new").is_stored()
    assert not lock(tmp_path).is_stored()
    (tmp_path / ".txray-half-written").touch()
    assert not lock(tmp_path).is_stored()
    (tmp_path / "run.json").write_text("{}")
    assert lock(tmp_path).is_stored()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for folder in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="does not hold a run; use a new or empty folder"):
            lock(folder).is_stored()
