"""The layers of a transformer that are worth collecting, recognized by how values flow between its modules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from txray.capture.experts.fused import Experts, experts_in, uncomputable
from txray.capture.forward.compiled import is_observable
from txray.capture.forward.heads import n_heads
from txray.capture.forward.hooks import evaluating, first_tensor, modules_by_name, with_first_tensor
from txray.capture.layer import Layer
from txray.capture.model_adapter import ModelAdapter, adapter_for
from txray.layer_patterns import matching_names
from txray.models.base_model import is_adapted
from txray.models.text_model import TextModel

Role = Literal[
    "MLP neurons", "expert neurons", "attention heads", "mixer neurons", "residual stream", "embeddings"
]
"""What the units of a layer are; mixer neurons combine positions without heads, as in a state-space model."""

_ROLES = get_args(Role)

_DOCUMENTS, _STEPS = 2, 11


@dataclass(frozen=True)
class LayerRole:
    """Layers of one role.

    Attributes:
        role: what their units are.
        pattern: pattern to collect them by, such as `layers.*.mlp.down_proj:input`.
        layers: their names, with options, such as `layers.0.mlp.down_proj:input`.
        neurons: number of units of each.
    """

    role: Role
    pattern: str
    layers: tuple[str, ...]
    neurons: int


def layer_roles(model: nn.Module | TextModel) -> list[LayerRole]:
    """Return the MLP neurons, neurons of experts, attention heads, residual stream and embeddings of a transformer.

    They are found by one dry run, whatever the modules are called. MLP neurons are the input of the last projection of
    a feed-forward part, attention heads that of the output projection of an attention: both project to the size of the
    residual stream, but only attention combines several positions. The residual stream is the output of the blocks.
    The neurons of experts whose weights one module holds are found by the form of the weights, and are listed only if
    they can be computed; experts that are modules of their own run on a part of the positions, and are not listed.

    Args:
        model: as for `txray.collect`.

    Returns:
        The layers, grouped by patterns; empty if the model has no blocks.

    Raises:
        UsageError: txray does not know how this type of model reads text.
        CaptureError: the model fails.

    Example:
        >>> module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
        >>> model = TextModel(module, encode=lambda words: [len(word) % 9 for word in words])
        >>> [(role.role, role.pattern, role.neurons) for role in layer_roles(model)]
        [('embeddings', '0', 4)]
    """
    adapter = adapter_for(model, outputs=False)
    modules = modules_by_name(adapter.module)
    flow = _Flow(modules)
    with evaluating(adapter.module, adapter.autocast), torch.enable_grad(), flow.recorded():
        adapter.dry_run(_DOCUMENTS, _STEPS)
        labels: dict[tuple[Role, int], dict[str, None]] = {}
        for role, layer, neurons in flow.roles(adapter.module):
            labels.setdefault((role, neurons), {})[layer.label] = None  # once, however often it runs
    fused = _fused_experts(adapter, modules)
    for name, experts in fused.items():
        labels.setdefault(("expert neurons", experts.neurons), {})[Layer(name, expert="*").label] = None
    names = list(modules)
    return [
        LayerRole(
            role, pattern, tuple(single for label in layers for single in _singles(label, fused)), neurons
        )
        for (role, neurons), of_role in sorted(labels.items(), key=lambda item: _ROLES.index(item[0][0]))
        for pattern, layers in _by_pattern(list(of_role), names)
    ]


def _fused_experts(adapter: ModelAdapter, modules: Mapping[str, nn.Module]) -> dict[str, Experts]:
    """Return the modules that hold the weights of experts whose neurons can be computed."""
    experts = {
        name: of_module for name, module in modules.items() if (of_module := experts_in(module)) is not None
    }
    if not experts:
        return {}
    problems = uncomputable(adapter, {name: modules[name] for name in experts})
    return {name: of_module for name, of_module in experts.items() if name not in problems}


def _singles(label: str, fused: Mapping[str, Experts]) -> list[str]:
    """Return the layers that a label stands for: itself, or every expert of a module."""
    layer = Layer.parse(label)
    if layer.expert is None:
        return [label]
    return [replace(layer, expert=number).label for number in range(fused[layer.name].number)]


@dataclass(eq=False)
class _Run:
    """One call of a projection or a block: its input, and its output with its graph."""

    name: str
    block: str | None
    input: Tensor
    output: Tensor


@dataclass(eq=False)
class _Flow:
    """Records projections and blocks in a forward pass, with the graph of their values within each block."""

    modules: dict[str, nn.Module]
    projections: list[_Run] = field(default_factory=list)
    blocks: dict[str, _Run] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the runs inside the block."""
        # A layer with an adapter is one projection, as it is without.
        seen = {
            part
            for module in self.modules.values()
            if is_adapted(module)
            for part in module.modules()
            if part is not module
        }
        with ExitStack() as hooks:
            for name, module in self.modules.items():
                if module in seen or not is_observable(module):
                    continue
                seen.add(module)
                self._watch(hooks, name, module)
            yield

    def _watch(self, hooks: ExitStack, name: str, module: nn.Module) -> None:
        numbered = isinstance(self.modules.get(name.rpartition(".")[0]), nn.ModuleList | nn.Sequential)
        inputs: list[Tensor | None] = []

        def begin(module: nn.Module, arguments: Any, named: Any) -> Any:
            given = {**dict(enumerate(arguments)), **named}
            tensor = first_tensor(given)
            inputs.append(tensor)
            if not numbered or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                return None
            if not any(name.startswith(f"{outer}.") for outer in self._running):
                # The graph of a block begins at its input, even if no weight has a gradient.
                given = with_first_tensor(given, lambda hidden: hidden.detach().requires_grad_())
                self._running.append(name)
            return tuple(given[i] for i in range(len(arguments))), {key: given[key] for key in named}

        def end(module: nn.Module, arguments: Any, output: Any) -> Any:
            tensor, result = inputs.pop() if inputs else None, first_tensor(output)
            if self._running and self._running[-1] == name:
                self._running.pop()
            if tensor is None or result is None or not result.is_floating_point():
                return None
            block = self._running[0] if self._running else None
            if not tensor.is_floating_point():
                by_id = block is None and result.dim() == 3 and tensor.shape == result.shape[:2]
                if by_id and not torch.equal(result[0], result[-1]):  # those of positions are the same
                    self.embeddings[name] = result
            elif numbered and block is None and tensor.shape == result.shape:
                self.blocks[name] = _Run(name, None, tensor, result)
            elif _is_projection(module, tensor, result):
                self.projections.append(_Run(name, block, tensor, result))
                # The model may change a copy in place, but the graph needs the output as it was.
                return with_first_tensor(output, torch.clone)
            return None

        hooks.enter_context(module.register_forward_pre_hook(begin, with_kwargs=True))
        hooks.enter_context(module.register_forward_hook(end))

    def roles(self, root: nn.Module) -> Iterator[tuple[Role, Layer, int]]:
        """Yield the role, the layer and the number of units of each layer that has a role."""
        blocks = {
            name: run
            for name, run in self.blocks.items()
            if any(projection.block == name for projection in self.projections)
        }
        layers_of: dict[Role, list[tuple[Layer, int]]] = {
            "MLP neurons": [],
            "attention heads": [],
            "mixer neurons": [],
        }
        for name, block in blocks.items():
            runs = [run for run in self.projections if run.block == name]
            for run, role in _roles_of_projections(runs, block.output.shape[-1]):
                size = run.input.shape[-1]
                heads = n_heads(self.modules, root, run.name, size) if role == "attention heads" else None
                layer = Layer(run.name, input=True, units="element" if heads is None else "head")
                if role == "attention heads" and heads is None:
                    role = "mixer neurons"
                layers_of[role].append((layer, heads or size))
        layers_of["residual stream"] = [
            (Layer(name), block.output.shape[-1]) for name, block in blocks.items()
        ]
        embeddings = {
            name: output
            for name, output in self.embeddings.items()
            if not any(block.startswith(f"{name}.") for block in blocks)
        }
        layers_of["embeddings"] = [
            (Layer(name), output.shape[-1])
            for name, output in embeddings.items()
            if not any(name.startswith(f"{outer}.") for outer in embeddings)
        ]
        for role, layers in layers_of.items():
            for layer, size in layers:
                yield role, layer, size


def _is_projection(module: nn.Module, tensor: Tensor, output: Tensor) -> bool:
    """Return whether a module without parts multiplies its input by a matrix."""
    weight = getattr(module, "weight", None)
    return (
        (is_adapted(module) or not any(True for _ in module.children()))
        and isinstance(weight, Tensor)
        and tensor.dim() == output.dim() >= 2
        and tensor.shape[:-1] == output.shape[:-1]
        and (weight.dim() == 2 or not weight.is_floating_point())
    )


def _roles_of_projections(runs: Sequence[_Run], size: int) -> Iterator[tuple[_Run, Role]]:
    """Yield the projections of a block to the residual stream, `size` wide, whose inputs have a role."""
    assigned: list[_Run] = []
    for number, run in enumerate(runs):
        if run.output.shape[-1] != size or not run.input.requires_grad:
            continue
        sources = _sources(run, runs[:number])
        after = max((i for i, (other, _) in enumerate(sources) if other in assigned), default=-1) + 1
        if after == len(sources):
            continue  # the first projection of its part
        assigned.append(run)
        # Queries and gates act at their own position, but an attention has at least one source that does not.
        mixes = any(combines for _, combines in sources[after:])
        yield run, "attention heads" if mixes else "MLP neurons"


def _sources(run: _Run, earlier: Sequence[_Run]) -> list[tuple[_Run, bool]]:
    """Return the projections that the input of another depends on, and whether it combines their positions."""
    earlier = [other for other in earlier if other.output.requires_grad]
    if not earlier:
        return []
    inputs = run.input
    if inputs.dim() > 2:  # documents first, or time
        inputs = inputs[:, 0] if inputs.shape[0] != _DOCUMENTS == inputs.shape[1] else inputs[0]
    # The last positions, because the first ones of a causal model do not see all of the text; the first of them at
    # which the activation function is not zero everywhere.
    for position in range(-1, -4, -1):
        if sources := _sources_at(inputs[position], earlier):
            return sources
    return []


def _sources_at(values: Tensor, earlier: Sequence[_Run]) -> list[tuple[_Run, bool]]:
    """Return the projections that the input of another at one position depends on."""
    weights = torch.linspace(0.5, 1.5, values.numel(), dtype=values.dtype, device=values.device)
    try:
        gradients = torch.autograd.grad(
            (values.flatten() * weights).sum(),
            [other.output for other in earlier],
            retain_graph=True,
            allow_unused=True,
        )
    except RuntimeError:  # an operation without a gradient
        return []
    sources = []
    for other, gradient in zip(earlier, gradients, strict=True):
        if gradient is not None and bool((gradient != 0).any()):
            positions = (gradient.flatten(0, -2) != 0).any(dim=1)
            sources.append((other, bool(positions.sum() > 1)))
    return sources


def _by_pattern(labels: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield patterns, and the labels that each matches: numbers become `*` if nothing else matches."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(re.sub(r"(?<=\.)\d+(?=[.:]|$)|^\d+(?=[.:]|$)", "*", label), []).append(label)
    for pattern, group in groups.items():
        matched = set(matching_names(Layer.parse(pattern).name, names))
        if len(group) > 1 and matched == {Layer.parse(label).name for label in group}:
            yield pattern, group
        else:
            yield from ((label, [label]) for label in group)
