"""Tokens that neurons promote and suppress, against weights multiplied by hand and against hooks written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from tests.builders.families import SIZE, tokenizer
from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from txray import Layer, collect, output_tokens
from txray.errors import UsageError
from txray.models import TextModel, classifier, from_transformers, language_model

_SIZES = {"vocab_size": SIZE + 8, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
_LLAMA = {**_BERT, "num_key_value_heads": 1, "head_dim": 8}
_GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
_OPT = {
    **{k: v for k, v in _BERT.items() if k != "intermediate_size"},
    "ffn_dim": 24,
    "word_embed_proj_dim": 8,
}
_GEMMA2 = {**_LLAMA, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8}


def build(name: str, **options: Any) -> Any:
    """Return a tiny causal language model whose norms have random gains and biases, the same each time."""
    known = {"GPT2": _GPT2, "OPT": _OPT, "Gemma2": _GEMMA2}.get(name, _LLAMA)
    config = getattr(transformers, f"{name}Config")(**{**_SIZES, **known, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for weight in model.parameters():
            weight.data += 0.4 * torch.randn_like(weight)
    return model


def layer_norm(norm: Any) -> Callable[[Tensor], Tensor]:
    return lambda vector: (vector - vector.mean()) * norm.weight


def rms_norm(norm: Any, plus: float = 0.0) -> Callable[[Tensor], Tensor]:
    return lambda vector: vector * (norm.weight + plus)


def of_gpt2(model: Any, unit: int) -> Tensor:
    block = model.transformer.h[1]
    return layer_norm(model.transformer.ln_f)(block.mlp.c_proj.weight[unit])  # type: ignore[no-any-return]


def of_llama(model: Any, unit: int) -> Tensor:
    return rms_norm(model.model.norm)(model.model.layers[1].mlp.down_proj.weight[:, unit])


def of_gemma(model: Any, unit: int) -> Tensor:
    return rms_norm(model.model.norm, 1)(model.model.layers[1].mlp.down_proj.weight[:, unit])


def of_gemma2(model: Any, unit: int) -> Tensor:
    block = model.model.layers[1]
    written = rms_norm(block.post_feedforward_layernorm, 1)(block.mlp.down_proj.weight[:, unit])
    return rms_norm(model.model.norm, 1)(written)


def of_opt(model: Any, unit: int) -> Tensor:
    decoder = model.model.decoder
    normed = layer_norm(decoder.final_layer_norm)(decoder.layers[1].fc2.weight[:, unit])
    return decoder.project_out.weight @ normed  # type: ignore[no-any-return]


def of_granite(model: Any, unit: int) -> Tensor:
    return of_llama(model, unit) * model.config.residual_multiplier


CASES: Mapping[str, tuple[str, dict[str, Any], str, Callable[[Any, int], Tensor]]] = {
    "GPT-2": ("GPT2", {}, "transformer.h.1.mlp.act", of_gpt2),
    "GPT-2, input": ("GPT2", {}, "transformer.h.1.mlp.c_proj:input", of_gpt2),
    "Llama, untied": ("Llama", {}, "model.layers.1.mlp.down_proj:input", of_llama),
    "Llama, tied": ("Llama", {"tie_word_embeddings": True}, "model.layers.1.mlp.down_proj:input", of_llama),
    "Gemma": ("Gemma", {}, "model.layers.1.mlp.down_proj:input", of_gemma),
    "Gemma 2": ("Gemma2", {}, "model.layers.1.mlp.down_proj:input", of_gemma2),
    "OPT": ("OPT", {}, "model.decoder.layers.1.fc2:input", of_opt),
    "Granite": ("Granite", {"residual_multiplier": 0.22}, "model.layers.1.mlp.down_proj:input", of_granite),
}


def effects(table: pl.DataFrame, neuron: int, n_ids: int) -> NDArray[np.float64]:
    """Return the effects of one neuron by id; NaN for ids that are not listed."""
    rows = table.filter(neuron=neuron)
    dense = np.full(n_ids, np.nan)
    dense[rows["id"].to_numpy()] = rows["effect"].to_numpy()
    return dense


def by_hand(vector: Tensor, unembedding: Tensor) -> NDArray[np.float64]:
    """Return the effects on the ids that have names, relative to their mean."""
    logits = (unembedding[: len(tokenizer())] @ vector).detach().double().numpy()
    return np.asarray(logits - logits.mean())


@pytest.mark.parametrize("case", list(CASES))
def test_effects_are_the_product_of_weights_norm_and_unembedding(case: str) -> None:
    name, options, layer, vector_of = CASES[case]
    model = build(name, **options)
    table = output_tokens(from_transformers(model, tokenizer()), layers=layer, k=100)
    for unit in (0, 1, 7, 23):
        expected = by_hand(vector_of(model, unit), model.get_output_embeddings().weight)
        np.testing.assert_allclose(effects(table, unit, len(expected)), expected, rtol=1e-3, atol=1e-4)
        best = table.filter(neuron=unit, side="promoted")
        assert best["id"].head(5).to_list() == np.argsort(-expected)[:5].tolist()
        assert best["rank"].to_list() == list(range(len(best)))
        worst = table.filter(neuron=unit, side="suppressed")
        assert worst["id"].head(5).to_list() == np.argsort(expected)[:5].tolist()
    assert (table.filter(side="promoted")["effect"] > 0).all()
    assert table["token"].unique().len() == len(tokenizer())


def test_without_folding_norms_are_left_out() -> None:
    model = build("Gemma2")
    table = output_tokens(
        from_transformers(model, tokenizer()),
        layers="model.layers.1.mlp.down_proj:input",
        k=100,
        fold_norm=False,
    )
    vector = model.model.layers[1].mlp.down_proj.weight[:, 5]
    expected = by_hand(vector, model.lm_head.weight)
    np.testing.assert_allclose(effects(table, 5, len(expected)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "vector_of"),
    [
        ("model.layers.0", lambda model, unit: torch.eye(16)[unit]),
        ("model.embed_tokens", lambda model, unit: torch.eye(16)[unit]),
        ("model.layers.0.mlp", lambda model, unit: torch.eye(16)[unit]),
        ("model.layers.0:input", lambda model, unit: torch.eye(16)[unit]),
        (
            "model.layers.1.self_attn.o_proj:input",
            lambda model, unit: model.model.layers[1].self_attn.o_proj.weight[:, unit],
        ),
        ("model.layers.0.self_attn", lambda model, unit: torch.eye(16)[unit]),
    ],
)
def test_other_layers_that_write_to_the_residual_stream(
    layer: str, vector_of: Callable[[Any, int], Tensor]
) -> None:
    model = build("Llama")
    table = output_tokens(from_transformers(model, tokenizer()), layers=layer, k=100)
    vector = rms_norm(model.model.norm)(vector_of(model, 9))
    expected = by_hand(vector, model.lm_head.weight)
    np.testing.assert_allclose(effects(table, 9, len(expected)), expected, rtol=1e-3, atol=1e-4)


def test_the_output_of_the_final_norm_is_read_by_the_head_alone() -> None:
    model = build("Llama")
    table = output_tokens(from_transformers(model, tokenizer()), layers="model.norm", k=100)
    expected = by_hand(torch.eye(16)[3], model.lm_head.weight)
    np.testing.assert_allclose(effects(table, 3, len(expected)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_neurons_of_the_recurrent_language_model_write_by_the_decoder(tied: bool) -> None:
    vocabulary = small_model().vocabulary
    model = language_model("lstm", vocabulary, hidden=12, embedding=12, tied=tied)
    table = output_tokens(model, layers="rnn", k=200)
    for unit in (0, 5, 11):
        logits = model.decoder.weight[:, unit].detach().double().numpy()
        expected = logits - logits.mean()
        np.testing.assert_allclose(effects(table, unit, len(expected)), expected, rtol=1e-4, atol=1e-6)
    words = dict(zip(table["id"], table["token"], strict=True))
    assert words == dict(enumerate(model.vocabulary.words))


def frozen(norm: Any, gain: Tensor, centred: bool) -> list[Tensor]:
    """Let a norm divide by what it divides by in the next forward pass from then on; return that as it is known."""
    scales: list[Tensor] = []

    def linear(hidden: Tensor) -> Tensor:
        inside = hidden - hidden.mean(-1, keepdim=True) if centred else hidden
        if not scales:
            scales.append((inside.square().mean(-1, keepdim=True) + 1e-6).sqrt())
        return inside / scales[0] * gain + getattr(norm, "bias", 0)

    norm.forward = linear
    return scales


@pytest.mark.parametrize(
    ("name", "layer", "projection", "norm"),
    [
        ("GPT2", "transformer.h.1.mlp.act", "transformer.h.1.mlp.c_proj", "transformer.ln_f"),
        ("Llama", "model.layers.1.mlp.down_proj:input", "model.layers.1.mlp.down_proj", "model.norm"),
        ("Gemma", "model.layers.1.mlp.down_proj:input", "model.layers.1.mlp.down_proj", "model.norm"),
    ],
)
def test_a_stronger_activation_changes_the_logits_as_the_table_says(
    name: str, layer: str, projection: str, norm: str
) -> None:
    model = build(name)
    table = output_tokens(from_transformers(model, tokenizer()), layers=layer, k=100)
    ids = torch.tensor([[0, 5, 6, 7, 8, 9, 2]])
    final = model.get_submodule(norm)
    scales = frozen(final, final.weight + (name == "Gemma"), centred=name == "GPT2")
    with torch.no_grad():
        before = model(input_ids=ids).logits
        for unit in (2, 19):

            def strengthen(module: Any, args: Any, unit: int = unit) -> Any:
                changed = args[0].clone()
                changed[..., unit] += 0.5
                return (changed,)

            hook = model.get_submodule(projection).register_forward_pre_hook(strengthen)
            change = (model(input_ids=ids).logits - before)[0].double()
            hook.remove()
            n = len(tokenizer())
            change = change[:, :n] - change[:, :n].mean(-1, keepdim=True)
            expected = torch.from_numpy(effects(table, unit, n)).expand_as(change)
            torch.testing.assert_close(change * scales[0][0] / 0.5, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("units", "ids"), [(1, 8192), (7, 5), (1024, 3)])
def test_the_table_does_not_depend_on_how_much_is_computed_at_a_time(
    units: int, ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, layer = from_transformers(build("GPT2"), tokenizer()), "transformer.h.*.mlp.act"
    expected = output_tokens(model, layers=layer, k=6)
    monkeypatch.setattr("txray.capture.output.output_tokens._UNITS", units)
    monkeypatch.setattr("txray.capture.output.output_tokens._IDS", ids)
    table = output_tokens(model, layers=layer, k=6)
    assert table.drop("effect").equals(expected.drop("effect"))
    np.testing.assert_allclose(table["effect"], expected["effect"], rtol=1e-4, atol=1e-6)
    assert table["layer"].unique().sort().to_list() == ["transformer.h.0.mlp.act", "transformer.h.1.mlp.act"]


def test_dead_neurons_write_nothing() -> None:
    model = build("Llama")
    model.model.layers[1].mlp.down_proj.weight.data[:, 4] = 0
    table = output_tokens(from_transformers(model, tokenizer()), layers="model.layers.1.mlp.down_proj:input")
    assert table.filter(neuron=4).is_empty()
    assert not table.filter(neuron=5).is_empty()


def test_weights_of_half_precision_are_multiplied_in_full_precision() -> None:
    half = build("Llama").to(torch.bfloat16)
    layer, n = "model.layers.1.mlp.down_proj:input", len(tokenizer())
    table = output_tokens(from_transformers(half, tokenizer()), layers=layer, k=100)
    exact = half.float()
    for unit in (0, 20):
        expected = by_hand(of_llama(exact, unit), exact.lm_head.weight)
        np.testing.assert_allclose(effects(table, unit, n), expected, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    model = build("OPT").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    output_tokens(from_transformers(model, tokenizer()), layers="model.decoder.layers.0.fc2:input")
    assert model.training
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("model.layers.0.mlp.act_fn", "are not added to the residual stream"),
        ("model.layers.0.self_attn.v_proj", "are not added to the residual stream"),
        ("model.layers.0.mlp.up_proj:input", "are not added to the residual stream"),
        ("model.layers.0.self_attn.o_proj:input:head", "the unit of an attention head is a norm"),
        (Layer("model.layers.0", through=torch.nn.Linear(16, 4)), "a module that is not part of the model"),
    ],
)
def test_units_that_write_nothing_definite_are_refused(layer: Any, reason: str) -> None:
    model = from_transformers(build("Llama"), tokenizer())
    with pytest.raises(UsageError, match=reason):
        output_tokens(model, layers=layer)


def test_a_model_that_normalizes_the_residual_stream_after_each_block_is_refused() -> None:
    config = transformers.OpenAIGPTConfig(**_SIZES, **_GPT2)
    model = from_transformers(transformers.OpenAIGPTLMHeadModel(config).eval(), tokenizer())
    with pytest.raises(UsageError, match="not added to the residual stream"):
        output_tokens(model, layers="transformer.h.0.mlp.c_proj:input")


def test_models_that_predict_no_next_word_are_refused() -> None:
    bert = transformers.BertForMaskedLM(transformers.BertConfig(**_SIZES, **_BERT)).eval()
    with pytest.raises(UsageError, match="not known to predict the next word"):
        output_tokens(from_transformers(bert, tokenizer()), layers="bert.encoder.layer.0.output.dense:input")
    with pytest.raises(UsageError, match="not known to predict the next word"):
        output_tokens(transformer(), layers="encoder.layers.0.linear1")
    with pytest.raises(UsageError, match="SentimentClassifier predicts no words"):
        output_tokens(classifier(small_model(), "last"), layers="rnn")


@pytest.mark.parametrize("k", [0, -1, 1001, True, 2.0])
def test_the_number_of_tokens_is_checked(k: Any) -> None:
    with pytest.raises(UsageError, match="k="):
        output_tokens(small_model(), layers="rnn", k=k)


def test_a_head_that_is_no_product_is_refused() -> None:
    class Squared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(40, 6)
            self.head = torch.nn.Linear(6, 40)

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.head(self.embedding(ids)).square()
            return logits

    model = TextModel(
        Squared(), lambda words: [len(word) for word in words], task="next-word", output_name=str
    )
    with pytest.raises(UsageError, match="not the product of a hidden state and one matrix"):
        output_tokens(model, layers="embedding")


def test_a_stage_stores_them_with_their_settings() -> None:
    corpus = corpus_of(documents(6))
    model = small_model()
    stage = collect(model, corpus, name="s", output_tokens=4)
    assert stage.output_tokens.equals(output_tokens(model, layers="rnn", k=4))
    settings = stage.manifest["output_tokens"]
    assert (settings["k"], settings["fold_norm"]) == (4, True)
    assert settings["layers"] == {"rnn": {"factor": 1.0, "maps": []}}
    plain = collect(model, corpus, name="s")
    assert plain.output_tokens.is_empty()
    assert "output_tokens" not in plain.manifest
    assert plain.preferences().table().equals(stage.preferences().table())


def test_what_is_refused_is_refused_before_the_text_is_read() -> None:
    def unreadable() -> Any:
        raise AssertionError("the text was read")

    from txray import Corpus

    corpus = Corpus("unread", unreadable, fingerprint="none")
    with pytest.raises(UsageError, match="not added to the residual stream"):
        collect(
            from_transformers(build("Llama"), tokenizer()),
            corpus,
            layers="model.layers.0.mlp.act_fn",
            name="s",
            output_tokens=3,
        )
