"""Preferences for other tools: the same rows and numbers, in the same order."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.hostile import IN_TABLES
from tests.builders.preferences import Events, preferences_of, random_events, stage_of
from txray.errors import OutputError, UnknownNameError, UsageError
from txray.preferences import Preferences, Stage


@pytest.fixture
def preferences() -> Preferences:
    return preferences_of(random_events(400, n_neurons=12), n_neurons=15)


@pytest.fixture
def hostile() -> Preferences:
    events: Events = [(place % 4, place % 3, word, 0.1 * (place + 1)) for place, word in enumerate(IN_TABLES)]
    return preferences_of(events)


def read_csv(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows as Python's own reader sees them."""
    with file.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream, strict=True)
    return header, rows


class TestPandas:
    def test_rows_order_and_numbers_are_those_of_the_table(self, preferences: Preferences) -> None:
        pytest.importorskip("pandas")
        table, frame = preferences.table(), preferences.to_pandas()
        assert list(frame.columns) == table.columns
        assert list(frame.index) == list(range(len(table)))
        for name in table.columns:
            assert frame[name].tolist() == table[name].to_list(), name
        assert frame["sum"].sum() == np.sum(table["sum"].to_numpy())
        assert frame.dtypes["count"] == np.int64
        assert frame.dtypes["sum"] == np.float64

    def test_sums_are_those_of_the_preferences(self, preferences: Preferences) -> None:
        frame = preferences.to_pandas()
        mass = frame.groupby("neuron")["sum"].sum().reindex(range(15), fill_value=0)
        np.testing.assert_allclose(mass, preferences.mass(), rtol=1e-15)
        assert frame["count"].sum() == preferences.wins().sum()

    def test_any_word_stays_text(self, hostile: Preferences) -> None:
        pandas = pytest.importorskip("pandas")
        frame = hostile.to_pandas()
        assert frame["feature"].dtype == pandas.Series(["a"], dtype=str).dtype
        assert set(frame["feature"]) == set(IN_TABLES)
        assert not frame["feature"].isna().any()

    def test_it_says_what_it_is_of(self, preferences: Preferences) -> None:
        assert preferences.to_pandas().attrs == {
            "stage": "s",
            "layer": "rnn",
            "feature_type": "token",
            "selection": "max-1",
        }

    def test_without_any_row_the_columns_keep_their_kinds(self) -> None:
        full, empty = preferences_of([(0, 0, "a", 1.0)]).to_pandas(), preferences_of([]).to_pandas()
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()

    def test_changing_the_frame_leaves_the_preferences(self, preferences: Preferences) -> None:
        frame = preferences.to_pandas()
        before = preferences.table()
        frame.loc[:, "count"] = 0
        assert preferences.table().equals(before)


class TestArrow:
    def test_it_is_the_table(self, hostile: Preferences) -> None:
        arrow = hostile.to_arrow()
        back = pl.from_arrow(arrow)
        assert isinstance(back, pl.DataFrame)
        assert back.equals(hostile.table())
        assert back.schema == hostile.table().schema

    def test_the_schema_says_what_it_is_of(self, preferences: Preferences) -> None:
        assert preferences.to_arrow().schema.metadata == {
            b"stage": b"s",
            b"layer": b"rnn",
            b"feature_type": b"token",
            b"selection": b"max-1",
        }


class TestCsv:
    def test_numbers_and_words_come_back_exactly(self, hostile: Preferences, tmp_path: Path) -> None:
        table = hostile.table()
        file = hostile.write_csv(tmp_path / "deep" / "preferences.csv")
        header, rows = read_csv(file)
        assert header == table.columns
        assert [row[1] for row in rows] == table["feature"].to_list()
        for place, name in enumerate(header):
            if name != "feature":
                assert [float(row[place]) for row in rows] == table[name].to_list(), name

    def test_polars_and_pandas_read_it_back(self, hostile: Preferences, tmp_path: Path) -> None:
        pandas = pytest.importorskip("pandas")
        table = hostile.table()
        file = hostile.write_csv(tmp_path / "preferences.csv")
        # pandas takes words such as NA for gaps unless it is told not to
        frame = pandas.read_csv(file, keep_default_na=False, dtype={"feature": str})
        assert frame["feature"].tolist() == table["feature"].to_list()
        assert frame["sum"].tolist() == table["sum"].to_list()
        assert pl.read_csv(file, schema=table.schema).equals(table)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        words=st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=8, unique=True
        ),
        spreadsheet=st.booleans(),
    )
    def test_any_words_survive(self, words: list[str], spreadsheet: bool, tmp_path: Path) -> None:
        preferences = preferences_of([(0, 0, word, 0.5) for word in words])
        file = preferences.write_csv(tmp_path / "any.csv", spreadsheet=spreadsheet)
        read = [row[1] for row in read_csv(file)[1]]
        if spreadsheet:
            assert not any(word[:1] in tuple("=+-@\t\r\n＝＋－＠") for word in read if word)
            read = [word.removeprefix("'") for word in read]
        assert sorted(read) == sorted(words)

    def test_words_that_a_spreadsheet_would_run_get_an_apostrophe_only_when_asked(
        self, tmp_path: Path
    ) -> None:
        words = ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'quoted'"]
        preferences = preferences_of([(0, 0, word, 0.5) for word in [*words, "plain", "a=b", "@-@"]])
        plain = {row[1] for row in read_csv(preferences.write_csv(tmp_path / "plain.csv"))[1]}
        assert plain == {*words, "plain", "a=b", "@-@"}
        safe = {row[1] for row in read_csv(preferences.write_csv(tmp_path / "safe.csv", spreadsheet=True))[1]}
        assert safe == {*(f"'{word}" for word in [*words, "@-@"]), "plain", "a=b"}

    def test_a_file_is_replaced_as_a_whole_or_not_at_all(
        self, preferences: Preferences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "preferences.csv"
        file.write_text("before")

        def failing(self: pl.DataFrame, target: Path, **options: object) -> None:
            target.write_text("half")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(pl.DataFrame, "write_csv", failing)
            with pytest.raises(OutputError, match="No space left"):
                preferences.write_csv(file)
        assert file.read_text() == "before"
        assert list(tmp_path.iterdir()) == [file]
        preferences.write_csv(file)
        assert len(read_csv(file)[1]) == len(preferences.table())

    def test_a_place_that_cannot_be_written(self, preferences: Preferences, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            preferences.write_csv(tmp_path / "file" / "preferences.csv")


class TestSparse:
    @pytest.mark.parametrize("column", ["count", "sum", "mean", "max", "probability"])
    def test_every_row_of_the_table_is_an_entry(self, preferences: Preferences, column: str) -> None:
        matrix, features = preferences.to_sparse(column)
        assert matrix.shape == (15, len(preferences.features))
        assert matrix.dtype == (np.int64 if column == "count" else np.float64)
        assert matrix.has_canonical_format
        table = preferences.table()
        assert matrix.nnz == len(table)
        place = {name: number for number, name in enumerate(features)}
        for neuron, feature, value in table.select("neuron", "feature", column).iter_rows():
            assert matrix[neuron, place[feature]] == value

    def test_it_agrees_with_the_distributions(self, preferences: Preferences) -> None:
        distributions = preferences.distributions("mean")
        matrix, features = preferences.to_sparse("probability")
        assert features.tolist() == distributions.features.tolist()
        np.testing.assert_allclose(matrix.toarray(), distributions.matrix.toarray(), rtol=1e-15)

    def test_neurons_without_preference_have_empty_rows(self) -> None:
        matrix, features = preferences_of([(0, 2, "b", 1.0), (1, 2, "a", 3.0)], n_neurons=4).to_sparse()
        assert features.tolist() == ["a", "b"]
        assert matrix.toarray().tolist() == [[0, 0], [0, 0], [1, 1], [0, 0]]
        nothing, none = preferences_of([], n_neurons=3).to_sparse()
        assert nothing.shape == (3, 0)
        assert len(none) == 0

    def test_changing_the_matrix_leaves_the_preferences(self, preferences: Preferences) -> None:
        before = preferences.table()
        matrix, _ = preferences.to_sparse("sum")
        matrix.data[:] = 0
        matrix.indices[:] = 0
        assert preferences.table().equals(before)

    @pytest.mark.parametrize("column", ["pmi", "lift", "median"])
    def test_a_column_in_which_a_gap_is_not_zero_is_refused(
        self, preferences: Preferences, column: str
    ) -> None:
        with pytest.raises(
            UnknownNameError, match=f"'{column}'.*there are: count, sum, mean, max, probability"
        ):
            preferences.to_sparse(column)


class TestDataset:
    @pytest.fixture
    def stage(self) -> Stage:
        one = stage_of(random_events(300))
        other = preferences_of(random_events(200, seed=1))
        return Stage("s", {**one.collected, ("second", "token"): other}, one.exemplars)

    def test_it_holds_the_tables_of_all_layers(self, stage: Stage) -> None:
        pytest.importorskip("datasets")
        dataset = stage.to_dataset()
        assert dataset.column_names == ["layer", *stage.preferences(layer="rnn").table().columns]
        for layer in ("rnn", "second"):
            part = dataset.filter(lambda row, layer=layer: row["layer"] == layer).remove_columns("layer")
            table = stage.preferences(layer=layer).table()
            assert {name: list(part[name]) for name in part.column_names} == table.to_dict(as_series=False)
        assert list(dict.fromkeys(dataset["layer"])) == ["rnn", "second"]

    def test_one_layer_alone(self, stage: Stage) -> None:
        dataset = stage.to_dataset(layer="second")
        assert set(dataset["layer"]) == {"second"}
        assert "stage 's'" in dataset.info.description

    def test_it_survives_a_file(self, stage: Stage, tmp_path: Path) -> None:
        stage.to_dataset().to_parquet(tmp_path / "stage.parquet")
        read = pl.read_parquet(tmp_path / "stage.parquet")
        assert read.filter(layer="rnn").drop("layer").equals(stage.preferences(layer="rnn").table())

    def test_unknown_names_are_refused(self, stage: Stage) -> None:
        with pytest.raises(UnknownNameError, match="'third'"):
            stage.to_dataset(layer="third")
        with pytest.raises(UnknownNameError, match="'pos'"):
            stage.to_dataset(feature_type="pos")


@pytest.mark.parametrize(
    ("missing", "export"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow"), ("datasets", "to_dataset")]
)
def test_a_package_that_is_missing_is_named_with_the_command(
    missing: str, export: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as Python marks what cannot be imported
    stage = stage_of(random_events(50))
    with pytest.raises(UsageError, match=rf"^{export} needs the package '{missing}'.*pip install {missing}$"):
        getattr(stage if export == "to_dataset" else stage.preferences(), export)()


def test_pandas_needs_no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    preferences = preferences_of(random_events(50))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert len(preferences.to_pandas()) == len(preferences.table())
