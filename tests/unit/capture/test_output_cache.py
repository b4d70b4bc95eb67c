"""Standard scores need one run of the model, as far as its outputs fit into memory, and the bytes stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_checkpoint import assert_same_files
from tests.unit.capture.test_experts import WORDS, collected, mixture
from txray.capture import Layer, collect
from txray.capture.forward.routes import RoutedRows
from txray.capture.hook_point import LayerOutput
from txray.capture.output_cache import ForwardPass, OutputCache
from txray.capture.text.forward_chunk import ForwardChunk
from txray.models import TextModel

LAYERS = ["encoder.layers.0.linear1", "embedding"]
MEMORY = "txray.capture.single_pass.MAX_BYTES"


def counted_runs(module: nn.Module) -> list[int]:
    """Return a list that gets the number of documents of every forward pass from now on."""
    runs: list[int] = []
    module.register_forward_pre_hook(lambda module, arguments: runs.append(len(arguments[0])))
    return runs


def gathered(model: Any, **options: Any) -> Any:
    """Collect with small batches, of all kinds of features."""
    settings: dict[str, Any] = {"name": "s", "feature_types": ["token", "pos"], "batch_positions": 100}
    return collect(model, corpus_of(documents(60)), **(settings | options))


@pytest.mark.parametrize("selection", ["max-1/zscore", "all/zscore", "max-position/absolute/zscore"])
def test_one_run_of_the_model_gives_the_bytes_of_two(
    selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = transformer(max_length=30)
    runs = counted_runs(model.module)
    n_runs = {}
    for name, max_bytes in (("once", 1 << 30), ("partly", 30_000), ("twice", 0)):
        monkeypatch.setattr(MEMORY, max_bytes)
        runs.clear()
        gathered(model, layers=LAYERS, selection=selection).save(tmp_path / name)
        n_runs[name] = len(runs)
    assert n_runs["once"] < n_runs["partly"] < n_runs["twice"]
    assert_same_files(tmp_path / "once", tmp_path / "twice")
    assert_same_files(tmp_path / "partly", tmp_path / "twice")


def test_a_recurrent_model_with_predicted_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("gru")
    options = {"layers": "rnn", "selection": "max-2/zscore", "feature_types": ["token", "output"]}
    gathered(model, **options).save(tmp_path / "once")
    monkeypatch.setattr(MEMORY, 0)
    gathered(model, **options).save(tmp_path / "twice")
    assert_same_files(tmp_path / "once", tmp_path / "twice")


def test_rows_of_experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, max_bytes in (("once", 1 << 30), ("twice", 0)):
        monkeypatch.setattr(MEMORY, max_bytes)
        stage = collected(mixture(), "blocks.0.experts.*.act", words=WORDS, selection="all/zscore")
        stage.save(tmp_path / name)
    assert_same_files(tmp_path / "once", tmp_path / "twice")


class Reused(nn.Module):
    """Writes the activations of every batch into one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 6)
        self.same = nn.Identity()
        self.buffer = torch.zeros(100, 100, 6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        view = self.buffer[: ids.shape[0], : ids.shape[1]]
        view.copy_(self.embedding(ids))
        return self.same(view)  # type: ignore[no-any-return]


def test_a_buffer_that_the_model_uses_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = Reused()

    def ids(words: Any) -> list[int]:
        return [sum(word.encode()) % 40 for word in words]

    for name, max_bytes in (("once", 1 << 30), ("twice", 0)):
        monkeypatch.setattr(MEMORY, max_bytes)
        stage = gathered(TextModel(module, ids), layers="same", selection="all/zscore")
        stage.save(tmp_path / name)
    assert_same_files(tmp_path / "once", tmp_path / "twice")


def test_a_layer_without_standard_scores_needs_the_model_twice(tmp_path: Path) -> None:
    model = transformer(max_length=30)
    runs = counted_runs(model.module)
    gathered(model, layers=LAYERS, selection="max-1/zscore")
    once = len(runs)
    runs.clear()
    layers = [Layer(LAYERS[0], selection="max-1/zscore"), Layer(LAYERS[1], selection="max-1")]
    gathered(model, layers=layers)
    assert len(runs) > once


def test_given_scales_need_no_cache(tmp_path: Path) -> None:
    model = transformer(max_length=30)
    runs = counted_runs(model.module)
    first = gathered(model, layers=LAYERS, selection="max-1/zscore")
    once = len(runs)
    runs.clear()
    second = gathered(model, layers=LAYERS, selection="max-1/zscore", scales=first)
    assert len(runs) == once
    assert second.preferences(layer=LAYERS[0]).table().equals(first.preferences(layer=LAYERS[0]).table())


def one_pass(*outputs: LayerOutput) -> ForwardPass:
    """Return a forward pass over two words with these outputs."""
    index = np.arange(2)
    return ForwardChunk([], index * 0, index, index, index, np.array([2]), steps=2), outputs


def test_a_cache_copies_what_it_stores_and_no_more() -> None:
    buffer = torch.ones(1, 1_000, 8)
    rows = RoutedRows(buffer[0, :2], torch.arange(2), total=2)
    cache = OutputCache()
    assert list(cache.store(1, [one_pass(buffer[:, :2], rows)])) != []
    buffer.zero_()
    ((chunk, (output, expert)),) = cache.take(1, []) or []
    assert isinstance(output, torch.Tensor)
    assert isinstance(expert, RoutedRows)
    for tensor in (output, expert.values):
        assert (tensor == 1).all()
        assert tensor.untyped_storage().nbytes() == 2 * 8 * 4
    assert chunk.word.tolist() == [0, 1]
    assert cache.take(1, []) is None, "a batch is taken once"


def test_a_cache_stores_whole_batches_up_to_its_size() -> None:
    output = torch.ones(1, 2, 1_000)
    cache = OutputCache(max_bytes=2 * output.nbytes + 1_000)
    for number, n_passes in ((1, 1), (2, 2), (3, 1)):
        passes = [one_pass(output)] * n_passes
        assert len(list(cache.store(number, passes))) == n_passes
    assert [cache.take(number, []) is not None for number in (1, 2, 3)] == [True, False, False]
