"""Models that do unusual things are read right, or refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import TextCnn, seeded, word_ids
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, UsageError
from txray.models import Pieces, TextModel
from txray.preferences import Stage


def text(*documents: str) -> Corpus:
    return Corpus.from_documents(
        "c", [Document(f"d{n}", tuple(words.split())) for n, words in enumerate(documents)]
    )


LONG = "the film is good and the plot is new"


class Small(nn.Module):
    """An embedding and whatever comes behind it."""

    def __init__(self, behind: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(40, 6)
        self.linear = nn.Linear(6, 5)
        self.behind = behind or nn.Identity()

    def forward(self, ids: Tensor) -> Any:
        return self.behind(self.linear(self.embedding(ids)))


def collected(
    module: nn.Module, layer: str, corpus: Corpus, selection: str = "all/absolute", **options: Any
) -> Stage:
    return collect(
        TextModel(module, word_ids, **options), corpus, layers=[layer], selection=selection, name="s"
    )


def refused(
    match: str, module: nn.Module, layer: str, corpus: Corpus, selection: str = "all", **options: Any
) -> None:
    with pytest.raises((CaptureError, UsageError), match=match) as caught:
        collected(module, layer, corpus, selection, **options)
    assert "\n" not in str(caught.value)


def test_what_a_model_changes_in_place_is_kept_as_it_was() -> None:
    module = Small(nn.ReLU(inplace=True))
    found = collected(module, "linear", text(LONG), "all/negative").preferences(layer="linear").mass()
    with torch.no_grad():
        plain = module.linear(module.embedding(torch.tensor(word_ids(LONG.split()))))
    assert found == pytest.approx((-plain).clamp(min=0).sum(dim=0).numpy(), rel=1e-5)
    assert found.sum() > 0


class SometimesInPlace(Small):
    """Changes the output in place for inputs of eight positions or fewer."""

    def forward(self, ids: Tensor) -> Any:
        hidden = self.linear(self.embedding(ids))
        return hidden.zero_() if ids.shape[1] <= 8 else hidden


def test_a_change_in_place_that_no_dry_run_shows_is_refused() -> None:
    refused("changed its output in place", SometimesInPlace(), "linear", text("a film"))


def test_layers_of_a_stage_may_cover_different_words(tmp_path: Any) -> None:
    model = TextModel(seeded(TextCnn), word_ids, min_length=3)
    corpus = text(LONG, "good film", "new")
    stage = collect(
        model,
        corpus,
        layers=["conv", "embedding"],
        feature_types=["token"],
        selection="all/absolute",
        name="s",
    )
    accounts = stage.manifest["layers"]
    assert accounts["conv"]["skipped"] == {"outside the layer's output": 5}
    assert accounts["embedding"] == {**accounts["embedding"], "counted": 12, "skipped": {}}
    loaded = Stage.load(stage.save(tmp_path / "s"))
    for layer in ("conv", "embedding"):
        for each in (stage, loaded):
            preferences = each.preferences(layer=layer)
            assert preferences.words == 12
            assert preferences.features.tolist() == sorted({*LONG.split(), "good", "film", "new"})
        assert loaded.preferences(layer=layer).table().equals(stage.preferences(layer=layer).table())


def test_inputs_too_short_for_a_convolution_are_filled_up_or_told() -> None:
    refused(
        "failed on documents 'd0', 1 inputs of 1 positions: .*'min_length'",
        seeded(TextCnn),
        "conv",
        text("good"),
    )
    account = collected(seeded(TextCnn), "conv", text("good"), min_length=3).manifest["layers"]["conv"]
    assert (account["counted"], account["skipped"]) == (0, {"outside the layer's output": 1})
    with pytest.raises(UsageError, match="min_length=0; it must be from 1"):
        TextModel(seeded(TextCnn), word_ids, min_length=0)


class Routed(Small):
    """Sends every position to one of two experts, which multiply their inputs first."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(6, 5) for _ in range(2))

    def forward(self, ids: Tensor) -> Any:
        flat, chosen = self.embedding(ids).reshape(-1, 6), ids.reshape(-1) % 2
        return [expert(1.5 * flat[chosen == n]) for n, expert in enumerate(self.experts)]


class Squeezed(Small):
    """Drops the axis of documents where there is only one."""

    def forward(self, ids: Tensor) -> Any:
        return self.behind(self.linear(self.embedding(ids)).squeeze(0))


class Doubled(Small):
    """Has twice as many neurons where there is only one document."""

    def forward(self, ids: Tensor) -> Any:
        hidden = self.linear(self.embedding(ids))
        return self.behind(torch.cat([hidden, hidden], dim=-1) if len(ids) == 1 else hidden)


@pytest.mark.parametrize(
    ("module", "layer"), [(Routed(), "experts.0"), (Squeezed(), "behind"), (Doubled(), "behind")]
)
def test_layers_that_do_not_see_every_position_are_refused(module: nn.Module, layer: str) -> None:
    # The dry run may show it, because it reads real words, or the text.
    shapes = r"returns \(.*\) for 2 documents|returned \(.*\) instead of .* as in the dry run"
    refused(shapes, module, layer, text(LONG))


class Cached(Small):
    """Makes a table at its first use and keeps it."""

    table: Tensor | None = None

    def forward(self, ids: Tensor) -> Any:
        if self.table is None or len(self.table) < ids.shape[1]:
            self.table = torch.ones(ids.shape[1], 6)
        return self.linear(self.embedding(ids) * self.table[: ids.shape[1]])


def test_a_model_that_keeps_what_it_made_can_be_trained_afterwards() -> None:
    module = Cached()
    collected(module, "linear", text(LONG))
    module(torch.tensor([[1, 2]])).sum().backward()
    assert module.linear.weight.grad is not None


@pytest.mark.parametrize("selection", ["all", "max-5", "max-position"])
def test_sums_of_half_precision_do_not_overflow(selection: str) -> None:
    module = nn.Embedding(40, 4096).half()
    nn.init.constant_(module.weight, 20.0)
    found = collected(nn.Sequential(module), "0", text("good film"), selection).preferences(layer="0")
    assert found.max.max() == 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("selection", ["max-1/zscore", "all/zscore", "max-position/zscore"])
def test_what_is_no_number_is_not_standardized_away(selection: str, value: float) -> None:
    module = Small()
    with torch.no_grad():
        module.embedding.weight[word_ids(["plot"])[0], 2] = value
    refused("activations of neuron 2 are not finite", module, "embedding", text(LONG), selection)


def test_standardizing_nothing_is_no_error() -> None:
    model = TextModel(Small(), lambda words: Pieces([], []))
    stage = collect(model, text(LONG), layers=["linear"], selection="all/zscore", name="s")
    assert stage.scales["mean"].to_list() == [0.0] * 5


def test_activations_that_overflow_when_squared_are_refused() -> None:
    module = nn.Embedding(40, 3).double()
    nn.init.constant_(module.weight, 1e155)
    refused("activations up to 1e\\+155 are too large", nn.Sequential(module), "0", text(LONG))


def test_truth_values_count_and_complex_numbers_are_refused() -> None:
    class Cast(Small):
        kind: torch.dtype

        def forward(self, ids: Tensor) -> Any:
            hidden = self.linear(self.embedding(ids))
            return self.behind(hidden > 0 if self.kind is torch.bool else hidden.to(self.kind))

    module = Cast()
    module.kind = torch.bool
    for selection in ("max-1", "all/absolute", "max-3", "max-1/zscore"):
        assert collected(module, "behind", text(LONG), selection).manifest["words"] == 9
    module.kind = torch.complex64
    refused("returns complex numbers", module, "behind", text(LONG))


def test_what_a_module_says_of_itself_is_part_of_its_fingerprint() -> None:
    class Extra(Small):
        said = "one"

        def get_extra_state(self) -> Any:
            return {"said": self.said}

        def set_extra_state(self, state: Any) -> None:
            pass

    module = Extra()
    prints = []
    for said in ("one", "two"):
        module.said = said
        prints.append(collected(module, "linear", text(LONG)).manifest["model"]["fingerprint"])
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("encode", "match"),
    [
        (lambda words: None, "encode returned NoneType"),
        (lambda words: [1.5] * len(words), "ids of type float64"),
        (lambda words: ["x"] * len(words), "ids of type"),
        (lambda words: [2**70] * len(words), "ids of type object"),
        (lambda words: Pieces([1, 2], [0, 1.5]), "word indices of type float64"),
        (lambda words: Pieces([1, 2], [0, 1], ["a", "\ud800"]), "names of pieces that are not text"),
        (lambda words: [-1] * len(words), "failed on documents 'd0'.*index out of range"),
        (lambda words: [10**6] * len(words), "failed on documents 'd0'.*index out of range"),
    ],
)
def test_what_encode_must_not_give(encode: Any, match: str) -> None:
    with pytest.raises((CaptureError, UsageError), match=match) as caught:
        collect(
            TextModel(Small(), encode),
            text(LONG),
            layers=["linear"],
            feature_types=["token", "subword"],
            name="s",
        )
    assert "\n" not in str(caught.value)


def test_pieces_may_be_arrays() -> None:
    def encode(words: Sequence[str]) -> Pieces:
        texts: Any = np.array(words)
        return Pieces(np.array(word_ids(words)), np.arange(len(words)), texts)  # type: ignore[arg-type]

    stage = collect(
        TextModel(Small(), encode),
        text(LONG),
        layers=["linear"],
        feature_types=["token", "subword"],
        selection="all/absolute",
        name="s",
    )
    assert stage.preferences(feature_type="subword").wins().sum() == stage.preferences().wins().sum() > 0


def test_a_dry_run_that_fails_says_so() -> None:
    refused(r"failed on a dry run of ids \[99, ", Small(), "linear", text(LONG), prefix=(99,))


def test_pytorchs_own_encoder_with_a_mask_is_read_as_it_comes() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding = nn.Embedding(40, 8)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2)

        def forward(self, ids: Tensor, mask: Tensor) -> Any:
            return self.encoder(self.embedding(ids), src_key_padding_mask=~mask)

    model = TextModel(Encoder(), word_ids, forward=lambda module, ids, mask: module(ids, mask))
    layers = ["encoder.layers.*", "encoder.layers.0.linear1", "encoder"]
    before = torch.backends.mha.get_fastpath_enabled()
    stage = collect(model, text(LONG, "a film"), layers=layers, selection="all/absolute", name="s")
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert {account["counted"] for account in stage.manifest["layers"].values()} == {11}


def test_records_of_outputs_give_their_first_tensor() -> None:
    @dataclass
    class Output:
        name: str
        hidden: Tensor

    class Records(Small):
        def forward(self, ids: Tensor) -> Any:
            return self.behind(self.linear(self.embedding(ids)))

    class Wrap(nn.Module):
        def forward(self, hidden: Tensor) -> Any:
            return Output("x", hidden)

    found = collected(Records(Wrap()), "behind", text(LONG)).preferences(layer="behind").mass()
    assert found == pytest.approx(collected(Small(), "linear", text(LONG)).preferences(layer="linear").mass())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_means_of_many_pieces_are_means(dtype: torch.dtype) -> None:
    module = nn.Embedding(1_001, 2).to(dtype)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(1, 2, 2_002).reshape(1_001, 2))
        module.weight[:, 1] *= 10_000
    model = TextModel(
        nn.Sequential(module), lambda words: Pieces(list(range(1, 1_001)), [0] * 1_000), pooling="mean"
    )
    found = (
        collect(model, text("good"), layers=["0"], selection="all", name="s").preferences(layer="0").mass()
    )
    assert found == pytest.approx(module.weight[1:].double().mean(dim=0).detach().numpy(), rel=1e-3)


def test_equals_are_ranked_alike_however_many_neurons_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Embedding(40, 30)
    nn.init.constant_(module.weight, 1.0)
    corpus = text(LONG, "a good film", "the new plot")
    whole = collected(nn.Sequential(module), "0", corpus, "all").exemplars
    monkeypatch.setattr("txray.capture.activations._CELLS", 40)
    assert collected(nn.Sequential(module), "0", corpus, "all").exemplars.equals(whole)
    assert len(whole) == 30 * 8


def test_the_configuration_is_part_of_the_fingerprint() -> None:
    class Config:
        act = "gelu"

        def to_dict(self) -> dict[str, Any]:
            return {"act": self.act, "_name_or_path": str(id(self))}

    prints = []
    for act in ("gelu", "gelu", "relu"):
        module = Small()
        module.config = Config()  # type: ignore[assignment]
        module.config.act = act  # type: ignore[union-attr]
        prints.append(collected(module, "linear", text(LONG)).manifest["model"]["fingerprint"])
    assert prints[0] == prints[1] != prints[2]
