"""Tiny untrained models of many families of transformers, with and without a head, and one tokenizer for all."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_SENTENCE = (
    "the film is good and the plot is new but the end was bad he saw it twice we did not like that one"
)
WORDS = tuple(dict.fromkeys((*_SENTENCE.split(), *string.ascii_lowercase)))
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SIZE = 64


def tokenizer(**options: Any) -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of few words and of letters, the same each time: `<s> words </s>`."""
    pieces = [
        *SPECIAL,
        *WORDS,
        *(f"##{letter}" for letter in string.ascii_lowercase[:10]),
    ]
    words = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    assert len(pieces) <= SIZE + 5
    named = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    }
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **{**named, **options})


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        name: of the classes, such as `Bert`.
        config: its options, beside the size of the vocabulary and the special ids.
        heads: endings of the names of classes, such as `ForMaskedLM`.
        layers: of the base model, patterns.
        limit: positions that it reads at once, as its authors count them; None where nothing limits it.
        ignores_padding: whether padding is meant to change nothing.
        start: what the decoder reads first; None where there is none.
    """

    name: str
    config: dict[str, Any]
    heads: tuple[str, ...]
    layers: tuple[str, ...]
    limit: int | None
    ignores_padding: bool = True
    start: int | None = None

    def build(self, head: str) -> Any:
        """Return a model in evaluation mode, the same each time; `head` is empty for the base model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return _with_padding_seen(self._class(head)(self._config()).eval())

    def _class(self, head: str) -> Callable[..., Any]:
        model_class: Callable[..., Any] = getattr(transformers, self.name + (head or "Model"))
        return model_class

    def _config(self) -> Any:
        ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        start = {} if self.start is None else {"decoder_start_token_id": self.start}
        return getattr(transformers, f"{self.name}Config")(
            **{"vocab_size": SIZE + 8, **ids, **start, **self.config}
        )


_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
_LLAMA = {**_BERT, "num_key_value_heads": 1, "max_position_embeddings": 20, "head_dim": 8}
_BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 20,
}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_ENCODER = ("encoder.layer.1", "encoder.layer.0.intermediate")
_BOTH_SIDES = (
    "encoder.layers.0.fc1",
    "decoder.layers.1.fc1",
    "decoder.layers.0.encoder_attn.k_proj",
    "decoder.layers.0.encoder_attn.q_proj",
)
_T5_LAYERS = (
    "encoder.block.0.layer.1.DenseReluDense.wi",
    "decoder.block.1.layer.2.DenseReluDense.wi",
    "decoder.block.0.layer.1.EncDecAttention.v",
)
_CLASSIFY, _MASKED, _CAUSAL = "ForSequenceClassification", "ForMaskedLM", "ForCausalLM"
_GENERATE = "ForConditionalGeneration"

FAMILIES = (
    Family("Bert", _BERT, (_CLASSIFY, _MASKED), _ENCODER, 20),
    Family("Roberta", _BERT, (_CLASSIFY, _MASKED), _ENCODER, 18),
    Family("XLMRoberta", _BERT, (_CLASSIFY,), _ENCODER, 18),
    Family("Camembert", _BERT, (_CLASSIFY,), _ENCODER, 18),
    Family("MPNet", _BERT, (_CLASSIFY,), _ENCODER, 18),
    Family("Electra", {**_BERT, "embedding_size": 16}, (_CLASSIFY,), _ENCODER, 20),
    Family("DebertaV2", _BERT, (_CLASSIFY,), _ENCODER, 20),
    Family("ConvBert", {**_BERT, "embedding_size": 16}, (_CLASSIFY,), _ENCODER, 20, ignores_padding=False),
    Family(
        "Nystromformer",
        {**_BERT, "segment_means_seq_len": 2, "num_landmarks": 2, "conv_kernel_size": 5},
        (_CLASSIFY,),
        _ENCODER,
        20,
        ignores_padding=False,
    ),
    Family("Yoso", _BERT, (_CLASSIFY,), _ENCODER, 20, ignores_padding=False),
    Family(
        "FNet",
        {k: v for k, v in _BERT.items() if k != "num_attention_heads"},
        (_CLASSIFY,),
        _ENCODER,
        20,
        ignores_padding=False,
    ),
    Family(
        "MobileBert",
        {**_BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 1},
        (_CLASSIFY,),
        _ENCODER,
        20,
        ignores_padding=False,
    ),
    Family(
        "Albert", {**_BERT, "embedding_size": 8}, (_CLASSIFY,), ("encoder.embedding_hidden_mapping_in",), 20
    ),
    Family(
        "DistilBert",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 20},
        (_CLASSIFY,),
        ("transformer.layer.1", "transformer.layer.0.ffn.lin1"),
        20,
    ),
    Family(
        "Funnel",
        {
            "block_sizes": [1, 1],
            "d_model": 16,
            "n_head": 2,
            "d_head": 8,
            "d_inner": 24,
            "num_decoder_layers": 1,
        },
        (_MASKED,),
        ("decoder.layers.0.ffn.linear_1", "encoder.blocks.0.0.ffn.linear_1"),
        None,
        ignores_padding=False,
    ),
    Family(
        "GPT2",
        {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20},
        ("LMHeadModel", _CLASSIFY),
        ("h.1", "h.0.mlp.act"),
        20,
    ),
    Family("GPTNeoX", _BERT, (_CAUSAL, _CLASSIFY), ("layers.1", "layers.0.mlp.act"), 20),
    Family("Llama", _LLAMA, (_CAUSAL, _CLASSIFY), ("layers.1", "layers.0.mlp.act_fn"), 20),
    Family("Mistral", _LLAMA, (_CAUSAL,), ("layers.1", "layers.0.mlp.act_fn"), 20),
    Family("Qwen2", _LLAMA, (_CAUSAL,), ("layers.1", "layers.0.mlp.act_fn"), 20),
    Family(
        "OPT",
        {**_BERT, "ffn_dim": 24, "word_embed_proj_dim": 16},
        (_CAUSAL, _CLASSIFY),
        ("decoder.layers.1.fc2", "decoder.layers.0.self_attn.q_proj"),
        20,
    ),
    Family("Bart", _BART, (_GENERATE, _CLASSIFY), _BOTH_SIDES, 20, start=2),
    Family("MBart", _BART, (_GENERATE,), _BOTH_SIDES, 20, start=2),
    Family("Pegasus", _BART, (_GENERATE,), _BOTH_SIDES, 20, start=1),
    Family("Marian", _BART, ("MTModel",), _BOTH_SIDES, 20, start=1),
    Family("T5", _T5, (_GENERATE, _CLASSIFY), _T5_LAYERS, None, start=1),
    Family(
        "MT5",
        _T5,
        (_GENERATE,),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0", "decoder.block.1.layer.2.DenseReluDense.wi_0"),
        None,
        start=1,
    ),
)


def _with_padding_seen(module: Any) -> Any:
    """Return the module, the embeddings of padding no longer zero, as those of other ids: so it cannot go unseen."""
    for table in module.modules():
        if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
            table.weight.data[table.padding_idx] = table.weight.data[3]
    return module


class _EncoderDecoder(Family):
    """An encoder and a decoder of different kinds, joined."""

    def build(self, head: str) -> Any:
        decoder = transformers.BertConfig(
            vocab_size=SIZE + 8,
            is_decoder=True,
            add_cross_attention=True,
            **{**_BERT, "max_position_embeddings": 30},
        )
        encoder = transformers.BertConfig(vocab_size=SIZE + 8, pad_token_id=1, **_BERT)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            joined = transformers.EncoderDecoderModel(
                encoder=transformers.BertModel(encoder), decoder=transformers.BertLMHeadModel(decoder)
            )
        joined.config.decoder_start_token_id = 0
        joined.config.pad_token_id = 1
        return _with_padding_seen(joined.eval())


JOINED = _EncoderDecoder(
    "EncoderDecoder",
    {},
    (),
    ("encoder.encoder.layer.0.intermediate", "decoder.bert.encoder.layer.1.intermediate"),
    20,
    start=0,
)

CASES = [(family, head) for family in (*FAMILIES, JOINED) for head in ("", *family.heads)]
