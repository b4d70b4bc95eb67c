"""The feature type `output` of language models and classifiers of Hugging Face, against transformers alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    PhiConfig,
    PhiForCausalLM,
)

from tests.builders.families import FAMILIES, tokenizer
from tests.builders.hub_folders import folder_of
from tests.builders.text_models import SIZE, word_ids
from tests.builders.texts import corpus_of
from txray import Corpus, Document, collect, demo_corpus
from txray.errors import CaptureError, SnapshotError, UsageError
from txray.models import TextModel, from_transformers, load_model
from txray.models.language_head import HeadSource
from txray.preferences import Stage

LAYERS = {"gpt2": "h.1.mlp.act", "llama": "layers.1.mlp.down_proj:input"}
CASES = {"gpt2": {}, "llama": {}, "llama, tied": {"tie_word_embeddings": True}}


def texts(words: int = 400) -> Corpus:
    """Return short reviews, which a tiny model reads at once."""
    documents = [
        Document(document.id, document.words[:12], labels={"label": ("neg", "pos")[i % 2]})
        for i, document in enumerate(demo_corpus("reviews", words=words))
    ]
    return corpus_of(documents)


@pytest.fixture(scope="module", params=list(CASES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, path = request.param.split(",")[0], tmp_path_factory.mktemp("models") / request.param
    return folder_of(family, path, **CASES[request.param])


def layer_of(folder: Path) -> str:
    return LAYERS[folder.name.split(",")[0]]


def predicted(stage: Stage) -> Counter[str]:
    """Return how often each output occurs at the words of a stage."""
    preferences = stage.preferences(layer=stage.layers[0], feature_type="output")
    counts = preferences.corpus_counts.sum(axis=0)
    return Counter(dict(zip(preferences.features.tolist(), counts.tolist(), strict=True)))


def shown(piece: str) -> str:
    """Return a piece of the byte-level tokenizer as documented, for ASCII."""
    text = piece.removeprefix("Ġ")
    if not text or not text.isascii():
        return piece
    return text if text != piece or not text[0].isalnum() else f"##{text}"


def by_hand(folder: Path, corpus: Corpus) -> Counter[str]:
    """Return the most likely piece after each word, read one document at a time by transformers alone."""
    model, pieces = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    counts: Counter[str] = Counter()
    for document in corpus:
        ids, text, ends = [], "", []
        for word in document.words:
            text = f"{text} {word}" if text else word
            ids = pieces(text)["input_ids"]
            ends.append(len(ids) - 1)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        counts += Counter(shown(pieces.convert_ids_to_tokens(int(logits[end].argmax()))) for end in ends)
    return counts


def test_output_is_the_most_likely_piece_after_each_word(folder: Path) -> None:
    stage = collect(load_model(folder), texts(), layers=layer_of(folder), feature_types="output", name="s")
    assert predicted(stage) == by_hand(folder, texts())
    assert len(predicted(stage)) > 20


def test_output_does_not_depend_on_the_batch(folder: Path) -> None:
    stages = [
        collect(
            load_model(folder),
            texts(),
            layers=layer_of(folder),
            feature_types=["token", "output"],
            name="s",
            batch_positions=positions,
        )
        for positions in (1, 16_384)
    ]
    one, many = (stage.preferences(feature_type="output").table() for stage in stages)
    assert one.select("neuron", "feature", "count").equals(many.select("neuron", "feature", "count"))


def test_layers_and_other_features_are_those_of_a_collection_without_output(folder: Path) -> None:
    plain, stage = (
        collect(load_model(folder), texts(), layers=layer_of(folder), feature_types=types, name="s")
        for types in (["token"], ["token", "output"])
    )
    assert (
        plain.preferences(feature_type="token")
        .table()
        .equals(stage.preferences(feature_type="token").table())
    )
    assert plain.manifest["model"] == stage.manifest["model"]
    assert plain.manifest["reading"] == {k: v for k, v in stage.manifest["reading"].items() if k != "output"}
    assert len(stage.manifest["reading"]["output"]["head"]) == 64


def test_a_model_with_its_head_predicts_the_same(folder: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(folder)
    pieces = AutoTokenizer.from_pretrained(folder)
    prefix = f"{whole.base_model_prefix}."
    expected = predicted(
        collect(load_model(folder), texts(), layers=layer_of(folder), feature_types="output", name="s")
    )
    for model in (from_transformers(whole, pieces), load_model(folder, head=True)):
        stage = collect(model, texts(), layers=prefix + layer_of(folder), feature_types="output", name="s")
        assert predicted(stage) == expected


def test_the_head_is_read_only_if_output_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: HeadSource, base: nn.Module) -> nn.Module:
        raise AssertionError("the head was read")

    monkeypatch.setattr(HeadSource, "__call__", fail)
    collect(load_model(folder), texts(), layers=layer_of(folder), name="s")
    with pytest.raises(AssertionError, match="the head was read"):
        collect(load_model(folder), texts(), layers=layer_of(folder), feature_types="output", name="s")


def test_the_head_shares_the_weights_of_the_base_model(folder: Path) -> None:
    model = load_model(folder)
    assert isinstance(model, TextModel)
    whole: Any = model.with_head()
    assert getattr(whole, whole.base_model_prefix) is model.module
    tied = whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    assert tied == (folder.name != "llama")
    assert not any(tensor.is_meta for tensor in whole.state_dict().values())


def test_stored_activations_hold_the_predictions(folder: Path, tmp_path: Path) -> None:
    options = {"layers": layer_of(folder), "feature_types": ["token", "output"], "name": "s"}
    stage = collect(load_model(folder), texts(), **options, save_activations=tmp_path / "saved")  # type: ignore[arg-type]
    again = collect(tmp_path / "saved", texts(), **options)  # type: ignore[arg-type]
    assert (
        again.preferences(feature_type="output")
        .table()
        .equals(stage.preferences(feature_type="output").table())
    )
    with pytest.raises(UsageError, match="stored activations hold no weights"):
        collect(tmp_path / "saved", texts(), **options, output_tokens=3)  # type: ignore[arg-type]


def test_missing_weights_of_the_head_are_refused(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "llama")
    AutoModel.from_pretrained(folder).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    collect(load_model(folder), texts(), layers=LAYERS["llama"], name="s")
    with pytest.raises(SnapshotError, match="lm_head.weight"):
        collect(load_model(folder), texts(), layers=LAYERS["llama"], feature_types="output", name="s")


@pytest.mark.parametrize(
    ("family", "saved_as"), [("bert", "BertModel"), ("t5", "T5ForConditionalGeneration")]
)
def test_models_that_predict_no_next_word_are_refused(family: str, saved_as: str, tmp_path: Path) -> None:
    folder = folder_of(family, tmp_path / family)
    with pytest.raises(UsageError, match=f"{saved_as}, which does not predict the next word"):
        collect(load_model(folder), texts(), layers="encoder", feature_types="output", name="s")


def test_heads_are_read_from_several_files_and_with_their_biases(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "llama")
    sizes = {"vocab_size": 600, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = PhiForCausalLM(PhiConfig(**sizes, num_attention_heads=2, max_position_embeddings=64))
        module.lm_head.bias.data += 0.1 * torch.randn(600)
    (folder / "model.safetensors").unlink()
    module.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").exists()
    stage = collect(load_model(folder), texts(), layers="layers.1", feature_types="output", name="s")
    assert predicted(stage) == by_hand(folder, texts())


def test_masked_language_models_are_refused() -> None:
    (bert,) = (family for family in FAMILIES if family.name == "Bert")
    model = from_transformers(bert.build("ForMaskedLM"), tokenizer())
    with pytest.raises(UsageError, match="'BertForMaskedLM': it is not known to predict the next word"):
        collect(model, texts(), layers="bert.encoder.layer.1", feature_types="output", name="s")


def test_a_head_that_does_more_than_multiply_is_refused() -> None:
    model = from_transformers(*_gpt2(), language_model=_Wrapped)
    with pytest.raises(UsageError, match="its head does more than multiply"):
        collect(model, texts(), layers="h.0", feature_types="output", name="s")


def _gpt2() -> tuple[Any, Any]:
    (family,) = (family for family in FAMILIES if family.name == "GPT2")
    return family.build(""), tokenizer()


class _Wrapped(nn.Module):
    """A language model whose logits are the negative product."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base, self.config = base, base.config

    def get_output_embeddings(self) -> nn.Module:
        return nn.Linear(16, 50, bias=False)

    def forward(self, **arguments: Any) -> Tensor:
        return -self.get_output_embeddings()(self.base(**arguments).last_hidden_state)  # type: ignore[no-any-return]


def test_a_classifier_predicts_the_class_of_each_document() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        sizes = {
            "n_embd": 16,
            "n_layer": 1,
            "n_head": 2,
            "n_positions": 40,
            "vocab_size": 80,
            "pad_token_id": 1,
        }
        module = GPT2ForSequenceClassification(GPT2Config(**sizes, id2label={0: "neg", 1: "pos"})).eval()
        module.score.weight.data *= 50
    pieces = tokenizer()
    model = from_transformers(module, pieces, task="classification", classes=("neg", "pos"))
    stage = collect(model, texts(), layers="transformer.h.0", feature_types="output", name="s")
    counts: Counter[str] = Counter()
    for document in texts():
        text = " ".join(document.words)
        ids = pieces(text)["input_ids"]
        with torch.no_grad():
            best = int(module(input_ids=torch.tensor([ids])).logits[0].argmax())
        counts[("neg", "pos")[best]] += len(document.words)
    known = stage.manifest["layers"]["transformer.h.0"]
    assert sum(known["skipped"].values()) == known["skipped"].get("unknown to the tokenizer", 0)
    assert set(predicted(stage)) == {"neg", "pos"}
    assert known["skipped"] or predicted(stage) == counts


class NextWord(nn.Module):
    """Predicts the id after that of each word."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, SIZE)
        self.embedding.weight.data = torch.eye(SIZE).roll(1, dims=1)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.embedding(ids)
        return logits


def test_your_own_language_model_predicts_by_the_names_of_its_ids() -> None:
    names = {number: f"id {number}" for number in range(SIZE // 2)}
    model = TextModel(NextWord(), word_ids, task="next-word", output_name=names.get)
    stage = collect(model, texts(), layers="embedding", feature_types="output", name="s")
    ids = [number for document in texts() for number in word_ids(document.words)]
    expected = Counter(names.get((n + 1) % SIZE, f"[{(n + 1) % SIZE}]") for n in ids)
    assert predicted(stage) == expected
    with pytest.raises(UsageError, match="output_name"):
        nameless = TextModel(NextWord(), word_ids, task="next-word")
        collect(nameless, texts(), layers="embedding", feature_types="output", name="s")


class Padded(NextWord):
    """A language model whose logits, unlike its embeddings, depend on padding."""

    def forward(self, ids: Tensor) -> Tensor:
        logits = super().forward(ids)
        return logits.roll(int((ids == 0).sum()), dims=-1)


def test_predictions_that_depend_on_padding_are_made_in_batches_of_equal_length() -> None:
    model = TextModel(
        Padded(),
        word_ids,
        forward=lambda module, ids, mask: module(ids),
        task="next-word",
        output_name=str,
    )
    plain = collect(model, texts(), layers="embedding", name="s")
    stage = collect(model, texts(), layers="embedding", feature_types="output", name="s")
    assert plain.manifest["reading"]["batches"] == "padded"
    assert stage.manifest["reading"]["batches"] == "equal lengths"
    ids = [number for document in texts() for number in word_ids(document.words)]
    assert predicted(stage) == Counter(str((n + 1) % SIZE) for n in ids)


def test_scores_that_are_not_finite_are_an_error() -> None:
    module = NextWord()
    module.embedding.weight.data[5:9] = torch.nan
    module.register_module("act", nn.Identity())
    model = TextModel(
        module,
        word_ids,
        forward=lambda module, ids, mask: (module.act(ids[..., None].float()), module(ids))[1],
        task="next-word",
        output_name=str,
    )
    with pytest.raises(CaptureError, match="score of a prediction is not finite"):
        collect(model, texts(), layers="act", feature_types="output", name="s")
