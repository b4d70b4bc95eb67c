"""Objects and folders of other libraries are read as the plain model inside them."""

from __future__ import annotations

import json
import shutil
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from torch import nn

import txray
from tests.builders.hub_folders import folder_of
from txray.capture import layer_shapes
from txray.errors import SnapshotError, UsageError
from txray.models import from_transformers, load_model
from txray.pruning import Mask, NeuronSet
from txray.pruning.evaluation import evaluator

BERT = ["encoder.layer.0", "encoder.layer.1.output"]
GPT2 = ["transformer.h.0", "transformer.h.1.mlp.act"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("wrappers")
    for family in ("bert", "gpt2"):
        folder_of(family, parent / family)
    return parent


@pytest.fixture(scope="module")
def corpus() -> txray.Corpus:
    return txray.demo_corpus("reviews", words=500)


def parts_of(folder: Path, auto: Any = transformers.AutoModel) -> tuple[Any, Any]:
    return auto.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)


def tables(model: Any, corpus: txray.Corpus, layers: Sequence[str]) -> list[pl.DataFrame]:
    stage = txray.collect(model, corpus, layers=list(layers), name="s")
    assert stage.layers == tuple(layers)
    return [stage.preferences(layer=layer).table().sort("neuron", "feature") for layer in layers]


def assert_same(first: list[pl.DataFrame], second: list[pl.DataFrame]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.equals(other)


def assert_close(first: list[pl.DataFrame], second: list[pl.DataFrame]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.select("neuron", "feature", "count").equals(other.select("neuron", "feature", "count"))
        np.testing.assert_allclose(one["sum"], other["sum"], rtol=1e-4, atol=1e-5)


def sentence_folder(bert: Path, to: Path, **config: Any) -> Path:
    """The folder of a sentence transformer as versions before 6 write it, its transformer in a subfolder."""
    (to / "1_Pooling").mkdir(parents=True)
    shutil.copytree(bert, to / "0_Transformer")
    (to / "0_Transformer" / "sentence_bert_config.json").write_text(json.dumps(config))
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (to / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{path[2:]}"}
        for i, path in enumerate(("0_Transformer", "1_Pooling"))
    ]
    (to / "modules.json").write_text(json.dumps(modules))
    return to


def test_a_sentence_transformer_opens_as_its_transformer_with_its_length(
    folders: Path, corpus: txray.Corpus, tmp_path: Path
) -> None:
    folder = sentence_folder(folders / "bert", tmp_path / "s", max_seq_length=12, do_lower_case=False)
    expected = tables(from_transformers(*parts_of(folders / "bert"), window=12), corpus, BERT)
    assert load_model(folder).max_length == 12
    assert_same(tables(load_model(folder), corpus, BERT), expected)
    assert_same(tables(str(folder), corpus, BERT), expected)


def test_a_sentence_transformer_lower_cases_on_request(folders: Path, tmp_path: Path) -> None:
    cased = tmp_path / "cased"
    shutil.copytree(folders / "bert", cased)
    rules = json.loads((cased / "tokenizer.json").read_text())
    rules["normalizer"]["lowercase"] = False
    (cased / "tokenizer.json").write_text(json.dumps(rules))
    words = ["The", "Movie"]
    lower, upper = (
        load_model(sentence_folder(cased, tmp_path / str(flag), max_seq_length=20, do_lower_case=flag))
        for flag in (True, False)
    )
    plain = load_model(cased)
    assert list(lower.pieces(words).ids) == list(plain.pieces(["the", "movie"]).ids)
    assert list(upper.pieces(words).ids) == list(plain.pieces(words).ids) != list(lower.pieces(words).ids)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "lists 0 transformers"),
        ([{"type": "a.StaticEmbedding", "path": ""}], r"0 transformers \(StaticEmbedding\)"),
        ([{"type": "a.Transformer", "path": "../bert"}], "outside the folder"),
        ([{"type": "a.Transformer", "path": "/etc"}], "outside the folder"),
        ([{"type": "a.Transformer", "path": "nowhere"}], "config.json"),
        ([3], "cannot be read"),
    ],
)
def test_sentence_transformers_without_one_transformer_are_refused(
    modules: Any, message: str, folders: Path, tmp_path: Path
) -> None:
    folder = sentence_folder(folders / "bert", tmp_path / "s")
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SnapshotError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_objects_of_sentence_transformers(folders: Path, corpus: txray.Corpus, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(folders / "bert"), device="cpu")
    model.max_seq_length = 12
    expected = tables(from_transformers(*parts_of(folders / "bert"), window=12), corpus, BERT)
    assert_same(tables(model, corpus, BERT), expected)
    assert_same(tables(from_transformers(model), corpus, BERT), expected)
    model.save(str(tmp_path / "saved"))
    assert_same(tables(tmp_path / "saved", corpus, BERT), expected)
    pair_scorer = library.CrossEncoder(str(folders / "bert"), device="cpu")
    names = [f"bert.{layer}" for layer in BERT]
    whole = tables(from_transformers(*parts_of(folders / "bert")), corpus, BERT)
    assert_same(tables(pair_scorer, corpus, names), whole)
    static = library.sentence_transformer.modules.StaticEmbedding(
        parts_of(folders / "bert")[1], embedding_dim=8
    )
    with pytest.raises(UsageError, match=r"contains 0 transformers \(StaticEmbedding\)"):
        txray.collect(library.SentenceTransformer(modules=[static]), corpus, layers="**", name="s")


def test_pipelines(folders: Path, corpus: txray.Corpus) -> None:
    module, tokenizer = parts_of(folders / "bert")
    pipeline = transformers.pipeline("feature-extraction", model=module, tokenizer=tokenizer)
    expected = tables(from_transformers(module, tokenizer), corpus, BERT)
    assert_same(tables(pipeline, corpus, BERT), expected)
    assert_same(tables(from_transformers(pipeline), corpus, BERT), expected)
    assert [shape.name for shape in layer_shapes(pipeline, BERT)] == BERT
    with txray.masked(pipeline, Mask(BERT[0], [0])):
        masked = tables(pipeline, corpus, BERT[:1])
    assert 0 in expected[0]["neuron"]
    assert 0 not in masked[0]["neuron"]


def test_pipelines_are_pruned_by_their_task(folders: Path, corpus: txray.Corpus) -> None:
    module, tokenizer = parts_of(folders / "gpt2", transformers.AutoModelForCausalLM)
    pipeline = transformers.pipeline("text-generation", model=module, tokenizer=tokenizer)
    sets = [NeuronSet("some", "h.0", [1, 2])]
    plain = from_transformers(module, tokenizer, task="next-word")
    effects = [
        txray.prune(model, sets, {"test": text}, n_random_sets=0, resamples=20).effects
        for model in (pipeline, plain)
        for text in (corpus, evaluator(model, corpus))
    ]
    assert all(table.equals(effects[0]) for table in effects[1:])
    with pytest.raises(UsageError, match="evaluator of another model"):
        txray.prune(plain, sets, {"test": evaluator(pipeline, corpus)})


def test_a_tracker_takes_a_pipeline(folders: Path, corpus: txray.Corpus, tmp_path: Path) -> None:
    module, tokenizer = parts_of(folders / "bert")
    pipeline = transformers.pipeline("feature-extraction", model=module, tokenizer=tokenizer)
    tracker = txray.Tracker(txray.CollectSpec(corpus, BERT[0]), tmp_path / "t", permutations=0)
    tracker.begin(pipeline)
    stage = txray.Stage.load(tracker.stages[0])
    assert_same(
        [stage.preferences(layer=BERT[0]).table().sort("neuron", "feature")],
        tables(from_transformers(module, tokenizer), corpus, BERT[:1]),
    )


def test_objects_of_nnsight(folders: Path) -> None:
    if find_spec("nnsight") is None:
        pytest.skip("nnsight is not installed")
    # In a process of its own, because importing nnsight replaces `Tensor.backward`.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(compare_with_nnsight, folders).result()


def compare_with_nnsight(folders: Path) -> None:
    import nnsight

    corpus = txray.demo_corpus("reviews", words=500)
    expected = tables(
        from_transformers(*parts_of(folders / "gpt2", transformers.AutoModelForCausalLM)), corpus, GPT2
    )
    module, tokenizer = parts_of(folders / "gpt2", transformers.AutoModelForCausalLM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nnsight.LanguageModel(module, tokenizer=tokenizer)
        lazy = nnsight.LanguageModel(str(folders / "gpt2"), tokenizer=tokenizer)
    assert_same(tables(model, corpus, GPT2), expected)
    assert_same(tables(from_transformers(nnsight.NNsight(module), tokenizer), corpus, GPT2), expected)
    with pytest.raises(UsageError, match="dispatch=True"):
        txray.collect(lazy, corpus, layers=GPT2, name="s")
    net = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 6))

    def encode(words: Sequence[str]) -> list[int]:
        return [len(word) % 50 for word in words]

    wrapped = txray.TextModel(nnsight.NNsight(net), encode)
    assert_same(tables(wrapped, corpus, ["1"]), tables(txray.TextModel(net, encode), corpus, ["1"]))


@pytest.mark.filterwarnings("ignore")
def test_models_of_transformer_lens(folders: Path, corpus: txray.Corpus) -> None:
    """The bridge of version 4, and the `HookedTransformer` before it, if the installed version has one."""
    library = pytest.importorskip("transformer_lens")
    bridges = pytest.importorskip("transformer_lens.model_bridge")
    folder, auto = folders / "gpt2", transformers.AutoModelForCausalLM
    plain, tokenizer = parts_of(folder, auto)
    begun = replace(from_transformers(plain, tokenizer), prefix=(tokenizer.eos_token_id,))
    expected = tables(begun, corpus, GPT2)
    bridge = bridges.TransformerBridge.boot_transformers(
        str(folder), hf_model=parts_of(folder, auto)[0], tokenizer=tokenizer, device="cpu"
    )
    assert_close(tables(bridge, corpus, ["blocks.0.hook_out"]), expected[:1])
    if int(version("transformer_lens").split(".")[0]) >= 4:
        return
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    config = library.HookedTransformerConfig(
        n_layers=2,
        d_model=16,
        n_ctx=64,
        d_head=8,
        n_heads=2,
        d_mlp=64,
        d_vocab=600,
        act_fn="gelu_new",
        normalization_type="LN",
        original_architecture="GPT2LMHeadModel",
    )
    model = library.HookedTransformer(config, tokenizer=tokenizer)
    model.load_state_dict(convert_gpt2_weights(plain, config), strict=False)
    assert_close(
        tables(model, corpus, ["blocks.0.hook_resid_post", "blocks.1.mlp.hook_post"]),
        expected,
    )


def quantized(module: Any) -> Any:
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dynamically_quantized_models_one_document_at_a_time(folders: Path) -> None:
    module, tokenizer = parts_of(folders / "bert")
    layer, small = BERT[1], quantized(module)
    documents = [document.cut(10) for document in txray.demo_corpus("reviews", words=2_000).head(6)]
    stage = txray.collect(
        from_transformers(small, tokenizer),
        txray.Corpus.from_documents("reviews", documents),
        layers=layer,
        selection="all",
        name="s",
        batch_positions=1,  # the library scales the activations of a batch as a whole
    )
    outputs: list[torch.Tensor] = []
    hook = small.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(output[0]))
    expected: dict[tuple[int, str], float] = defaultdict(float)
    for document in documents:
        encoded = tokenizer(list(document.words), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            small(**encoded)
        for number, word in enumerate(document.words):
            rows = [i for i, owner in enumerate(encoded.word_ids()) if owner == number]
            for neuron, value in enumerate(outputs[-1][rows].amax(dim=0).tolist()):
                if value > 0:
                    expected[neuron, word.lower()] += value
    hook.remove()
    table = stage.preferences(layer=layer).table()
    sums = {(row["neuron"], row["feature"]): row["sum"] for row in table.iter_rows(named=True)}
    assert sums == pytest.approx(dict(expected), rel=1e-4, abs=1e-5)
    with torch.no_grad():
        plain = module(**encoded)[0] - small(**encoded)[0]
    assert plain.abs().max() > 1e-4  # it is the quantized model that was read
