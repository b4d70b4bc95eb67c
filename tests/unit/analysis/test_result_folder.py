"""Results are saved as folders, and loaded again as they were; damaged folders are one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.builders.stages import story
from txray import Stage, compare, match, timeline
from txray.analysis import Comparison, LayerSimilarity, Matching, Timeline
from txray.analysis.layers.result import SIMILARITY_SCHEMA
from txray.errors import OutputError, StageError, UsageError
from txray.preferences import Preferences

Result = Comparison | Timeline | Matching | LayerSimilarity


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return story()[:3]


def same(one: Any, other: Any) -> bool:
    """Whether two results hold the same, down to the types and the last digit."""
    if type(one) is not type(other) and not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    if isinstance(one, Preferences):
        return all(
            np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, Stage):
        return one.name == other.name and same(one.collected, other.collected) and same(one.tags, other.tags)
    if isinstance(one, pl.DataFrame):
        return one.schema == other.schema and one.equals(other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return bool(one == other)


def similarity() -> LayerSimilarity:
    rows = [
        ("rnn", "top", 0.5, None, 0.6, 0.25, 0.1, 0.2, 0.3, 0.01, 0.02, 0.03, 0.04, 0, 1),
        ("rnn", "rnn", None, None, None, 1.0, 1.0, 1.0, 1.0, None, None, 0.5, 0.5, 2, 2),
    ]
    return LayerSimilarity(
        *("early", "late", ("rnn",), ("top", "rnn"), "wiki", 900, {"unread by both": 3}, {}, {"a": 1}),
        pl.DataFrame(rows, schema=SIMILARITY_SCHEMA, orient="row"),
    )


def results(stages: list[Stage]) -> dict[str, Callable[[], Result]]:
    scores = pl.DataFrame({"stage": [stage.name for stage in stages], "perplexity": [90.0, 60.0, 50.5]})
    before, after = stages[0], stages[-1]
    tokens = [stage.preferences(layer=stage.layers[0], feature_type="token") for stage in stages]
    return {
        "tested": lambda: compare(before, after, permutations=50),
        "untested": lambda: compare(before, after, permutations=0),
        "preferences": lambda: compare(tokens[0], tokens[-1], permutations=0),
        "parts of speech": lambda: compare(before, after, feature_type="pos", permutations=0),
        "timeline": lambda: timeline(stages, permutations=20, scores=scores),
        "untested timeline": lambda: timeline(stages[:2], feature_type="pos", permutations=0),
        "matching": lambda: match(before, after, min_wins=1),
        "no matches": lambda: match(before, after, min_wins=100_000),
        "similarity": similarity,
    }


@pytest.mark.parametrize("name", list(results(story()[:3])))
def test_what_is_loaded_is_what_was_saved(name: str, stages: list[Stage], tmp_path: Path) -> None:
    result = results(stages)[name]()
    folder = result.save(tmp_path / "result")
    loaded = type(result).load(str(folder))
    assert same(result, loaded)
    assert repr(loaded) == repr(result)
    assert loaded._repr_html_() == result._repr_html_()
    assert loaded.summary == result.summary
    again = loaded.save(folder)
    assert same(type(result).load(again), result)


def test_other_results_are_told_apart(stages: list[Stage]) -> None:
    one, other = (compare(*pair, permutations=0) for pair in (stages[:2], stages[1:3]))
    assert not same(one, other)
    assert not same(one, one.test(permutations=20))


def test_a_loaded_comparison_can_be_tested_and_drawn(stages: list[Stage], tmp_path: Path) -> None:
    untested = compare(stages[0], stages[-1], permutations=0)
    loaded = Comparison.load(untested.save(tmp_path / "c"))
    assert same(loaded.test(permutations=50), untested.test(permutations=50))
    assert loaded.plot("most-changed-neurons").to_plotly_json() is not None
    assert loaded.plot("states") == untested.plot("states")


def test_a_damaged_folder_is_one_line(stages: list[Stage], tmp_path: Path) -> None:
    comparison = compare(stages[0], stages[-1], permutations=0)
    for number, file in enumerate(("neurons.parquet", "summary.json", "before/manifest.json", "result.json")):
        folder = comparison.save(tmp_path / str(number))
        path = folder / file
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(StageError, match=f"{folder}.*(damaged|make the Comparison again)") as caught:
            Comparison.load(folder)
        assert "\n" not in str(caught.value)
        path.unlink()
        with pytest.raises(StageError, match=str(folder)):
            Comparison.load(folder)


def test_a_table_that_was_changed_is_noticed(stages: list[Stage], tmp_path: Path) -> None:
    folder = compare(stages[0], stages[-1], permutations=0).save(tmp_path / "c")
    table = pl.read_parquet(folder / "neurons.parquet")
    table.with_columns(wins_after=pl.col("wins_after") + 1).write_parquet(folder / "neurons.parquet")
    with pytest.raises(StageError, match=r"neurons\.parquet is missing or has changed"):
        Comparison.load(folder)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "result": "Comparison", "checksums": 3, "settings": {}}',
    ],
)
def test_a_malformed_result_is_one_line(content: str, stages: list[Stage], tmp_path: Path) -> None:
    folder = compare(stages[0], stages[-1], permutations=0).save(tmp_path / "c")
    (folder / "result.json").write_text(content)
    with pytest.raises(StageError, match="damaged"):
        Comparison.load(folder)


def test_settings_that_do_not_fit_are_one_line(stages: list[Stage], tmp_path: Path) -> None:
    folder = compare(stages[0], stages[-1], permutations=0).save(tmp_path / "c")
    result = json.loads((folder / "result.json").read_text())
    for settings in ({}, {**result["settings"], "layer": "other"}, {**result["settings"], "feature_type": 3}):
        (folder / "result.json").write_text(json.dumps({**result, "settings": settings}))
        with pytest.raises(StageError, match="damaged"):
            Comparison.load(folder)


def test_results_of_other_kinds_are_named(stages: list[Stage], tmp_path: Path) -> None:
    folder = similarity().save(tmp_path / "s")
    with pytest.raises(StageError, match="holds a LayerSimilarity .*not a Timeline.*Timeline.save"):
        Timeline.load(folder)
    with pytest.raises(StageError, match="holds no saved Matching.*Matching.save"):
        Matching.load(tmp_path)
    with pytest.raises(UsageError, match="path of a folder, got a list"):
        Comparison.load([])  # type: ignore[arg-type]
    with pytest.raises(OutputError):
        compare(stages[0], stages[1], permutations=0).save(folder)
