"""Compiled modules are observed as they are without; TorchScript, which cannot be, is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import SIZE, word_ids
from tests.builders.texts import small_model
from txray import Mask, masked
from txray.capture import capturing, collect, layer_shapes
from txray.corpus import Corpus, demo_corpus
from txray.errors import CaptureError
from txray.models import TextModel
from txray.models.base_model import unwrapped
from txray.preferences import Stage

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

IDS = torch.randint(0, SIZE, (3, 9), generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.body = nn.Embedding(SIZE, 6), nn.Sequential(nn.Linear(6, 8), nn.ReLU())

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.body(self.embedding(ids))
        return result


def in_place(module: nn.Module) -> nn.Module:
    module.compile(backend="eager")
    return module


def wrapped(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


def inner_in_place(module: Any) -> nn.Module:
    module.body.compile(backend="eager")
    return module


def inner_wrapped(module: Any) -> nn.Module:
    module.body = wrapped(module.body)
    return module


COMPILED = [in_place, wrapped, inner_in_place, inner_wrapped]


def evaluated(module: nn.Module) -> nn.Module:
    """As after an evaluation, which compiles it for inputs of any size."""
    with torch.no_grad():
        for documents, steps in ((2, 7), (3, 9), (2, 11), (3, 17), (1, 1)):
            module.eval()(IDS.repeat(2, 2)[:documents, :steps])
    return module


def corpus() -> Corpus:
    return demo_corpus("reviews", words=300)


def stage_of(module: nn.Module, *layers: str) -> Stage:
    return collect(TextModel(module, word_ids, reads_padding=True), corpus(), layers=layers, name="s")


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_compiled_module_is_read_as_without(compiled: Callable[[nn.Module], nn.Module]) -> None:
    layers = ["embedding", "body", "body.*", "body.1:input"]
    module = evaluated(compiled(Net()))
    plain, stage = stage_of(Net(), *layers), stage_of(module, *layers)
    assert list(stage.layers) == list(plain.layers)
    for layer in plain.layers:
        assert stage.preferences(layer=layer).table().equals(plain.preferences(layer=layer).table())
    shapes = [(shape.name, shape.layout) for shape in layer_shapes(TextModel(module, word_ids))]
    assert shapes == [(shape.name, shape.layout) for shape in layer_shapes(TextModel(Net(), word_ids))]
    assert stage.manifest["model"] == plain.manifest["model"]
    with capturing(module, ["body.0"]) as captured:
        module(IDS)
        assert captured.take("body.0").shape == (3, 9, 8)


@pytest.mark.parametrize("compiled", COMPILED)
def test_masks_act_on_compiled_modules(compiled: Callable[[nn.Module], nn.Module]) -> None:
    module = evaluated(compiled(Net()))
    before = module(IDS)
    assert (before[..., 2] > 0).any()
    wanted = before.clone()
    wanted[..., 2] = 0
    for model in (module, TextModel(module, word_ids)):
        with masked(model, Mask("body.0", [2])):
            assert torch.equal(module(IDS), wanted)
        assert torch.equal(module(IDS), before)


def test_compiled_code_runs_again_afterwards() -> None:
    ran: list[int] = []

    def backend(graph: Any, _: Any) -> Any:
        def run(*inputs: Any) -> Any:
            ran.append(1)
            return graph(*inputs)

        return run

    module = Net().eval()
    module.compile(backend=backend)
    module(IDS)
    assert len(ran) == 1
    stage_of(module, "body")
    assert len(ran) == 1
    module(IDS)
    assert len(ran) == 2


def test_txrays_own_models_may_be_compiled() -> None:
    model = small_model()
    stage = collect(wrapped(model), corpus(), name="s")
    assert stage.preferences().table().equals(collect(model, corpus(), name="s").preferences().table())
    assert unwrapped(wrapped(model)) is model


@pytest.mark.parametrize("scripted", [torch.jit.script, lambda module: torch.jit.trace(module, IDS)])
def test_torchscript_is_refused_with_the_remedy(scripted: Any) -> None:
    module = scripted(Net().eval())
    for work in (
        lambda: stage_of(module, "body"),
        lambda: stage_of(module, "body.0"),
        lambda: stage_of(module, "**"),
        lambda: layer_shapes(TextModel(module, word_ids)),
        lambda: masked(TextModel(module, word_ids), Mask("body.0", [1])).__enter__(),
        lambda: masked(module, Mask("body.0", [1])).__enter__(),
        lambda: capturing(module, ["body"]).__enter__(),
    ):
        with pytest.raises(CaptureError, match="TorchScript.*before it was scripted or traced") as caught:
            work()
        assert "\n" not in str(caught.value)


def test_what_lies_beside_torchscript_is_read() -> None:
    module: Any = Net().eval()
    plain = stage_of(module, "embedding")
    module.body = torch.jit.script(module.body)
    assert stage_of(module, "embedding").preferences().table().equals(plain.preferences().table())
    for layer in ("body", "body.0"):
        with pytest.raises(CaptureError, match=rf"layer '{layer}': .*TorchScript"):
            stage_of(module, layer)
    traced: Any = Net().eval()
    wanted = stage_of(traced, "body").preferences().table()
    traced.body = torch.jit.trace(traced.body, traced.embedding(IDS))
    assert stage_of(traced, "body").preferences().table().equals(wanted)
    with pytest.raises(CaptureError, match=r"layer 'body.0': is part of 'body'"):
        stage_of(traced, "body.0")
