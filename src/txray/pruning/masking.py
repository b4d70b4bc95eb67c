"""Masks in the forward pass: the model runs as usual, but a layer returns other values for some of its neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from txray.capture.compiled import require_observable, without_compiled_code
from txray.capture.dry_runs import DryRuns
from txray.capture.hooks import layer_names, matching_layers, modules_by_name, with_first_tensor
from txray.capture.layers import Layer, hook_points_for
from txray.capture.layout import Layout
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
        layout: layout of its output; None for recurrent layers of torch and if unknown: the neurons are the last axis.
        head: head of a classifier that reads the final state of the layer.
    """

    layer: str
    module: nn.Module
    n_neurons: int
    layout: Layout | None = None
    head: nn.Module | None = None

    @classmethod
    def of(cls, model: nn.Module | TextModel, layer: str) -> MaskTarget:
        """Find a layer of a model.

        Args:
            model: any model.
            layer: name as in `txray.collect`; in a model with a head, also the name without it.

        Raises:
            UnknownNameError: unknown layer.
            UsageError: the input of a module, a module called several times per forward pass, or one that cannot be
                masked.
            CaptureError: the layer is not called, has no activations per position, or is TorchScript.
        """
        model = as_model(model)
        whole = unwrapped(model.module if isinstance(model, TextModel) else model)
        name = resolve_layer_name(whole, layer)
        modules = modules_by_name(whole)
        require_observable(modules, name, whole)
        module = modules[name]
        if isinstance(whole, RecurrentModel) and name.startswith("rnn."):
            raise UsageError(f"layer {layer!r}: only the last recurrent layer can be masked; pass 'rnn'")
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
        if isinstance(model, TextModel | RecurrentModel):
            (hook_point,) = hook_points_for(adapter_for(model, outputs=False), [name], _OUTPUTS)
            _require_single_call(layer, hook_point.tap.calls)
            return cls(layer, module, hook_point.layout.neurons, hook_point.layout)
        n_neurons = getattr(module, "out_features", None)
        if not isinstance(n_neurons, int):
            raise UsageError(
                f"layer {layer!r}: the number of neurons of a {type(module).__name__} in a bare module is unknown; "
                "wrap the model in a txray.TextModel, or choose a linear or recurrent layer"
            )
        return cls(layer, module, n_neurons)

    @contextmanager
    def ablated(self, mask: Mask, batch_keys: BatchKeys) -> Iterator[None]:
        """Ablate the neurons of a mask, which must exist, within a `with` block."""
        values, neurons = AblationValues(mask, batch_keys), list(mask.neurons)
        module = self.module
        if mask.scope == "final-state":
            module, forward = self._final_state_forward(neurons, values)
        elif isinstance(module, nn.RNNBase):
            forward = ablated_forward(module, neurons, values, self.layer)
        else:
            forward = self._output_forward(neurons, values)
        if getattr(module.__dict__.get("forward"), "ablates", False):
            raise UsageError(f"layer {self.layer!r}: already has a mask; put all its neurons into one")
        forward.ablates = True  # type: ignore[attr-defined]  # a function of ours
        with forward_replaced(module, forward):
            yield

    def transformed_forward(self, transform: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
        """Return the layer's forward pass with its output transformed, the neurons in its last axis."""
        run, axis = self.module.forward, -1 if self.layout is None else self.layout.neuron_axis

        def transform_checked(output: Tensor) -> Tensor:
            if output.shape[axis] != self.n_neurons:
                raise CaptureError(
                    f"layer {self.layer!r}: returned {tuple(output.shape)}, but axis {axis} should have "
                    f"{self.n_neurons} neurons; it cannot be masked"
                )
            return transform(output.movedim(axis, -1)).movedim(-1, axis)

        return lambda *inputs, **named: with_first_tensor(run(*inputs, **named), transform_checked)

    def _output_forward(self, neurons: Sequence[int], values: AblationValues) -> Callable[..., Any]:
        def ablate(output: Tensor) -> Tensor:
            ablated = output.clone()
            ablated[..., neurons] = (
                self._resampled(output, values) if values.is_resampled else values.constant(output)
            )
            return ablated

        return self.transformed_forward(ablate)

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
        UsageError: a pattern that matches several layers, or the input of a module.
    """
    prefixed = base_prefix(module) + layer
    names = set(layer_names(module))
    if layer not in names and prefixed not in names:
        parsed = Layer.parse(layer)
        if parsed.input:
            raise UsageError(
                f"layer {layer!r}: a mask applies to the output of a module, not to its input; name the output"
            )
        layer, prefixed = parsed.name, base_prefix(module) + parsed.name
    if layer not in names and prefixed in names:
        return prefixed
    matches = matching_layers(module, [layer])
    if len(matches) > 1:
        raise UsageError(
            f"layer {layer!r} matches {len(matches)} layers, such as {matches[0]!r}; a mask applies to one: name it"
        )
    return matches[0]
