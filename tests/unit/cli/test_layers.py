"""`txray layers` and `txray collect` with modules that run several times."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AlbertConfig, AlbertModel, MixtralConfig, MixtralModel

from tests.builders.hub_folders import folder_of
from txray.cli.layers import _calls, _layout
from txray.cli.main import _exit_code
from txray.cli.prune_common import _default_layer
from txray.errors import UsageError
from txray.models import load_model
from txray.preferences import Stage

LAYER = "encoder.albert_layer_groups.0.albert_layers.0"


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def albert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that applies one layer three times, with a tokenizer."""
    folder = folder_of("bert", tmp_path_factory.mktemp("albert") / "model")
    config = AlbertConfig(
        vocab_size=600,
        embedding_size=8,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AlbertModel(config).save_pretrained(folder)
    return folder


def test_layers_that_run_several_times_say_so(albert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert txray("layers", albert, LAYER, "embeddings") == 0
    lines = capsys.readouterr().out.splitlines()
    shared = next(line for line in lines if LAYER in line)
    assert "called 3x" in shared
    assert "called" not in next(line for line in lines if "embeddings" in line)
    assert ":call=0" in lines[-1]


def test_calls_and_inputs_are_collected_by_name(
    albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [f"{LAYER}:call=0", LAYER, f"{LAYER}.ffn_output:input:call=1"]
    asked = [part for layer in layers for part in ("--layer", layer)]
    read = ["-f", "demo", "-t", "reviews", "--max-words", "60"]
    assert txray("collect", albert, *read, *asked, "--out", tmp_path / "s") == 0
    lines = capsys.readouterr().err.splitlines()
    warned = [line for line in lines if "warning" in line and "runs 3 times" in line]
    assert len(warned) == 1
    stage = Stage.load(tmp_path / "s")
    assert list(stage.layers) == layers
    assert stage.preferences(layer=layers[2]).n_neurons == 16
    assert txray("collect", albert, *read, "--layer", f"{LAYER}:call=3", "--out", tmp_path / "t") == 2
    assert "it runs 3 times" in capsys.readouterr().err


def test_roles_are_listed_with_patterns_to_paste(albert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert txray("layers", albert) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"MLP neurons {LAYER}.ffn_output:input 16 neurons x 1 layer" in lines
    assert f"attention heads {LAYER}.attention.dense:input:head 2 heads x 1 layer" in lines


def test_without_a_layer_the_mlp_neurons_of_a_transformer_are_collected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder_of("bert", tmp_path / "model")
    read = ["-f", "demo", "-t", "reviews", "--max-words", "60"]
    assert txray("collect", model, *read, "--out", tmp_path / "s") == 0
    assert "--layer 'encoder.layer.*.output.dense:input'" in capsys.readouterr().err
    stage = Stage.load(tmp_path / "s")
    assert stage.layers[0] == "encoder.layer.0.output.dense:input"
    assert txray("similarity", model, model, *read) == 0
    assert "encoder.layer.0.output.dense:input" in capsys.readouterr().out


def test_pruning_without_a_layer_names_one(tmp_path: Path) -> None:
    model = load_model(folder_of("bert", tmp_path / "model"))
    with pytest.raises(UsageError, match=r"--layer encoder.layer.\d+.output.dense:input"):
        _default_layer(model)


def test_tables_show_steps_and_names() -> None:
    assert _layout("flat", 0) == "flat"
    assert _layout("batch-neurons-time", 2) == "batch-neurons-time, -2 steps"
    assert _layout("batch-time-neurons", -1) == "batch-time-neurons, +1 step"
    assert _calls(1, ()) == ""
    assert _calls(3, ("a", "b")) == "called 3x; also a, b"
    assert _calls(1, ("a", "b", "c")) == "also a, b, ... 3 in all"


def test_experts_are_listed_with_number_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("bert", tmp_path / "model")
    config = MixtralConfig(
        vocab_size=600,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=3,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MixtralModel(config).save_pretrained(folder)
    assert txray("layers", folder, "layers.0.mlp", "layers.0.mlp.experts") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 x 24" in next(line for line in lines if "layers.0.mlp.experts" in line)
    assert any(":expert=0" in line for line in lines)
    assert txray("layers", folder) == 0
    roles = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("expert neurons") and "layers.0.mlp.experts:expert=*" in line for line in roles
    )
    read = ["-f", "demo", "-t", "reviews", "--max-words", "60"]
    assert txray("collect", folder, *read, "--out", tmp_path / "s") == 2
    assert "--layer 'layers.0.mlp.experts:expert=*'" in capsys.readouterr().err.replace("\n", " ")
