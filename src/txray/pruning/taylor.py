"""How much the loss would change without each neuron, to first order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.capture.hooks import evaluating, with_first_tensor
from txray.errors import CaptureError
from txray.progress import progress
from txray.pruning.evaluation import Evaluator
from txray.pruning.masking import Target, running
from txray.pruning.recurrent import last_layer, width_of


def taylor_scores(evaluator: Evaluator, layer: str) -> NDArray[np.float64]:
    """Size of the sum of activation x gradient over positions and documents: how the loss would change, to first order.

    Of a recurrent layer, every effect of a neuron on later steps counts: the loss is differentiated by a factor on
    the neuron that the recurrence sees as well.

    Args:
        evaluator: of the model, on text that the loss is of.
        layer: of the model.

    Returns:
        (n_neurons,) nats per document, or per word predicted.

    Raises:
        UnknownNameError: no such layer.
        CaptureError: a loss that does not depend on the layer, or gradients that are no numbers.

    Source:
        After Molchanov et al. 2017, Pruning convolutional neural networks for resource efficient inference.
    """
    target = Target.of(evaluator.model, layer)
    total = np.zeros(target.n_neurons)
    parameter = next(evaluator.module.parameters())
    scale = torch.ones(target.n_neurons, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
    with (
        evaluating(evaluator.module),
        torch.enable_grad(),
        running(target.module, _scaled(target, scale)),
        # The kernels of CUDA have no gradients in evaluation mode.
        torch.backends.cudnn.flags(enabled=False),
        progress(f"gradients of {layer}", evaluator.inputs.words) as advance,
    ):
        for numbers in evaluator.batches():
            (gradient,) = torch.autograd.grad(evaluator.losses(numbers).sum(), scale, allow_unused=True)
            if gradient is None:
                raise CaptureError(
                    f"ranking 'taylor': the loss does not depend on layer {layer!r} in a way that can be "
                    "differentiated; choose another ranking"
                )
            total += gradient.double().cpu().numpy()
            advance(sum(len(evaluator.inputs.ids[number]) for number in numbers))
    if not np.isfinite(total).all():
        raise CaptureError("ranking 'taylor': gradients that are no numbers; the model's weights are broken")
    return np.abs(total) / evaluator.units


def _scaled(target: Target, scale: Tensor) -> Callable[..., Any]:
    """The layer's forward pass, neurons multiplied by numbers that gradients reach; recurrences see the product."""
    module = target.module
    if isinstance(module, nn.RNNBase):
        return _scaled_recurrent(module, scale)
    return target.changed(lambda output: output * scale)


def _scaled_recurrent(rnn: nn.RNNBase, scale: Tensor) -> Callable[..., Any]:
    changed, width = copy.deepcopy(rnn), width_of(rnn)
    names = [f"weight_hh_{suffix}" for suffix in last_layer(rnn)]
    for name in names:
        delattr(changed, name)  # a parameter; in its place comes a tensor that remembers how it was made

    def forward(*inputs: Any, **named: Any) -> Any:
        # Made anew for each batch, whose graph is gone after its gradients.
        for i, name in enumerate(names):
            setattr(changed, name, getattr(rnn, name).detach() * scale[i * width : (i + 1) * width])
        outputs, state = changed.forward(*inputs, **named)
        return with_first_tensor(outputs, lambda each: each * scale), _state_scaled(state, scale, len(names))

    return forward


def _state_scaled(state: Any, scale: Tensor, directions: int) -> Any:
    """The state to go on from, as the outputs are: some models read it instead of them."""
    hidden = state[0] if isinstance(state, tuple) else state
    factors = scale.view(directions, 1, -1)
    scaled = torch.cat((hidden[:-directions], hidden[-directions:] * factors))
    return (scaled, *state[1:]) if isinstance(state, tuple) else scaled
