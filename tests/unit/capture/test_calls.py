"""Modules that run several times, or have several names, are told apart by who calls them, or by a number."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel, LlamaConfig, LlamaModel, OpenAIGPTConfig, OpenAIGPTModel

from tests.builders.text_models import SIZE, word_ids
from txray.capture import Layer, Selection, capturing, collect, layer_names, layer_shapes
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, RandomPassWarning, RepeatedCallWarning, UsageError
from txray.models import TextModel
from txray.preferences import Stage, merge_stages

WORDS = ["the", "film", "is", "good", "and", "the", "plot", "is", "new"]
CORPUS = Corpus.from_documents(
    "c", [Document("a", tuple(WORDS)), Document("b", ("good", "film")), Document("c", ("new",))]
)


def stage_of(
    module: nn.Module, *layers: str | Layer, selection: str = "all/absolute", **options: Any
) -> Stage:
    return collect(
        TextModel(module, word_ids, **options), CORPUS, layers=layers, selection=selection, name="s"
    )


def sums(stage: Stage, layer: str) -> NDArray[np.float64]:
    return stage.preferences(layer=layer).mass()


def by_hand(rows_of: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
    """(n_neurons,) sums of sizes over all words, given the activations of the ids of one document."""
    with torch.no_grad():
        parts = [
            rows_of(torch.tensor([word_ids(document.words)])).abs().sum(dim=(0, 1)) for document in CORPUS
        ]
    return np.asarray(torch.stack(parts).sum(dim=0).double())


def raw_call(module: nn.Module, name: str, number: int) -> Callable[[Tensor], Tensor]:
    """One call of a module, by a plain hook that keeps every output."""

    def rows_of(ids: Tensor) -> Tensor:
        outputs: list[Any] = []
        handle = module.get_submodule(name).register_forward_hook(lambda *call: outputs.append(call[2]))
        module(ids)
        handle.remove()
        output = outputs[number]
        return output[0] if isinstance(output, tuple) else output

    return rows_of


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.eval()


class SharedActivation(nn.Module):
    """Three blocks with one activation function between them, which has a name in each."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU()
        self.embedding = nn.Embedding(SIZE, 6)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), act) for _ in range(3))

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class Repeated(nn.Module):
    """One block that runs three times, and a list that names it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.steps = nn.ModuleList([self.block, self.block])

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(ids)
        for _ in range(3):
            hidden = self.block(hidden)
        return hidden


def test_a_shared_module_is_told_apart_by_the_block_that_calls_it() -> None:
    module = seeded(SharedActivation())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepeatedCallWarning)
        stage = stage_of(module, "blocks.*", "blocks.*.1")
    for number in range(3):
        assert sums(stage, f"blocks.{number}.1") == pytest.approx(sums(stage, f"blocks.{number}"), rel=1e-6)
        wanted = by_hand(raw_call(module, "blocks.0.1", number))
        assert sums(stage, f"blocks.{number}.1") == pytest.approx(wanted, rel=1e-5)
    assert sums(stage, "blocks.0.1") != pytest.approx(sums(stage, "blocks.2.1"))


def test_layers_say_how_often_they_run_and_what_else_they_are_called() -> None:
    shapes = {shape.name: shape for shape in layer_shapes(TextModel(seeded(SharedActivation()), word_ids))}
    assert (shapes["blocks.1.1"].calls, shapes["blocks.1.1"].aliases) == (1, ("blocks.0.1", "blocks.2.1"))
    assert (shapes["embedding"].calls, shapes["embedding"].aliases) == (1, ())
    repeated = {shape.name: shape for shape in layer_shapes(TextModel(seeded(Repeated()), word_ids))}
    assert (repeated["block"].calls, repeated["block"].aliases) == (3, ("steps.0", "steps.1"))
    assert repeated["block.1"].calls == 3
    assert "steps.0" not in repeated


@pytest.mark.parametrize(("call", "number"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-3, 0)])
@pytest.mark.parametrize("name", ["block", "block.0", "steps.1", "steps.1.1"])
def test_a_call_is_chosen_by_its_number(name: str, call: int, number: int) -> None:
    module = seeded(Repeated())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepeatedCallWarning)
        stage = stage_of(module, Layer(name, call=call))
    (layer,) = stage.layers
    assert layer == f"{name}:call={number}"
    assert sums(stage, layer) == pytest.approx(by_hand(raw_call(module, name, number)), rel=1e-5)
    account = stage.manifest["layers"][layer]
    assert (account["call"], account["calls"]) == (number, 3)


def test_a_call_that_nobody_chose_is_the_last_one_with_a_warning(tmp_path: Any) -> None:
    module = seeded(Repeated())
    with pytest.warns(RepeatedCallWarning, match=r"'block': runs 3 times .* the last call \(2\)") as caught:
        stage = stage_of(module, "block", "block:call=0")
    assert len(caught) == 1
    assert sums(stage, "block") == pytest.approx(by_hand(raw_call(module, "block", 2)), rel=1e-5)
    assert sums(stage, "block:call=0") == pytest.approx(by_hand(raw_call(module, "block", 0)), rel=1e-5)
    loaded = Stage.load(stage.save(tmp_path / "s"))
    assert len(loaded.manifest["warnings"]) == 1
    assert "runs 3 times" in loaded.manifest["warnings"][0]
    assert loaded.manifest["layers"]["block"]["call"] == 2
    assert list(loaded.layers) == ["block", "block:call=0"]


def test_shards_keep_the_warning_and_the_call() -> None:
    model = TextModel(seeded(Repeated()), word_ids)
    shards = []
    for number in (1, 2):
        with pytest.warns(RepeatedCallWarning):
            shards.append(
                collect(model, CORPUS.shard(number, 2), layers=["block"], selection="all/absolute", name="s")
            )
    with pytest.warns(RepeatedCallWarning):
        whole = stage_of(model.module, "block")
    merged = merge_stages(shards)
    assert merged.manifest["layers"] == whole.manifest["layers"]
    assert merged.manifest["warnings"] == whole.manifest["warnings"]


@pytest.mark.parametrize("call", [3, -4])
def test_a_call_that_there_is_not_names_how_many_there_are(call: int) -> None:
    with pytest.raises(UsageError, match=f"'block': call={call}; it runs 3 times .* 0 to 2"):
        stage_of(seeded(Repeated()), Layer("block", call=call))


def test_numbers_of_numpy_and_pythons_own_mean_the_same_call() -> None:
    layer = Layer("block", call=np.int64(1))  # type: ignore[arg-type]
    assert layer == Layer("block", call=1)
    assert type(layer.call) is int


@pytest.mark.parametrize("text", ["block:call=0:call=1", "block:input:call=0:input"])
def test_an_option_twice_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="occurs twice"):
        Layer.parse(text)


@pytest.mark.parametrize(
    "wrong", [{"call": 1.0}, {"call": "0"}, {"call": True}, {"input": "x"}, {"input": 1}]
)
def test_calls_are_whole_numbers_and_input_is_a_truth_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Layer("block", **wrong)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("a.b", Layer("a.b")),
        ("a.*:call=1", Layer("a.*", call=1)),
        ("a:call=-1", Layer("a", call=-1)),
        ("a:input", Layer("a", input=True)),
        ("a:input:call=2", Layer("a", input=True, call=2)),
        ("a:call=x", Layer("a:call=x")),
        ("a:call=--1", Layer("a:call=--1")),
        ("a:what", Layer("a:what")),
    ],
)
def test_text_says_what_a_layer_says(text: str, layer: Layer) -> None:
    assert Layer.parse(text) == layer
    assert layer.label == text


def test_the_same_call_is_not_collected_twice() -> None:
    module = seeded(Repeated())
    stage = stage_of(module, Layer("steps.**", call=0))
    assert sorted(stage.layers) == ["steps.0.0:call=0", "steps.0.1:call=0", "steps.0:call=0"]
    for twice in (["block:call=2", "block:call=-1"], ["block", "steps.0"], ["block", Layer("bloc?", call=2)]):
        with pytest.raises(UsageError, match="is selected twice"):
            stage_of(module, *twice)


class Sometimes(nn.Module):
    """Runs a layer as often as a function of the input says."""

    def __init__(self, times: Callable[[Tensor], int]) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(SIZE, 6), nn.Linear(6, 6)
        self.times = times

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(ids)
        for _ in range(self.times(ids)):
            hidden = self.linear(hidden)
        return hidden


class Counting:
    """Once more for each forward pass."""

    passes = 0

    def __call__(self, ids: Tensor) -> int:
        self.passes += 1
        return self.passes


@pytest.mark.parametrize(
    ("times", "match"),
    [
        (Counting(), "ran [0-9]+ times for one input"),
        (lambda ids: len(ids), "ran 2 times for one input and 3 times for another"),
        (
            lambda ids: 2 if ids.shape[1] > 3 else 3,
            "ran 3 times in this forward pass and 2 times in the dry run",
        ),
        (lambda ids: 0, "did not run in the forward pass"),
        (lambda ids: 1 if ids.shape[1] > 3 else 0, "did not run in the forward pass"),
    ],
)
def test_layers_that_do_not_run_equally_often_are_refused(times: Any, match: str) -> None:
    for layer in ("linear", "linear:call=0"):
        with pytest.raises(CaptureError, match=match) as caught:
            stage_of(Sometimes(times), layer)
        assert "\n" not in str(caught.value)


def test_names_that_change_their_calls_with_the_text_are_refused() -> None:
    """The blocks run in the reverse order for long inputs."""

    class Turned(SharedActivation):
        def forward(self, ids: Tensor) -> Tensor:
            hidden: Tensor = self.embedding(ids)
            for block in list(self.blocks)[:: 1 if ids.shape[1] < 14 else -1]:
                hidden = block(hidden)
            return hidden

    with pytest.raises(CaptureError, match=r"'blocks.0.1': different modules call it"):
        stage_of(Turned(), "blocks.0.1")


def test_a_module_that_runs_within_itself_is_refused() -> None:
    class Within(nn.Module):
        def forward(self, hidden: Tensor, depth: int = 1) -> Tensor:
            return self(hidden, depth - 1) * 2 if depth else hidden

    with pytest.raises(CaptureError, match="runs within itself"):
        stage_of(nn.Sequential(nn.Embedding(SIZE, 6), Within()), "1")


def test_a_name_that_is_never_called_stands_for_the_module() -> None:
    """An embedding that the encoder runs, and the model only names."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Embedding(SIZE, 6)
            self.encoder = nn.Sequential(self.shared, nn.Linear(6, 5))

        def forward(self, ids: Tensor) -> Any:
            return self.encoder(ids)

    module = seeded(Tied())
    stage = stage_of(module, "shared")
    assert sums(stage, "shared") == pytest.approx(by_hand(module.shared), rel=1e-5)  # type: ignore[arg-type]
    assert list(stage_of(module, "**").layers) == ["encoder", "encoder.0", "encoder.1"]
    assert "shared" in layer_names(module)


def test_a_layer_called_from_elsewhere_is_read() -> None:
    """The decoder runs a layer of the encoder; nothing else runs it."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(SIZE, 6)
            self.encoder = nn.ModuleDict({"linear": nn.Linear(6, 5)})

        def forward(self, ids: Tensor) -> Any:
            return self.encoder["linear"](self.embedding(ids))

    module = seeded(Outer())
    wanted = by_hand(lambda ids: module(ids))
    assert sums(stage_of(module, "encoder.linear"), "encoder.linear") == pytest.approx(wanted, rel=1e-5)


def with_ids(module: nn.Module, ids: Tensor, mask: Tensor) -> Any:
    return module(input_ids=ids, attention_mask=mask.long())


def hidden_states(module: nn.Module) -> Callable[[int], Callable[[Tensor], Tensor]]:
    return lambda number: lambda ids: module(input_ids=ids, output_hidden_states=True).hidden_states[number]


def test_alberts_shared_layer_is_read_at_every_depth() -> None:
    config = AlbertConfig(
        vocab_size=SIZE,
        embedding_size=8,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    module = AlbertModel(config).eval()
    name = "encoder.albert_layer_groups.0"
    stage = stage_of(module, *(Layer(name, call=number) for number in range(3)), forward=with_ids)
    for number in range(3):
        wanted = by_hand(hidden_states(module)(number + 1))
        assert sums(stage, f"{name}:call={number}") == pytest.approx(wanted, rel=1e-4)


def test_openai_gpts_activation_functions_are_those_of_their_blocks() -> None:
    torch.manual_seed(0)
    module = OpenAIGPTModel(
        OpenAIGPTConfig(vocab_size=SIZE, n_embd=8, n_layer=3, n_head=2, n_positions=32)
    ).eval()
    stage = stage_of(module, "h.*.mlp.act", forward=with_ids)
    for number in range(3):
        fed = raw_call(module, f"h.{number}.mlp.c_fc", 0)
        wanted = by_hand(lambda ids, fed=fed: module.h[0].mlp.act(fed(ids)))  # type: ignore[misc]
        assert sums(stage, f"h.{number}.mlp.act") == pytest.approx(wanted, rel=1e-4)


def test_what_a_module_is_given_can_be_collected() -> None:
    torch.manual_seed(0)
    module = LlamaModel(
        LlamaConfig(
            vocab_size=SIZE,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=32,
        )
    ).eval()
    layers = [Layer("layers.*.mlp.down_proj", input=True), "layers.1.mlp.down_proj"]
    stage = stage_of(module, *layers, forward=with_ids)
    assert stage.preferences(layer="layers.0.mlp.down_proj:input").n_neurons == 12
    for number in range(2):
        mlp: Any = module.layers[number].mlp
        fed = raw_call(module, f"layers.{number}.post_attention_layernorm", 0)

        def product(ids: Tensor, mlp: Any = mlp, fed: Any = fed) -> Tensor:
            hidden = fed(ids)
            result: Tensor = mlp.act_fn(mlp.gate_proj(hidden)) * mlp.up_proj(hidden)
            return result

        label = f"layers.{number}.mlp.down_proj:input"
        assert sums(stage, label) == pytest.approx(by_hand(product), rel=1e-4)
        assert stage.manifest["layers"][label]["of"] == "input"
    out = by_hand(raw_call(module, "layers.1.mlp.down_proj", 0))
    assert sums(stage, "layers.1.mlp.down_proj") == pytest.approx(out, rel=1e-4)


def test_an_input_may_be_named_changed_in_place_or_given_several_times() -> None:
    class Named(nn.Module):
        def forward(self, *, scale: float, hidden: Tensor) -> Tensor:
            return hidden.mul_(scale)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.named = nn.Embedding(SIZE, 6), Named()

        def forward(self, ids: Tensor) -> Tensor:
            hidden = self.embedding(ids)
            for _ in range(2):
                hidden = self.named(scale=3.0, hidden=hidden)
            result: Tensor = hidden
            return result

    module = seeded(Outer())
    stage = stage_of(module, "named:input:call=0", "named:input:call=1", "named:call=1")
    plain = by_hand(module.embedding)  # type: ignore[arg-type]
    for label, factor in (("named:input:call=0", 1), ("named:input:call=1", 3), ("named:call=1", 9)):
        assert sums(stage, label) == pytest.approx(plain * factor, rel=1e-5)


def test_inputs_without_activations_are_refused() -> None:
    module = seeded(SharedActivation())
    with pytest.raises(CaptureError, match=r"'embedding:input': receives \(2, 11\) for 2 documents"):
        stage_of(module, "embedding:input")

    class Nothing(nn.Module):
        def forward(self, number: int) -> Tensor:
            return torch.zeros(1)

    class Outer(SharedActivation):
        def __init__(self) -> None:
            super().__init__()
            self.nothing = Nothing()

        def forward(self, ids: Tensor) -> Tensor:
            return self.nothing(3) + super().forward(ids)

    with pytest.raises(CaptureError, match="'nothing:input': receives no tensor"):
        stage_of(Outer(), "nothing:input")


def test_hooks_are_taken_away_and_change_no_bit() -> None:
    module = seeded(Repeated())
    ids = torch.tensor([word_ids(WORDS)])
    before = module(ids)
    stage_of(module, "block:input:call=0", "block**:call=0")
    assert torch.equal(module(ids), before)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]
    assert sum(hooks) == 0
    with capturing(module, ["steps.0"]) as captured:
        module(ids)
        assert torch.equal(captured.take("steps.0"), before)


class Noisy(nn.Module):
    """Adds what a function gives to the embedded words."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embedding, self.linear, self.noise = nn.Embedding(SIZE, 6), nn.Linear(6, 6), noise

    def forward(self, ids: Tensor) -> Any:
        return self.linear(self.noise(self.embedding(ids)))


@pytest.mark.parametrize(
    "noise", [nn.functional.dropout, lambda hidden: hidden + torch.randn_like(hidden) * 0.01]
)
def test_a_random_forward_pass_is_warned_of_behind_the_noise_only(noise: Any) -> None:
    with pytest.warns(RandomPassWarning, match="gives different activations for the same input") as caught:
        stage = stage_of(seeded(Noisy(noise)), "linear", "linear:input", "embedding")
    merged = merge_stages([stage])
    assert merged.manifest["warnings"] == stage.manifest["warnings"]
    labels = [layer for layer, account in stage.manifest["layers"].items() if account["random"]]
    assert labels == ["linear", "linear:input"]
    assert len(caught) == len(stage.manifest["warnings"]) == 2


@pytest.mark.parametrize(
    "noise", [lambda hidden: hidden, lambda hidden: hidden / 0, lambda hidden: hidden * 0]
)
def test_what_is_not_random_is_not_warned_of(noise: Any) -> None:
    """Infinite values, and values that are no numbers, are equal to themselves."""
    (site,) = hook_points_for(
        adapter_for(TextModel(seeded(Noisy(noise)), word_ids), outputs=False), ["linear"], Selection()
    )
    assert not site.random
