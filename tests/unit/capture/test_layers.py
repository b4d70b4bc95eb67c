from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.builders.text_models import (
    Packed,
    TextCnn,
    TimeFirst,
    seeded,
    transformer,
    with_mask,
    word_ids,
)
from tests.builders.texts import small_model
from txray.capture import Layer, Selection, capturing, layer_names, layer_shapes, matching_layers
from txray.capture.forward.layout import DryRun, Layout, layout_of
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.errors import CaptureError, UnknownNameError, UsageError
from txray.models import TextModel


def test_patterns_stay_within_a_part_of_a_name() -> None:
    model = transformer().module
    assert matching_layers(model, ["encoder.layers.*"]) == ["encoder.layers.0", "encoder.layers.1"]
    assert matching_layers(model, ["encoder.layers.[1-9].linear?"]) == [
        "encoder.layers.1.linear1",
        "encoder.layers.1.linear2",
    ]
    assert matching_layers(model, ["encoder.layers.[!0].norm1"]) == ["encoder.layers.1.norm1"]
    assert matching_layers(model, ["**.linear1"]) == ["encoder.layers.0.linear1", "encoder.layers.1.linear1"]
    assert matching_layers(model, ["**"]) == layer_names(model)
    assert matching_layers(model, ["embedding", "**bedding"]) == ["embedding"]


@pytest.mark.parametrize(
    "pattern", ["encoder.layer.*", "linear1", "*.linear1", "encoder.layers.[5-9]", "", "[", "(.*)"]
)
def test_a_pattern_that_means_nothing_lists_what_there_is(pattern: str) -> None:
    with pytest.raises(UnknownNameError, match="there are: embedding, encoder"):
        matching_layers(transformer().module, [pattern])


def test_layouts_are_found_out() -> None:
    found = {
        shape.name: shape.layout
        for model in (
            TextModel(seeded(TextCnn), word_ids),
            TextModel(seeded(TimeFirst), word_ids),
            TextModel(seeded(Packed), word_ids, with_mask),
        )
        for shape in layer_shapes(model, ["*"])
    }
    assert found["conv"] == found["act"] == Layout("batch-neurons-time", 7, missing=2)
    assert found["lstm"] == Layout("time-batch-neurons", 9)
    assert found["flat"] == Layout("flat", 4)
    assert found["gru"] == Layout("batch-time-neurons", 9)
    assert found["embedding"] == Layout("batch-time-neurons", 5)
    recurrent = {shape.name: shape for shape in layer_shapes(small_model())}
    assert recurrent["rnn"].layout == Layout("batch-time-neurons", 16)
    assert recurrent["rnn"].kind == "LSTM"
    assert recurrent["rnn"].shape == (2, 11, 16)
    assert "decoder" not in recurrent


def test_a_size_that_looks_like_another_axis_confuses_nothing() -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 11)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.embedding(ids)
            return result

    (shape,) = layer_shapes(TextModel(Square(), word_ids))
    assert shape.shape == (2, 11, 11)
    assert shape.layout == Layout("batch-time-neurons", 11)


def test_short_models_are_run_as_short_as_they_are() -> None:
    shapes = {shape.name: shape for shape in layer_shapes(transformer(max_length=6))}
    assert shapes["encoder.layers.0.linear1"].layout == Layout("batch-time-neurons", 12)


def test_what_has_no_activations_per_position_is_refused() -> None:
    first, second = DryRun(2, 11, (2, 8)), DryRun(3, 17, (3, 8))
    with pytest.raises(
        CaptureError, match=r"layer 'pooler': returns \(2, 8\) for 2 documents of 11 positions"
    ):
        layout_of("pooler", first, second)
    with pytest.raises(CaptureError, match="needs time-batch-neurons"):
        layout_of("x", DryRun(2, 11, (2, 11, 8)), DryRun(3, 17, (3, 17, 8)), "time-batch-neurons")
    with pytest.raises(UnknownNameError, match="unknown layout 'channels'"):
        layout_of("x", first, second, "channels")  # type: ignore[arg-type]


def test_a_layer_may_have_its_own_selection_layout_and_shift() -> None:
    reader = adapter_for(TextModel(seeded(TextCnn), word_ids, lags={"conv": -1}), outputs=False)
    layers = [
        Layer("conv", "batch-neurons-time", selection="max-2/absolute"),
        Layer("act", lag=-2),
        "embedding",
    ]
    conv, act, embedding = hook_points_for(reader, layers, Selection("all"))
    assert (conv.selection, conv.lag) == (Selection("max-2", "absolute"), -1)
    assert (act.selection, act.lag) == (Selection("all"), -2)
    assert embedding.lag == 0
    with pytest.raises(UsageError, match=r"'conv' is selected twice, by 'conv' and 'c\*'"):
        hook_points_for(reader, ["conv", "c*"], Selection())


def test_only_what_is_collected_must_give_a_tensor() -> None:
    class EncodedDocument(nn.Module):
        def forward(self, ids: torch.Tensor) -> str:
            return "no tensor"

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.text = nn.Embedding(40, 3), EncodedDocument()

        def forward(self, ids: torch.Tensor) -> object:
            return self.text(self.embedding(ids))

    model = TextModel(Model(), word_ids)
    assert [shape.name for shape in layer_shapes(model)] == ["embedding"]
    with capturing(model.module, ["text"]), pytest.raises(CaptureError, match="'text': returns str"):
        model.module(torch.zeros(1, 2, dtype=torch.int64))
