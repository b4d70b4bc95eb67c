"""Activations counted by concept: exact, and the same whatever the batches, the order and the shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_checkpoint import StopError, assert_same_files, stopping_after
from txray import collect, rank_neurons
from txray.capture import smallest_set
from txray.capture.concept_bins import SAMPLE_WORDS, ConceptSample
from txray.capture.source_for import source_for
from txray.cli.main import _exit_code
from txray.corpus import Document, demo_corpus
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.models import language_model, save_model
from txray.preferences import Stage, merge_stages
from txray.preferences.histograms import ConceptHistograms
from txray.preferences.manifest import CHECKPOINT

LINEAR = "encoder.layers.0.linear1"


def stage_of(made: list[Document], concepts: Any = "pos", **options: Any) -> Stage:
    settings = {"name": "s", "feature_types": ["token", "pos", "label"], **options}
    return collect(small_model(), corpus_of(made), concepts=concepts, **settings)


def same(one: ConceptHistograms, other: ConceptHistograms) -> None:
    assert one.features.tolist() == other.features.tolist()
    for name in ("edges", "counts", "controls"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_counts_equal_a_direct_computation() -> None:
    made, model = documents(20), small_model()
    histograms = stage_of(made).histograms["rnn", "pos"]
    counts = np.zeros_like(histograms.counts)
    with torch.inference_mode():
        for document in made:
            outputs, _ = model.rnn(model.embedding(torch.tensor([model.encode(document.words)])))
            for tag, values in zip(document.annotations["pos"], outputs[0, 1:-1].numpy(), strict=True):
                for neuron, value in enumerate(values):
                    number = np.searchsorted(histograms.edges[neuron], value, side="right")
                    counts[document.fold_key % 16 % 8, ["DT", "NN"].index(tag), neuron, number] += 1
    # A recurrent model rounds differently in a batch: a few activations next to a bound may change bins.
    assert np.abs(counts.astype(int) - histograms.counts).sum() <= 0.002 * counts.sum()
    np.testing.assert_array_equal(counts.sum(axis=-1), histograms.counts.sum(axis=-1))


@pytest.mark.parametrize("selection", ["max-1/absolute", "all/zscore", "max-position", "max-2/negative"])
def test_the_selection_makes_no_difference(selection: str) -> None:
    made = documents(20)
    same(
        stage_of(made).histograms["rnn", "pos"], stage_of(made, selection=selection).histograms["rnn", "pos"]
    )


def test_neither_the_order_of_the_documents_nor_the_batches_make_a_difference() -> None:
    made = documents(40)
    one = stage_of(made).histograms["rnn", "pos"]
    other = stage_of(made[::-1], batch_positions=50).histograms["rnn", "pos"]
    np.testing.assert_allclose(one.edges, other.edges, atol=1e-6)
    assert np.abs(one.counts.astype(int) - other.counts).sum() <= 0.002 * one.counts.sum()
    np.testing.assert_array_equal(one.words, other.words)


def test_a_stage_is_the_same_with_and_without_concepts() -> None:
    made = documents(20)
    one, other = stage_of(made), stage_of(made, concepts=None)
    for key, preferences in one.collected.items():
        assert preferences.table().equals(other.collected[key].table())
    assert one.exemplars.equals(other.exemplars)
    assert "concepts" not in other.manifest


def test_labels_of_documents_are_concepts() -> None:
    histograms = stage_of(documents(30), "label").histograms["rnn", "label"]
    assert histograms.features.tolist() == ["neg", "pos"]
    # Control groups hold whole documents.
    sizes = {len(document.words) for document in documents(30)}
    groups = histograms.controls[:, 0].sum(axis=-1)
    assert sum(int(n) in sizes for n in groups if n) > 15


def test_named_words_are_concepts_beside_all_others() -> None:
    stage = stage_of(documents(30), {"token": ["the", "film"]})
    assert stage.histograms["rnn", "token"].features.tolist() == ["film", "the"]
    assert stage.manifest["concepts"] == {"token": ["film", "the"]}
    assert rank_neurons(stage, feature_type="token", feature="the").neurons.height == 16


def test_shards_with_the_bins_of_one_stage_merge_to_the_whole() -> None:
    made = documents(40)
    whole = stage_of(made)
    first, second = (stage_of(part, scales=whole, batch_positions=100_000) for part in (made[:17], made[17:]))
    merged = merge_stages([second, first]).histograms["rnn", "pos"]
    expected = whole.histograms["rnn", "pos"]
    np.testing.assert_array_equal(merged.edges, expected.edges)
    assert np.abs(merged.counts.astype(int) - expected.counts).sum() <= 0.002 * expected.counts.sum()
    with pytest.raises(ShapeError, match="other bins"):
        merge_stages([stage_of(made[:17]), stage_of(made[17:])])


def test_an_interrupted_collection_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    made, model = documents(60), transformer(max_length=30)
    asked: dict[str, Any] = {
        "layers": [LINEAR],
        "feature_types": ["token", "pos"],
        "concepts": "pos",
        "name": "s",
        "batch_positions": 20,
        "checkpoint_seconds": 0,
    }
    collect(model, corpus_of(made), **asked).save(tmp_path / "whole")
    for n in (25, 59):
        with pytest.raises(StopError):
            collect(model, stopping_after(n, made, passes=3), **asked, checkpoint=tmp_path / "cut")
        with safe_open(tmp_path / "cut" / CHECKPOINT, framework="numpy") as content:
            assert content.get_tensor("tallies|0|concepts/pos/controls").sum() > 0
    collect(model, corpus_of(made), **asked, checkpoint=tmp_path / "cut").save(tmp_path / "cut")
    assert_same_files(tmp_path / "whole", tmp_path / "cut")


def test_the_sample_depends_on_the_documents_alone() -> None:
    made = [Document(f"d{i}", ("word",) * 90) for i in range(200)]
    adapter = source_for(small_model(), outputs=False)
    one, other = (ConceptSample.of(corpus_of(part), adapter, {}) for part in (made, made[::-1]))
    names = [document.id for document in one.documents]
    assert names == [document.id for document in other.documents]
    assert len(names) == -(-SAMPLE_WORDS // 90)
    assert len(set(names)) == len(names)


def test_mistakes_are_reported_before_the_model_runs() -> None:
    made = documents(5)
    with pytest.raises(UsageError, match="'ner' is not collected"):
        stage_of(made, "ner")
    with pytest.raises(UsageError, match="pieces"):
        stage_of(made, "subword", feature_types=["subword"])
    with pytest.raises(UsageError, match="name fewer concepts"):
        stage_of(made, "pos", memory=100_000)
    tags = [tuple(f"t{i}x{j}" for j in range(30)) for i in range(10)]
    many = [Document(f"d{i}", tags[i], {"pos": tags[i]}) for i in range(10)]
    with pytest.raises(UsageError, match="more than 256 features"):
        stage_of(many, "pos", feature_types=["pos"])


def test_the_command_ranks_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = demo_corpus("reviews", words=2_000)
    text = (
        "-f",
        "demo",
        "-t",
        "reviews",
        "--max-words",
        "1500",
        "--feature-type",
        "pos",
        "--feature-type",
        "token",
    )
    for name, hidden in (("a", 12), ("b", 12)):
        model = language_model("gru", corpus, embedding=8, hidden=hidden, seed=ord(name))
        save_model(model, tmp_path / f"model-{name}", training={}, epoch=0)
        arguments = ["collect", str(tmp_path / f"model-{name}"), *text, "-o", str(tmp_path / name)]
        assert _exit_code([*arguments, "--concepts", "pos", "--concepts", "token=the,of"]) == 0
    capsys.readouterr()
    table, figure = tmp_path / "t.csv", tmp_path / "f.json"
    options = ("--feature", "NN", "--top", "3", "--table", str(table), "--figure", str(figure))
    assert _exit_code(["rank", str(tmp_path / "a"), *options]) == 0
    lines = capsys.readouterr().out
    ranking = rank_neurons(tmp_path / "a", feature="NN")
    assert pl.read_csv(table).height == 12
    assert figure.is_file()
    assert lines.splitlines()[0].startswith("NN: ")
    assert f" {ranking.top('NN', 1)['neuron'].item()} " in lines
    assert _exit_code(["rank", str(tmp_path / "a"), "--feature-type", "token"]) == 0
    assert "the" in capsys.readouterr().out
    assert _exit_code(["rank", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "top_shared" in capsys.readouterr().out
    assert _exit_code(["rank", str(tmp_path / "a"), str(tmp_path / "b"), "--feature", "NN"]) == 0
    assert "rank_after" in capsys.readouterr().out
    assert _exit_code(["rank", str(tmp_path / "a"), "--feature-type", "label"]) == 2
    assert "--concepts label" in capsys.readouterr().err
    assert _exit_code(["rank", str(tmp_path / "a"), "--top", "0"]) == 2
    assert _exit_code([*arguments, "--concepts", "token="]) == 2


def test_the_smallest_set_is_found_on_held_out_documents() -> None:
    """Tags follow from the words of a recurrent model whose embeddings are large, so a few neurons tell them."""
    made, model = documents(120), small_model()
    stage = stage_of(made)
    result = smallest_set(stage, model, corpus_of(made), feature="DT")
    assert result.curve["neurons"].to_list() == [1, 2, 4, 8, 16]
    values = dict(result.curve.select("neurons", "auroc").iter_rows())
    assert values[16] > values[1] > 0.7
    size = len(result.neurons)
    assert values[size] - 0.5 >= 0.95 * (max(values.values()) - 0.5)
    assert all(value - 0.5 < 0.95 * (max(values.values()) - 0.5) for n, value in values.items() if n < size)
    assert result.neurons[0] == rank_neurons(stage, feature="DT").top("DT", 1)["neuron"].item()
    assert f"{size} neuron" in repr(result)


def test_a_set_of_neurons_for_random_tags_is_worth_nothing_on_held_out_documents() -> None:
    rng = np.random.default_rng(0)
    made = [
        replace(document, annotations={"pos": tuple(rng.choice(["A", "B"], len(document.words)))})
        for document in documents(120)
    ]
    curve = smallest_set(stage_of(made), small_model(), corpus_of(made), feature="A").curve
    assert ((curve["low"] < 0.5) & (curve["high"] > 0.45) & (curve["auroc"] < 0.55)).all()


def test_a_set_needs_the_histograms_of_its_concept() -> None:
    made = documents(5)
    for options, match in (
        ({"feature": "XX"}, "DT, NN"),
        ({"feature": "DT", "feature_type": "token"}, "rnn pos"),
    ):
        with pytest.raises(UnknownNameError, match=match):
            smallest_set(stage_of(made), small_model(), corpus_of(made), **options)  # type: ignore[arg-type]
