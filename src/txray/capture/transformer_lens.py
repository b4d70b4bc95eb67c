"""Translate names of hooks of TransformerLens, which autoencoders are published with, to layers of other models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import nn

from txray.capture.forward.hooks import modules_by_name
from txray.capture.layer import Layer
from txray.errors import UsageError
from txray.models.base_model import unwrapped
from txray.models.sparse_encoder import SparseEncoder
from txray.models.text_model import TextModel

_BLOCKS = ("h", "layers", "blocks")
"""Last part of the name of the list of a model's blocks."""

_ATTENTION = ("attn", "self_attn", "attention", "self_attention")
_MLP = ("mlp",)

_PLACES: Mapping[str, Sequence[tuple[str, bool]]] = {
    "hook_resid_pre": [("", True)],
    "hook_resid_post": [("", False)],
    # In blocks that normalize the output too, the hook is behind that.
    "hook_attn_out": [(name, False) for name in _ATTENTION],
    "hook_mlp_out": [("post_feedforward_layernorm", False), *((name, False) for name in _MLP)],
    "attn.hook_z": [
        (f"{attention}.{projection}", True)
        for attention in _ATTENTION
        for projection in ("c_proj", "o_proj", "out_proj", "dense")
    ],
    "mlp.hook_post": [
        (f"mlp.{projection}", True) for projection in ("c_proj", "down_proj", "dense_4h_to_h", "fc2")
    ],
}
"""End of the name of a hook -> candidates: name of a module within the block, and whether its input is meant."""

_HOOK = re.compile(r"blocks\.([0-9]{1,4})\.(.+)")


def layer_of_hook(model: nn.Module | TextModel, hook: str | SparseEncoder) -> Layer:
    """Return the layer of a model that a hook of TransformerLens means, with the autoencoder if one is passed.

    Clear are the residual stream before and after a block (`blocks.5.hook_resid_pre`, `hook_resid_post`), the outputs
    of attention and MLP (`hook_attn_out`, `hook_mlp_out`), the inputs of their last projections (`attn.hook_z`,
    `mlp.hook_post`), and names of modules of the model itself. Check the proposal: TransformerLens changes weights when
    it loads a model, see `center` of `txray.load_autoencoder`.

    Args:
        model: the model.
        hook: name of the hook, or an autoencoder whose folder names it.

    Raises:
        UsageError: the name means no layer of this model clearly; the message shows it.
    """
    name = hook.hook_name if isinstance(hook, SparseEncoder) else hook
    through = hook if isinstance(hook, SparseEncoder) else None
    modules = modules_by_name(unwrapped(model.module if isinstance(model, TextModel) else model))
    if name is None:
        raise UsageError(
            "the folder of the autoencoder names no hook; pass its layer: txray.Layer(name, through=...)"
        )
    for end, is_input in (("", False), (".output", False), (".input", True)):
        module = name.removesuffix(end)
        if name.endswith(end) and module in modules:
            return Layer(module, input=is_input, through=through)
    match = _HOOK.fullmatch(name)
    block = None if match is None else _block(modules, int(match[1]))
    if match is not None and block is not None:
        for inner, is_input in _PLACES.get(match[2], ()):
            layer = f"{block}.{inner}".rstrip(".")
            if layer in modules and not _is_doubtful(match[2], block, modules):
                return Layer(layer, input=is_input, through=through)
    raise UsageError(
        f"hook {name[:100]!r}: means no layer of this model clearly; look for it with 'txray layers', and pass "
        "txray.Layer(name, through=...), or --layer"
    )


def _block(modules: Mapping[str, nn.Module], number: int) -> str | None:
    """Return the name of a block, if the model has exactly one list of blocks, outside of any other."""
    lists = [
        name
        for name, module in modules.items()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in _BLOCKS
    ]
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    if len(outer) != 1 or f"{outer[0]}.{number}" not in modules:
        return None
    return f"{outer[0]}.{number}"


def _is_doubtful(hook: str, block: str, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether a block normalizes the output of attention, which the candidate for it does not include."""
    return hook == "hook_attn_out" and f"{block}.post_feedforward_layernorm" in modules
