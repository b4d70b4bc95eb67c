"""Padding is tried out: models that it changes are read in inputs of equal length, whatever they are told."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import SIZE, Packed, Transformer, seeded, transformer, with_mask, word_ids
from tests.builders.texts import corpus_of, documents
from tests.unit.capture.test_collect import same_preferences
from txray import layer_similarity
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.errors import PaddingWarning
from txray.models import TextModel
from txray.preferences import Stage, merge_stages
from txray.pruning import ActivationStats


class TwoWay(nn.Module):
    """A recurrent layer that reads both ways, over whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.rnn = nn.LSTM(6, 5, bidirectional=True, batch_first=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        return self.rnn(self.embedding(ids))


class OneWay(TwoWay):
    """No later position can influence it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 5, batch_first=True)


class Weakly(TwoWay):
    """Padding moves its output by some share."""

    def __init__(self, share: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.share = share
        self.rnn: Any = nn.Linear(6, 5)
        self.to(dtype)

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        hidden = self.embedding(ids)
        return self.rnn(hidden * (1 + self.share * (~mask).any(dim=1).to(hidden)[:, None, None]))


def read(module: nn.Module, layer: str = "rnn", **options: Any) -> Stage:
    positions = options.pop("batch_positions", 16_384)
    model = TextModel(module, word_ids, with_mask, **options)
    corpus = corpus_of(documents(20))
    return collect(
        model,
        corpus,
        layers=[layer],
        selection="all/absolute",
        name="s",
        exemplars=0,
        batch_positions=positions,
    )


class InBlocks(TwoWay):
    """Its last positions influence all others as soon as the input is longer than 30, as attention to blocks does."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn: Any = nn.Linear(6, 5)

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        hidden = self.embedding(ids)
        return self.rnn(hidden + hidden[:, -1:] if ids.shape[1] > 30 else hidden)


def batches_of(stage: Stage) -> str:
    return str(stage.manifest["reading"]["batches"])


def test_a_model_that_padding_changes_is_read_in_equal_lengths() -> None:
    module = seeded(TwoWay)
    stage = read(module)
    expected = np.zeros(10)
    for document in documents(20):
        with torch.no_grad():
            hidden, _ = module.rnn(module.embedding(torch.tensor([word_ids(document.words)])))  # type: ignore[operator]
        expected += hidden[0].abs().sum(dim=0).double().numpy()
    assert stage.preferences(layer="rnn").mass() == pytest.approx(expected, rel=1e-5)
    assert batches_of(stage) == "equal lengths"
    same_preferences(stage, read(module, batch_positions=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("module_of", "layer"), [(OneWay, "rnn"), (Packed, "gru"), (Transformer, "encoder.layers.1")]
)
def test_models_that_ignore_padding_are_read_padded(module_of: Any, layer: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PaddingWarning)
        assert batches_of(read(seeded(module_of), layer, reads_padding=True)) == "padded"
        assert batches_of(read(seeded(module_of), layer)) == "padded"
    assert batches_of(read(seeded(module_of), layer, reads_padding=False)) == "equal lengths"


def test_a_model_that_padding_changes_in_long_inputs_alone_is_read_in_equal_lengths() -> None:
    stage = read(seeded(InBlocks), max_length=50)
    assert batches_of(stage) == "equal lengths"
    same_preferences(stage, read(seeded(InBlocks), max_length=50, batch_positions=1), rtol=1e-5)
    assert batches_of(read(seeded(InBlocks), max_length=30)) == "padded"


def test_only_layers_that_are_read_are_asked() -> None:
    assert batches_of(read(seeded(TwoWay), "embedding")) == "padded"


def test_whoever_insists_on_padding_is_warned() -> None:
    with pytest.warns(PaddingWarning, match="reads_padding=True, but padding changes layer 'rnn'") as caught:
        stage = read(seeded(TwoWay), reads_padding=True)
    assert len([one for one in caught if one.category is PaddingWarning]) == 1
    assert batches_of(stage) == "padded (reads_padding=True)"


@pytest.mark.parametrize(
    ("dtype", "share", "batches"),
    [
        (torch.float32, 1e-6, "padded"),
        (torch.float32, 1e-3, "equal lengths"),
        (torch.float64, 1e-6, "equal lengths"),
        (torch.bfloat16, 4e-3, "padded"),
        (torch.bfloat16, 0.2, "equal lengths"),
    ],
)
def test_rounding_is_no_padding(dtype: torch.dtype, share: float, batches: str) -> None:
    assert batches_of(read(Weakly(share, dtype))) == batches


class OneAtATime(OneWay):
    """Takes no padding at all."""

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        if not mask.all():
            raise ValueError("padding")
        return super().forward(ids, mask)


def test_a_model_that_fails_on_padding_gets_none() -> None:
    assert batches_of(read(seeded(OneAtATime))) == "equal lengths"


def test_parts_of_a_corpus_agree_on_how_they_are_read() -> None:
    model = TextModel(seeded(TwoWay), word_ids, with_mask)
    corpus = corpus_of(documents(20))
    asked: dict[str, Any] = {"layers": ["rnn"], "selection": "all"}
    parts = [collect(model, corpus.shard(number, 3), **asked, name=f"p{number}") for number in (1, 2, 3)]
    same_preferences(merge_stages(parts, name="s"), collect(model, corpus, **asked, name="s"), rtol=1e-5)


@pytest.mark.parametrize(("limit", "prefix"), [(1, ()), (2, (1,)), (3, (1,))])
def test_models_that_read_hardly_anything_are_tried_as_far_as_they_go(
    limit: int, prefix: tuple[int, ...]
) -> None:
    stage = read(seeded(TwoWay), max_length=limit, prefix=prefix)
    # Where all inputs have one length, there is no padding.
    assert batches_of(stage) == ("padded" if limit - len(prefix) == 1 else "equal lengths")


def test_activity_and_similarity_are_read_alike() -> None:
    module, corpus = seeded(TwoWay), corpus_of(documents(12))
    known, believed = (TextModel(module, word_ids, with_mask, reads_padding=reads) for reads in (False, None))
    one, other = (ActivationStats.measure(model, corpus, "rnn") for model in (known, believed))
    assert other.mean == pytest.approx(one.mean, rel=1e-5, abs=1e-7)
    same = layer_similarity(known, believed, corpus, layers=["rnn"]).table
    assert same["cka"].item() == pytest.approx(1, abs=1e-9)
    assert transformer().supports_padding


class InCompany(OneWay):
    """Fails on a single input, so padding cannot be tested."""

    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        if len(ids) == 1:
            raise RuntimeError("one input alone")
        return super().forward(ids, mask)


@pytest.mark.parametrize("reads_padding", [None, True])
def test_a_model_that_cannot_be_tested_reads_equal_lengths_unless_told(reads_padding: bool | None) -> None:
    model = TextModel(InCompany(), word_ids, with_mask, reads_padding=reads_padding)
    twice = [(name, ["a", "b", "c"]) for name in ("one", "two")]
    corpus = Corpus.from_documents("c", [Document(name, tuple(words)) for name, words in twice])
    with warnings.catch_warnings():
        warnings.simplefilter("error", PaddingWarning)
        stage = collect(model, corpus, layers="rnn", selection="max-1/absolute", name="s")
    expected = "equal lengths" if reads_padding is None else "padded (reads_padding=True)"
    assert stage.manifest["reading"]["batches"] == expected
