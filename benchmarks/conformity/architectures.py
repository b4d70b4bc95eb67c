"""Tiny random models of every text architecture of transformers, built from its configuration alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers

SIZE = 72
"""Number of ids that every model knows."""

_SIZES = {
    SIZE: ("vocab_size", "n_words", "text_vocab_size"),
    16: (
        "hidden_size",
        "d_model",
        "n_embd",
        "dim",
        "n_embed",
        "embedding_size",
        "word_embed_proj_dim",
        "hidden_dim",
        "emb_dim",
        "embed_dim",
        "input_hidden_size",
    ),
    24: (
        "intermediate_size",
        "ffn_dim",
        "n_inner",
        "d_ff",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
        "dff",
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "ffn_hidden_size",
        "block_ff_dim",
        "intermediate_size_mlp",
    ),
    2: (
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_layers",
        "encoder_layers",
        "decoder_layers",
        "num_decoder_layers",
        "num_encoder_layers",
        "num_attention_heads",
        "n_head",
        "n_heads",
        "num_heads",
        "encoder_attention_heads",
        "decoder_attention_heads",
        "attention_heads",
        "num_experts_per_tok",
        "moe_k",
        "num_experts_per_token",
        "moe_topk",
        "top_k_experts",
    ),
    1: ("num_key_value_heads",),
    8: ("head_dim", "d_kv", "d_head", "kv_channels"),
    40: (
        "max_position_embeddings",
        "n_positions",
        "n_ctx",
        "max_seq_len",
        "max_encoder_position_embeddings",
        "max_decoder_position_embeddings",
        "max_source_positions",
        "max_target_positions",
        "context_length",
        "max_sequence_length",
    ),
    4: ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
}
"""Value -> names of options in configurations that it replaces, so that models have a few thousand weights."""

_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}

_LATENT = {
    "num_key_value_heads": 2,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "head_dim": 4,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "qk_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
}
_MAMBA = {
    "state_size": 4,
    "time_step_rank": 2,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_ssm": 32,
    "mamba_d_state": 4,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "n_groups": 1,
}

_GEMMA = {
    **_IDS,
    "vocab_size": SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 40,
}

# fmt: off
_LATENT_ATTENTION = (
    "AXK1", "AXK2", "BailingHybrid", "DeepseekV2", "DeepseekV3", "DeepseekV32", "Glm4MoeLite", "GlmMoeDsa",
    "KimiLinear", "LongcatFlash", "MiniCPM3", "SarvamMLA", "Youtu",
)
# fmt: on

_OVERRIDES: dict[str, dict[str, Any]] = {
    "BigBird": {"attention_type": "original_full"},
    "BigBirdPegasus": {"attention_type": "original_full"},
    "CTRL": {"n_positions": 40},
    "CpmAnt": {"prompt_length": 4, "prompt_types": 2, "segment_types": 4, "dim_head": 8},
    "DiffLlama": {"num_key_value_heads": 2},
    "FSMT": {"src_vocab_size": SIZE, "tgt_vocab_size": SIZE},
    "Funnel": {"block_sizes": [1, 1], "d_inner": 24, "num_decoder_layers": 1},
    "GPTJ": {"rotary_dim": 4},
    "CodeGen": {"rotary_dim": 4},
    "GPTNeo": {"attention_types": [[["global", "local"], 1]]},
    "LED": {"attention_window": 4},
    "Longformer": {"attention_window": 4},
    "LongT5": {"local_radius": 4},
    "MobileBert": {"intra_bottleneck_size": 16, "num_feedforward_networks": 1},
    "Nystromformer": {"segment_means_seq_len": 2, "num_landmarks": 2, "conv_kernel_size": 5},
    "ProphetNet": {"num_encoder_attention_heads": 2, "num_decoder_attention_heads": 2},
    "RoCBert": {"enable_pronunciation": False, "enable_shape": False},
    "Reformer": {
        "axial_pos_shape": [4, 10],
        "axial_pos_embds_dim": [4, 12],
        "attn_layers": ["local", "local"],
        "feed_forward_size": 24,
        "local_attn_chunk_length": 4,
        "attention_head_size": 8,
    },
    "Luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "Gemma4Text": {"vocab_size_per_layer_input": SIZE, "hidden_size_per_layer_input": 8},
    "T5Gemma": dict.fromkeys(("encoder", "decoder"), _GEMMA),
    "Xmod": {"default_language": "en_XX"},
    "Mamba2": {**_MAMBA, "num_heads": 4},
    **dict.fromkeys(("Bamba", "FalconH1", "FalconMamba", "GraniteMoeHybrid", "Mamba"), _MAMBA),
    **dict.fromkeys(_LATENT_ATTENTION, _LATENT),
}
"""Options that an architecture needs besides."""

# fmt: off
_NOT_TEXT = {
    "AudioFlamingo3", "Blt", "Dots3Note", "Emu3", "EncoderDecoder", "Esm", "Esmc", "Fuyu", "Gemma3",
    "Gemma3n", "Gemma4", "Gemma4Assistant", "Gemma4Unified", "Gemma4UnifiedAssistant", "Git", "GlmAsr",
    "GotOcr2", "GraniteSpeech", "GraniteSpeechPlus", "LayoutLM", "Llama4", "Mllama", "ModernVBert",
    "MossTranscribeDiarize", "MusicFlamingo", "Musicgen", "MusicgenMelody", "Nemotron3_5Transcribe",
    "NeoMME", "OmniASR", "Phi4Multimodal", "Qwen2Audio", "Qwen3ASR", "Qwen3_5", "Qwen3_5Moe", "Qwen4Exp",
    "SeamlessM4T", "SeamlessM4Tv2", "Tapas", "TrOCR", "UltraVBert", "VibeVoiceAsr", "Voxtral",
    "VoxtralRealtime", "Whisper", "Moshi", "Perceiver", "T5Gemma2",
}
# fmt: on
"""Configurations of models that read images, sound, proteins, tables or bytes besides text or instead of it."""


@dataclass(frozen=True)
class Architecture:
    """One text architecture of transformers.

    Attributes:
        name: name of its classes, such as `Llama`.
    """

    name: str

    def build(self) -> Any:
        """Return a tiny random base model in evaluation mode, the same each time."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(7)
            module = transformers.AutoModel.from_config(self.config()).eval()
            for table in module.modules():
                # Embeddings of padding are zero; give them values, so that reading padding cannot go unnoticed.
                if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
                    table.weight.data[table.padding_idx] = table.weight.data[3]
        return module

    def config(self) -> Any:
        """Return the configuration with every size replaced by a small one."""
        config_class = getattr(transformers, f"{self.name}Config")
        default = config_class()
        known = default.to_dict()
        options = {
            default.attribute_map.get(name, name): value
            for value, names in _SIZES.items()
            for name in names
            if type(known.get(default.attribute_map.get(name, name))) is int
        }
        if "head_dim" in known:
            options["head_dim"] = 8
        if kinds := list(dict.fromkeys(known.get("layer_types") or ())):
            options["layer_types"] = (kinds * 2)[:2]
        if (known.get("decoder_start_token_id") or 0) >= SIZE:
            options["decoder_start_token_id"] = _IDS["pad_token_id"]
        overrides = {name: value for name, value in _OVERRIDES.get(self.name, {}).items() if name in known}
        return config_class(**(options | _IDS | overrides))


@cache
def architectures() -> tuple[Architecture, ...]:
    """Return every architecture that transformers knows to generate, translate or fill in text, by name."""
    mappings = (
        transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        transformers.MODEL_FOR_MASKED_LM_MAPPING,
        transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    )
    names = {config.__name__.removesuffix("Config") for mapping in mappings for config in mapping}
    return tuple(Architecture(name) for name in sorted(names - _NOT_TEXT, key=str.lower))
