"""Saved activations of real transformers: encoders, decoders, and decoders that lag behind the text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.conformity.architectures import Architecture
from benchmarks.conformity.text import tokenizer as experts_tokenizer

from tests.builders.families import FAMILIES, WORDS, tokenizer
from tests.unit.activations.test_round_trip import SMALL, files_of
from txray import Corpus, Document, SaveActivations, collect, read_activations
from txray.activations.writer import INDEX
from txray.errors import UsageError
from txray.models import from_transformers


def test_the_neurons_of_a_single_expert_are_not_saved(tmp_path: Path) -> None:
    model = from_transformers(Architecture("Mixtral").build(), experts_tokenizer())
    corpus = Corpus.from_documents("t", [Document("d", ("the", "film"))])
    with pytest.raises(UsageError, match=r"layer 'layers\.0\.mlp\.experts:expert=1' is an expert"):
        collect(
            model,
            corpus,
            layers="layers.0.mlp.experts:expert=1",
            name="s",
            save_activations=tmp_path / "acts",
        )
    assert not (tmp_path / "acts").exists()
    settings = {"layers": "layers.0.mlp", "name": "s"}
    stage = collect(model, corpus, **settings, save_activations=tmp_path / "acts")
    assert files_of(collect(tmp_path / "acts", corpus, **settings), tmp_path / "b") == files_of(
        stage, tmp_path / "a"
    )


@pytest.mark.parametrize("name", ["Bert", "GPT2", "T5", "Bart", "Llama"])
def test_the_stages_of_transformers_are_the_same_from_files(name: str, tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.name == name)
    rng = np.random.default_rng(3)
    texts = [Document(str(n), tuple(rng.choice(WORDS, size=rng.integers(1, 47)).tolist())) for n in range(20)]
    corpus = Corpus.from_documents("t", texts)
    model = from_transformers(family.build(""), tokenizer(), overlap=3)
    for selection in ("max-1", "all"):
        folder = tmp_path / selection
        save = SaveActivations(folder, shard_bytes=SMALL)
        settings = {"name": "s", "layers": family.layers, "selection": selection, "batch_positions": 200}
        stage = collect(model, corpus, **settings, save_activations=save)  # type: ignore[arg-type]
        again = collect(read_activations(folder), corpus, **settings)  # type: ignore[arg-type]
        assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")
    lags = {layer["lag"] for layer in json.loads((folder / INDEX).read_text())["layers"].values()}
    assert lags == ({0, 1} if name in ("T5", "Bart") else {0})
