"""Which model it was: other results need another fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builders.recurrent import small
from txray.identity import unidentified
from txray.models.fingerprint import computation_fingerprint, model_fingerprint


def attention(heads: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.MultiheadAttention(4, heads)


def stacked(between: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), between, nn.Linear(2, 2)).to(dtype)


class Scaled(nn.Module):
    def __init__(self, scale: float = 1.0, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.scale, self.activation = scale, activation

    def forward(self, values: Tensor) -> Tensor:
        return self.scale * self.activation(values)


DIFFERENT: dict[str, tuple[nn.Module, nn.Module]] = {
    "weights": (small("lstm"), small("lstm", seed=1)),
    "number type": (stacked(nn.ReLU()), stacked(nn.ReLU(), torch.float64)),
    "shape": (nn.Embedding(2, 3), nn.Embedding(3, 2)),
    "module without weights": (stacked(nn.ReLU()), stacked(nn.Tanh())),
    "number of heads": (attention(1), attention(2)),
    "plain attribute": (Scaled(1.0), Scaled(2.0)),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_other_models_have_other_fingerprints(pair: tuple[nn.Module, nn.Module]) -> None:
    first, second = pair
    assert model_fingerprint(first) != model_fingerprint(second)
    assert model_fingerprint(first) == model_fingerprint(first.train())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model))])
def test_what_only_says_how_a_model_runs_does_not_count(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = stacked(nn.ReLU())
    assert model_fingerprint(wrap(model)) == model_fingerprint(model)


def test_functions_and_code_of_modules_count_as_code() -> None:
    class Scaled(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values

    first = computation_fingerprint(globals()["Scaled"]())
    others: list[Any] = [globals()["Scaled"](activation=torch.relu), Scaled()]
    assert len({first, *map(computation_fingerprint, others)}) == 3
    assert computation_fingerprint(globals()["Scaled"]()) == first
    assert unidentified(first) == ""
    assert model_fingerprint(globals()["Scaled"]()) == model_fingerprint(others[0])


def dynamic(module: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["linear", "lstm", "gru", "channels"])
def test_packed_weights_have_fingerprints(kind: str) -> None:
    def build(changed: float = 0.0) -> nn.Module:
        torch.manual_seed(0)
        made: nn.Module = {
            "linear": lambda: nn.Linear(60, 50),
            "lstm": lambda: nn.LSTM(60, 50),
            "gru": lambda: nn.GRU(60, 50),
            "channels": lambda: nn.Linear(60, 50),
        }[kind]()
        weight = next(made.parameters())
        with torch.no_grad():
            weight[30, 30] += changed  # in the middle, where torch abbreviates what it prints
        if kind != "channels":
            return dynamic(nn.Sequential(made))
        whole = nn.Module()
        scales, zeros = (
            torch.linspace(0.01, 0.02, 50, dtype=torch.float64),
            torch.zeros(50, dtype=torch.int64),
        )
        packed = torch.quantize_per_channel(weight.detach(), scales, zeros, 0, torch.qint8)
        whole.register_buffer("packed", packed)
        return whole

    first, again, other = (
        model_fingerprint(build()),
        model_fingerprint(build()),
        model_fingerprint(build(0.05)),
    )
    assert first == again != other


def test_weights_of_torchao_have_fingerprints() -> None:
    library = pytest.importorskip("torchao.quantization")

    def build(changed: float = 0.0) -> nn.Module:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(64, 32))
        with torch.no_grad():
            module[0].weight[16, 16] += changed
        library.quantize_(module, library.Int8WeightOnlyConfig())
        return module

    first, again, other = (
        model_fingerprint(build()),
        model_fingerprint(build()),
        model_fingerprint(build(0.05)),
    )
    assert first == again != other


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scales_of_quantized_weights_count() -> None:
    integers, zeros = torch.ones(3, 4, dtype=torch.int8), torch.zeros(3, dtype=torch.int64)

    def build(*scales: float) -> nn.Module:
        module = nn.Module()
        if len(scales) == 1:
            packed = torch._make_per_tensor_quantized_tensor(integers, scales[0], 0)
        else:
            packed = torch._make_per_channel_quantized_tensor(integers, torch.tensor(scales), zeros, 0)
        module.register_buffer("packed", packed)
        return module

    cases = [(0.1,), (0.2,), (0.1, 0.1, 0.1), (0.1, 0.1, 0.2)]
    assert len({model_fingerprint(build(*scales)) for scales in cases}) == len(cases)
    assert model_fingerprint(build(0.1, 0.1, 0.2)) == model_fingerprint(build(0.1, 0.1, 0.2))
