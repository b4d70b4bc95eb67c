"""Modules in which one neuron grows, while the activations of all others stay the same to the bit."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from txray import SyntheticPair, TextModel
from txray.synthetic.module import read_with_mask

LAYER = "grown"


class Scaled(nn.Module):
    """A module whose neurons are multiplied by factors."""

    def __init__(self, inner: nn.Module, factors: dict[int, float]) -> None:
        super().__init__()
        self.inner, self.factors, self.grown = inner, factors, nn.Identity()

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        values = self.inner(ids, mask).clone()
        for neuron, factor in self.factors.items():
            values[..., neuron] *= factor
        return self.grown(values)


def scaled(model: TextModel, **factors: float) -> TextModel:
    """The model with neurons multiplied, such as n13=4.0; collect the layer `LAYER`."""
    numbers = {int(name[1:]): factor for name, factor in factors.items()}
    return replace(model, module=Scaled(model.module, numbers), forward=read_with_mask)


def with_activations_of(pair: SyntheticPair) -> TextModel:
    """The module afterwards, with the activations that neurons of the same preferences have before."""
    module = pair.after.module
    module.seed.copy_(pair.before.module.seed)
    return replace(pair.after, module=module)
