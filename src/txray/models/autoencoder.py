"""Read folders of sparse autoencoders and transcoders in the format of SAELens; nothing in them is executed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from txray.checks import is_integer
from txray.errors import SnapshotError, UsageError, in_one_line
from txray.models.sparse_encoder import (
    NORMALIZATIONS,
    EncoderConfig,
    Nonlinearity,
    Normalization,
    SparseEncoder,
)

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
"""Files of a folder of SAELens."""

_ARCHITECTURES: Mapping[str, Nonlinearity] = {
    "standard": "relu",
    "gated": "gated",
    "jumprelu": "jumprelu",
    "topk": "topk",
    "batchtopk": "jumprelu",  # after training, with the threshold that it has learned
    "matryoshka_batchtopk": "jumprelu",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
}
_ACTIVATIONS: Mapping[str, Nonlinearity] = {"relu": "relu", "tanh-relu": "tanh-relu", "topk": "topk"}
_DTYPES = ("float32", "float64", "float16", "bfloat16")
_IGNORED = ("W_skip", "scaling_factor", "finetuning_scaling_factor")
"""Weights that change the reconstruction only."""

_MAX_SIZE = 1 << 24
_MAX_CONFIG_BYTES = 1 << 20


def load_autoencoder(
    folder: Path | str, *, input_scale: float | None = None, center: bool | None = None
) -> SparseEncoder:
    """Load the encoder of a sparse autoencoder or transcoder from a folder in the format of SAELens.

    The folder holds `cfg.json` and `sae_weights.safetensors`. The architectures are `standard`, `gated`, `jumprelu`,
    `topk`, `batchtopk` with a threshold, and transcoders. All shapes are checked before a weight is loaded, and nothing
    in the folder is executed.

    Args:
        folder: the folder.
        input_scale: factor of the inputs, for a folder that was saved before its normalization
            (`expected_average_only_in`) was folded into the weights.
        center: whether to subtract the mean of each input first. TransformerLens does so by default for models with
            layer normalization (`center_writing_weights`), Hugging Face models do not. By default True if the
            folder says that its model was loaded like that.

    Returns:
        A module with `encode`, on the CPU, in the precision that the configuration names.

    Raises:
        SnapshotError: a file is missing or damaged, or the weights do not match the configuration.
        UsageError: an architecture or option that txray does not know, or a missing `input_scale`.
    """
    folder = Path(folder)
    file = folder / CONFIG
    with _damage_reported(file):
        config = _settings(file)
        encoder, dtype = _encoder_config(config, file)
    encoder = _with_inputs(encoder, config, file, input_scale, center)
    with _damage_reported(folder / WEIGHTS):
        weights = _weights(folder / WEIGHTS, encoder, config, dtype)
    return SparseEncoder(
        encoder,
        weights,
        name=folder.resolve().name,
        hook_name=_text(config, "hook_name", "hook_point", "hf_hook_name"),
        model_name=_text(config, "model_name"),
    ).eval()


def _settings(file: Path) -> dict[str, Any]:
    """Return the configuration as one mapping; newer versions of SAELens store a part of it as `metadata`."""
    if file.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{file.stat().st_size:,} bytes are too many for a configuration")
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    for nested in ("metadata", "meta"):
        if isinstance(content.get(nested), dict):
            content = {**content[nested], **content}
    return content


def _encoder_config(config: Mapping[str, Any], file: Path) -> tuple[EncoderConfig, torch.dtype]:
    """Return sizes and nonlinearity, and the dtype of the weights."""
    architecture = config.get("architecture", "standard")
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        raise UsageError(
            f"{file}: architecture {str(architecture)[:40]!r}; txray reads {', '.join(_ARCHITECTURES)}: wrap another "
            "one in an nn.Module, and pass txray.Layer(..., through=module)"
        )
    nonlinearity = _ARCHITECTURES[architecture]
    activation = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    if nonlinearity == "relu":
        if not isinstance(activation, str) or activation not in _ACTIVATIONS:
            raise UsageError(
                f"{file}: activation function {str(activation)[:40]!r}; txray reads {', '.join(_ACTIVATIONS)}"
            )
        nonlinearity = _ACTIVATIONS[activation]
    n_inputs, n_latents = (_size(config[name], name) for name in ("d_in", "d_sae"))
    k = None
    if nonlinearity == "topk":
        k = _size(config.get("k", (config.get("activation_fn_kwargs") or {}).get("k")), "k")
        if k > n_latents:
            raise ValueError(f"k={k} is more than d_sae={n_latents}")
    dtype = str(config.get("dtype", "float32")).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise UsageError(f"{file}: dtype {dtype[:40]!r}; txray reads {', '.join(_DTYPES)}")
    return EncoderConfig(nonlinearity, n_inputs, n_latents, k), getattr(torch, dtype)


def _with_inputs(
    encoder: EncoderConfig,
    config: Mapping[str, Any],
    file: Path,
    input_scale: float | None,
    center: bool | None,
) -> EncoderConfig:
    """Return the configuration with what happens to the inputs."""
    normalization = config.get("normalize_activations") or "none"
    if normalization is True:
        normalization = "expected_average_only_in"  # as older versions called it
    if normalization == "expected_average_only_in":
        if input_scale is None:
            raise UsageError(
                f"{file}: normalize_activations='expected_average_only_in', so its inputs must be multiplied by a "
                "factor that the folder does not hold; pass input_scale (1 if it is in the weights already)"
            )
        normalization = "none"
    if normalization not in NORMALIZATIONS:
        known = ", ".join((*NORMALIZATIONS, "expected_average_only_in"))
        raise UsageError(f"{file}: normalize_activations={str(normalization)[:40]!r}; txray reads {known}")
    if input_scale is not None and not (math.isfinite(input_scale) and input_scale > 0):
        raise UsageError(f"{file}: input_scale={input_scale!r}; pass a positive number")
    if center is None:
        loaded = config.get("model_from_pretrained_kwargs")
        center = isinstance(loaded, dict) and loaded.get("center_writing_weights") is True
    checked: Normalization = normalization
    return replace(encoder, normalization=checked, centered=center, input_scale=float(input_scale or 1.0))


def _weights(
    file: Path, encoder: EncoderConfig, config: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the weights of the encoder, after the shapes of all weights were checked."""
    shapes = _expected_shapes(encoder, config)
    with safe_open(file, framework="pt") as content:
        names = set(content.keys())
        # The folder of a training holds its threshold under another name, as one number for all latents.
        learned = "topk_threshold" in names and "threshold" not in names
        if learned and "threshold" in shapes:
            shapes["topk_threshold"] = ()
            del shapes["threshold"]
        missing, unknown = shapes.keys() - names, names - shapes.keys() - set(_IGNORED)
        if missing or unknown:
            differing = ", ".join(sorted(missing or unknown))[:200]
            raise ValueError(f"{'lacks' if missing else 'has unknown'} weights {differing}")
        for name, shape in shapes.items():
            stored = tuple(content.get_slice(name).get_shape())
            if stored != shape:
                raise ValueError(f"{name} has shape {stored}, but {CONFIG} needs {shape}")
        rescaled = config.get("rescale_acts_by_decoder_norm") is True and encoder.nonlinearity != "gated"
        subtracted = _subtracts_decoder_bias(config)
        loaded = [
            name
            for name in shapes
            if not (name == "W_dec" and not rescaled) and not (name == "b_dec" and not subtracted)
        ]
        weights = {name: content.get_tensor(name).to(dtype) for name in loaded}
    if learned and "topk_threshold" in weights:
        threshold = weights.pop("topk_threshold")
        weights["threshold"] = threshold.expand(encoder.n_latents).clone()
    if rescaled:
        weights["pre_scale"] = weights.pop("W_dec").norm(dim=-1)
    for name, weight in weights.items():
        # A latent with an infinite threshold is dead.
        if bool((weight.isnan() if name == "threshold" else ~weight.isfinite()).any()):
            raise ValueError(f"{name} holds numbers that are not finite")
    return weights


def _expected_shapes(encoder: EncoderConfig, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights by name."""
    n_inputs, n_latents = encoder.n_inputs, encoder.n_latents
    transcoder = "transcoder" in str(config.get("architecture")) or config.get("d_out") is not None
    n_outputs = _size(config["d_out"], "d_out") if transcoder else n_inputs
    biases = ("b_gate", "b_mag", "r_mag") if encoder.nonlinearity == "gated" else ("b_enc",)
    if encoder.nonlinearity == "jumprelu":
        biases = (*biases, "threshold")
    return {
        "W_enc": (n_inputs, n_latents),
        "W_dec": (n_latents, n_outputs),
        "b_dec": (n_outputs,),
        **dict.fromkeys(biases, (n_latents,)),
    }


def _subtracts_decoder_bias(config: Mapping[str, Any]) -> bool:
    """Return whether the decoder's bias is subtracted from the inputs; never in transcoders, whose output differs."""
    if "transcoder" in str(config.get("architecture")) or config.get("d_out") is not None:
        return False
    return bool(config.get("apply_b_dec_to_input", True))


def _size(value: Any, name: str) -> int:
    if not is_integer(value) or not 1 <= value <= _MAX_SIZE:
        raise ValueError(f"{name}={str(value)[:40]}, which must be an integer from 1 to {_MAX_SIZE:,}")
    return int(value)


def _text(config: Mapping[str, Any], *names: str) -> str | None:
    return next((config[name] for name in names if isinstance(config.get(name), str) and config[name]), None)


@contextmanager
def _damage_reported(file: Path) -> Iterator[None]:
    """Raise a SnapshotError if the file is missing or damaged."""
    if not file.is_file():
        raise SnapshotError(
            f"{file}: no such file; the folder of a sparse autoencoder holds {CONFIG} and {WEIGHTS}, as SAELens "
            "writes them"
        )
    try:
        yield
    except UsageError:
        raise
    except (
        SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else in_one_line(error)
        raise SnapshotError(f"{file}: damaged: {reason}; get the folder again") from error
