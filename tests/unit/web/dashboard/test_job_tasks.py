"""What the processes make, beside what txray itself says of the same stages."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import txray
from tests.builders.layered_stages import AFTER, BEFORE, COME, GONE, HIGH, LAYERS, LOW, SILENT, stage_of
from txray.analysis import compare, match
from txray.errors import PowerWarning, StageError, UsageError
from txray.plots.features import labels, preferred, strongest
from txray.plots.text import sanitize
from txray.preferences import Preferences, Stage
from txray.preferences.preferences import WEIGHTS, Weight
from txray.web.dashboard.cache import read_note, read_result
from txray.web.dashboard.jobs import tasks
from txray.web.dashboard.stage_catalog import StageFolder


class Progress(list[tuple[int, int]]):
    """The progress of a task."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def neuron_table(
    folder: Path, results: Path, feature_type: str = "token", weight: Weight = "mean"
) -> tuple[Path, Path]:
    """The two files of a neuron table."""
    out = results / f"{folder.name}-{feature_type}.parquet"
    tasks.neuron_table(out, str(folder), feature_type, weight, Progress())
    return out, tasks.index_file(out)


@pytest.mark.parametrize("feature_type", ["token", "pos"])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_digest_tells_of_every_neuron_what_its_preferences_do(
    feature_type: str, weight: Weight, folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    progress = Progress()
    file = tmp_path / "n.parquet"
    tasks.neuron_table(file, str(folders[1]), feature_type, weight, progress)
    assert progress == [(1, 2), (2, 2)]
    rows = read_result(file)
    assert len(rows) == sum(LAYERS.values())
    for layer, size in LAYERS.items():
        mine, whole = (
            rows.filter(layer=layer),
            stages[BEFORE].preferences(layer=layer, feature_type=feature_type),
        )
        assert mine["neuron"].to_list() == list(range(size))
        assert mine["length"].to_list() == whole.lengths().tolist()
        assert mine["wins"].to_list() == whole.wins().tolist()
        assert mine["mass"].to_list() == whole.mass().tolist()
        assert mine["top"].to_list() == [_heaviest(whole, neuron) for neuron in range(size)]
        for column, expected in (
            ("strongest", strongest(whole, 5, weight)),
            ("beyond", labels(whole, 5)),
        ):
            assert mine[column].to_list() == [list(map(sanitize, names)) for names in expected]
    assert rows.filter(layer=LOW, neuron=SILENT)["strongest"].to_list() == [[]]


def _heaviest(preferences: Preferences, neuron: int) -> str | None:
    found = preferred(preferences, neuron)
    order = sorted(zip(-found.mass, found.feature, strict=True))
    return order[0][1] if order else None


@pytest.mark.parametrize("feature_type", ["token", "pos"])
def test_postings_hold_every_preference_with_its_numbers(
    feature_type: str, folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    feature_index = read_result(neuron_table(folders[1], tmp_path, feature_type)[1])
    assert feature_index["feature"].is_sorted()
    keys = ["feature", "neuron"]
    for number, layer in enumerate(LAYERS):
        expected = stages[BEFORE].preferences(layer=layer, feature_type=feature_type).table()
        columns = [
            pl.col("neuron").cast(pl.UInt32),
            "feature",
            pl.col("count").cast(pl.UInt32),
            pl.col("sum").cast(pl.Float32).alias("mass"),
            pl.col("probability").cast(pl.Float32),
            pl.col("lift").cast(pl.Float32),
        ]
        mine = feature_index.filter(layer=number).drop("layer")
        assert mine.select(pl.struct(keys).is_sorted()).item()
        assert_frame_equal(
            mine.sort(keys),
            expected.select(columns).sort(keys),
            check_column_order=False,
            check_exact=True,
        )


@pytest.mark.parametrize("weight", ["mass", "count"])
def test_postings_hold_the_probability_of_their_weight(
    weight: Weight, folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    feature_index = read_result(neuron_table(folders[1], tmp_path, weight=weight)[1])
    found = preferred(stages[BEFORE].preferences(layer=HIGH), 3, weight)
    mine = feature_index.filter(layer=1, neuron=3)
    shares = dict(zip(mine["feature"], mine["probability"], strict=True))
    assert shares == dict(zip(found.feature, found.probability.astype(np.float32).tolist(), strict=True))


def test_a_stage_in_which_nothing_fires_has_a_digest(tmp_path: Path) -> None:
    stage = stage_of("quiet", layers={LOW: 3, HIGH: 2})
    quiet = {
        key: replace(
            each,
            **{
                name: getattr(each, name)[:0]
                for name in ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
            },
        )
        for key, each in stage.collected.items()
    }
    folder = replace(stage, collected=quiet).save(tmp_path / "quiet")
    neurons, feature_index = (read_result(file) for file in neuron_table(folder, tmp_path))
    assert neurons["length"].to_list() == [0] * 5
    assert neurons["top"].to_list() == [None] * 5
    assert neurons["beyond"].to_list() == [[]] * 5
    assert len(feature_index) == 0
    files = str(tmp_path / "quiet-token.parquet")
    tasks.comparison(
        tmp_path / "pair.parquet", str(folder), str(folder), "token", "mean", (files, files), Progress()
    )
    assert set(read_result(tmp_path / "pair.parquet")["state"]) == {"unpreferred"}


@pytest.mark.parametrize("name", ["preferences.token.parquet", "features.token.parquet", "exemplars.parquet"])
def test_a_damaged_table_is_an_error_before_anything_is_written(name: str, tmp_path: Path) -> None:
    folder = stage_of("own").save(tmp_path / "own")
    with (folder / name).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\x00\xff")
    with pytest.raises(StageError, match=rf"{name} is missing or damaged .*; collect the stage again"):
        neuron_table(folder, tmp_path)
    (folder / name).unlink()
    with pytest.raises(StageError, match=f"{name} is missing or damaged") as caught:
        neuron_table(folder, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.parquet"))


def pair(
    folders: list[Path], results: Path, weight: Weight = "mean", feature_type: str = "token"
) -> pl.DataFrame:
    neuron_tables = tuple(str(neuron_table(folder, results, feature_type, weight)[0]) for folder in folders)
    out = results / "pair.parquet"
    tasks.comparison(out, str(folders[0]), str(folders[1]), feature_type, weight, neuron_tables, Progress())  # type: ignore[arg-type]
    return read_result(out)


@pytest.mark.parametrize(("weight", "feature_type"), [("mean", "token"), ("mass", "pos")])
def test_a_pair_equals_the_comparison_of_every_layer(
    weight: Weight, feature_type: str, folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    found = pair(folders[1:3], tmp_path, weight, feature_type)
    assert found["layer"].unique(maintain_order=True).to_list() == list(LAYERS)
    for layer in LAYERS:
        whole = txray.compare(
            stages[BEFORE],
            stages[AFTER],
            layer=layer,
            feature_type=feature_type,
            weight=weight,
            permutations=0,
        ).neurons
        mine = found.filter(layer=layer)
        common = [name for name in whole.columns if name != "hellinger_published_code"]
        assert_frame_equal(
            mine.select(common), whole.select(common), check_dtypes=False, rel_tol=0, abs_tol=0
        )
    for side, folder in zip(("before", "after"), folders[1:3], strict=True):
        named = read_result(neuron_table(folder, tmp_path, feature_type, weight)[0])
        for column in ("strongest", "beyond"):
            assert found[f"{column}_{side}"].to_list() == named[column].to_list()
    states = found.filter(layer=LOW)["state"]
    assert [states[GONE], states[COME], states[SILENT]] == ["avoided", "gained", "unpreferred"]


def test_a_pair_holds_only_the_layers_that_fit(folders: list[Path], tmp_path: Path) -> None:
    other = stage_of("other", layers={HIGH: LAYERS[HIGH], LOW: LAYERS[LOW] + 1}).save(tmp_path / "other")
    assert set(pair([folders[1], other], tmp_path)["layer"]) == {HIGH}
    assert tasks.shared_layers(StageFolder.open(folders[1]), StageFolder.open(other)) == [HIGH]
    selected = stage_of("selected", selection="max-2").save(tmp_path / "selected")
    assert tasks.shared_layers(StageFolder.open(folders[1]), StageFolder.open(selected)) == []


def test_stages_without_common_layers_cannot_be_a_pair(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="have no layer of the same size and selection in common; match"
    ) as e:
        pair(folders[2:4], tmp_path)
    assert "\n" not in str(e.value)


# At the last rate nothing can be significant.
@pytest.mark.parametrize(("layer", "fdr"), [(LOW, 0.1), (HIGH, 0.1), (LOW, 1e-12)])
def test_tests_equal_those_of_a_comparison(
    layer: str, fdr: float, folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    out, progress = tmp_path / "tests.parquet", Progress()
    sides = str(folders[1]), str(folders[2])
    tasks.significance(out, *sides, layer, "token", "mean", fdr, 150, 3, 0.0, progress)
    found = compare(stages[BEFORE], stages[AFTER], layer=layer, feature_type="token", permutations=0)
    with warnings.catch_warnings(action="ignore", category=PowerWarning):
        expected = replace(found, same_documents=True).test(fdr=fdr, permutations=150, seed=3)
    assert_frame_equal(read_result(out), expected.neurons.select(tasks.TESTED), rel_tol=0, abs_tol=0)
    assert progress == [(1, 1)]


def test_what_tests_warn_of_stays_with_them(folders: list[Path], tmp_path: Path) -> None:
    few, many = tmp_path / "few.parquet", tmp_path / "many.parquet"
    sides = str(folders[1]), str(folders[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tasks.significance(few, *sides, LOW, "token", "mean", 0.05, 5, 0, 0.0, Progress())
        tasks.significance(many, *sides, LOW, "token", "mean", 0.05, 1_000, 0, 0.0, Progress())
    assert "permutations" in read_note(few)
    assert read_note(many) == ""


def test_a_matching_equals_that_of_txray(
    folders: list[Path], stages: dict[str, Stage], tmp_path: Path
) -> None:
    neuron_tables = tuple(str(neuron_table(folders[i], tmp_path)[0]) for i in (1, 3))
    out = tmp_path / "m.parquet"
    tasks.matching(
        out, str(folders[1]), str(folders[3]), LOW, "wide", "token", "mean", neuron_tables, Progress()
    )  # type: ignore[arg-type]
    expected = match(stages[BEFORE], stages["wide"], layer=LOW, layer_after="wide", feature_type="token")
    pairs = read_result(out)
    assert_frame_equal(
        pairs.select(expected.pairs.columns), expected.pairs, check_dtypes=False, rel_tol=0, abs_tol=0
    )
    assert set(pairs["state"]) >= {"matched"}
    assert float(read_note(out)) == expected.matched_share
    assert_frame_equal(read_result(tasks.curve_file(out)), expected.curve())
    for side, stage, layer in (("before", BEFORE, LOW), ("after", "wide", "wide")):
        wins = stages[stage].preferences(layer=layer).wins()
        beyond = labels(stages[stage].preferences(layer=layer), 5)
        for row in pairs.filter(pl.col(side).is_not_null()).iter_rows(named=True):
            assert row[f"wins_{side}"] == wins[row[side]]
            assert row[f"beyond_{side}"] == [sanitize(name) for name in beyond[row[side]]]


def test_a_damaged_digest_is_removed_so_that_it_is_made_again(folders: list[Path], tmp_path: Path) -> None:
    good = neuron_table(folders[1], tmp_path)[0]
    bad = tmp_path / "bad.parquet"
    for call in (
        lambda: tasks.comparison(
            tmp_path / "o.parquet",
            str(folders[1]),
            str(folders[2]),
            "token",
            "mean",
            (str(good), str(bad)),
            Progress(),
        ),
        lambda: tasks.matching(
            tmp_path / "o.parquet",
            str(folders[1]),
            str(folders[2]),
            LOW,
            LOW,
            "token",
            "mean",
            (str(good), str(bad)),
            Progress(),
        ),
    ):
        bad.write_bytes(b"not a table")
        with pytest.raises(StageError, match="reload to make it again"):
            call()
        assert not bad.exists()
