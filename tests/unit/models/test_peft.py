"""Adapters of PEFT on their base model, against peft itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import txray
from tests.builders.hub_folders import folder_of
from txray.capture.roles import layer_roles
from txray.errors import SnapshotError, UsageError
from txray.models import from_transformers, hugging_face, load_model
from txray.models.fingerprint import model_fingerprint
from txray.models.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS

peft = pytest.importorskip("peft")

LAYERS = {"bert": ["encoder.layer.0", "encoder.layer.1.output"], "gpt2": ["h.0", "h.1.mlp.act"]}
HEADS: dict[str, Any] = {
    "bert": (transformers.AutoModel, {"target_modules": ["query", "intermediate.dense"]}),
    "gpt2": (
        transformers.AutoModelForCausalLM,
        {"task_type": "CAUSAL_LM", "target_modules": ["c_attn"], "fan_in_fan_out": True},
    ),
    "roberta": (transformers.AutoModelForSequenceClassification, {"task_type": "SEQ_CLS"}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each family a base model, and an adapter `FAMILY-lora` that changes its results."""
    parent = tmp_path_factory.mktemp("peft")
    for family, (auto, options) in HEADS.items():
        base = folder_of(family, parent / family)
        classes = {"num_labels": 3} if family == "roberta" else {}
        torch.manual_seed(1)
        model = auto.from_pretrained(base, **classes)
        config = peft.LoraConfig(r=4, lora_alpha=64, init_lora_weights=False, **options)
        peft.get_peft_model(model, config).save_pretrained(parent / f"{family}-lora")
    return parent


@pytest.fixture(scope="module")
def corpus() -> txray.Corpus:
    return txray.demo_corpus("reviews", words=600)


def stage_of(model: Any, corpus: txray.Corpus, layers: list[str]) -> txray.Stage:
    return txray.collect(model, corpus, layers=layers, selection="all", name="s")


def rows(stage: txray.Stage, layer: str) -> pl.DataFrame:
    return stage.preferences(layer=layer).table().sort("neuron", "feature")


def assert_close(first: txray.Stage, second: txray.Stage, layers: list[str]) -> None:
    for layer in layers:
        one, other = rows(first, layer), rows(second, layer)
        assert one.select("neuron", "feature", "count").equals(other.select("neuron", "feature", "count"))
        np.testing.assert_allclose(one["sum"], other["sum"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", list(LAYERS))
def test_an_adapter_computes_what_peft_computes_under_the_names_of_its_base(
    family: str, folders: Path, corpus: txray.Corpus
) -> None:
    auto, _ = HEADS[family]
    model = hugging_face(folders / f"{family}-lora")
    own = peft.PeftModel.from_pretrained(auto.from_pretrained(folders / family), folders / f"{family}-lora")
    ids = torch.tensor([[5, 40, 77, 300, 12]])
    outputs: list[torch.Tensor] = []
    layer = LAYERS[family][0]
    prefix = "transformer." if family == "gpt2" else ""
    for module in (
        own.eval().base_model.model.get_submodule(prefix + layer),
        model.module.get_submodule(layer),
    ):
        module.register_forward_hook(
            lambda _, __, output: outputs.append(output[0] if isinstance(output, tuple) else output)
        )
    with torch.no_grad():
        own(ids)
        model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("family", list(LAYERS))
def test_base_and_adapter_are_compared_layer_by_layer(
    family: str, folders: Path, corpus: txray.Corpus
) -> None:
    layers = LAYERS[family]
    before, after = (
        stage_of(load_model(folders / name), corpus, layers) for name in (family, f"{family}-lora")
    )
    assert before.layers == after.layers == tuple(layers)
    for layer in layers:
        comparison = txray.compare(before, after, layer=layer, permutations=0)
        assert comparison.neurons["hellinger"].max() > 0.01
    unchanged = txray.compare(before, before, layer=layers[0], permutations=0)
    assert unchanged.neurons["hellinger"].max() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("family", list(LAYERS))
def test_merged_equals_not_merged_within_rounding(family: str, folders: Path, corpus: txray.Corpus) -> None:
    layers = LAYERS[family]
    apart = hugging_face(folders / f"{family}-lora")
    merged = hugging_face(folders / f"{family}-lora", merge=True)
    assert any("lora_A" in name for name, _ in apart.module.named_modules())
    plain = hugging_face(folders / family).module
    assert [type(part) for part in merged.module.modules()] == [type(part) for part in plain.modules()]
    stages = [stage_of(model, corpus, layers) for model in (apart, merged)]
    assert_close(*stages, layers)
    fingerprints = {stage.manifest["model"]["fingerprint"] for stage in stages}
    assert len(fingerprints) == 2


@pytest.mark.parametrize("family", list(HEADS))
def test_an_adapter_has_the_layer_roles_of_its_base(family: str, folders: Path) -> None:
    base, adapted = (layer_roles(load_model(folders / name)) for name in (family, f"{family}-lora"))
    assert [(row.role, row.pattern, row.neurons) for row in adapted] == [
        (row.role, row.pattern, row.neurons) for row in base
    ]
    assert base


def test_an_adapter_in_memory_equals_its_folder(folders: Path, corpus: txray.Corpus) -> None:
    base = transformers.AutoModel.from_pretrained(folders / "bert")
    model = peft.PeftModel.from_pretrained(base, folders / "bert-lora").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "bert")
    in_memory = stage_of(from_transformers(model, tokenizer), corpus, LAYERS["bert"])
    on_disk = stage_of(folders / "bert-lora", corpus, LAYERS["bert"])
    assert in_memory.manifest["model"] == on_disk.manifest["model"]
    for layer in LAYERS["bert"]:
        assert rows(in_memory, layer).equals(rows(on_disk, layer))


def test_a_head_that_was_trained_with_the_adapter_is_loaded(folders: Path) -> None:
    model = load_model(folders / "roberta-lora", head=True, classes=["a", "b", "c"])
    assert (model.task, model.classes) == ("classification", ("a", "b", "c"))
    weights = load_file(folders / "roberta-lora" / ADAPTER_WEIGHTS)
    head = model.module.classifier
    loaded = dict(head.named_parameters())
    (name,) = [name for name in loaded if name.endswith("out_proj.weight") and "original" not in name]
    assert torch.equal(loaded[name], weights["base_model.model.classifier.out_proj.weight"])
    assert type(load_model(folders / "gpt2-lora", head=True).module).__name__ == "GPT2LMHeadModel"
    assert type(load_model(folders / "roberta-lora").module).__name__ == "RobertaModel"


def changed(folder: Path, to: Path, **entries: Any) -> Path:
    """Copy an adapter, with other entries in its configuration."""
    shutil.copytree(folder, to)
    config = json.loads((to / ADAPTER_CONFIG).read_text())
    (to / ADAPTER_CONFIG).write_text(json.dumps({**config, **entries}))
    return to


def test_the_base_can_be_named(folders: Path, tmp_path: Path) -> None:
    moved = changed(folders / "bert-lora", tmp_path / "moved", base_model_name_or_path="/nowhere/bert")
    model = load_model(moved, base=folders / "bert")
    assert any("lora_A" in name for name, _ in model.module.named_modules())
    with pytest.raises(SnapshotError, match=r"'/nowhere/bert' is not on this machine; pass base \(--base\)"):
        load_model(moved)
    with pytest.raises(SnapshotError, match=r"holds no config\.json; pass the folder of the base model"):
        load_model(moved, base=tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"base_model_name_or_path": "some/model"}, "'some/model' is not on this machine.*hf:some/model"),
        ({"base_model_name_or_path": None}, "does not name its base model"),
        ({"megatron_config": {"a": 1}}, "could run code"),
        ({"peft_type": "NONSENSE"}, "NONSENSE"),
    ],
)
def test_adapters_that_cannot_be_read_name_the_remedy(
    entries: dict[str, Any], message: str, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(SnapshotError, match=message) as caught:
        load_model(changed(folders / "bert-lora", tmp_path / "a", **entries))
    assert "\n" not in str(caught.value)


def test_adapters_without_all_their_weights_are_refused(folders: Path, tmp_path: Path) -> None:
    adapter = changed(folders / "bert-lora", tmp_path / "a")
    weights = load_file(adapter / ADAPTER_WEIGHTS)
    lost = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != lost}, adapter / ADAPTER_WEIGHTS)
    with pytest.raises(SnapshotError, match=f"lacks {lost}"):
        load_model(adapter)
    other = {name.replace("layer.0", "layer.7"): value.clone() for name, value in weights.items()}
    save_file({**weights, **other}, adapter / ADAPTER_WEIGHTS)
    with pytest.raises(SnapshotError, match="layer.7.*belongs to no layer of the base"):
        load_model(adapter)
    (adapter / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(SnapshotError, match=f"has no {ADAPTER_WEIGHTS}"):
        load_model(adapter)


def test_virtual_tokens_are_refused_instead_of_ignored(folders: Path, tmp_path: Path) -> None:
    base = transformers.AutoModelForCausalLM.from_pretrained(folders / "gpt2")
    model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    model.save_pretrained(tmp_path / "prompt")
    with pytest.raises(UsageError, match="PROMPT_TUNING"):
        load_model(tmp_path / "prompt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "gpt2")
    with pytest.raises(UsageError, match="PROMPT_TUNING"):
        from_transformers(model, tokenizer)


def test_only_adapters_have_a_base(folders: Path) -> None:
    for options in ({"base": folders / "bert"}, {"merge": True}):
        with pytest.raises(UsageError, match="no adapter"):
            hugging_face(folders / "bert", **options)  # type: ignore[arg-type]


def test_active_adapters_are_part_of_the_fingerprint(folders: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folders / "bert")
    config = peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["query"])
    adapted = peft.get_peft_model(model, config)
    adapted.add_adapter("other", config)
    default = model_fingerprint(adapted)
    adapted.set_adapter("other")
    other = model_fingerprint(adapted)
    with adapted.disable_adapter():
        disabled = model_fingerprint(adapted)
    assert len({default, other, disabled}) == 3
    adapted.set_adapter("default")
    assert model_fingerprint(adapted) == default
