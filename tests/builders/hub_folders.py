"""Tiny untrained Hugging Face models with tokenizers of their kind, written as local folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from txray.corpus import demo_corpus

FAMILIES = ("bert", "roberta", "gpt2", "llama", "t5")
_SMALL = {"vocab_size": 600, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def folder_of(family: str, folder: Path, **options: Any) -> Path:
    """Write a model of a family; the same bytes each time.

    Args:
        family: one of `FAMILIES`.
        folder: to write to.
        options: of its configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        _MODELS[family](options).save_pretrained(folder)
    _TOKENIZERS[family]().save_pretrained(folder)
    return folder


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a family; the same each time."""
    tokenizer: PreTrainedTokenizerFast = _TOKENIZERS[family]()
    return tokenizer


def _texts() -> list[str]:
    return [" ".join(document.words) for document in demo_corpus("reviews", words=8_000)]


def _wordpiece() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(_texts(), trainers.WordPieceTrainer(vocab_size=600, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
    )


def _byte_level(template: str = "", **special: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    names = list(special.values())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    if template:
        used = [(name, tokenizer.token_to_id(name)) for name in names if name in template]
        tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=used)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special)


def _unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    )


_TOKENIZERS: dict[str, Any] = {
    "bert": _wordpiece,
    "roberta": lambda: _byte_level(
        "<s> $A </s>", bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ),
    "gpt2": lambda: _byte_level(eos_token="<|endoftext|>"),
    "llama": lambda: _byte_level("<s> $A", unk_token="<unk>", bos_token="<s>", eos_token="</s>"),
    "t5": _unigram,
}
_MODELS: dict[str, Any] = {
    "bert": lambda options: BertModel(
        BertConfig(**{**_SMALL, "intermediate_size": 24, "max_position_embeddings": 64, **options})
    ),
    "roberta": lambda options: RobertaModel(
        RobertaConfig(
            **{**_SMALL, "intermediate_size": 24, "max_position_embeddings": 66, "pad_token_id": 1, **options}
        )
    ),
    "gpt2": lambda options: GPT2LMHeadModel(
        GPT2Config(
            **{"vocab_size": 600, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, **options}
        )
    ),
    "llama": lambda options: LlamaForCausalLM(
        LlamaConfig(
            **{
                **_SMALL,
                "intermediate_size": 24,
                "num_key_value_heads": 1,
                "max_position_embeddings": 64,
                **options,
            }
        )
    ),
    "t5": lambda options: T5ForConditionalGeneration(
        T5Config(
            **{
                "vocab_size": 600,
                "d_model": 16,
                "d_kv": 8,
                "d_ff": 24,
                "num_layers": 2,
                "num_heads": 2,
                "decoder_start_token_id": 0,
                **options,
            }
        )
    ),
}
