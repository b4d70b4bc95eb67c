"""MLP neurons and attention heads are found, and are what their families compute by hand."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from tests.builders.text_models import SIZE, seeded, word_ids
from txray.capture import capturing, collect, layer_roles
from txray.capture.forward.hooks import Tap
from txray.corpus import Corpus, Document
from txray.models import TextModel
from txray.pruning import Mask, masked

SIZES = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
GATED = (
    "Llama",
    "Mistral",
    "Qwen2",
    "Qwen3",
    "Gemma",
    "Gemma2",
    "Phi3",
    "Olmo",
    "Olmo2",
    "Granite",
    "Cohere",
    "Cohere2",
    "StableLm",
    "Glm",
    "SmolLM3",
)
IDS = torch.tensor([[3, 5, 7, 9, 11], [2, 4, 6, 8, 10]])


def run(module: nn.Module, ids: Tensor, mask: Tensor) -> Any:
    return module(input_ids=ids, attention_mask=mask.long(), use_cache=False)


def built(family: str) -> TextModel:
    config = getattr(transformers, f"{family}Config")(**SIZES)
    return TextModel(seeded(lambda: getattr(transformers, f"{family}Model")(config)), word_ids, run)


def by_role(model: TextModel) -> dict[str, list[tuple[str, int]]]:
    rows: dict[str, list[tuple[str, int]]] = {}
    for role in layer_roles(model):
        rows.setdefault(role.role, []).append((role.pattern, role.neurons))
    return rows


def neurons_by_hand(mlp: Any, hidden: Tensor) -> Tensor:
    """act(gate(x)) * up(x), with gate and up in one matrix in some families."""
    act = getattr(mlp, "activation_fn", None) or getattr(mlp, "act_fn", None) or mlp.act
    if hasattr(mlp, "gate_up_proj"):
        gate, up = mlp.gate_up_proj(hidden).chunk(2, dim=-1)
        return act(gate) * up
    return act(mlp.gate_proj(hidden)) * mlp.up_proj(hidden)


@pytest.mark.parametrize("family", GATED)
def test_mlp_neurons_of_gated_families_are_gate_times_up(family: str) -> None:
    model = built(family)
    rows = by_role(model)
    ((pattern, size),) = rows["MLP neurons"]
    assert (pattern, size) == ("layers.*.mlp.down_proj:input", 24)
    assert rows["attention heads"] == [("layers.*.self_attn.o_proj:input:head", 4)]
    assert rows["residual stream"] == [("layers.*", 16)]
    assert rows["embeddings"] == [("embed_tokens", 16)]
    for block in range(2):
        taps = [
            Tap("neurons", f"layers.{block}.mlp.down_proj", "input"),
            Tap("hidden", f"layers.{block}.mlp", "input"),
        ]
        with torch.no_grad(), capturing(model.module, taps) as captured:
            model.module(input_ids=IDS)
            mlp = model.module.get_submodule(f"layers.{block}.mlp")
            wanted = neurons_by_hand(mlp, captured.take("hidden"))
        assert torch.equal(captured.take("neurons"), wanted)


@pytest.mark.parametrize("family", GATED)
def test_collected_mlp_neurons_of_gated_families_are_gate_times_up(family: str) -> None:
    model = built(family)
    layer = "layers.1.mlp.down_proj:input"
    words = ("the", "film", "is", "good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corpus = Corpus.from_documents("c", [Document("a", words)])
        stage = collect(model, corpus, layers=layer, selection="all/absolute", name="s")
    hidden: list[Tensor] = []
    mlp = model.module.get_submodule("layers.1.mlp")
    handle = mlp.register_forward_pre_hook(lambda module, arguments: hidden.append(arguments[0]))
    with torch.no_grad():
        model.module(input_ids=torch.tensor([word_ids(words)]), use_cache=False)
        handle.remove()
        wanted = neurons_by_hand(mlp, hidden[0])[0].abs().sum(dim=0).double().numpy()
    assert stage.preferences(layer=layer).mass() == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("family", ["Llama", "Gemma2", "Phi3"])
def test_ablated_mlp_neurons_are_hooks_by_hand(family: str) -> None:
    model = built(family)
    layer = layer_roles(model)[0].layers[0]

    def change(module: nn.Module, arguments: Any) -> Any:
        return (arguments[0].index_fill(-1, torch.tensor([3, 20]), 0),)

    handle = model.module.get_submodule(layer.removesuffix(":input")).register_forward_pre_hook(change)
    with torch.no_grad():
        wanted = model.module(input_ids=IDS).last_hidden_state
        handle.remove()
        with masked(model, Mask(layer, [3, 20])):
            assert torch.equal(model.module(input_ids=IDS).last_hidden_state, wanted)
        assert not torch.equal(model.module(input_ids=IDS).last_hidden_state, wanted)


def test_neurons_of_bert_are_the_outputs_of_its_activation() -> None:
    config = transformers.BertConfig(**SIZES)
    model = TextModel(seeded(lambda: transformers.BertModel(config)), word_ids, run)
    rows = by_role(model)
    assert rows["MLP neurons"] == [("encoder.layer.*.output.dense:input", 24)]
    assert rows["attention heads"] == [("encoder.layer.*.attention.output.dense:input:head", 4)]
    taps = [
        Tap("input", "encoder.layer.1.output.dense", "input"),
        Tap("act", "encoder.layer.1.intermediate.intermediate_act_fn"),
    ]
    with torch.no_grad(), capturing(model.module, taps[:1]) as captured:
        model.module(input_ids=IDS)
    with torch.no_grad(), capturing(model.module, "encoder.layer.1.intermediate") as intermediate:
        model.module(input_ids=IDS)
    assert torch.equal(captured.take("input"), intermediate.take("encoder.layer.1.intermediate"))


class Parallel(nn.Module):
    """Attention and feed-forward part read one input, and all first projections run before all last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.d, self.e, self.f = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value, up = self.c(hidden), self.b(hidden), self.a(hidden), self.d(hidden)
        mixed = torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value
        return hidden + self.e(mixed) + self.f(torch.relu(up))


class Odd(nn.Module):
    """Names and sizes say nothing: all projections are 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.list = nn.Embedding(SIZE, 8), nn.ModuleList([Parallel(), Parallel()])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids)
        for part in self.list:
            hidden = part(hidden)
        return hidden


def test_roles_are_found_by_the_flow_of_values_alone() -> None:
    module = seeded(Odd)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    rows = by_role(TextModel(module, word_ids))
    assert rows["MLP neurons"] == [("list.*.f:input", 8)]
    assert rows["mixer neurons"] == [("list.*.e:input", 8)]
    assert rows["residual stream"] == [("list.*", 8)]
    assert rows["embeddings"] == [("table", 8)]


def test_looking_for_roles_changes_nothing() -> None:
    model = built("Llama")
    with torch.no_grad():
        before = model.module(input_ids=IDS).last_hidden_state
    model.module.train()
    layer_roles(model)
    assert model.module.training
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.module.modules())
    with torch.no_grad():
        assert torch.equal(model.module.eval()(input_ids=IDS).last_hidden_state, before)


def test_a_model_without_blocks_has_no_roles_but_embeddings() -> None:
    rows = by_role(TextModel(seeded(lambda: nn.Sequential(nn.Embedding(SIZE, 6), nn.Linear(6, 4))), word_ids))
    assert list(rows) == ["embeddings"]
