"""Layers read through modules, such as the encoders of sparse autoencoders."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.autoencoders import ARCHITECTURES, latents_of, write_autoencoder
from tests.builders.hub_folders import folder_of
from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from txray.capture import Layer, Selection, collect, layer_of_hook
from txray.capture.estimate import require_memory
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.corpus import Document
from txray.errors import CaptureError, RandomPassWarning, UnknownNameError, UsageError
from txray.models import RecurrentLanguageModel, TextModel, load_autoencoder, load_model
from txray.preferences import Preferences, Stage
from txray.pruning import Mask, masked
from txray.tracking import CollectSpec

LAYER = "encoder.layers.0"


def by_hand(
    model: TextModel, layer: str, encode: Any, texts: list[Document]
) -> dict[tuple[int, str], list[float]]:
    """Positive latents of each (latent, word), one document at a time; words are the largest of their pieces."""
    outputs: list[Tensor] = []
    module = model.module.get_submodule(layer)
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    with torch.no_grad():
        for document in texts:
            pieces = model.pieces(document.words)
            ids = torch.tensor([[*model.prefix, *pieces.ids, *model.suffix]])
            model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
            latents = encode(outputs.pop()[0, len(model.prefix) : len(model.prefix) + len(pieces.ids)])
            word_of_piece = np.asarray(pieces.word)
            for word in sorted(set(pieces.word)):
                for latent, value in enumerate(latents[word_of_piece == word].amax(dim=0).tolist()):
                    if value > 0:
                        values[latent, document.words[word].lower()].append(value)
    handle.remove()
    return values


def assert_equal(preferences: Preferences, expected: dict[tuple[int, str], list[float]]) -> None:
    totals = preferences.totals
    words = preferences.features[totals.feature_id].tolist()
    pairs = list(zip(totals.neuron.tolist(), words, strict=True))
    assert dict(zip(pairs, totals.count.tolist(), strict=True)) == {
        key: len(v) for key, v in expected.items()
    }
    sums = [sum(expected[pair]) for pair in pairs]
    assert totals.sum == pytest.approx(np.array(sums), rel=1e-4, abs=1e-5)
    assert totals.max == pytest.approx(np.array([max(expected[pair]) for pair in pairs]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("units", [1 << 23, 200])
def test_latents_are_those_applied_by_hand(
    architecture: str, units: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 200 units are 5 rows of 40 latents: parts end within documents, too.
    monkeypatch.setattr("txray.capture.hook_point._UNITS", units)
    weights = write_autoencoder(tmp_path / "sae", architecture, bias=-1.0)
    config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    model, texts = transformer(), documents(12)
    stage = collect(
        model,
        corpus_of(texts),
        layers=Layer(LAYER, through=tmp_path / "sae"),
        selection="threshold=0",
        name="s",
    )
    expected = by_hand(model, LAYER, lambda rows: latents_of(weights, config, rows), texts)
    assert stage.layers == (f"{LAYER}:through=sae",)
    assert stage.preferences().n_neurons == 40
    assert_equal(stage.preferences(), expected)
    skipped = stage.manifest["layers"][stage.layers[0]]["skipped"]
    assert (
        sum(skipped.values()) + stage.manifest["layers"][stage.layers[0]]["counted"]
        == stage.manifest["words"]
    )


def table(stage: Stage) -> list[Any]:
    totals = stage.preferences().totals
    return [totals.neuron.tolist(), totals.feature_id.tolist(), totals.count.tolist()]


@pytest.mark.parametrize(
    "selection", ["max-1", "max-3", "all/absolute", "max-position", "threshold=0.2/zscore"]
)
def test_division_into_parts_changes_no_result(
    selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_autoencoder(tmp_path / "sae", "jumprelu")
    model, corpus = transformer(), corpus_of(documents(12))
    arguments: dict[str, Any] = {
        "layers": Layer(LAYER, through=tmp_path / "sae"),
        "selection": selection,
        "name": "s",
        "feature_types": ["token"] if selection == "max-position" else ["token", "subword"],
    }
    whole = collect(model, corpus, **arguments)
    monkeypatch.setattr("txray.capture.hook_point._UNITS", 200)
    parts = collect(model, corpus, **arguments)
    # Words that share a piece tie up to rounding, so the strongest of a document may be either.
    if selection != "max-position":
        assert table(whole) == table(parts)
    assert whole.preferences().wins().tolist() == parts.preferences().wins().tolist()
    assert whole.preferences().mass() == pytest.approx(parts.preferences().mass(), rel=1e-5)
    # Equal words give ties up to rounding, so documents are not compared.
    assert whole.exemplars.select("neuron", "rank").equals(parts.exemplars.select("neuron", "rank"))
    strengths = [stage.exemplars["activation"].to_list() for stage in (whole, parts)]
    assert strengths[0] == pytest.approx(strengths[1], rel=1e-5)


def test_a_document_that_fits_is_not_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_autoencoder(tmp_path / "sae")
    texts = [Document(f"d{n}", ("the", "old", "mill", "sleeps")) for n in range(5)]
    layer = Layer(LAYER, through=tmp_path / "sae")
    whole = collect(transformer(), corpus_of(texts), layers=layer, name="s")
    # Eight pieces a document: parts of two documents, whose words keep their surroundings.
    monkeypatch.setattr("txray.capture.hook_point._UNITS", 40 * 17)
    parts = collect(transformer(), corpus_of(texts), layers=layer, name="s")
    assert whole.exemplars["activations"].list.len().max() == 4
    assert whole.exemplars["activations"].explode().is_null().sum() == 0
    assert parts.exemplars.drop("activations").equals(whole.exemplars.drop("activations"))
    assert parts.exemplars["activations"].explode().is_null().sum() == 0


def test_a_module_without_encode_is_called_itself() -> None:
    linear = nn.Linear(8, 5)
    model, texts = transformer(), documents(8)
    stage = collect(model, corpus_of(texts), layers=Layer(LAYER, through=linear), selection="all", name="s")
    assert_equal(stage.preferences(), by_hand(model, LAYER, linear, texts))
    assert stage.manifest["layers"][f"{LAYER}:through=Linear"]["through"]["class"] == "Linear"


def test_inputs_calls_and_recurrent_layers_are_read_through_modules() -> None:
    model = transformer()
    layer = Layer("encoder.layers.1.linear2", input=True, call=0, through=nn.Linear(12, 3))
    stage = collect(model, corpus_of(documents(5)), layers=layer, name="s")
    assert stage.layers == ("encoder.layers.1.linear2:input:call=0:through=Linear",)
    recurrent: RecurrentLanguageModel = small_model()
    stage = collect(
        recurrent,
        corpus_of(documents(5)),
        layers=Layer("rnn", through=nn.Linear(16, 3)),
        name="s",
        feature_types=["token", "output"],
    )
    assert stage.preferences(layer="rnn:through=Linear", feature_type="output").n_neurons == 3


def test_each_layer_of_a_pattern_has_its_own_module() -> None:
    modules = {f"encoder.layers.{n}": nn.Linear(8, 3 + n) for n in range(2)}
    for through in (modules, lambda name: modules[name]):
        stage = collect(
            transformer(),
            corpus_of(documents(5)),
            layers=Layer("encoder.layers.*", through=through),
            name="s",
        )
        sizes = {layer: stage.preferences(layer=layer).n_neurons for layer in stage.layers}
        assert sizes == {"encoder.layers.0:through=Linear": 3, "encoder.layers.1:through=Linear": 4}


def test_one_layer_is_read_through_several_modules_and_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_autoencoder(tmp_path / name, seed=ord(name))
    layers = [LAYER, *(Layer(LAYER, through=tmp_path / name) for name in ("a", "b"))]
    stage = collect(transformer(), corpus_of(documents(5)), layers=layers, name="s")
    alone = collect(transformer(), corpus_of(documents(5)), layers=LAYER, name="s")
    assert stage.layers == (LAYER, f"{LAYER}:through=a", f"{LAYER}:through=b")
    assert stage.preferences(layer=LAYER).sum.tolist() == alone.preferences().sum.tolist()
    fingerprints = {stage.manifest["layers"][layer]["through"]["fingerprint"] for layer in stage.layers[1:]}
    assert len(fingerprints) == 2


class Batchwise(nn.Module):
    """The strongest units of the whole batch."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * (rows >= rows.max())


@pytest.mark.parametrize(
    ("through", "match"),
    [
        (nn.Linear(9, 3), r"'Linear' fails on activations of shape \(22, 8\)"),
        (nn.Flatten(0), "one row of units for each row"),
        (Batchwise(), "if it is alone"),
        (lambda name: "nothing", "gives a str"),
        (3, "through=int"),
    ],
)
def test_modules_that_do_not_fit_are_refused_in_one_line(through: Any, match: str) -> None:
    with pytest.raises((CaptureError, UsageError), match=match) as caught:
        collect(transformer(), corpus_of(documents(5)), layers=Layer(LAYER, through=through), name="s")
    assert "\n" not in str(caught.value)


def test_unknown_layers_of_a_mapping_and_equal_names_are_refused() -> None:
    corpus = corpus_of(documents(5))
    with pytest.raises(UnknownNameError, match=r"encoder\.layers\.0"):
        collect(transformer(), corpus, layers=Layer(LAYER, through={"x": nn.Linear(8, 3)}), name="s")
    layers = [Layer(LAYER, through=nn.Linear(8, 3)) for _ in range(2)]
    with pytest.raises(UsageError, match="same name"):
        collect(transformer(), corpus, layers=layers, name="s")


def test_masks_of_latents_are_refused(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "sae")
    with (
        pytest.raises(UsageError, match="not part of the model"),
        masked(transformer(), Mask(f"{LAYER}:through=sae", [1])),
    ):
        pass


def test_modules_keep_their_mode_and_dropout_is_off() -> None:
    dropout = nn.Dropout(0.9).train()
    model = transformer()
    stage = collect(
        model, corpus_of(documents(5)), layers=Layer(LAYER, through=dropout), selection="all", name="s"
    )
    own = collect(model, corpus_of(documents(5)), layers=LAYER, selection="all", name="s")
    assert dropout.training
    assert stage.preferences().sum.tolist() == pytest.approx(own.preferences().sum.tolist())


class Noisy(nn.Module):
    """Other units each time."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows + torch.rand(rows.shape)


def test_random_modules_are_warned_of() -> None:
    with pytest.warns(RandomPassWarning, match="through=Noisy"):
        collect(transformer(), corpus_of(documents(5)), layers=Layer(LAYER, through=Noisy()), name="s")


def test_checkpoints_of_other_weights_or_code_are_refused(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "a" / "sae", seed=0)
    write_autoencoder(tmp_path / "b" / "sae", seed=1)

    def settings(through: Any) -> Any:
        from txray.capture.request import CollectRequest
        from txray.capture.selection import Selection
        from txray.capture.single_pass import Collection

        request = CollectRequest(
            transformer(), corpus_of(documents(5)), (Layer(LAYER, through=through),), ("token",), Selection(),
            "s", None, 16, 8, 100, None, None, 60.0, None, None,
        )  # fmt: skip
        return Collection(request).settings(request.corpus)

    first, same, other = (settings(load_autoencoder(tmp_path / name / "sae")) for name in "aab")
    assert first == same
    assert first["layers"] != other["layers"]
    assert first["reading code"] == other["reading code"] != settings(nn.ReLU())["reading code"]
    specs = [
        CollectSpec(corpus_of(documents(5)), [Layer(LAYER, through=tmp_path / name / "sae")]).as_json()
        for name in "aab"
    ]
    assert specs[0] == specs[1] != specs[2]


def test_stages_of_latents_are_saved_and_merged(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "sae")
    layer = Layer(LAYER, through=tmp_path / "sae")
    whole = collect(transformer(), corpus_of(documents(9)), layers=layer, name="s")
    whole.save(tmp_path / "stage")
    assert table(Stage.load(tmp_path / "stage")) == table(whole)
    assert Stage.load(tmp_path / "stage").manifest["layers"] == whole.manifest["layers"]


def test_hooks_are_translated_where_they_are_clear(tmp_path: Path) -> None:
    gpt2 = load_model(folder_of("gpt2", tmp_path / "gpt2"))
    llama = load_model(folder_of("llama", tmp_path / "llama"))
    assert isinstance(gpt2, TextModel)
    assert isinstance(llama, TextModel)
    expected = {
        "blocks.1.hook_resid_pre": ("h.1:input", "layers.1:input"),
        "blocks.1.hook_resid_post": ("h.1", "layers.1"),
        "blocks.0.hook_mlp_out": ("h.0.mlp", "layers.0.mlp"),
        "blocks.0.hook_attn_out": ("h.0.attn", "layers.0.self_attn"),
        "blocks.0.attn.hook_z": ("h.0.attn.c_proj:input", "layers.0.self_attn.o_proj:input"),
        "blocks.0.mlp.hook_post": ("h.0.mlp.c_proj:input", "layers.0.mlp.down_proj:input"),
    }
    for hook, labels in expected.items():
        assert (layer_of_hook(gpt2, hook).label, layer_of_hook(llama, hook).label) == labels
    assert layer_of_hook(gpt2, "h.1.mlp.act.output").label == "h.1.mlp.act"
    for hook in (
        "blocks.7.hook_resid_pre",
        "blocks.0.ln2.hook_normalized",
        "hook_embed",
        "nonsense",
        "blocks..x",
    ):
        with pytest.raises(UsageError, match=hook.replace(".", r"\.")):
            layer_of_hook(gpt2, hook)
    bert = load_model(folder_of("bert", tmp_path / "bert"))
    assert isinstance(bert, TextModel)
    # After a block, TransformerLens means the sum before the normalization.
    with pytest.raises(UsageError, match="hook_resid_post"):
        layer_of_hook(bert, "blocks.1.hook_resid_post")


def test_the_estimate_of_memory_follows_the_active_latents(tmp_path: Path) -> None:
    def needed(selection: str, through: Any) -> int:
        adapter = adapter_for(transformer(), outputs=False)
        points = hook_points_for(adapter, Layer(LAYER, through=through), Selection.parse(selection))
        return require_memory(points, adapter, corpus_of(documents()), ["token"], 16, None)

    write_autoencoder(tmp_path / "sparse", "topk", latents=2_000)
    write_autoencoder(tmp_path / "dense", "standard", latents=2_000, bias=9.0)
    words = sum(len(document.words) for document in documents())
    # At most 5 latents of a word are active; twice as many are assumed.
    assert 0 < needed("threshold=0", tmp_path / "sparse") <= (56 + 144) * 11 * words
    assert needed("threshold=0", tmp_path / "dense") > 10 * needed("threshold=0", tmp_path / "sparse")
    assert needed("all/absolute", tmp_path / "sparse") == needed("threshold=0", tmp_path / "dense")
