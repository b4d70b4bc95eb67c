"""Masks in the forward pass: the model runs as usual, but a layer returns other values for some of its neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from txray.capture.forward.compiled import require_observable, without_compiled_code
from txray.capture.forward.dry_runs import DryRuns
from txray.capture.forward.hooks import (
    VERBS,
    Part,
    Side,
    first_tensor,
    layer_names,
    matching_layers,
    modules_by_name,
    part_of,
    with_first_tensor,
)
from txray.capture.forward.layout import Layout
from txray.capture.hook_point import THROUGH
from txray.capture.layer import Layer
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.capture.selection import Selection
from txray.errors import CaptureError, UsageError
from txray.models.base_model import base_prefix, unwrapped
from txray.models.load import as_model
from txray.models.recurrent import RecurrentModel, RecurrentStack
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.pruning.ablation_values import AblationValues, BatchKeys
from txray.pruning.mask import Mask
from txray.pruning.recurrent import ablated_forward, output_size

_OUTPUTS = Selection("all")


@contextmanager
def masked(model: nn.Module | TextModel, *masks: Mask) -> Iterator[BatchKeys]:
    """Ablate neurons within a `with` block; afterwards the model is bit-identical to before.

    Everything that runs the model within the block sees the masked one: `txray.collect`, hooks, your own evaluation.
    Weights are not changed, and a mask without neurons has no effect. Within the block, run the model, but do not
    train, move or copy it: a masked recurrent layer computes with the weights that it had when the block began.
    Compiled code is disabled there, because it would ignore the mask.

    Args:
        model: a model of `txray.models`, a `TextModel`, or any module. In a bare module, the neurons of a layer must be
            the last axis of its output, unless it is a recurrent layer of torch. The number of calls of the layer per
            forward pass is unknown, so the mask acts on every call.
        masks: at most one per layer.

    Yields:
        The keys of the documents in the next forward pass, which `resample` depends on.

    Raises:
        UnknownNameError: unknown layer.
        UsageError: two masks of one layer, a neuron that does not exist, all neurons, a mask that this kind of layer
            does not support, or, in a model that txray can run, a module called several times per forward pass.
        CaptureError: a layer that is not called, has no activations per position, or is TorchScript.

    Example:
        >>> with masked(model, Mask("rnn", [3, 17])):  # doctest: +SKIP
        ...     stage = txray.collect(model, corpus)
    """
    layers = [mask.layer for mask in masks]
    for layer in layers:
        if layers.count(layer) > 1:
            raise UsageError(f"layer {layer!r} has {layers.count(layer)} masks; put all its neurons into one")
    batch_keys, model = BatchKeys(), as_model(model)
    with ExitStack() as stack:
        stack.enter_context(without_compiled_code())
        for mask in masks:
            target = MaskTarget.of(model, mask.layer)
            mask.require_within(target.n_neurons)
            if len(mask):
                stack.enter_context(target.ablated(mask, batch_keys))
        yield batch_keys


@dataclass(frozen=True, eq=False)
class MaskTarget:
    """A layer that can be masked.

    Attributes:
        layer: name of the layer, as requested.
        module: module of the layer.
        n_neurons: number of neurons in its output.
        layout: layout of its tensor; None for recurrent layers of torch and if unknown: the neurons are the last axis.
        head: head of a classifier that reads the final state of the layer.
        side: whether the input or the output of the module is masked.
        part: part of the output; None for its first tensor.
        width: number of elements per neuron: 1, or the size of an attention head if heads are the neurons.
    """

    layer: str
    module: nn.Module
    n_neurons: int
    layout: Layout | None = None
    head: nn.Module | None = None
    side: Side = "output"
    part: Part | None = None
    width: int = 1

    @classmethod
    def of(cls, model: nn.Module | TextModel, layer: str) -> MaskTarget:
        """Find a layer of a model.

        Args:
            model: any model.
            layer: name as in `txray.collect`; in a model with a head, also the name without it.

        Raises:
            UnknownNameError: unknown layer.
            UsageError: a module called several times per forward pass, or one that cannot be
                masked.
            CaptureError: the layer is not called, has no activations per position, or is TorchScript.
        """
        model = as_model(model)
        whole = unwrapped(model.module if isinstance(model, TextModel) else model)
        label = resolve_layer_name(whole, layer)
        modules = modules_by_name(whole)
        requested = Layer(label) if label in modules else Layer.parse(label)
        name = requested.name
        require_observable(modules, name, whole)
        module = modules[name]
        if isinstance(whole, RecurrentModel) and name.startswith("rnn."):
            raise UsageError(f"layer {layer!r}: only the last recurrent layer can be masked; pass 'rnn'")
        if requested.label != name:
            if isinstance(module, nn.RNNBase) and not requested.input:
                raise UsageError(
                    f"layer {layer!r}: a mask of a recurrent layer needs all of its output; pass {name!r}"
                )
            return cls._of_tensor(model, layer, module, requested)
        if isinstance(module, RecurrentStack):
            module = module.layers[-1]
        if isinstance(module, nn.RNNBase) and is_parametrized(module):
            raise UsageError(
                f"layer {layer!r}: its weights are parametrized, so its recurrence cannot be masked; remove the "
                "parametrizations first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        if isinstance(module, nn.RNNBase):
            if isinstance(model, TextModel):
                trace = DryRuns.of(adapter_for(model, outputs=False), []).first
                _require_single_call(layer, len(trace.all_calls(name)))
            head = whole.head if isinstance(whole, SentimentClassifier) else None
            return cls(layer, module, output_size(module), None, head)
        return cls._of_tensor(model, layer, module, requested)

    @classmethod
    def _of_tensor(
        cls, model: nn.Module | TextModel, layer: str, module: nn.Module, requested: Layer
    ) -> MaskTarget:
        """Return the input, the output or a part of the output of a module, which is no recurrent layer of torch."""
        if requested.expert is not None:
            raise UsageError(
                f"layer {layer!r}: the neurons of this expert are neither an input nor an output of a module, so they "
                f"cannot be masked; set the weights of down_proj[{requested.expert}] that read them to zero instead"
            )
        if isinstance(model, TextModel | RecurrentModel):
            (hook_point,) = hook_points_for(adapter_for(model, outputs=False), requested, _OUTPUTS)
            if hook_point.tap.stacked:
                raise UsageError(
                    f"layer {layer!r}: runs once per position, and masks cannot tell its calls apart; mask the layer "
                    "around it"
                )
            _require_single_call(layer, hook_point.tap.calls)
            if hook_point.tap.route is not None:
                whole = unwrapped(model.module if isinstance(model, TextModel) else model)
                names = [name for name, shared in modules_by_name(whole).items() if shared is module]
                if len(names) > 1:
                    raise UsageError(
                        f"layer {layer!r}: its module is shared by {len(names)} layers, such as {names[-1]!r}, and a "
                        "mask would act on all of them; mask another layer of the expert"
                    )
            tap, n_neurons = hook_point.tap, hook_point.n_neurons
            width = hook_point.layout.neurons // n_neurons
            return cls(layer, module, n_neurons, hook_point.layout, side=tap.side, part=tap.part, width=width)
        size: Any = getattr(module, "in_features" if requested.input else "out_features", None)
        if not isinstance(size, int) or requested.output is not None or requested.units == "head":
            raise UsageError(
                f"layer {layer!r}: the number of neurons of a {type(module).__name__} in a bare module is unknown; "
                "wrap the model in a txray.TextModel, or choose a linear or recurrent layer"
            )
        return cls(layer, module, size, side=requested.side)

    @contextmanager
    def ablated(self, mask: Mask, batch_keys: BatchKeys) -> Iterator[None]:
        """Ablate the neurons of a mask, which must exist, within a `with` block."""
        values, neurons = AblationValues(mask, batch_keys), list(mask.neurons)
        module = self.module
        if self.width > 1 and mask.ablation != "zero":
            raise UsageError(
                f"layer {self.layer!r}: ablation {mask.ablation!r} of attention heads, whose activations are norms; "
                "use the ablation zero, or mask their elements"
            )
        if mask.scope != "final-state" and self.recurrent is None:
            with self.transformed(self._ablation(neurons, values)):
                yield
            return
        if mask.scope == "final-state":
            module, forward = self._final_state_forward(neurons, values)
        else:
            assert self.recurrent is not None
            forward = ablated_forward(self.recurrent, neurons, values, self.layer)
        self._require_unmasked(module.__dict__.get("forward"))
        forward.ablates = True  # type: ignore[attr-defined]  # a function of ours
        with forward_replaced(module, forward):
            yield

    @contextmanager
    def transformed(self, transform: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Transform the tensor of the layer, with the neurons in its last axis, within a `with` block.

        The input of a module is replaced before other hooks see it, its output after the module has run.
        """

        def transform_checked(tensor: Tensor) -> Tensor:
            moved = tensor if self.layout is None else self.layout.neurons_last(tensor)
            if moved.shape[-1] != self.n_neurons * self.width:
                raise CaptureError(
                    f"layer {self.layer!r}: {VERBS[self.side]} {tuple(tensor.shape)}, which should have "
                    f"{self.n_neurons * self.width} neurons; it cannot be masked"
                )
            moved = transform(moved)
            return moved if self.layout is None else self.layout.neurons_back(moved)

        if self.side == "input":
            with self._input_transformed(transform_checked):
                yield
            return
        run = self.module.forward
        self._require_unmasked(self.module.__dict__.get("forward"))

        def forward(*inputs: Any, **named: Any) -> Any:
            return with_first_tensor(run(*inputs, **named), transform_checked, self.part)

        forward.ablates = True  # type: ignore[attr-defined]  # a function of ours
        with forward_replaced(self.module, forward):
            yield

    @contextmanager
    def _input_transformed(self, transform: Callable[[Tensor], Tensor]) -> Iterator[None]:
        for hook in self.module._forward_pre_hooks.values():
            self._require_unmasked(hook)

        def replace_input(module: nn.Module, inputs: Any, named: Any) -> Any:
            arguments = {**dict(enumerate(inputs)), **named}
            arguments = with_first_tensor(arguments, transform)
            positional = tuple(arguments[i] for i in range(len(inputs)))
            return positional, {name: arguments[name] for name in named}

        replace_input.ablates = True  # type: ignore[attr-defined]  # a function of ours
        with self.module.register_forward_pre_hook(replace_input, prepend=True, with_kwargs=True):
            yield

    @property
    def recurrent(self) -> nn.RNNBase | None:
        """Return the module if it is a recurrent layer of torch whose output is masked; otherwise None."""
        return self.module if isinstance(self.module, nn.RNNBase) and self.side == "output" else None

    def tensor_of(self, output: Any) -> Tensor | None:
        """Return the tensor of the module's output that is masked."""
        return first_tensor(output if self.part is None else part_of(output, self.part))

    def spread(self, values: Tensor) -> Tensor:
        """Return (n_neurons,) values as one value per element."""
        return values.repeat_interleave(self.width)

    def _require_unmasked(self, replaced: Any) -> None:
        if getattr(replaced, "ablates", False):
            raise UsageError(f"layer {self.layer!r}: already has a mask; put all its neurons into one")

    def _ablation(self, neurons: Sequence[int], values: AblationValues) -> Callable[[Tensor], Tensor]:
        elements = [neuron * self.width + i for neuron in neurons for i in range(self.width)]

        def ablate(output: Tensor) -> Tensor:
            ablated = output.clone()
            ablated[..., elements] = (
                self._resampled(output, values)
                if values.is_resampled
                else self.spread(values.constant(output))
            )
            return ablated

        return ablate

    def _resampled(self, output: Tensor, values: AblationValues) -> Tensor:
        """Return values for an output with the neurons in the last axis."""
        axes = self.layout.axes if self.layout else "batch-time-neurons"
        if axes == "flat" or output.dim() != 3:
            raise CaptureError(
                f"layer {self.layer!r}: returns {tuple(output.shape)}, which does not separate documents and "
                "positions, so its neurons cannot be resampled; use the ablation zero or mean"
            )
        if axes == "time-batch-neurons":
            return values.at(output.shape[1], output.shape[0], output).transpose(0, 1)
        return values.at(output.shape[0], output.shape[1], output)

    def _final_state_forward(
        self, neurons: Sequence[int], values: AblationValues
    ) -> tuple[nn.Module, Callable[..., Any]]:
        if self.head is None:
            raise UsageError(
                f"layer {self.layer!r}: scope 'final-state' needs the recurrent layer of a txray classifier, whose "
                "head reads that state; use scope='every-step'"
            )
        head, run = self.head, self.head.forward

        def forward(features: Tensor) -> Any:
            features = features.clone()
            # The head reads the final state first, then the other pooled states.
            value = values.at(len(features), 1, features)
            features[:, neurons] = value[:, 0] if value.dim() == 3 else value
            return run(features)

        return head, forward


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward pass of a module within a `with` block.

    This is not a hook: hooks on the module see the same values as everything after it, whenever they were registered.
    """
    previous = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if previous is None:
            del module.forward
        else:
            module.forward = previous


def _require_single_call(layer: str, calls: int | None) -> None:
    """Refuse a module that is called several times: a mask acts on every call, preferences are those of one."""
    if calls is not None and calls > 1:
        raise UsageError(
            f"layer {layer!r}: its module runs {calls} times in a forward pass, and a mask would act on every call; "
            "mask a layer that runs once, such as one that reads it or one that contains it"
        )


def resolve_layer_name(module: nn.Module, layer: str) -> str:
    """Return the full name of a layer; the base model within a model with a head has a prefix.

    Args:
        module: the model.
        layer: name in the model, in the model without its head, or as in a stage, with the number of the call.

    Raises:
        UnknownNameError: unknown layer.
        UsageError: a pattern that matches several layers.
    """
    prefixed = base_prefix(module) + layer
    names = set(layer_names(module))
    if layer not in names and prefixed not in names:
        if THROUGH in layer:
            raise UsageError(
                f"layer {layer!r}: its units are outputs of a module that is not part of the model, so a mask cannot "
                "act on them; mask neurons of the layer itself"
            )
        parsed = Layer.parse(layer)
        if parsed.name != layer:
            options = replace(parsed, call=None).label.removeprefix(parsed.name)
            return resolve_layer_name(module, parsed.name) + options
    if layer not in names and prefixed in names:
        return prefixed
    matches = matching_layers(module, [layer])
    if len(matches) > 1:
        raise UsageError(
            f"layer {layer!r} matches {len(matches)} layers, such as {matches[0]!r}; a mask applies to one: name it"
        )
    return matches[0]
