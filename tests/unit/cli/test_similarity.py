from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from txray.cli.main import _exit_code
from txray.corpus import demo_corpus
from txray.models import language_model, save_model

READ = ("-f", "demo", "-t", "reviews")


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained snapshots."""
    folder = tmp_path_factory.mktemp("models")
    corpus = demo_corpus("reviews", words=2_000)
    for name, cell, hidden in (("a", "lstm", 12), ("b", "gru", 10)):
        model = language_model(cell, corpus, embedding=8, hidden=hidden, seed=1)  # type: ignore[arg-type]
        save_model(model, folder / name, training={}, epoch=0)
    return folder


def test_two_snapshots_give_a_table_a_folder_and_a_figure(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, figure = tmp_path / "out", tmp_path / "cka.json"
    layers = ("--layer", "rnn", "--layer", "embedding", "--layer-after", "rnn")
    wanted = ("--max-words", 500, "--out", out, "--figure", figure, "--measure", "one_to_one")
    assert txray("similarity", models / "a", models / "b", *READ, *layers, *wanted) == 0
    told = capsys.readouterr().out
    assert "500 words read by both models" in told
    summary = json.loads((out / "similarity.json").read_text(encoding="utf-8"))
    assert (summary["words"], summary["skipped"]) == (500, {})
    assert [summary[side].split("/")[-1] for side in ("before", "after")] == ["a", "b"]
    table = pl.read_parquet(out / "layers.parquet")
    assert table.select("layer_before", "layer_after").rows() == [("rnn", "rnn"), ("embedding", "rnn")]
    assert f"{table['cka'][0]:.4g}" in told
    drawn = json.loads(figure.read_text(encoding="utf-8"))
    assert f"{table['one_to_one'].max():.2f}" in drawn["layout"]["title"]["text"]


def test_a_model_with_itself_is_loaded_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []

    def load(name: object, **options: object) -> object:
        from txray.models.load import load_model

        loaded.append(name)
        return load_model(str(name))

    monkeypatch.setattr("txray.models.load_model", load)
    assert txray("similarity", models / "a", models / "a", *READ, "--max-words", 100) == 0
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--measure", "ck"), "(did you mean 'cka'?)"),
        (("--layer", "rn"), "unknown layer 'rn' (did you mean 'rnn'?)"),
        (("--memory", "-1"), "--memory -1.0"),
        (("--memory", "1e-7"), "may be used; choose layers of fewer neurons"),
        (("--max-words", "2"), "at least 3 are needed"),
    ],
)
def test_a_mistake_is_one_line(
    more: tuple[str, ...], told: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert txray("similarity", models / "a", models / "b", *READ, *more) in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_folder_that_holds_something_else_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("{}")
    assert txray("similarity", "no model", "no model", *READ, "--out", tmp_path) == 1
    assert "holds no similarity.json" in capsys.readouterr().err
