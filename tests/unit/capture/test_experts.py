"""Neurons of experts are credited to the words that the expert saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from benchmarks.conformity.architectures import Architecture
from benchmarks.conformity.text import documents, tokenizer
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.builders.text_models import letter_pieces, word_ids
from txray import Corpus, Document, Layer, Stage, TextModel, collect
from txray.capture import layer_roles, layer_shapes
from txray.capture.experts.as_modules import matched_rows
from txray.capture.experts.fused import FusedExpert
from txray.capture.forward.hooks import RoutedRows, Tap, capturing
from txray.errors import CaptureError, EmptyLayerWarning, UsageError
from txray.models import from_transformers
from txray.pruning import Mask, masked

NOT_ROUTED = "not routed to this expert"
TEXT = [document for document in documents() if len(document.words) < 20]


def corpus() -> Corpus:
    return Corpus.from_documents("text", TEXT)


DEEPSEEK = transformers.DeepseekV3Config(
    vocab_size=72,
    hidden_size=16,
    intermediate_size=24,
    moe_intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    n_routed_experts=4,
    num_experts_per_tok=2,
    n_group=1,
    topk_group=1,
    first_k_dense_replace=1,
    q_lora_rank=8,
    kv_lora_rank=8,
    qk_rope_head_dim=4,
    qk_nope_head_dim=4,
    v_head_dim=8,
    max_position_embeddings=40,
    pad_token_id=1,
)


def built(name: str) -> Any:
    """A tiny model whose activations are large enough to compare."""
    deepseek = name == "DeepseekV3"
    module = transformers.DeepseekV3Model(DEEPSEEK).eval() if deepseek else Architecture(name).build()
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.3, generator=generator)
    return module


def silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / (1 + np.exp(-x))


def gated(module: Any, expert: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    gate, up = np.split(array(module.gate_up_proj[expert]) @ x, 2)
    return silu(gate) * up


def gpt_oss(module: Any, expert: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    both = x @ array(module.gate_up_proj[expert]) + array(module.gate_up_proj_bias[expert])
    gate, up = np.minimum(both[::2], 7.0), np.clip(both[1::2], -7.0, 7.0)
    return (up + 1) * gate / (1 + np.exp(-1.702 * gate))


def array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().numpy()


Credits = dict[tuple[int, str], tuple[int, float]]
"""(neuron, word) -> number of positive activations and their sum."""


def direct(
    module: Any, name: str, formula: Callable[[Any, int, NDArray[np.float64]], NDArray[np.float64]]
) -> list[tuple[Credits, int, int]]:
    """Credits, words seen and words not seen of every expert: one document at a time, without padding."""
    experts = dict(module.named_modules())[name]
    arguments: list[Any] = []
    handle = experts.register_forward_pre_hook(
        lambda module, inputs, named: arguments.append((*inputs, *named.values())), with_kwargs=True
    )
    pairs: list[list[tuple[str, NDArray[np.float64]]]] = [[] for _ in range(len(experts.down_proj))]
    n_words = 0
    for document in TEXT:
        encoded = tokenizer()(list(document.words), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            module(encoded["input_ids"], attention_mask=encoded["attention_mask"])
        hidden, index = arguments[-1][:2]
        for word, text in enumerate(document.words):
            positions = [n for n, of in enumerate(encoded.word_ids()) if of == word]
            n_words += 1
            for expert, activations in enumerate(pairs):
                seen = [n for n in positions if expert in index[n].tolist()]
                rows = [formula(experts, expert, array(hidden[n])) for n in seen]
                if rows:
                    activations.append((text, np.max(rows, axis=0)))
    handle.remove()
    results = []
    for activations in pairs:
        sums: Credits = {}
        for text, row in activations:
            for neuron in np.flatnonzero(row > 0).tolist():
                count, total = sums.get((neuron, text), (0, 0.0))
                sums[neuron, text] = count + 1, total + float(row[neuron])
        results.append((sums, len(activations), n_words - len(activations)))
    return results


def credits_in(stage: Stage, layer: str) -> Credits:
    table = stage.preferences(layer=layer).table()
    return {
        (neuron, word): (count, total)
        for neuron, word, count, total in table.select("neuron", "feature", "count", "sum").iter_rows()
    }


def assert_equal(actual: Credits, expected: Credits) -> None:
    assert len(expected) > 20
    assert actual.keys() == expected.keys()
    rounding = 1e-6 * max(total for _, total in expected.values())
    for key, (count, total) in expected.items():
        assert actual[key][0] == count
        assert actual[key][1] == pytest.approx(total, rel=1e-4, abs=rounding)


FAMILIES = [
    ("Mixtral", "layers.0.mlp.experts", gated),
    ("Olmoe", "layers.1.mlp.experts", gated),
    ("Qwen3Moe", "layers.1.mlp.experts", gated),
    ("DeepseekV3", "layers.1.mlp.experts", gated),
    ("GptOss", "layers.0.mlp.experts", gpt_oss),
    ("GraniteMoe", "layers.0.block_sparse_moe.experts", gated),
]


@pytest.mark.parametrize(("family", "name", "formula"), FAMILIES)
def test_neurons_of_fused_experts_are_those_of_the_direct_computation(
    family: str, name: str, formula: Any
) -> None:
    module = built(family)
    expected = direct(module, name, formula)
    stage = collect(
        from_transformers(module, tokenizer()), corpus(), layers=f"{name}:expert=*", selection="all", name="s"
    )
    assert stage.layers == tuple(f"{name}:expert={number}" for number in range(len(expected)))
    routed = 0
    for layer, (credited, seen, unseen) in zip(stage.layers, expected, strict=True):
        account = stage.manifest["layers"][layer]
        assert (account["counted"], account["skipped"].get(NOT_ROUTED, 0)) == (seen, unseen)
        assert account["counted"] + sum(account["skipped"].values()) == stage.manifest["words"]
        assert_equal(credits_in(stage, layer), credited)
        routed += seen
    assert routed >= stage.manifest["words"]


def test_neurons_are_bit_identical_to_those_of_an_eager_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    module = built("Mixtral")
    module.config._experts_implementation = "eager"
    down = module.layers[0].mlp.experts.down_proj
    recorded: dict[int, list[Tensor]] = {0: [], 1: [], 2: [], 3: []}
    linear = nn.functional.linear

    def recording(values: Tensor, weight: Tensor, *others: Any) -> Tensor:
        for expert, rows in recorded.items():
            if weight.data_ptr() == down[expert].data_ptr():
                rows.append(values)
        return linear(values, weight, *others)

    document = TEXT[-1]
    encoded = tokenizer()(list(document.words), is_split_into_words=True, return_tensors="pt")
    monkeypatch.setattr(nn.functional, "linear", recording)
    with torch.no_grad():
        module(**encoded)
    monkeypatch.undo()
    with capturing_experts(module, "layers.0.mlp.experts", 4) as rows:
        with torch.no_grad():
            module(**encoded)
        for expert in range(4):
            # The eager pass orders the positions by rank among the choices first.
            assert sorted(rows(expert).values.tolist()) == sorted(torch.cat(recorded[expert]).tolist())
    assert sum(len(rows[0]) for rows in recorded.values()) == 2 * encoded["input_ids"].shape[1]


@contextmanager
def capturing_experts(module: nn.Module, name: str, experts: int) -> Iterator[Callable[[int], RoutedRows]]:
    taps = [Tap(f"{expert}", name, number=0, route=FusedExpert(expert)) for expert in range(experts)]
    with capturing(module, taps) as captured:
        yield lambda expert: captured.take_routed(f"{expert}")


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_every_implementation_of_experts_gives_the_same_neurons(implementation: str) -> None:
    module = built("Qwen3Moe")
    module.config._experts_implementation = implementation
    stage = collect(
        from_transformers(module, tokenizer()),
        corpus(),
        layers=Layer("layers.0.mlp.experts", expert=2),
        selection="all",
        name="s",
    )
    credited, seen, unseen = direct(module, "layers.0.mlp.experts", gated)[2]
    assert stage.layers == ("layers.0.mlp.experts:expert=2",)
    assert_equal(credits_in(stage, stage.layers[0]), credited)
    account = stage.manifest["layers"][stage.layers[0]]
    assert (account["counted"], account["skipped"]) == (seen, {NOT_ROUTED: unseen})


def test_the_router_is_an_ordinary_layer() -> None:
    module = built("Mixtral")
    stage = collect(
        from_transformers(module, tokenizer()),
        corpus(),
        layers="layers.0.mlp.gate",
        selection="max-1",
        name="s",
    )
    assert stage.preferences().n_neurons == 4
    account = stage.manifest["layers"]["layers.0.mlp.gate"]
    assert account["counted"] + sum(account["skipped"].values()) == stage.manifest["words"]


class Feed(nn.Module):
    """One expert: a gated feed-forward layer."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.w1, self.w3, self.w2 = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.act = act

    def forward(self, hidden: Tensor) -> Tensor:
        return self.w2(self.act(self.w1(hidden)) * self.w3(hidden))


class Block(nn.Module):
    """Experts in a list, of which each position is seen by the best two; the activation function is shared.

    With a `capacity`, an expert sees only so many positions.
    """

    def __init__(self, capacity: int | None) -> None:
        super().__init__()
        act = nn.SiLU()
        self.norm, self.gate = nn.LayerNorm(8), nn.Linear(8, 5, bias=False)
        self.experts = nn.ModuleList(Feed(act) for _ in range(5))
        self.capacity = capacity

    def forward(self, hidden: Tensor) -> Tensor:
        flat = self.norm(hidden).reshape(-1, 8)
        weights, index = self.gate(flat).softmax(-1).topk(2)
        result = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            position, slot = torch.where(index == number)
            position, slot = position[: self.capacity], slot[: self.capacity]
            if len(position):
                result.index_add_(0, position, expert(flat[position]) * weights[position, slot, None])
        return hidden + result.reshape(hidden.shape)


class Mixture(nn.Module):
    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(40, 8), nn.GRU(8, 8, batch_first=True)
        self.blocks = nn.ModuleList([Block(capacity)])

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden: Tensor = self.mix(self.embedding(ids))[0]
        return self.blocks[0](hidden)


def mixture(capacity: int | None = None) -> Mixture:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Mixture(capacity).eval()


WORDS = [
    Document(f"d{number}", tuple(words.split()))
    for number, words in enumerate(("the film", "a cafe and seven good plots", "it was new", "bad"))
]


def pooled_by_hand(module: Mixture, expert: int, layer: str) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Rows of activations by document and word, of the words that an expert saw, and the number of the others."""
    rows: dict[str, NDArray[np.float64]] = {}
    unseen = 0
    for document in WORDS:
        pieces = letter_pieces(document.words)
        with torch.no_grad():
            flat = module.blocks[0].norm(module.mix(module.embedding(torch.tensor([pieces.ids])))[0])[0]
            index = module.blocks[0].gate(flat).topk(2).indices
            part = module.blocks[0].experts[expert]
            values = {"act": part.act(part.w1(flat)), "w2:input": part.act(part.w1(flat)) * part.w3(flat)}[
                layer
            ]
        for word in sorted(set(pieces.word)):
            steps = [n for n, of in enumerate(pieces.word) if of == word and expert in index[n]]
            unseen += not steps
            if steps:
                rows[f"{document.id} {word}"] = array(values[steps]).max(axis=0)
    return rows, unseen


@pytest.mark.parametrize("expert", range(5))
@pytest.mark.parametrize("layer", ["act", "w2:input"])
def test_layers_inside_experts_in_a_list_are_matched_to_words(layer: str, expert: int) -> None:
    module = mixture()
    name = f"blocks.0.experts.{expert}.{layer}"
    model = TextModel(module, letter_pieces, forward=lambda module, ids, mask: module(ids))
    stage = collect(model, Corpus.from_documents("c", WORDS), layers=name, selection="all", name="s")
    rows, unseen = pooled_by_hand(module, expert, layer)
    positive = np.stack([row.clip(0) for row in rows.values()])
    account = stage.manifest["layers"][name]
    assert account["skipped"].get(NOT_ROUTED, 0) == unseen
    assert account["counted"] == (positive > 0).any(axis=1).sum()
    assert 0 < unseen < 12
    assert stage.preferences().mass() == pytest.approx(positive.sum(axis=0), rel=1e-4)


def collected(module: nn.Module, layers: Any, words: list[Document] | None = None, **options: Any) -> Stage:
    model = TextModel(module, letter_pieces, forward=lambda module, ids, mask: module(ids))
    return collect(model, Corpus.from_documents("c", words or WORDS), layers=layers, name="s", **options)


@pytest.mark.parametrize("selection", ["max-1", "max-3", "threshold=0.1", "all/zscore", "max-position"])
def test_every_selection_accounts_for_every_word(selection: str) -> None:
    stage = collected(mixture(), "blocks.0.experts.*.act", selection=selection)
    assert len(stage.layers) == 5
    for account in stage.manifest["layers"].values():
        assert account["counted"] + sum(account["skipped"].values()) == stage.manifest["words"] == 12


def test_only_pieces_that_an_expert_saw_are_credited() -> None:
    module = mixture()
    layer = "blocks.0.experts.1.w1"
    stage = collected(module, layer, feature_types=("token", "subword"), selection="all/absolute")
    expected: dict[str, int] = {}
    for document in WORDS:
        pieces = letter_pieces(document.words)
        with torch.no_grad():
            flat = module.blocks[0].norm(module.mix(module.embedding(torch.tensor([pieces.ids])))[0])[0]
            index = module.blocks[0].gate(flat).topk(2).indices
        for piece, chosen in zip(pieces.texts, index.tolist(), strict=True):
            expected[piece] = expected.get(piece, 0) + (1 in chosen)
    table = stage.preferences(layer=layer, feature_type="subword").table()
    counts = dict(table.filter(table["neuron"] == 0).select("feature", "count").iter_rows())
    assert counts == {piece: count for piece, count in expected.items() if count}
    assert 0 < sum(counts.values()) < sum(len(letter_pieces(document.words).ids) for document in WORDS)


def test_an_expert_that_never_runs_counts_no_word() -> None:
    module = mixture()
    with torch.no_grad():
        module.blocks[0].norm.bias.fill_(100.0)  # nearly equal inputs, so the choice is always the same
        module.blocks[0].gate.weight[2] = -1.0
    with pytest.warns(EmptyLayerWarning, match=r"experts\.2\.act"):
        stage = collected(module, "blocks.0.experts.2.act")
    account = stage.manifest["layers"]["blocks.0.experts.2.act"]
    assert (account["counted"], account["skipped"]) == (0, {NOT_ROUTED: 12})
    assert stage.preferences().n_neurons == 12


def test_equal_inputs_of_which_an_expert_sees_only_some_are_refused() -> None:
    words = [Document(f"e{number}", ("it", "it", "was")) for number in range(9)]
    module = mixture(capacity=3)
    experts = "blocks.0.experts.*.act"
    with pytest.raises(CaptureError, match="several positions with equal inputs") as caught:
        collected(module, experts, words)
    assert "\n" not in str(caught.value)
    assert len(collected(mixture(), experts, words).layers) == 5


def test_rows_are_matched_to_the_first_of_equal_rows() -> None:
    source = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [0.0, 5.0], [-0.0, 5.0]])
    matched = matched_rows(source[[4, 2, 0]], source)
    assert matched is not None
    assert matched.position.tolist() == [4, 0, 2]
    assert matched.ambiguous.tolist() == []
    partly = matched_rows(source[[2]], source)
    assert partly is not None
    assert partly.ambiguous.tolist() == [0, 2]
    repeated = matched_rows(source[[1, 1, 1, 3]], source)
    assert repeated is not None
    assert (repeated.row.tolist(), repeated.position.tolist()) == ([0, 3], [1, 3])
    assert matched_rows(torch.tensor([[9.0, 9.0]]), source) is None
    assert matched_rows(source[:0], source) is not None


IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
SWITCH = transformers.SwitchTransformersConfig(
    vocab_size=72,
    d_model=16,
    d_kv=8,
    d_ff=24,
    num_layers=2,
    num_decoder_layers=2,
    num_sparse_encoder_layers=1,
    num_sparse_decoder_layers=1,
    num_heads=2,
    num_experts=4,
    expert_capacity=3,
    **IDS,
)


def test_experts_with_a_capacity_see_the_words_that_their_router_chose() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = transformers.SwitchTransformersModel(SWITCH).eval()
        for parameter in module.parameters():
            parameter.data.normal_(0, 0.5)
    name = "encoder.block.1.layer.1.mlp"
    stage = collect(
        from_transformers(module, tokenizer()),
        corpus(),
        layers=[f"{name}.experts.*.wi", "decoder.block.1.layer.2.mlp.experts.*.act"],
        selection="all/absolute",
        name="s",
    )
    chosen: list[Tensor] = []
    router = dict(module.named_modules())[f"{name}.router"]
    router.register_forward_hook(lambda module, inputs, output: chosen.append(output[0]))
    seen = np.zeros(4, np.int64)
    for document in TEXT:
        encoded = tokenizer()(list(document.words), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            module(**encoded, decoder_input_ids=encoded["input_ids"])
        for word in range(len(document.words)):
            pieces = [n for n, of in enumerate(encoded.word_ids()) if of == word]
            seen += chosen[-1][0, pieces].bool().any(dim=0).numpy()
    accounts = stage.manifest["layers"]
    counted = [accounts[f"{name}.experts.expert_{expert}.wi"]["counted"] for expert in range(4)]
    assert counted == seen.tolist()
    assert 0 < sum(counted) < stage.manifest["words"]  # some words exceed the capacity
    assert len(stage.layers) == 8


def test_layers_list_experts_with_number_and_size() -> None:
    shapes = {shape.name: shape for shape in layer_shapes(from_transformers(built("Mixtral"), tokenizer()))}
    experts = shapes["layers.0.mlp.experts"].experts
    assert experts is not None
    assert (experts.number, experts.neurons) == (4, 24)
    assert shapes["layers.0.mlp"].experts is None
    model = TextModel(mixture(), letter_pieces, forward=lambda module, ids, mask: module(ids))
    listed = {shape.name: shape for shape in layer_shapes(model)}
    assert (listed["blocks.0.experts.1.act"].routed, listed["blocks.0.experts.1.act"].neurons) == (True, 12)
    assert not listed["blocks.0.norm"].routed


def test_roles_of_layers_name_every_expert_that_can_be_computed() -> None:
    found = {
        name: [
            role for role in layer_roles(from_transformers(built(name), tokenizer())) if "expert" in role.role
        ]
        for name in ("Mixtral", "DeepseekV3", "Llama4Text")
    }
    (mixtral,) = found["Mixtral"]
    assert mixtral.pattern == "layers.*.mlp.experts:expert=*"
    module = built("Mixtral")
    experts = len(module.layers[0].mlp.experts.down_proj)
    assert mixtral.layers == tuple(
        f"layers.{layer}.mlp.experts:expert={n}"
        for layer in range(len(module.layers))
        for n in range(experts)
    )
    assert mixtral.neurons == module.layers[0].mlp.experts.down_proj.shape[-1]
    # The first block of this DeepSeek is dense.
    (deepseek,) = found["DeepseekV3"]
    assert (deepseek.pattern, deepseek.neurons) == ("layers.1.mlp.experts:expert=*", 20)
    assert deepseek.layers == tuple(f"layers.1.mlp.experts:expert={n}" for n in range(4))
    assert found["Llama4Text"] == []
    stage = collect(from_transformers(module, tokenizer()), corpus(), layers=mixtral.pattern, name="s")
    assert tuple(stage.layers) == mixtral.layers


def test_the_text_of_an_expert_is_its_label() -> None:
    assert Layer.parse("mlp.experts:expert=3") == Layer("mlp.experts", expert=3)
    assert Layer("mlp.experts", expert=np.int64(3)).label == "mlp.experts:expert=3"
    assert Layer.parse("layers.*.mlp.experts:expert=*").expert == "*"
    with pytest.raises(UsageError, match="twice"):
        Layer.parse("experts:expert=1:expert=2")
    for value in (-1, "3", True, 1.5):
        with pytest.raises(UsageError, match="expert="):
            Layer("experts", expert=value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="input=True"):
        Layer("experts", expert=1, input=True)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layers.0.mlp.experts:expert=4", "there are 4 experts; pass 0 to 3"),
        ("layers.0.mlp:expert=0", "does not hold the weights of all experts"),
        (["layers.0.mlp.experts:expert=*", "layers.0.mlp.experts:expert=1"], "selected twice"),
    ],
)
def test_experts_that_do_not_exist_are_refused_in_one_line(layer: Any, message: str) -> None:
    with pytest.raises((UsageError, CaptureError), match=message) as caught:
        collect(from_transformers(built("Mixtral"), tokenizer()), corpus(), layers=layer, name="s")
    assert "\n" not in str(caught.value)


class Odd(nn.Module):
    """Experts whose gate is hidden in their forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.experts = OddExperts()

    def forward(self, ids: Tensor) -> Tensor:
        flat = self.embedding(ids).reshape(-1, 8)
        index = torch.stack([ids.reshape(-1) % 3, 2 - ids.reshape(-1) % 2], dim=-1)
        result: Tensor = self.experts(flat, index, torch.ones(len(flat), 2) / 2)
        return result


class OddExperts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.randn(3, 12, 8))
        self.down_proj = nn.Parameter(torch.randn(3, 8, 6))

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        gate, up = torch.einsum("td,tkod->tko", hidden, self.gate_up_proj[index]).chunk(2, dim=-1)
        down = torch.einsum("tki,tkdi->tkd", torch.tanh(gate) * up, self.down_proj[index])
        return (down * weights[..., None]).sum(dim=1)


def test_experts_that_are_computed_in_another_way_are_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(
        CaptureError, match="cannot be computed from its weights.*outputs differ by"
    ) as caught:
        collect(
            TextModel(Odd(), word_ids), Corpus.from_documents("c", WORDS), layers="experts:expert=0", name="s"
        )
    assert "\n" not in str(caught.value)


def test_the_model_itself_may_send_positions_to_experts() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 6)
            self.experts = nn.ModuleList(nn.Linear(6, 5) for _ in range(2))

        def forward(self, ids: Tensor) -> Any:
            flat, chosen = self.embedding(ids).reshape(-1, 6), ids.reshape(-1) % 2
            return [expert(flat[chosen == n]) for n, expert in enumerate(self.experts)]

    module = Root().eval()
    stage = collect(
        TextModel(module, word_ids),
        Corpus.from_documents("c", WORDS),
        layers="experts.1",
        selection="all/absolute",
        name="s",
    )
    ids = torch.tensor([number for document in WORDS for number in word_ids(document.words)])
    with torch.no_grad():
        expected = module.experts[1](module.embedding(ids[ids % 2 == 1])).abs().sum(dim=0)
    assert stage.preferences().mass() == pytest.approx(expected.numpy(), rel=1e-5)
    assert stage.manifest["layers"]["experts.1"]["skipped"] == {NOT_ROUTED: int((ids % 2 == 0).sum())}


def test_a_mask_of_a_layer_in_an_expert_equals_weights_of_zero() -> None:
    module, changed = mixture(), mixture()
    model = TextModel(module, letter_pieces, forward=lambda module, ids, mask: module(ids))
    ids = torch.tensor([letter_pieces(WORDS[1].words).ids])
    with torch.no_grad():
        changed.blocks[0].experts[1].w1.weight[[0, 3]] = 0
        changed.blocks[0].experts[1].w1.bias[[0, 3]] = 0
        plain, expected = module(ids), changed(ids)
        with masked(model, Mask("blocks.0.experts.1.w1", (0, 3))):
            assert torch.equal(module(ids), expected)
    assert not torch.equal(plain, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.0.experts.1.act", "shared by 5 layers"),
        ("blocks.0.experts.1.w1:expert=0", "cannot be masked"),
    ],
)
def test_masks_that_would_act_elsewhere_are_refused(name: str, message: str) -> None:
    model = TextModel(mixture(), letter_pieces, forward=lambda module, ids, mask: module(ids))
    with pytest.raises(UsageError, match=message) as caught, masked(model, Mask(name, (0,))):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["Mixtral", "GptOss"])
def test_experts_are_read_in_half_precision(family: str) -> None:
    name = "layers.0.mlp.experts"
    for module, autocast in ((built(family).bfloat16(), None), (built(family), "bfloat16")):
        model = from_transformers(module, tokenizer())
        stage = collect(model, corpus(), layers=f"{name}:expert=*", autocast=autocast, name="s")
        counted = [account["counted"] for account in stage.manifest["layers"].values()]
        assert 37 <= sum(counted) <= 4 * 37
