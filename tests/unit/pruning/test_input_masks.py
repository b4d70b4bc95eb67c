"""Masks of inputs, of parts of outputs and of attention heads, against hooks written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from tests.builders.text_models import SIZE, seeded, word_ids
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.errors import UsageError
from txray.models import TextModel
from txray.pruning import ActivationStats, Mask, masked

IDS = torch.tensor([[3, 5, 7, 9, 11], [2, 4, 6, 8, 10]])
TEXT = Corpus.from_documents(
    "text", [Document("a", ("the", "film", "is", "good")), Document("b", ("new", "film"))]
)
PROJECTION = "layers.1.mlp.down_proj"
HEADS = "layers.0.self_attn.o_proj"


def run(module: nn.Module, ids: Tensor, mask: Tensor) -> Any:
    return module(input_ids=ids, attention_mask=mask.long())


@pytest.fixture(scope="module")
def llama() -> TextModel:
    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        head_dim=6,
    )
    return TextModel(seeded(lambda: LlamaModel(config)), word_ids, run)


def states(model: TextModel) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.module(input_ids=IDS).last_hidden_state
    return result


def with_hook(model: TextModel, layer: str, change: Callable[[Tensor], None]) -> Tensor:
    """The hidden states if a pre-hook changes the input of a layer."""

    def hook(module: nn.Module, arguments: Any) -> Any:
        changed = arguments[0].clone()
        change(changed)
        return (changed, *arguments[1:])

    handle = model.module.get_submodule(layer).register_forward_pre_hook(hook)
    try:
        return states(model)
    finally:
        handle.remove()


def zeroed(*elements: int) -> Callable[[Tensor], None]:
    def change(tensor: Tensor) -> None:
        tensor[..., list(elements)] = 0

    return change


def test_a_mask_of_an_input_is_a_hook_before_the_module(llama: TextModel) -> None:
    before = states(llama)
    wanted = with_hook(llama, PROJECTION, zeroed(2, 7))
    assert not torch.equal(wanted, before)
    with masked(llama, Mask(f"{PROJECTION}:input", [7, 2])):
        assert torch.equal(states(llama), wanted)
    assert torch.equal(states(llama), before)


def test_a_mask_of_an_input_sets_means(llama: TextModel) -> None:
    statistics = ActivationStats.measure(llama, TEXT, f"{PROJECTION}:input")
    assert len(statistics.mean) == 12
    mean = torch.tensor(statistics.mean[[1, 5]].astype(np.float32))

    def change(tensor: Tensor) -> None:
        tensor[..., [1, 5]] = mean

    with masked(llama, statistics.mask([1, 5])):
        assert torch.equal(states(llama), with_hook(llama, PROJECTION, change))


def test_resampled_inputs_are_activations_at_words_of_the_text(llama: TextModel) -> None:
    statistics = ActivationStats.measure(llama, TEXT, f"{PROJECTION}:input")
    seen = []
    with masked(llama, statistics.mask([3], "resample")):
        hook = llama.module.get_submodule(PROJECTION).register_forward_pre_hook(
            lambda module, arguments: seen.append(arguments[0][..., 3])
        )
        states(llama)
        hook.remove()
    assert statistics.samples is not None
    assert set(seen[0].flatten().tolist()) <= set(statistics.samples[:, 3].tolist())


def test_hooks_and_stages_see_the_masked_input(llama: TextModel) -> None:
    layer = f"{PROJECTION}:input"
    with masked(llama, Mask(layer, [4])):
        stage = collect(llama, TEXT, layers=layer, selection="all/absolute", name="s")
    mass = stage.preferences(layer=layer).mass()
    assert mass[4] == 0
    assert (np.delete(mass, 4) > 0).all()


def test_an_input_and_an_output_of_one_module_are_masked_together(llama: TextModel) -> None:
    def change_output(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return output.index_fill(-1, torch.tensor([0]), 0)

    handle = llama.module.get_submodule(PROJECTION).register_forward_hook(change_output)
    wanted = with_hook(llama, PROJECTION, zeroed(2))
    handle.remove()
    with masked(llama, Mask(f"{PROJECTION}:input", [2]), Mask(PROJECTION, [0])):
        assert torch.equal(states(llama), wanted)
    with (
        masked(llama, Mask(f"{PROJECTION}:input", [2])),
        pytest.raises(UsageError, match="already has a mask"),
        masked(llama, Mask(f"{PROJECTION}:input", [1])),
    ):
        pass


def test_an_attention_head_is_ablated_with_all_its_elements(llama: TextModel) -> None:
    with masked(llama, Mask(f"{HEADS}:input:head", [1])):
        assert torch.equal(states(llama), with_hook(llama, HEADS, zeroed(*range(6, 12))))
    with (
        pytest.raises(UsageError, match="attention heads, whose activations are norms"),
        masked(llama, Mask(f"{HEADS}:input:head", [1], "mean", values=np.ones(1))),
    ):
        pass


def test_keyword_arguments_are_masked() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(SIZE, 6)
            self.linear = nn.Linear(6, 4)

        def forward(self, ids: Tensor) -> Any:
            return self.linear(input=self.embedding(ids))

    module = seeded(Named)
    with torch.no_grad(), masked(TextModel(module, word_ids), Mask("linear:input", [3])):
        wanted = module.linear(module.embedding(IDS).index_fill(-1, torch.tensor([3]), 0))  # type: ignore[operator]
    with masked(TextModel(module, word_ids), Mask("linear:input", [3])), torch.no_grad():
        assert torch.equal(module(IDS), wanted)
    with masked(module, Mask("linear:input", [3])), torch.no_grad():
        assert torch.equal(module(IDS), wanted)


class TwoOutputs(nn.Module):
    """Returns a tuple, of which both parts are used."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.block = Pair()

    def forward(self, ids: Tensor) -> Tensor:
        one, named = self.block(self.embedding(ids))
        return torch.cat([one, named["hidden"]], dim=-1)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 5), nn.Linear(6, 3)

    def forward(self, hidden: Tensor) -> Any:
        return self.one(hidden), {"hidden": self.two(hidden)}


@pytest.mark.parametrize(("part", "element"), [("output=0", 1), ("output=1", 6), ("output=1.hidden", 6)])
def test_a_part_of_an_output_is_masked(part: str, element: int) -> None:
    module = seeded(TwoOutputs)
    with torch.no_grad():
        wanted = module(IDS).index_fill(-1, torch.tensor([element]), 0)
        with masked(TextModel(module, word_ids), Mask(f"block:{part}", [1])):
            assert torch.equal(module(IDS), wanted)
