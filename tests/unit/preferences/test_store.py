from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.hostile import IN_CORPORA
from tests.builders.preferences import arrays, preferences_of, random_events, stage_of
from txray.analysis import compare, hellinger
from txray.errors import OutputError, ShapeError, StageError, UnknownNameError, UsageError
from txray.files import sha256_of
from txray.preferences import Stage, StageFolder


def test_round_trip_is_exact(tmp_path: Path) -> None:
    stage = stage_of(random_events(500))
    loaded = Stage.load(stage.save(tmp_path / "s"))
    assert loaded.name == "s"
    assert loaded.layers == ("rnn",)
    assert loaded.feature_types == ("token",)
    for name, column in arrays(stage.preferences()).items():
        np.testing.assert_array_equal(arrays(loaded.preferences())[name], column)
    assert loaded.exemplars.equals(stage.exemplars)
    assert loaded.manifest["words"] == 500


def test_tables_are_written_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(random_events(500))
    whole = stage.save(tmp_path / "whole") / "preferences.token.parquet"
    monkeypatch.setattr("txray.preferences.store._ROWS_PER_WRITE", 7)
    parts = stage.save(tmp_path / "parts") / "preferences.token.parquet"
    assert pl.read_parquet(parts).equals(pl.read_parquet(whole))
    assert len(pl.read_parquet(whole)) == len(stage.preferences().fold) > 70


def test_same_stage_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        stage_of(random_events(500)).save(tmp_path / folder)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_hostile_words_survive(tmp_path: Path) -> None:
    events = [(0, i % 3, word, 0.5) for i, word in enumerate(IN_CORPORA)]
    loaded = Stage.load(stage_of(events).save(tmp_path / "s"))
    assert sorted(loaded.preferences().features.tolist()) == sorted(IN_CORPORA)
    assert loaded.preferences().table().equals(preferences_of(events).table())


def test_several_layers_and_kinds(tmp_path: Path) -> None:
    collected = {}
    for seed, kind in enumerate(("token", "pos")):
        collected["rnn", kind] = replace(preferences_of(random_events(80, seed=seed)), feature_type=kind)
        # The corpus side is the same for all layers of one kind.
        collected["embedding", kind] = replace(collected["rnn", kind], layer="embedding", n_neurons=13)
    stage = Stage("s", collected, stage_of(random_events(10)).exemplars)
    loaded = Stage.load(stage.save(tmp_path / "s"))
    assert loaded.layers == ("rnn", "embedding")
    assert loaded.preferences(layer="embedding", feature_type="pos").n_neurons == 13
    assert loaded.preferences(layer="rnn", feature_type="pos").table().equals(collected["rnn", "pos"].table())
    with pytest.raises(UsageError, match="several layers, name one of rnn, embedding"):
        loaded.preferences()


def test_unknown_layer_and_feature_list_what_there_is() -> None:
    stage = stage_of(random_events(30))
    with pytest.raises(UnknownNameError, match="'lstm'.*there are: rnn"):
        stage.preferences(layer="lstm")
    with pytest.raises(UnknownNameError, match="'pos'.*there are: token"):
        stage.preferences(feature_type="pos")


def test_numbers_recomputed_from_the_parquet_files_with_plain_numpy(tmp_path: Path) -> None:
    """Anybody can recompute lengths, masses and distances from the files, without txray."""
    rows = {}
    for name, seed in (("before", 1), ("after", 2)):
        folder = stage_of(random_events(800, seed=seed), name).save(tmp_path / name)
        rows[name] = pl.read_parquet(folder / "preferences.token.parquet")
    words = sorted(set(rows["before"]["feature"]) | set(rows["after"]["feature"]))
    place = {word: i for i, word in enumerate(words)}
    probability, mass = {}, {}
    for name, table in rows.items():
        total, count = np.zeros((12, len(words))), np.zeros((12, len(words)))
        for neuron, word, n, s in table.select("neuron", "feature", "count", "sum").iter_rows():
            total[neuron, place[word]] += s
            count[neuron, place[word]] += n
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        probability[name] = mean / mean.sum(axis=1, keepdims=True)
        mass[name] = total.sum(axis=1)
    distance = np.sqrt(
        ((np.sqrt(probability["before"]) - np.sqrt(probability["after"])) ** 2).sum(axis=1) / 2
    )
    comparison = compare(Stage.load(tmp_path / "before"), Stage.load(tmp_path / "after"), permutations=0)
    np.testing.assert_allclose(comparison.neurons["hellinger"].to_numpy(), distance, atol=1e-12)
    np.testing.assert_allclose(comparison.neurons["mass_after"].to_numpy(), mass["after"], rtol=1e-12)
    assert comparison.neurons["length_before"].to_list() == (probability["before"] > 0).sum(axis=1).tolist()
    union = ((probability["before"] > 0) | (probability["after"] > 0)).sum(axis=1)
    assert comparison.neurons["hellinger_length"].to_list() == union.tolist()


def test_rows_of_one_activation_are_stored_as_one_number_and_lose_nothing(tmp_path: Path) -> None:
    stage = stage_of(random_events(300))
    folder = stage.save(tmp_path / "s")
    rows = pl.read_parquet(folder / "preferences.token.parquet")
    several = rows["count"] > 1
    assert 0 < several.sum() < len(rows)
    assert rows["sum"].null_count() == 0
    for name in ("sum_sq", "max"):
        assert (rows[name].is_not_null() == several).all()
    for loaded in (Stage.load(folder).preferences(), StageFolder.open(folder).preferences()):
        for name in ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max"):
            assert np.array_equal(getattr(loaded, name), getattr(stage.preferences(), name))


def test_statistics_that_do_not_fit_one_activation_are_stored_as_they_are(tmp_path: Path) -> None:
    stage = stage_of(random_events(50))
    preferences = stage.preferences()
    odd = replace(preferences, sum_sq=preferences.sum_sq * 1.5, max=preferences.max / 3)
    loaded = Stage.load(Stage("s", {("rnn", "token"): odd}, stage.exemplars).save(tmp_path / "s"))
    assert np.array_equal(loaded.preferences().sum_sq, odd.sum_sq)
    assert np.array_equal(loaded.preferences().max, odd.max)


@pytest.mark.parametrize("name", ["sum", "count", "sum_sq", "max"])
def test_other_gaps_are_damage(tmp_path: Path, name: str) -> None:
    folder = stage_of(random_events(300)).save(tmp_path / "s")
    gap = pl.when(pl.col("count") == pl.col("count").max()).then(None).otherwise(name)
    file = folder / "preferences.token.parquet"
    rewrite(file, pl.read_parquet(file).with_columns(gap.alias(name)))
    with pytest.raises(StageError, match=f"column '{name}' has gaps"):
        Stage.load(folder)


def test_distance_to_the_saved_copy_is_exactly_zero(tmp_path: Path) -> None:
    stage = stage_of(random_events(500))
    loaded = Stage.load(stage.save(tmp_path / "s"))
    assert (hellinger(stage.preferences().distributions(), loaded.preferences().distributions()) == 0).all()


@pytest.mark.parametrize("name", ["exemplars.parquet", "features.token.parquet", "preferences.token.parquet"])
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    folder = stage_of(random_events(100)).save(tmp_path / "s")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(StageError, match=rf"{name} is damaged"):
        Stage.load(folder)
    (folder / name).unlink()
    with pytest.raises(StageError, match=rf"{name} is missing"):
        Stage.load(folder)


def test_manifest_damage_is_noticed(tmp_path: Path) -> None:
    folder = stage_of(random_events(100)).save(tmp_path / "s")
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    with pytest.raises(StageError, match=r"a folder of stages \(s\), not one stage; name one, such as .*/s$"):
        Stage.load(tmp_path)
    manifest.write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(StageError, match="format 99"):
        Stage.load(folder)
    manifest.write_text(json.dumps({name: value for name, value in content.items() if name != "neurons"}))
    with pytest.raises(StageError, match="lacks neurons"):
        Stage.load(folder)
    for broken in ("{", "[]", ""):
        manifest.write_text(broken)
        with pytest.raises(StageError):
            Stage.load(folder)


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="already exists and holds no manifest.json"):
        stage_of(random_events(10)).save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_saving_again_replaces_the_stage(tmp_path: Path) -> None:
    stage_of(random_events(100, seed=1)).save(tmp_path / "s")
    stage_of(random_events(100, seed=2)).save(tmp_path / "s")
    assert (
        Stage.load(tmp_path / "s")
        .preferences()
        .table()
        .equals(preferences_of(random_events(100, seed=2)).table())
    )
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_failure_while_writing_leaves_the_former_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_of(random_events(100, seed=1)).save(tmp_path / "s")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("txray.preferences.store.sha256_of", full)
        with pytest.raises(OutputError, match="No space left on device"):
            stage_of(random_events(100, seed=2)).save(tmp_path / "s")
    assert (
        Stage.load(tmp_path / "s")
        .preferences()
        .table()
        .equals(preferences_of(random_events(100, seed=1)).table())
    )
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_a_stage_needs_preferences_and_exemplar_columns() -> None:
    stage = stage_of(random_events(10))
    with pytest.raises(UsageError, match="no preferences"):
        Stage("s", {}, stage.exemplars)
    for kind in ("a/b", "", "x" * 200, "a\nb"):
        with pytest.raises(UsageError, match="cannot be part of a file name"):
            Stage("s", {("rnn", kind): stage.preferences()}, stage.exemplars)
    with pytest.raises(ShapeError, match="probability"):
        Stage("s", stage.collected, stage.exemplars.drop("probability"))


WRONG_FIELDS: list[tuple[str, object]] = [
    ("name", 1),
    ("name", "\ud800"),
    ("features", 1),
    ("features", []),
    ("features", ["token", 2]),
    ("features", ["../token"]),
    ("neurons", []),
    ("neurons", {"rnn": 0}),
    ("neurons", {"rnn": "12"}),
    ("folds", "16"),
    ("folds", -1),
    ("folds", True),
    ("folds", 10**9),
    ("selections", {}),
    ("selections", {"rnn": 3}),
    ("checksums", []),
    ("checksums", {}),
    ("words", "many"),
    ("layers", [1]),
    ("corpus", "text"),
    ("model", 7),
]


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS)
def test_a_manifest_of_other_values_is_one_line(field: str, value: object, tmp_path: Path) -> None:
    folder = stage_of(random_events(100)).save(tmp_path / "s")
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), field: value}))
    with pytest.raises(StageError) as caught:
        Stage.load(folder)
    assert "\n" not in str(caught.value)


def test_endless_json_is_no_manifest(tmp_path: Path) -> None:
    folder = stage_of(random_events(100)).save(tmp_path / "s")
    (folder / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(StageError, match="not a readable manifest"):
        Stage.load(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("preferences.token.parquet", pl.lit(None, pl.UInt16).alias("fold")),
        ("preferences.token.parquet", pl.lit(None, pl.String).alias("feature")),
        ("preferences.token.parquet", pl.lit("1").alias("count")),
        ("preferences.token.parquet", pl.lit(0, pl.Int64).alias("count")),
        ("preferences.token.parquet", pl.lit(-1.0).alias("sum")),
        ("preferences.token.parquet", pl.lit(float("nan")).alias("sum")),
        ("preferences.token.parquet", pl.lit(99, pl.UInt32).alias("neuron")),
        ("preferences.token.parquet", pl.lit("not among the features").alias("feature")),
        ("features.token.parquet", pl.lit(None, pl.String).alias("feature")),
        ("features.token.parquet", pl.lit(999, pl.UInt16).alias("fold")),
        ("exemplars.parquet", pl.lit("strong").alias("activation")),
        ("exemplars.parquet", pl.lit(1.0).alias("activations")),
        ("exemplars.parquet", pl.lit(["1", "2", "3"]).alias("activations")),
        ("exemplars.parquet", pl.lit([1.0, 2.0]).alias("activations")),
        ("exemplars.parquet", pl.lit([1.0, 2.0, 3.0, 4.0]).alias("activations")),
        ("exemplars.parquet", pl.lit([], pl.List(pl.Float32)).alias("activations")),
        ("exemplars.parquet", pl.lit([1.0, float("nan"), 3.0]).alias("activations")),
        ("tags.parquet", pl.lit("x").alias("count")),
        ("scales.parquet", pl.lit("x").alias("mean")),
    ],
)
def test_tables_of_other_values_are_one_line(name: str, change: pl.Expr, tmp_path: Path) -> None:
    stage = stage_of(random_events(100))
    tags = pl.DataFrame({"token": ["a"], "pos": ["NN"], "count": [1]})
    scales = pl.DataFrame({"layer": ["rnn"], "neuron": [0], "mean": [0.0], "deviation": [1.0]})
    folder = Stage(stage.name, stage.collected, stage.exemplars, {}, tags, scales).save(tmp_path / "s")
    changed = pl.read_parquet(folder / name).with_columns(change)
    changed = changed if len(changed) else pl.DataFrame({column: ["x"] for column in changed.columns})
    rewrite(folder / name, changed)
    with pytest.raises(StageError, match="cannot be read") as caught:
        Stage.load(folder)
    assert "\n" not in str(caught.value)


def rewrite(file: Path, table: pl.DataFrame) -> None:
    """Another table instead of one of a stage folder, with its checksum."""
    table.write_parquet(file)
    manifest = json.loads((file.parent / "manifest.json").read_text())
    manifest["checksums"][file.name] = sha256_of(file)
    (file.parent / "manifest.json").write_text(json.dumps(manifest))


def test_exemplars_without_activations_are_of_an_earlier_version(tmp_path: Path) -> None:
    stage = stage_of(random_events(100))
    folder = stage.save(tmp_path / "s")
    earlier = stage.exemplars.drop("activations")
    rewrite(folder / "exemplars.parquet", earlier)
    loaded = Stage.load(folder)
    assert loaded.exemplars.schema == stage.exemplars.schema
    assert loaded.exemplars["activations"].null_count() == len(earlier) > 0
    assert loaded.exemplars.drop("activations").equals(earlier)
    again = Stage.load(loaded.save(tmp_path / "again"))
    assert again.exemplars.equals(loaded.exemplars)


def test_names_that_no_folder_can_hold_are_refused() -> None:
    stage = stage_of(random_events(10))
    with pytest.raises(UsageError, match="half of a surrogate pair"):
        Stage("n\udcff", stage.collected, stage.exemplars)
