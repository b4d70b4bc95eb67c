"""Masks in the real forward pass: the model runs as ever, and a layer gives something else while the mask is on."""

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
from txray.models.recurrent import RecurrentModel, RecurrentStack
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.pruning.held import Documents, Held
from txray.pruning.mask import Mask
from txray.pruning.recurrent import neurons_of, silenced

_OUTPUTS = Selection("all")


@contextmanager
def masked(model: nn.Module | TextModel, *masks: Mask) -> Iterator[Documents]:
    """Silence neurons while the block runs; afterwards the model is what it was, to the bit.

    Everything that applies the model within the block sees the masked one: `txray.collect`, hooks, your own evaluation.
    Nothing happens to weights; a mask without neurons changes nothing at all. The model is to be applied, not trained,
    moved or copied there: a masked recurrent layer computes with the weights that it had when the block began. Compiled
    code does not run there, because it would go on without the mask.

    Args:
        model: a model of `txray.models`, a `TextModel`, or any module; of a bare module, the neurons of a layer must
            be the last axis of its output, unless it is one of torch's recurrent layers; how often it runs in a forward
            pass is not known, and the mask acts on every call.
        masks: at most one per layer.

    Yields:
        What may be told which documents a forward pass reads, for `resample`.

    Raises:
        UnknownNameError: no such layer.
        UsageError: two masks of a layer, a neuron that does not exist, all neurons, or a mask that this kind of layer
            cannot have; of a model that txray can run, a module that runs several times in a forward pass.
        CaptureError: a layer that does not run, has no activations per position, or is TorchScript.
    """
    layers = [mask.layer for mask in masks]
    for layer in layers:
        if layers.count(layer) > 1:
            raise UsageError(f"layer {layer!r} has {layers.count(layer)} masks; put all its neurons into one")
    documents = Documents()
    with ExitStack() as stack:
        stack.enter_context(without_compiled_code())
        for mask in masks:
            target = Target.of(model, mask.layer)
            mask.require_within(target.n_neurons)
            if len(mask):
                stack.enter_context(target.replaced(mask, documents))
        yield documents


@dataclass(frozen=True, eq=False)
class Target:
    """A layer that can be masked.

    Attributes:
        layer: as it was asked for.
        module: of the model.
        n_neurons: that it gives.
        layout: of its output; None for torch's recurrent layers, and where it is not known: neurons come last.
        head: of a classifier, which reads the layer's state at the end.
    """

    layer: str
    module: nn.Module
    n_neurons: int
    layout: Layout | None = None
    head: nn.Module | None = None

    @classmethod
    def of(cls, model: nn.Module | TextModel, layer: str) -> Target:
        """The layer of this name.

        Args:
            model: any.
            layer: a name as `txray.collect` knows it; for a model with a head also as without.

        Raises:
            UnknownNameError: no such layer.
            UsageError: what the module is given, a module that runs several times in a forward pass, or one that
                cannot be masked.
            CaptureError: it does not run, has no activations per position, or is TorchScript.
        """
        whole = unwrapped(model.module if isinstance(model, TextModel) else model)
        name = resolved(whole, layer)
        modules = modules_by_name(whole)
        require_observable(modules, name, whole)
        module = modules[name]
        if isinstance(whole, RecurrentModel) and name.startswith("rnn."):
            raise UsageError(f"layer {layer!r}: masks are of the last recurrent layer; name it 'rnn'")
        if isinstance(module, RecurrentStack):
            module = module.layers[-1]
        if isinstance(module, nn.RNNBase) and is_parametrized(module):
            raise UsageError(
                f"layer {layer!r}: its weights are parametrized, so it cannot be masked inside; remove the "
                "parametrizations first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        if isinstance(module, nn.RNNBase):
            if isinstance(model, TextModel):
                trace = DryRuns.of(adapter_for(model, outputs=False), []).first
                _require_single_call(layer, len(trace.all_calls(name)))
            head = whole.head if isinstance(whole, SentimentClassifier) else None
            return cls(layer, module, neurons_of(module), None, head)
        if isinstance(model, TextModel | RecurrentModel):
            (hook_point,) = hook_points_for(adapter_for(model, outputs=False), [name], _OUTPUTS)
            _require_single_call(layer, hook_point.tap.calls)
            return cls(layer, module, hook_point.layout.neurons, hook_point.layout)
        n_neurons = getattr(module, "out_features", None)
        if not isinstance(n_neurons, int):
            raise UsageError(
                f"layer {layer!r}: of a bare module, nobody knows how many neurons a {type(module).__name__} gives; "
                "wrap the model in a txray.TextModel, or name a linear or recurrent layer"
            )
        return cls(layer, module, n_neurons)

    @property
    def neuron_axis(self) -> int:
        """Of its output."""
        return -1 if self.layout is None else self.layout.neuron_axis

    @contextmanager
    def replaced(self, mask: Mask, documents: Documents) -> Iterator[None]:
        """The layer gives something else for some of its neurons while the block runs.

        Args:
            mask: of neurons that exist.
            documents: that forward passes read.
        """
        held, neurons = Held(mask, documents), list(mask.neurons)
        module = self.module
        if mask.when == "final-state":
            module, forward = self._final_state(neurons, held)
        elif isinstance(module, nn.RNNBase):
            forward = silenced(module, neurons, held, self.layer)
        else:
            forward = self._outputs_replaced(neurons, held)
        if getattr(module.__dict__.get("forward"), "silences", False):
            raise UsageError(f"layer {self.layer!r}: has a mask already; put all its neurons into one")
        forward.silences = True  # type: ignore[attr-defined]  # a function of ours
        with running(module, forward):
            yield

    def changed(self, change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
        """The layer's forward pass with its output changed.

        Args:
            change: an output, neurons last -> the same with other values.
        """
        run, axis = self.module.forward, self.neuron_axis

        def checked(output: Tensor) -> Tensor:
            if output.shape[axis] != self.n_neurons:
                raise CaptureError(
                    f"layer {self.layer!r}: gave {tuple(output.shape)} where {self.n_neurons} neurons were expected on "
                    f"axis {axis}; its neurons cannot be told apart"
                )
            return change(output.movedim(axis, -1)).movedim(-1, axis)

        return lambda *inputs, **named: with_first_tensor(run(*inputs, **named), checked)

    def _outputs_replaced(self, neurons: Sequence[int], held: Held) -> Callable[..., Any]:
        def change(output: Tensor) -> Tensor:
            replaced = output.clone()
            replaced[..., neurons] = self._drawn(output, held) if held.drawn else held.constant(output)
            return replaced

        return self.changed(change)

    def _drawn(self, output: Tensor, held: Held) -> Tensor:
        """Values for an output whose neurons come last."""
        axes = self.layout.axes if self.layout else "batch-time-neurons"
        if axes == "flat" or output.dim() != 3:
            raise CaptureError(
                f"layer {self.layer!r}: gives {tuple(output.shape)}, in which documents cannot be told from "
                "positions, so its neurons cannot be resampled; use the ablation zero or mean"
            )
        if axes == "time-batch-neurons":
            return held.at(output.shape[1], output.shape[0], output).transpose(0, 1)
        return held.at(output.shape[0], output.shape[1], output)

    def _final_state(self, neurons: Sequence[int], held: Held) -> tuple[nn.Module, Callable[..., Any]]:
        if self.head is None:
            raise UsageError(
                f"layer {self.layer!r}: a mask of the final state is for the recurrent layer of txray's classifiers, "
                "whose head reads that state; use when='every-step'"
            )
        head, run = self.head, self.head.forward

        def forward(features: Tensor) -> Any:
            features = features.clone()
            # The state at the end comes first, whatever else the head reads.
            value = held.at(len(features), 1, features)
            features[:, neurons] = value[:, 0] if value.dim() == 3 else value
            return run(features)

        return head, forward


@contextmanager
def running(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """A module computes something else while the block runs.

    Not a hook: hooks that look at the module see what everything after it sees, whenever they were put there.

    Args:
        module: of a model.
        forward: in the place of its own.
    """
    former = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if former is None:
            del module.forward
        else:
            module.forward = former


def _require_single_call(layer: str, calls: int | None) -> None:
    """Refuse a module that runs several times: a mask acts on all of its calls, preferences are those of one."""
    if calls is not None and calls > 1:
        raise UsageError(
            f"layer {layer!r}: its module runs {calls} times in a forward pass, and a mask would act on every call; "
            "mask a layer that runs once, such as one that reads it or the one around it"
        )


def resolved(module: nn.Module, layer: str) -> str:
    """Return the name of a layer within a model; models with a head hold the one without under a name of its own.

    Args:
        module: the model.
        layer: a name, as of the model or as of the part without its head; as stages have it, with the call counted.

    Raises:
        UnknownNameError: no such layer.
        UsageError: a pattern that means several, or what a module is given instead of its output.
    """
    within = base_prefix(module) + layer
    names = set(layer_names(module))
    if layer not in names and within not in names:
        parsed = Layer.parse(layer)
        if parsed.input:
            raise UsageError(
                f"layer {layer!r}: a mask is of what a module gives, not of its input; name its output"
            )
        layer, within = parsed.name, base_prefix(module) + parsed.name
    if layer not in names and within in names:
        return within
    found = matching_layers(module, [layer])
    if len(found) > 1:
        raise UsageError(
            f"layer {layer!r} means {len(found)} layers, {found[0]!r} among them; a mask is of one: name it"
        )
    return found[0]
