"""Outputs with more steps than the input, or with axes to spare, against plain computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.builders.text_models import SIZE, seeded, word_ids
from txray.capture import Layer, collect, layer_shapes
from txray.capture.forward.layout import DryRun, Layout, layout_of
from txray.corpus import Corpus, Document
from txray.errors import CaptureError
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


def stage_of(module: nn.Module, layer: str | Layer, **options: Any) -> Stage:
    model = TextModel(module, word_ids, **options)
    return collect(model, CORPUS, layers=[layer], selection="all/absolute", name="s")


def per_word(stage: Stage, layer: str) -> dict[str, NDArray[np.float64]]:
    """Word -> (n_neurons,) sums."""
    preferences = stage.preferences(layer=layer)
    totals = {word: np.zeros(preferences.n_neurons) for word in preferences.features.tolist()}
    for row in preferences.table().iter_rows(named=True):
        totals[row["feature"]][row["neuron"]] += row["sum"]
    return totals


def assert_per_word(stage: Stage, layer: str, rows_of: Any) -> None:
    """Compare sums of sizes per word with rows (words, neurons) of each document read on its own."""
    wanted: dict[str, Any] = {}
    with torch.no_grad():
        for document in CORPUS:
            rows = rows_of(torch.tensor([word_ids(document.words)])).abs().double().numpy()
            for word, row in zip(document.words, rows, strict=True):
                wanted[word] = wanted.get(word, 0) + row
    found = per_word(stage, layer)
    assert found.keys() == wanted.keys()
    for word, row in wanted.items():
        assert found[word] == pytest.approx(row, rel=1e-5, abs=1e-6), word


class OwnStart(nn.Module):
    """Puts a step of its own before the text, or behind it."""

    def __init__(self, *, behind: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.linear = nn.Linear(6, 5)
        self.behind = behind

    def forward(self, ids: Tensor) -> Tensor:
        own = torch.zeros_like(ids[:, :1])
        ids = torch.cat((ids, own) if self.behind else (own, ids), dim=1)
        hidden: Tensor = self.linear(self.embedding(ids))
        return hidden.cumsum(dim=1)


def test_more_steps_than_the_input_are_refused_with_the_remedy() -> None:
    with pytest.raises(CaptureError, match="12 steps for 11 positions.*lag=1.*lag=0.*forward=") as caught:
        stage_of(seeded(OwnStart), "linear")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_a_given_shift_explains_the_steps_that_there_are_more(padded: bool, behind: bool) -> None:
    module = seeded(lambda: OwnStart(behind=behind))  # type: ignore[arg-type]
    shift = 0 if behind else 1
    by_layer = stage_of(module, Layer("linear", lag=shift), reads_padding=padded)
    by_model = stage_of(module, "linear", lags={"lin*": shift}, reads_padding=padded)
    for stage in (by_layer, by_model):
        account = stage.manifest["layers"]["linear"]
        assert (account["counted"], account["skipped"]) == (12, {})
        assert_per_word(stage, "linear", lambda ids: module.linear(module.embedding(ids))[0])


def test_a_convolution_with_wide_padding_is_credited_in_the_middle() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.conv = nn.Embedding(SIZE, 6), nn.Conv1d(6, 4, 3, padding=2)

        def forward(self, ids: Tensor) -> Any:
            return self.conv(self.embedding(ids).transpose(1, 2))

    module = seeded(Wide)
    with pytest.raises(CaptureError, match="13 steps for 11 positions"):
        stage_of(module, "conv")
    stage = stage_of(module, Layer("conv", lag=1))
    same = nn.functional.conv1d

    def rows(ids: Tensor) -> Tensor:
        conv: Any = module.conv
        hidden = module.embedding(ids).transpose(1, 2)  # type: ignore[operator]
        return same(hidden, conv.weight, conv.bias, padding=1)[0].T

    assert stage.manifest["layers"]["conv"]["counted"] == 12
    assert_per_word(stage, "conv", rows)


class KimCnn(nn.Module):
    """Convolutions over the words of a picture of the text, as wide as the embedding is."""

    def __init__(self, *, padding: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.conv = nn.Conv2d(1, 4, (3, 6), padding=(padding, 0))
        self.act = nn.ReLU()

    def forward(self, ids: Tensor) -> Tensor:
        return self.act(self.conv(self.embedding(ids).unsqueeze(1))).amax((2, 3))


def by_windows(module: Any, ids: Tensor, padding: int) -> Tensor:
    """(words, filters) sums over windows of three words, one by one."""
    hidden = module.embedding(ids)[0]
    edge = hidden.new_zeros(padding, 6)
    hidden = torch.cat((edge, hidden, edge))
    weight, bias = module.conv.weight[:, 0], module.conv.bias
    return torch.stack(
        [(weight * hidden[at : at + 3]).sum(dim=(1, 2)) + bias for at in range(len(hidden) - 2)]
    )


def test_a_convolution_in_two_dimensions_is_read() -> None:
    module = seeded(KimCnn)
    (shape,) = layer_shapes(TextModel(module, word_ids), ["conv"])
    assert shape.shape == (2, 4, 11, 1)
    assert shape.layout == Layout("batch-neurons-time", 4, dropped=(3,))
    stage = stage_of(module, "conv")
    assert stage.manifest["layers"]["conv"]["counted"] == 12
    assert_per_word(stage, "conv", lambda ids: by_windows(module, ids, 1))


def test_a_convolution_in_two_dimensions_without_padding_credits_the_first_word() -> None:
    module = seeded(lambda: KimCnn(padding=0))  # type: ignore[arg-type]
    stage = stage_of(module, "conv", min_length=3)
    account = stage.manifest["layers"]["conv"]
    assert (account["counted"], account["skipped"]) == (7, {"outside the layer's output": 5})
    document = next(iter(CORPUS))
    with torch.no_grad():
        rows = by_windows(module, torch.tensor([word_ids(document.words)]), 0).abs().sum(dim=0)
    assert stage.preferences(layer="conv").mass() == pytest.approx(rows.double().numpy(), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (lambda b, t: (b, 1, t, 8), Layout("batch-time-neurons", 8, dropped=(1,))),
        (lambda b, t: (1, t, b, 8), Layout("time-batch-neurons", 8, dropped=(0,))),
        (lambda b, t: (b, 8, 1, t, 1), Layout("batch-neurons-time", 8, dropped=(2, 4))),
        (lambda b, t: (b * t, 1, 8), Layout("flat", 8, dropped=(1,))),
        (lambda b, t: (b, t, 1), Layout("batch-time-neurons", 1)),
        (lambda b, t: (b, t, 1, 1), Layout("batch-time-neurons", 1, dropped=(3,))),
        (lambda b, t: (b, t + 1, 8), Layout("batch-time-neurons", 8, missing=-1)),
        (lambda b, t: (b, t, 4, 3), Layout("batch-time-heads-neurons", 12, heads=4)),
        (lambda b, t: (b, 4, t, 3), Layout("batch-heads-time-neurons", 12, heads=4)),
        (lambda b, t: (b, 4, 1, t, 3), Layout("batch-heads-time-neurons", 12, dropped=(2,), heads=4)),
    ],
)
def test_axes_of_size_one_are_dropped(shape: Any, layout: Layout) -> None:
    assert layout_of("x", DryRun(2, 11, shape(2, 11)), DryRun(3, 17, shape(3, 17))) == layout
    output = torch.arange(int(np.prod(shape(5, 7)))).reshape(shape(5, 7))
    arranged = layout.arranged(output, 5, 7)
    assert tuple(arranged.shape) == (5, 7 - layout.missing, layout.neurons)
    assert sorted(arranged.flatten().tolist()) == list(range(output.numel()))
    moved = layout.neurons_last(output)
    assert moved.shape[-1] == layout.neurons
    assert torch.equal(layout.neurons_back(moved), output)


@pytest.mark.parametrize(
    "shape",
    [
        lambda b, t: (b, 2, t, t),
        lambda b, t: (b, t, 2, 4, 8),
        lambda b, t: (b, t, 8) + (1,) * 40,
        lambda b, t: (),
    ],
)
def test_axes_that_mean_something_are_refused(shape: Any) -> None:
    with pytest.raises(CaptureError, match="one activation per position"):
        layout_of("x", DryRun(2, 11, shape(2, 11)), DryRun(3, 17, shape(3, 17)))
