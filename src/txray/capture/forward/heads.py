"""The number of attention heads of a layer, from its module, the modules around it, or the model's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

_SIZES = (
    "head_dim",
    "attention_head_size",
    "head_size",
    "d_head",
    "dim_head",
    "d_kv",
    "key_value_proj_dim",
    "kv_channels",
)
"""Names of the number of elements per head in modules and configurations."""

_NUMBERS = (
    "num_attention_heads",
    "num_heads",
    "n_heads",
    "n_head",
    "nhead",
    "encoder_attention_heads",
    "decoder_attention_heads",
)
"""Names of the number of heads."""


def n_heads(modules: Mapping[str, nn.Module], root: nn.Module, name: str, n_neurons: int) -> int | None:
    """Return the number of heads whose elements are the neurons of a layer; None if unknown.

    The size of a head counts before the number of heads: keys and values often have fewer heads than queries.

    Args:
        modules: the modules of the model by name.
        root: the model, whose configuration is read last.
        name: name of the layer.
        n_neurons: number of elements of the layer.
    """
    for owner in _owners(modules, root, name):
        size, number = _integer(owner, _SIZES), _integer(owner, _NUMBERS)
        if size is not None and n_neurons % size == 0:
            return n_neurons // size
        if number is not None and n_neurons % number == 0:
            return number
    return None


def _owners(modules: Mapping[str, nn.Module], root: nn.Module, name: str) -> Iterator[Any]:
    """Yield the module, the modules around it, and the model's configuration."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        if (module := modules.get(".".join(parts[:n]))) is not None:
            yield module
    yield root
    if (config := getattr(root, "config", None)) is not None:
        yield config


def _integer(owner: Any, names: tuple[str, ...]) -> int | None:
    """Return the first of these attributes that is a positive integer; None if there is none."""
    for name in names:
        try:
            value = getattr(owner, name, None)
        except Exception:  # a configuration with different values per layer
            continue
        if type(value) is int and value > 0:
            return value
    return None
