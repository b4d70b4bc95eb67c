"""Transformers without pruned neurons: fewer rows and columns of the MLPs, and fewer heads where a model allows it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from txray.capture.layer import Layer
from txray.errors import UsageError
from txray.models.base_model import base_prefix
from txray.models.text_model import TextModel
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget, resolve_layer_name


@dataclass(frozen=True)
class _Family:
    """Where a type of transformer has the weights of its blocks.

    Attributes:
        block: pattern of the name of a block in the base model.
        up: modules of a block whose outputs are the MLP neurons before the activation function, or their factors.
        down: module that reads the MLP neurons.
        activations: modules whose outputs are the MLP neurons, and values of ablated ones may be any constant.
        size: entry of the configuration: the number of MLP neurons.
        attention: the projections of queries, keys, values and output; empty if heads cannot be removed.
    """

    block: str
    up: tuple[str, ...]
    down: str
    activations: tuple[str, ...]
    size: str = "intermediate_size"
    attention: tuple[str, ...] = ()


_BERT = _Family(
    r"encoder\.layer\.\d+",
    ("intermediate.dense",),
    "output.dense",
    ("intermediate", "intermediate.intermediate_act_fn"),
)
_GPT2 = _Family(r"h\.\d+", ("mlp.c_fc",), "mlp.c_proj", ("mlp.act",), "n_inner")
_LLAMA = _Family(
    r"layers\.\d+",
    ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj",
    (),
    attention=tuple(f"self_attn.{name}_proj" for name in "qkvo"),
)
_FAMILIES: Mapping[str, _Family] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "gpt2": _GPT2,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}


@dataclass(eq=False)
class _Removed:
    """Units that are removed from one block: MLP neurons with the constants that replace them, and heads."""

    neurons: dict[int, float] = field(default_factory=dict)
    heads: set[int] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class SmallerTransformer:
    """A smaller model, and what a user should know about it.

    Attributes:
        module: module of the same class.
        notes: sentences about what could not be made smaller.
    """

    module: nn.Module
    notes: tuple[str, ...]


def smaller_transformer(model: TextModel, masks: Sequence[Mask]) -> SmallerTransformer:
    """Return a smaller transformer with the same outputs as the masked one, up to rounding.

    All blocks have the size that the configuration names. If the masks leave more neurons in some blocks than in
    others, those with fewer are padded with zeros to the largest number, which a note says.

    Args:
        model: BERT-, GPT-2- or Llama-type model of transformers, as a text model; it is not changed.
        masks: masks of MLP neurons, with the ablation `zero` (or `mean` if the next layer has biases), and of
            attention heads if the configuration names their size, as in Llama; at most one per layer.

    Raises:
        UsageError: another type of model, layer or mask, a neuron that does not exist, or no neuron is left.
    """
    module: Any = model.module
    config = copy.deepcopy(module.config)
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise UsageError(
            f"export: models of type {config.model_type!r} cannot be made smaller; only {', '.join(_FAMILIES)}; export "
            "a mask instead (--set ... --out mask.json)"
        )
    surgery = _Surgery(model, family)
    surgery.plan(masks)
    state = dict(module.state_dict())
    notes = [*surgery.cut_neurons(state, config), *surgery.cut_heads(state, config)]
    with torch.random.fork_rng(devices=[]):
        smaller = type(module)._from_config(config, dtype=next(module.parameters()).dtype)
    smaller.load_state_dict(state)
    return SmallerTransformer(smaller.eval(), tuple(notes))


class _Surgery:
    """Cuts the weights of one model."""

    def __init__(self, model: TextModel, family: _Family) -> None:
        self._model, self._family = model, family
        self._module: Any = model.module
        self._modules = dict(self._module.named_modules())
        block = re.compile(re.escape(base_prefix(self._module)) + family.block)
        self._removed = {name: _Removed() for name in self._modules if block.fullmatch(name)}

    def plan(self, masks: Sequence[Mask]) -> None:
        """Sort the masked neurons into blocks."""
        for mask in masks:
            if mask.ablation == "resample":
                raise UsageError(
                    f"export: the mask of layer {mask.layer!r} has the ablation 'resample', which is not constant; "
                    "use zero"
                )
            mask.require_within(MaskTarget.of(self._model, mask.layer).n_neurons)
            layer = Layer.parse(resolve_layer_name(self._module, mask.layer))
            block = next((name for name in self._removed if layer.name.startswith(f"{name}.")), None)
            part = "" if block is None else layer.name.removeprefix(f"{block}.")
            family = self._family
            if block is None or part not in (
                family.down, *family.up, *family.activations, *family.attention[-1:]
            ) or layer.input != (part in (family.down, *family.attention[-1:])):  # fmt: skip
                raise self._not_removable(mask)
            if part in family.attention[-1:]:
                if layer.units != "head":
                    raise self._not_removable(mask)
                self._removed[block].heads.update(mask.neurons)
                continue
            if part in family.up:
                self._require_zero_stays_zero(mask, block)
            values = [0.0] * len(mask) if mask.values is None else mask.values.tolist()
            self._removed[block].neurons.update(zip(mask.neurons, values, strict=True))

    def _not_removable(self, mask: Mask) -> UsageError:
        family = self._family
        block = next(iter(self._removed), "block").removeprefix(base_prefix(self._module))
        options = f"its MLP neurons, {block}.{family.down}:input"
        if family.attention:
            options += f", and its attention heads, {block}.{family.attention[-1]}:input:head"
        return UsageError(
            f"export: units of layer {mask.layer!r} cannot be removed from a model of type "
            f"{self._module.config.model_type!r}; only {options}"
        )

    def _require_zero_stays_zero(self, mask: Mask, block: str) -> None:
        """Refuse a mask before an activation function, unless 0 there is 0 after it."""
        if mask.ablation != "zero":
            raise UsageError(
                f"export: the mask of layer {mask.layer!r} has the ablation {mask.ablation!r} before the activation "
                f"function; mask {block}.{self._family.down}:input"
            )
        config = self._module.config
        name = getattr(config, "hidden_act", None) or getattr(config, "activation_function", "")
        from transformers.activations import ACT2FN

        if float(ACT2FN[name](torch.zeros(1))) != 0:
            raise UsageError(
                f"export: activation function {name!r} of 0 is not 0; mask the activations after it"
            )

    def cut_neurons(self, state: dict[str, Tensor], config: Any) -> Iterator[str]:
        """Cut the MLPs in place; yield notes."""
        if not any(removed.neurons for removed in self._removed.values()):
            return
        family = self._family
        remaining = {}
        for block, removed in self._removed.items():
            n_neurons = self._size(f"{block}.{family.down}", 1)
            if len(removed.neurons) >= n_neurons:
                raise UsageError(
                    f"export: all {n_neurons} MLP neurons of {block} would be removed; leave at least one"
                )
            remaining[block] = [i for i in range(n_neurons) if i not in removed.neurons]
        width = max(map(len, remaining.values()))
        for block, neurons in remaining.items():
            for name in family.up:
                self._cut(state, f"{block}.{name}", 0, neurons, width)
            self._fold_constants(state, block)
            self._cut(state, f"{block}.{family.down}", 1, neurons, width)
        setattr(config, family.size, width)
        padded = sum(width - len(neurons) for neurons in remaining.values())
        if padded:
            yield (
                f"the configuration of a {config.model_type} has one number of MLP neurons for all blocks: each has "
                f"{width:,}, and {padded:,} of the pruned ones remain as zeros"
            )

    def _fold_constants(self, state: dict[str, Tensor], block: str) -> None:
        """Add the constants of removed neurons to the bias of the layer that reads them, in place."""
        constants = {neuron: value for neuron, value in self._removed[block].neurons.items() if value}
        if not constants:
            return
        down = f"{block}.{self._family.down}"
        if f"{down}.bias" not in state:
            raise UsageError(
                f"export: {down} has no biases, which would hold the means of removed neurons; ablate zero"
            )
        weight = state[f"{down}.weight"]
        matrix = weight.T if self._is_transposed(down) else weight
        values = torch.tensor(list(constants.values()), dtype=torch.float64)
        shift = matrix[:, list(constants)].double() @ values
        state[f"{down}.bias"] = (state[f"{down}.bias"].double() + shift).to(weight.dtype)

    def cut_heads(self, state: dict[str, Tensor], config: Any) -> Iterator[str]:
        """Cut the attentions in place; yield notes."""
        if not any(removed.heads for removed in self._removed.values()):
            return
        n_heads, size = config.num_attention_heads, self._head_size(config)
        n_groups = getattr(config, "num_key_value_heads", None) or n_heads
        per_group = n_heads // n_groups
        query, key, value, output = self._family.attention
        groups: dict[str, list[int]] = {}
        zeroed = 0
        for block, removed in self._removed.items():
            # Queries share keys and values in groups; a group goes as a whole.
            groups[block] = [
                group
                for group in range(n_groups)
                if not removed.heads.issuperset(range(group * per_group, (group + 1) * per_group))
            ]
            if not groups[block]:
                raise UsageError(
                    f"export: all {n_heads} attention heads of {block} would be removed; leave at least one"
                )
            partial = [head for head in removed.heads if head // per_group in groups[block]]
            zeroed += len(partial)
            columns = [head * size + i for head in partial for i in range(size)]
            weight = state[f"{block}.{output}.weight"].clone()
            weight[:, columns] = 0
            state[f"{block}.{output}.weight"] = weight
        width = max(map(len, groups.values()))
        while config.hidden_size % (width * per_group):  # transformers refuses other numbers of heads
            width += 1
        zeroed += sum((width - len(remaining)) * per_group for remaining in groups.values())
        for block, remaining in groups.items():
            keys = [group * size + i for group in remaining for i in range(size)]
            queries = [group * per_group * size + i for group in remaining for i in range(per_group * size)]
            self._cut(state, f"{block}.{query}", 0, queries, width * per_group * size)
            self._cut(state, f"{block}.{key}", 0, keys, width * size)
            self._cut(state, f"{block}.{value}", 0, keys, width * size)
            self._cut(state, f"{block}.{output}", 1, queries, width * per_group * size)
        config.num_attention_heads, config.num_key_value_heads = width * per_group, width
        config.head_dim = size
        if zeroed:
            yield (
                f"all blocks have {width * per_group} attention heads, a divisor of the hidden size, and queries share "
                f"keys in groups of {per_group}: {zeroed} of the pruned heads remain as zeros"
            )

    def _head_size(self, config: Any) -> int:
        return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)

    def _is_transposed(self, name: str) -> bool:
        return type(self._modules[name]).__name__ == "Conv1D"

    def _size(self, name: str, axis: int) -> int:
        """Return the number of outputs (axis 0) or inputs (axis 1) of a linear layer."""
        weight: Any = self._modules[name].weight
        return int(weight.shape[1 - axis if self._is_transposed(name) else axis])

    def _cut(self, state: dict[str, Tensor], name: str, axis: int, remaining: list[int], width: int) -> None:
        """Keep some outputs (axis 0) or inputs (axis 1) of a linear layer in place, followed by zeros."""
        entries = [(f"{name}.weight", 1 - axis if self._is_transposed(name) else axis)]
        if axis == 0 and f"{name}.bias" in state:
            entries.append((f"{name}.bias", 0))
        for entry, dim in entries:
            cut = state[entry].index_select(dim, torch.tensor(remaining))
            shape = list(cut.shape)
            shape[dim] = width - len(remaining)
            state[entry] = torch.cat((cut, cut.new_zeros(shape)), dim=dim)
