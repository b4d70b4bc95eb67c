"""Attention heads, parts of outputs, windows and recurrent cells, against one document at a time by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import LongformerConfig, LongformerModel, Qwen3Config, Qwen3Model

from tests.builders.text_models import SIZE, seeded, word_ids
from txray.capture import Layer, collect, layer_shapes
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, UnknownNameError, UsageError
from txray.models import TextModel
from txray.preferences import Stage

CORPUS = Corpus.from_documents(
    "c",
    [
        Document("a", ("the", "film", "is", "good", "and", "the", "plot", "is", "new")),
        Document("b", ("good", "film")),
        Document("c", ("new",)),
    ],
)


def stage_of(model: TextModel, *layers: str | Layer) -> Stage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect(model, CORPUS, layers=layers, selection="all/absolute", name="s")


def sums(rows_of: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
    """(n_neurons,) sums of sizes over all words, given (words, neurons) of the ids of one document."""
    with torch.no_grad():
        parts = [rows_of(torch.tensor([word_ids(document.words)])).abs().sum(dim=0) for document in CORPUS]
    return np.asarray(torch.stack(parts).sum(dim=0).double())


def run(module: nn.Module, ids: Tensor, mask: Tensor) -> Any:
    return module(input_ids=ids, attention_mask=mask.long())


def captured(module: nn.Module, name: str, ids: Tensor, *, input_: bool = False) -> Tensor:
    tensors: list[Tensor] = []
    part = module.get_submodule(name)
    if input_:
        handle = part.register_forward_pre_hook(lambda part, arguments: tensors.append(arguments[0]))
    else:
        handle = part.register_forward_hook(lambda part, arguments, output: tensors.append(output))
    module(input_ids=ids)
    handle.remove()
    return tensors[-1]


@pytest.fixture(scope="module")
def qwen() -> TextModel:
    config = Qwen3Config(
        vocab_size=SIZE,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=4,
        intermediate_size=10,
    )
    return TextModel(seeded(lambda: Qwen3Model(config)), word_ids, run)


ATTENTION = "layers.0.self_attn"


def test_per_head_outputs_are_elements_of_all_heads(qwen: TextModel) -> None:
    layer = f"{ATTENTION}.q_norm"
    stage = stage_of(qwen, layer)
    wanted = sums(lambda ids: captured(qwen.module, layer, ids)[0].reshape(-1, 12))
    assert stage.preferences(layer=layer).mass() == pytest.approx(wanted, rel=1e-5)
    assert stage.manifest["layers"][layer]["layout"] == "batch-time-heads-neurons"


@pytest.mark.parametrize("tap", ["q_norm:head", "o_proj:input:head", "o_proj:input:heads=3", "k_proj:head"])
def test_the_units_of_heads_are_the_norms_of_their_vectors(qwen: TextModel, tap: str) -> None:
    layer = f"{ATTENTION}.{tap}"
    name = layer.partition(":")[0]
    stage = stage_of(qwen, layer)
    wanted = sums(
        lambda ids: (
            captured(qwen.module, name, ids, input_=":input" in tap)[0]
            .reshape(ids.shape[1], -1, 4)
            .square()
            .sum(dim=2)
            .sqrt()
        )
    )
    preferences = stage.preferences(layer=layer)
    assert preferences.n_neurons == len(wanted) == (1 if "k_proj" in tap else 3)
    assert preferences.mass() == pytest.approx(wanted, rel=1e-5)
    account = stage.manifest["layers"][layer]
    assert (account["units"], account["heads"]) == ("head", len(wanted))


def test_heads_before_time_are_read() -> None:
    class HeadsFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.same = nn.Embedding(SIZE, 6), nn.Identity()

        def forward(self, ids: Tensor) -> Tensor:
            return self.same(self.embedding(ids).unflatten(-1, (3, 2)).transpose(1, 2)).sum(dim=1)

    module = seeded(HeadsFirst)
    stage = stage_of(TextModel(module, word_ids), "same", "same:head")
    table = module.embedding.weight  # type: ignore[union-attr]
    elements = sums(lambda ids: table[ids[0]])  # type: ignore[index]
    heads = sums(lambda ids: table[ids[0]].reshape(-1, 3, 2).norm(dim=2))  # type: ignore[index,operator]
    assert stage.preferences(layer="same").mass() == pytest.approx(elements, rel=1e-5)
    assert stage.preferences(layer="same:head").mass() == pytest.approx(heads, rel=1e-5)


def test_numbers_of_heads_that_do_not_fit_are_refused(qwen: TextModel) -> None:
    with pytest.raises(UsageError, match="12 elements are not 5 heads"):
        stage_of(qwen, f"{ATTENTION}.o_proj:input:heads=5")
    with pytest.raises(UsageError, match="are not 6 heads"):
        stage_of(qwen, f"{ATTENTION}.q_norm:heads=6")
    plain = TextModel(seeded(lambda: nn.Sequential(nn.Embedding(SIZE, 6), nn.Linear(6, 4))), word_ids)
    with pytest.raises(
        UsageError, match=r"number of attention heads of its 4 elements is unknown.*'1:heads=12'"
    ):
        stage_of(plain, "1:head")


class Parts(nn.Module):
    """Returns a tuple of a tensor, a mapping and a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 5), nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, hidden: Tensor) -> Any:
        return self.one(hidden), {"low": self.two(hidden), "pooled": hidden.sum(dim=1)}, [self.three(hidden)]


class HasParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.parts, self.plain = nn.Embedding(SIZE, 6), Parts(), nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.plain(self.parts(self.embedding(ids))[0])
        return result


@pytest.mark.parametrize(
    ("part", "linear"),
    [(0, "one"), ("0", "one"), (1, "two"), ("1.low", "two"), ("1.0", "two"), ("2.0", "three")],
)
def test_a_part_of_an_output_is_read(part: str | int, linear: str) -> None:
    module = seeded(HasParts)
    layer = Layer("parts", output=part)
    stage = stage_of(TextModel(module, word_ids), layer)
    wanted = sums(lambda ids: module.parts.get_submodule(linear)(module.embedding(ids))[0])  # type: ignore[union-attr,operator]
    assert stage.preferences(layer=layer.label).mass() == pytest.approx(wanted, rel=1e-5)
    assert stage.manifest["layers"][layer.label]["part"] == layer.output
    assert Layer.parse(layer.label) == layer


def test_several_parts_of_one_module_are_collected_together() -> None:
    model = TextModel(seeded(HasParts), word_ids)
    stage = stage_of(model, "parts", "parts:output=1", "parts:output=2")
    assert [stage.preferences(layer=layer).n_neurons for layer in stage.layers] == [5, 3, 4]


@pytest.mark.parametrize(
    ("layer", "error", "text"),
    [
        ("parts:output=3", UnknownNameError, "part of the output of 'parts'.*0.*1.*2"),
        ("parts:output=lo", UnknownNameError, "part of the output of 'parts'"),
        ("parts:output=1.pooled", CaptureError, "one activation per position"),
        ("plain:output=1", CaptureError, "so it has no part 1; omit output"),
    ],
)
def test_missing_parts_are_refused_before_the_text_is_read(layer: str, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        stage_of(TextModel(seeded(HasParts), word_ids), layer)


@pytest.mark.parametrize(
    "options",
    [
        {"input": True, "output": 1},
        {"output": -1},
        {"output": ""},
        {"output": 1.5},
        {"heads": 0},
        {"heads": 2.0},
    ],
)
def test_options_of_a_layer_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Layer("x", **options)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("a.b", output="hidden_states.2", units="head", call=1),
        Layer("a.b", input=True, heads=12),
        Layer("a", units="head", input=True, call=-1),
    ],
)
def test_text_forms_are_read_back(layer: Layer) -> None:
    assert Layer.parse(layer.label) == layer


@pytest.mark.parametrize("window", [4, 8])
def test_layers_padded_to_a_window_have_their_extra_steps_at_the_end(window: int) -> None:
    config = LongformerConfig(
        vocab_size=SIZE,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        attention_window=window,
        max_position_embeddings=64,
        pad_token_id=1,
    )
    module = seeded(lambda: LongformerModel(config))
    layer = "encoder.layer.0.intermediate"
    stage = stage_of(TextModel(module, word_ids, run, padding=1, max_length=60), layer)
    wanted = sums(lambda ids: captured(module, layer, ids)[0, : ids.shape[1]])
    assert stage.preferences(layer=layer).mass() == pytest.approx(wanted, rel=1e-4)


class Fixed(nn.Module):
    """Has as many steps for every input: latents, or a window of 24 positions that grows."""

    def __init__(self, grows: bool) -> None:
        super().__init__()
        self.grows, self.embedding, self.linear = grows, nn.Embedding(SIZE, 6), nn.Linear(6, 4)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids)
        steps = -(-ids.shape[1] // 24) * 24 if self.grows else 24
        rows = hidden.new_zeros(len(ids), steps, 6)
        length = min(steps, ids.shape[1])
        rows[:, :length] = hidden[:, :length]
        return self.linear(rows)


def test_steps_that_do_not_grow_with_the_text_are_no_positions() -> None:
    with pytest.raises(CaptureError, match="24 steps for every input"):
        stage_of(TextModel(seeded(lambda: Fixed(False)), word_ids), "linear")
    with pytest.raises(CaptureError, match="24 steps for every input"):
        stage_of(TextModel(seeded(lambda: Fixed(True)), word_ids, max_length=20), "linear")
    module = seeded(lambda: Fixed(True))
    stage = stage_of(TextModel(module, word_ids), "linear")
    wanted = sums(lambda ids: module.linear(module.embedding(ids))[0])  # type: ignore[operator]
    assert stage.preferences(layer="linear").mass() == pytest.approx(wanted, rel=1e-5)


class CellLoop(nn.Module):
    """Runs a cell over the positions, in order or backwards."""

    def __init__(self, backwards: bool = False, mixed: bool = False) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(SIZE, 6), nn.LSTMCell(6, 5)
        self.backwards, self.mixed = backwards, mixed

    def states(self, ids: Tensor) -> Tensor:
        hidden, state, rows = self.embedding(ids), None, []
        if self.mixed:
            hidden = hidden + hidden.mean(dim=1, keepdim=True)
        steps = range(ids.shape[1])
        for step in reversed(steps) if self.backwards else steps:
            state = self.cell(hidden[:, step], state)
            rows.append(state[0])
        return torch.stack(rows, dim=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.states(ids)


def test_a_cell_that_runs_once_per_position_is_read_in_order() -> None:
    module = seeded(CellLoop)
    model = TextModel(module, word_ids)
    stage = stage_of(model, "cell", "cell:output=1", "cell:input")
    assert stage.preferences(layer="cell").mass() == pytest.approx(
        sums(lambda ids: module.states(ids)[0]),
        rel=1e-5,  # type: ignore[operator]
    )
    assert stage.preferences(layer="cell:input").mass() == pytest.approx(
        sums(lambda ids: module.embedding(ids)[0]),
        rel=1e-5,  # type: ignore[operator]
    )
    assert stage.manifest["layers"]["cell"]["stacked"] is True
    assert [shape.name for shape in layer_shapes(model)] == ["embedding"]


def test_a_cell_that_runs_in_another_order_is_refused() -> None:
    with pytest.raises(CaptureError, match="not in the order of the text"):
        stage_of(TextModel(seeded(lambda: CellLoop(backwards=True)), word_ids), "cell")
    mixed = seeded(lambda: CellLoop(mixed=True))
    with pytest.raises(CaptureError, match="layout='batch-time-neurons'"):
        stage_of(TextModel(mixed, word_ids), "cell")
    stage = stage_of(TextModel(mixed, word_ids), Layer("cell", layout="batch-time-neurons"))
    wanted = sums(lambda ids: mixed.states(ids)[0])  # type: ignore[operator]
    assert stage.preferences(layer="cell").mass() == pytest.approx(wanted, rel=1e-5)
