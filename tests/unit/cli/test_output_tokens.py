"""`txray collect --output-tokens` stores what neurons write."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.builders.hub_folders import folder_of
from txray import Stage, output_tokens
from txray.cli.main import app
from txray.models import load_model


def collect(*arguments: str | Path) -> str:
    options = ("--format", "demo", "--text", "reviews", "--max-words", "300")
    result = CliRunner().invoke(app, ["collect", *map(str, (*arguments, *options))], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_tokens_and_predictions_are_stored(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "llama")
    collect(
        folder,
        *("--output-tokens", "7", "--feature-type", "token", "--feature-type", "output"),
        *("--out", tmp_path / "stage"),
    )
    stage = Stage.load(tmp_path / "stage")
    assert stage.layers == ("layers.0.mlp.down_proj:input", "layers.1.mlp.down_proj:input")
    expected = output_tokens(load_model(folder), layers="layers.*.mlp.down_proj:input", k=7)
    assert stage.output_tokens.equals(expected)
    assert len(stage.output_agreement(layer=stage.layers[0])) == 24


def test_a_layer_that_writes_nothing_definite_is_refused(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "llama")
    options = (
        "--format",
        "demo",
        "--text",
        "reviews",
        "--layer",
        "layers.0.mlp.act_fn",
        "--output-tokens",
        "3",
    )
    result = CliRunner().invoke(app, ["collect", str(folder), *options, "--out", str(tmp_path / "stage")])
    assert result.exit_code != 0
    assert not (tmp_path / "stage").exists()
