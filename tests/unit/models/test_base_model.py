"""The transformer within a module: wrapped, adapted, offloaded or sharded, it is read as it is without all that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from tests.builders.families import FAMILIES, JOINED, tokenizer
from tests.unit.models.test_families import alone, collected, pairs_of, wrong_pairs
from txray import masked
from txray.errors import UsageError
from txray.models import from_transformers
from txray.models.base_model import base_model_of, base_prefix, input_device, pretrained_in, unwrapped
from txray.models.fingerprint import model_fingerprint
from txray.pruning import Mask

BART = next(family for family in FAMILIES if family.name == "Bart")
ROBERTA = next(family for family in FAMILIES if family.name == "Roberta")


class LoraModel(nn.Module):
    """Holds the model as PEFT's tuners do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.model(*inputs, **named)


class PeftModel(nn.Module):
    """Holds the tuner as PEFT's models do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = LoraModel(model)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.base_model(*inputs, **named)


@pytest.mark.parametrize(
    ("wrap", "before"),
    [
        (nn.DataParallel, "model."),
        (torch.compile, "model."),
        (PeftModel, "base_model.model.model."),
        (lambda module: nn.DataParallel(PeftModel(module)), "base_model.model.model."),
    ],
)
def test_wrapped_models_are_read_as_the_model_within(wrap: Any, before: str) -> None:
    module = BART.build("ForConditionalGeneration")
    expected = alone(BART, module, "model.")
    stage = collected(BART, wrap(module), before)
    for layer in BART.layers:
        assert wrong_pairs(pairs_of(stage, before + layer), expected[layer]) == []
    assert stage.manifest["reading"]["limit"] == 20


def test_base_models_and_their_names() -> None:
    head = BART.build("ForConditionalGeneration")
    assert base_model_of(head) is base_model_of(nn.DataParallel(head)) is head.model
    assert base_model_of(head.model) is head.model
    assert [base_prefix(module) for module in (head, head.model, PeftModel(head))] == [
        "model.",
        "",
        "base_model.model.model.",
    ]
    joined = JOINED.build("")  # its decoder has a head, itself it has none
    assert base_model_of(joined) is joined
    assert unwrapped(nn.DataParallel(nn.DataParallel(joined))) is joined
    plain = nn.Linear(2, 2)
    assert pretrained_in(plain) is base_model_of(plain) is unwrapped(plain) is plain
    with pytest.raises(UsageError, match="Linear contains no model of transformers") as caught:
        from_transformers(plain, tokenizer())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda module: module, PeftModel])
def test_masks_name_layers_as_without_a_head(wrap: Any) -> None:
    module = ROBERTA.build("ForSequenceClassification")
    model = from_transformers(wrap(module), tokenizer())
    seen: list[torch.Tensor] = []
    layer = module.roberta.encoder.layer[0].intermediate
    ids = torch.tensor([[0, 5, 6, 2]])
    with masked(model, Mask("encoder.layer.0.intermediate", [3])):
        hook = layer.register_forward_hook(lambda _, __, output: seen.append(output))
        model.forward(model.module, ids, torch.ones_like(ids))
        hook.remove()
    assert not seen[0][..., 3].any()
    assert seen[0][..., 4].any()


def test_weights_on_disk_are_read_when_they_are_needed(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    module = ROBERTA.build("ForSequenceClassification")
    module.save_pretrained(tmp_path / "m")
    parts = {
        "roberta.embeddings": "disk",
        "roberta.encoder.layer.0": "disk",
        "roberta.encoder.layer.1": "cpu",
        "classifier": "disk",
    }
    offloaded: Any = transformers.RobertaForSequenceClassification.from_pretrained(
        tmp_path / "m", device_map=parts, offload_folder=tmp_path / "offload"
    )
    assert next(offloaded.parameters()).device.type == "meta"
    assert input_device(offloaded).type == "cpu"
    expected = alone(ROBERTA, module, "roberta.")
    stage = collected(ROBERTA, offloaded.eval(), "roberta.")
    for layer in ROBERTA.layers:
        assert wrong_pairs(pairs_of(stage, f"roberta.{layer}"), expected[layer]) == []
    assert stage.manifest["model"]["fingerprint"] == model_fingerprint(module)


def test_weights_that_are_nowhere_are_told() -> None:
    with torch.device("meta"):
        empty = nn.Linear(2, 3)
    with pytest.raises(UsageError, match="weight bias is on the device 'meta'"):
        model_fingerprint(empty)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/{os.getpid()}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_weights_in_one_process_of_fsdp_are_read() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    module = ROBERTA.build("ForSequenceClassification")
    expected, fingerprint = alone(ROBERTA, module, "roberta."), model_fingerprint(module)
    fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
    stage = collected(ROBERTA, module, "roberta.")
    for layer in ROBERTA.layers:
        assert wrong_pairs(pairs_of(stage, f"roberta.{layer}"), expected[layer]) == []
    assert stage.manifest["model"]["fingerprint"] == fingerprint


class Mesh:
    """A mesh of several processes, which one test cannot have."""

    def size(self) -> int:
        return 4


def test_weights_in_several_processes_are_refused() -> None:
    module = nn.Linear(2, 3)
    module.weight.device_mesh = Mesh()  # type: ignore[assignment]
    state = module.state_dict(keep_vars=True)
    module.state_dict = lambda: state  # type: ignore[method-assign]
    with pytest.raises(UsageError, match=r"spread over 4 processes \(FSDP\); save it"):
        model_fingerprint(module)


def test_saving_a_model_leaves_its_fingerprint(tmp_path: Path) -> None:
    module = ROBERTA.build("ForSequenceClassification")
    before = model_fingerprint(module)
    module.save_pretrained(tmp_path / "m")
    again = transformers.RobertaForSequenceClassification.from_pretrained(tmp_path / "m")
    assert before == model_fingerprint(module) == model_fingerprint(again)
