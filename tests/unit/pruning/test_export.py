"""Smaller models: plain transformers loads them, and they compute what the masked model computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.builders.hub_folders import folder_of, tokenizer_of
from txray import Mask, masked
from txray.errors import TxrayError, UsageError
from txray.models import hugging_face, language_model, load_model, save_model
from txray.pruning import export_model

SIZES = {"vocab_size": 600, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 16}
IDS = torch.tensor([[5, 9, 100, 300, 17, 2]])


def saved(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a tiny model with a head, whose weights are large enough to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        if kind == "bert":
            config: Any = transformers.BertConfig(intermediate_size=24, num_labels=3, **SIZES)
            module: Any = transformers.BertForSequenceClassification(config)
        elif kind == "gpt2":
            config = transformers.GPT2Config(vocab_size=600, n_embd=16, n_layer=2, n_head=4)
            module = transformers.GPT2LMHeadModel(config)
        else:
            groups = {"llama": 4, "llama-grouped": 2, "qwen2": 2}[kind]
            options = {"intermediate_size": 24, "num_key_value_heads": groups, "pad_token_id": None}
            if kind == "qwen2":
                module = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, **options))
            else:
                module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **options))
        for parameter in module.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    module.to(dtype).save_pretrained(folder)
    family = kind.partition("-")[0]
    tokenizer_of("llama" if family == "qwen2" else family).save_pretrained(folder)
    return folder


def logits(folder: Path, masks: list[Mask]) -> torch.Tensor:
    """Return the logits of the masked model, in double precision."""
    model = hugging_face(folder, head="saved")
    model.module.double()
    with masked(model, *masks), torch.no_grad():
        result: torch.Tensor = model.module(IDS).logits
    return result


def difference(module: Any, folder: Path, masks: list[Mask]) -> float:
    """Return the largest difference of a smaller model to the masked one, in double precision."""
    with torch.no_grad():
        return float((module.double()(IDS).logits - logits(folder, masks)).abs().max())


def plain(folder: Path, kind: str) -> Any:
    auto = (
        transformers.AutoModelForSequenceClassification
        if kind == "bert"
        else transformers.AutoModelForCausalLM
    )
    module, loaded = auto.from_pretrained(folder, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    return module.eval()


MLP = {
    "bert": "encoder.layer.{}.output.dense:input",
    "gpt2": "h.{}.mlp.c_proj:input",
    "llama": "layers.{}.mlp.down_proj:input",
    "qwen2": "layers.{}.mlp.down_proj:input",
}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "qwen2"])
def test_transformers_loads_the_smaller_model_and_it_equals_the_masked_one(kind: str, tmp_path: Path) -> None:
    folder = saved(kind, tmp_path / "model")
    masks = [Mask(MLP[kind].format(i), neurons) for i, neurons in enumerate(((0, 3, 7), (1, 2, 20)))]
    report = export_model(folder, masks, tmp_path / "small")
    module = plain(tmp_path / "small", kind)
    assert difference(module, folder, masks) < 1e-6
    assert difference(module, folder, []) > 1e-3
    n_before, n_after = (
        sum(weight.numel() for weight in one.parameters()) for one in (plain(folder, kind), module)
    )
    assert (report.weights_before, report.weights_after) == (n_before, n_after)
    # 3 neurons of each of 2 blocks, with 16 weights per matrix; biases where there are any.
    per_neuron = {"bert": 33, "gpt2": 33, "llama": 48, "qwen2": 48}[kind]
    assert n_before - n_after == 6 * per_neuron
    assert report.notes == ()
    assert report.bytes_before - report.bytes_after == pytest.approx(4 * 6 * per_neuron, abs=64)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "small")
    assert (
        loaded("the film is good")["input_ids"]
        == transformers.AutoTokenizer.from_pretrained(folder)("the film is good")["input_ids"]
    )
    content = json.loads((tmp_path / "small" / "pruned.json").read_text())
    assert [entry["neurons"] for entry in content["removed"]] == [[0, 3, 7], [1, 2, 20]]


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("bert", "encoder.layer.1.intermediate"),
        ("bert", "encoder.layer.1.intermediate.dense"),
        ("bert", "bert.encoder.layer.1.output.dense:input"),
        ("gpt2", "h.1.mlp.c_fc"),
        ("gpt2", "h.1.mlp.act"),
        ("llama", "layers.1.mlp.gate_proj"),
        ("llama", "layers.1.mlp.up_proj"),
    ],
)
def test_blocks_of_different_width_are_padded_with_zeros_which_a_note_says(
    kind: str, layer: str, tmp_path: Path
) -> None:
    folder = saved(kind, tmp_path / "model")
    masks = [Mask(MLP[kind].format(0), (4, 5)), Mask(layer, tuple(range(9)))]
    report = export_model(folder, masks, tmp_path / "small")
    (note,) = report.notes
    assert "7 of the pruned ones remain as zeros" in note
    module = plain(tmp_path / "small", kind)
    assert difference(module, folder, masks) < 1e-6


def test_means_of_removed_neurons_move_into_biases(tmp_path: Path) -> None:
    import numpy as np

    folder = saved("gpt2", tmp_path / "model")
    masks = [
        Mask(MLP["gpt2"].format(i), (6, 1, 9), "mean", values=np.array([0.5, -0.2, 1.5])) for i in (0, 1)
    ]
    export_model(folder, masks, tmp_path / "small")
    assert difference(plain(tmp_path / "small", "gpt2"), folder, masks) < 1e-6
    other = saved("llama", tmp_path / "other")
    with pytest.raises(UsageError, match="has no biases"):
        export_model(other, [Mask(MLP["llama"].format(0), (1,), "mean", values=np.ones(1))], tmp_path / "no")


@pytest.mark.parametrize(
    ("kind", "heads", "n_heads", "zeros"),
    [
        ("llama", ((0, 3), (1, 2)), 2, 0),
        ("llama", ((0, 1, 2), (2, 3)), 2, 1),
        ("llama", ((0,), (2,)), 4, 2),  # three heads do not divide the hidden size
        ("llama-grouped", ((0, 1), (2, 3)), 2, 0),
        ("llama-grouped", ((0, 1), (2,)), 4, 3),
        ("qwen2", ((2, 3), (0, 1)), 2, 0),
    ],
)
def test_heads_are_removed_in_the_groups_that_share_keys(
    kind: str, heads: tuple[tuple[int, ...], ...], n_heads: int, zeros: int, tmp_path: Path
) -> None:
    folder = saved(kind, tmp_path / "model")
    masks = [Mask(f"layers.{i}.self_attn.o_proj:input:head", of_layer) for i, of_layer in enumerate(heads)]
    report = export_model(folder, masks, tmp_path / "small")
    module = plain(tmp_path / "small", kind)
    assert module.config.num_attention_heads == n_heads
    assert [int(note.split(": ")[1].split()[0]) for note in report.notes] == ([zeros] if zeros else [])
    assert difference(module, folder, masks) < 1e-6


def test_weights_in_half_precision_stay_so(tmp_path: Path) -> None:
    folder = saved("llama", tmp_path / "model", torch.bfloat16)
    export_model(folder, [Mask(MLP["llama"].format(i), (1, 2)) for i in (0, 1)], tmp_path / "small")
    assert next(plain(tmp_path / "small", "llama").parameters()).dtype == torch.bfloat16


def test_recurrent_models_go_through_the_same_function(tmp_path: Path) -> None:
    from txray import demo_corpus

    model = language_model("gru", demo_corpus("reviews", words=500), embedding=6, hidden=10)
    save_model(model, tmp_path / "model")
    report = export_model(tmp_path / "model", [Mask("rnn", (1, 4))], tmp_path / "small")
    assert load_model(tmp_path / "small").config.hidden == 8  # type: ignore[union-attr]
    assert report.weights_after < report.weights_before
    assert report.difference < 1e-6


@pytest.mark.parametrize(
    ("family", "masks", "problem"),
    [
        (
            "t5",
            [Mask("encoder.block.0.layer.1.DenseReluDense.wo:input", (1,))],
            "'t5' cannot be made smaller",
        ),
        ("bert", [Mask("encoder.layer.0", (1,))], "cannot be removed from a model of type 'bert'"),
        ("bert", [Mask("encoder.layer.0.attention.output.dense:input:head", (1,))], "only its MLP neurons"),
        ("gpt2", [Mask("h.0.attn.c_proj:input:head", (0,))], "only its MLP neurons"),
        ("llama", [Mask("layers.0.self_attn.o_proj:input", (1,))], "only its MLP neurons"),
        ("gpt2", [Mask("h.0.mlp.c_proj:input", (64,))], "no neuron 64"),
        ("gpt2", [Mask("h.0.mlp.c_proj:input", range(64))], "all 64 neurons"),
        (
            "gpt2",
            [Mask("h.0.mlp.c_proj:input", range(32)), Mask("h.0.mlp.act", range(32, 64))],
            "leave at least one",
        ),
        ("gpt2", [], "nothing to remove"),
        ("gpt2", [Mask("h.7.mlp.act", (1,))], "unknown layer"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    family: str, masks: list[Mask], problem: str, tmp_path: Path
) -> None:
    folder = folder_of(family, tmp_path / "model")
    with pytest.raises(TxrayError) as caught:
        export_model(folder, masks, tmp_path / "small")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_an_existing_folder_is_never_replaced(tmp_path: Path) -> None:
    folder = folder_of("gpt2", tmp_path / "model")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UsageError, match="already exists"):
        export_model(folder, [Mask("h.0.mlp.act", (1,))], folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
