"""Folders of sparse autoencoders in the format of SAELens, with random weights, and their latents by plain torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ARCHITECTURES = ("standard", "gated", "jumprelu", "topk", "transcoder")


def write_autoencoder(
    folder: Path,
    architecture: str = "standard",
    *,
    inputs: int = 8,
    latents: int = 40,
    seed: int = 0,
    bias: float = 0.0,
    **settings: Any,
) -> dict[str, Tensor]:
    """Write a folder, and return its weights; `bias` shifts all latents, `settings` are those of the configuration."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    outputs = inputs + 3 if "transcoder" in architecture else inputs
    weights = {
        "W_enc": normal(inputs, latents) / inputs**0.5,
        "W_dec": normal(latents, outputs),
        "b_dec": 0.1 * normal(outputs),
    }
    if architecture == "gated":
        weights |= {name: 0.3 * normal(latents) for name in ("b_gate", "b_mag", "r_mag")}
        weights["b_gate"] += bias
    else:
        weights["b_enc"] = 0.3 * normal(latents) + bias
    if "jumprelu" in architecture or architecture == "batchtopk":
        weights["threshold"] = normal(latents).abs()
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": inputs,
        "d_sae": latents,
        "dtype": "float32",
    }
    if "transcoder" in architecture:
        config |= {"d_out": outputs, "apply_b_dec_to_input": False}
    if architecture == "topk":
        config["k"] = 5
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config | settings))
    save_file(weights, folder / "sae_weights.safetensors")
    return weights


def latents_of(weights: dict[str, Tensor], config: dict[str, Any], activations: Tensor) -> Tensor:
    """The latents of (n, inputs) activations, written from the papers' formulas."""
    x = activations
    if config["architecture"] != "transcoder" and config.get("apply_b_dec_to_input", True):
        x = x - weights["b_dec"]
    if config["architecture"] == "gated":
        open_gates = (x @ weights["W_enc"] + weights["b_gate"]) > 0
        magnitude = torch.relu(x @ (weights["W_enc"] * torch.exp(weights["r_mag"])) + weights["b_mag"])
        return open_gates * magnitude
    pre = x @ weights["W_enc"] + weights["b_enc"]
    if config["architecture"] == "topk":
        rank = pre.argsort(dim=-1, descending=True).argsort(dim=-1)
        return torch.relu(pre) * (rank < config["k"])
    if config["architecture"] in ("jumprelu", "batchtopk"):
        return torch.relu(pre) * (pre > weights["threshold"])
    return torch.relu(pre)
