"""The option `--through` reads layers through the autoencoders of folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders.autoencoders import write_autoencoder
from tests.builders.hub_folders import folder_of
from tests.builders.texts import small_model
from txray.capture import Layer
from txray.cli.main import app
from txray.cli.through import layers_through
from txray.errors import TxrayError, UsageError
from txray.models import SparseEncoder, load_model, save_model
from txray.preferences import Stage


def collect(*arguments: str | Path) -> str:
    options = ("--format", "demo", "--text", "reviews", "--max-words", "300")
    result = CliRunner().invoke(app, ["collect", *map(str, (*arguments, *options))], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_latents_are_collected_from_a_folder(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "sae", inputs=16, latents=20)
    save_model(small_model(), tmp_path / "model")
    collect(tmp_path / "model", "--through", tmp_path / "sae", "--out", tmp_path / "stage")
    stage = Stage.load(tmp_path / "stage")
    assert stage.layers == ("rnn:through=sae",)
    assert stage.preferences().n_neurons == 20


def test_the_layer_is_that_of_the_folder(tmp_path: Path) -> None:
    folder_of("gpt2", tmp_path / "gpt2")
    write_autoencoder(tmp_path / "sae", inputs=16, hook_name="blocks.1.hook_resid_pre")
    output = collect(tmp_path / "gpt2", "--through", tmp_path / "sae", "--out", tmp_path / "stage")
    assert "h.1:input" in output
    assert "blocks.1.hook_resid_pre" in output
    assert Stage.load(tmp_path / "stage").layers == ("h.1:input:through=sae",)


def test_layers_and_folders_belong_together(tmp_path: Path) -> None:
    for name in ("a", "all/h.0", "all/h.1"):
        write_autoencoder(tmp_path / name, inputs=16, latents=10)
    assert layers_through(["rnn", "x:input"], None) == ["rnn", "x:input"]
    single, several = layers_through(["h.0:input", "h.*"], [tmp_path / "a", tmp_path / "all"])
    assert isinstance(single, Layer)
    assert isinstance(several, Layer)
    assert single.label == "h.0:input"
    assert isinstance(single.through, SparseEncoder)
    assert [several.through(f"h.{n}").name for n in range(2)] == ["h.0", "h.1"]  # type: ignore[operator,misc,union-attr]
    with pytest.raises(UsageError, match="1 folders for 2 layers"):
        layers_through(["a", "b"], [tmp_path / "a"])
    with pytest.raises(TxrayError, match="no such file"):
        layers_through(["h.0"], [tmp_path / "missing"])
    with pytest.raises(UsageError, match="names no hook"):
        layers_through([], [tmp_path / "a"], model=load_model(folder_of("gpt2", tmp_path / "gpt2")))
