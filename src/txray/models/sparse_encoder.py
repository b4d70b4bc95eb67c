"""The encoder of a sparse autoencoder or transcoder: activations of a layer become latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Nonlinearity = Literal["relu", "tanh-relu", "gated", "jumprelu", "topk"]
"""How latents follow from the encoder's linear map."""

Normalization = Literal["none", "constant_norm_rescale", "layer_norm"]
"""What happens to each input before the encoder; the names are those of SAELens."""
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)

_EPSILON = 1e-5
"""Added to the standard deviation by `layer_norm`."""


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that the latents depend on besides the weights.

    Attributes:
        nonlinearity: how latents follow from the linear map.
        n_inputs, n_latents: sizes.
        k: number of latents of each input that may be active (`topk` only).
        normalization: applied to each input.
        centered: whether the mean of each input is subtracted first.
        input_scale: factor of each input.
    """

    nonlinearity: Nonlinearity
    n_inputs: int
    n_latents: int
    k: int | None = None
    normalization: Normalization = "none"
    centered: bool = False
    input_scale: float = 1.0


class SparseEncoder(nn.Module):
    """The encoder of a sparse autoencoder or transcoder, as `txray.load_autoencoder` reads it.

    Only what the latents depend on is in memory: there is no decoder.

    Attributes:
        config: sizes and nonlinearity.
        name: name of the folder, which names the latents in stages.
        hook_name: place in the model that it was trained on, as the folder names it; None if it does not.
        model_name: model that it was trained on; None if the folder does not name it.
    """

    W_enc: Tensor
    b_enc: Tensor
    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor
    threshold: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        weights: Mapping[str, Tensor],
        *,
        name: str = "autoencoder",
        hook_name: str | None = None,
        model_name: str | None = None,
    ) -> None:
        """Take the weights as they are.

        Args:
            config: sizes and nonlinearity.
            weights: `W_enc` (n_inputs, n_latents); `b_enc`, or `b_gate`, `b_mag` and `r_mag` if gated (n_latents,);
                `threshold` (n_latents,) of `jumprelu`; `b_dec` (n_inputs,) if it is subtracted from the inputs;
                `pre_scale` (n_latents,) if the linear map is multiplied by it.
            name, hook_name, model_name: see the class.
        """
        super().__init__()
        self.config = config
        self.name = name
        self.hook_name = hook_name
        self.model_name = model_name
        for key, weight in weights.items():
            self.register_buffer(key, weight)

    def forward(self, activations: Tensor) -> Tensor:
        """Return the latents, see `encode`."""
        return self.encode(activations)

    def encode(self, activations: Tensor) -> Tensor:
        """Return the (..., n_latents) latents of (..., n_inputs) activations; none is negative."""
        inputs = self._normalized(activations.to(self.W_enc.dtype))
        if (b_dec := self._weight("b_dec")) is not None:
            inputs = inputs - b_dec
        # In place where possible: one row can have a hundred thousand latents.
        if self.config.nonlinearity == "gated":
            linear = inputs @ self.W_enc
            closed = linear + self.b_gate <= 0
            magnitude = linear.mul_(self.r_mag.exp()).add_(self.b_mag)
            return magnitude.relu_().masked_fill_(closed, 0)
        linear = nn.functional.linear(inputs, self.W_enc.T, self.b_enc)
        if (pre_scale := self._weight("pre_scale")) is not None:
            linear = linear.mul_(pre_scale)
        match self.config.nonlinearity:
            case "topk":
                top = linear.topk(self.config.k or 1, dim=-1)
                return torch.zeros_like(linear).scatter_(-1, top.indices, top.values.relu_())
            case "jumprelu":
                return linear.masked_fill_(linear <= self.threshold, 0).relu_()
            case "tanh-relu":
                return linear.relu_().tanh_()
        return linear.relu_()

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        config = self.config
        k = f", k={config.k}" if config.k is not None else ""
        return (
            f"{self.name!r}, {config.nonlinearity}, {config.n_inputs} -> {config.n_latents} latents{k}, "
            f"hook_name={self.hook_name!r}"
        )

    def _normalized(self, inputs: Tensor) -> Tensor:
        if self.config.centered:
            inputs = inputs - inputs.mean(dim=-1, keepdim=True)
        if self.config.input_scale != 1:
            inputs = inputs * self.config.input_scale
        match self.config.normalization:
            case "constant_norm_rescale":
                norms: Tensor = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
                unit_rows: Tensor = inputs / norms
                return unit_rows * math.sqrt(self.config.n_inputs)
            case "layer_norm":
                centered = inputs - inputs.mean(dim=-1, keepdim=True)
                return centered / (centered.std(dim=-1, keepdim=True) + _EPSILON)
        return inputs

    def _weight(self, name: str) -> Tensor | None:
        weight: Tensor | None = self._buffers.get(name)
        return weight
