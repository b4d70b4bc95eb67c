"""First-order estimate of how the loss changes without each neuron."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.capture.forward.hooks import evaluating, with_first_tensor
from txray.errors import CaptureError
from txray.progress import progress
from txray.pruning.evaluation import Evaluator
from txray.pruning.masking import MaskTarget, forward_replaced
from txray.pruning.recurrent import direction_size, last_layer_suffixes


def taylor_importance(evaluator: Evaluator, layer: str) -> NDArray[np.float64]:
    """Return |sum of activation x gradient| over positions and documents, the first-order change of the loss.

    In a recurrent layer, all effects of a neuron on later time steps count: the loss is differentiated with respect to
    a factor on the neuron that the recurrence sees as well.

    Args:
        evaluator: evaluator of the model on the text of the loss.
        layer: name of the layer.

    Returns:
        (n_neurons,) nats per document, or per predicted word.

    Raises:
        UnknownNameError: unknown layer.
        CaptureError: the loss does not depend on the layer, or a gradient is not finite.

    Source:
        After Molchanov et al. 2017, Pruning convolutional neural networks for resource efficient inference.
    """
    target = MaskTarget.of(evaluator.model, layer)
    total = np.zeros(target.n_neurons)
    parameter = next(evaluator.module.parameters())
    scale = torch.ones(target.n_neurons, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
    if target.recurrent is not None:
        scaled = forward_replaced(target.recurrent, scaled_recurrent(target.recurrent, scale))
    else:
        scaled = target.transformed(lambda tensor: tensor * target.spread(scale))
    with (
        evaluating(evaluator.module),
        torch.enable_grad(),
        scaled,
        # cuDNN's recurrent kernels have no gradients in evaluation mode.
        torch.backends.cudnn.flags(enabled=False),
        progress(f"gradients of {layer}", evaluator.inputs.n_positions) as advance,
    ):
        for indices in evaluator.batches():
            (gradient,) = torch.autograd.grad(evaluator.losses(indices).sum(), scale, allow_unused=True)
            if gradient is None:
                raise CaptureError(
                    f"ranking 'taylor': the loss does not depend on layer {layer!r} in a way that can be "
                    "differentiated; choose another ranking"
                )
            total += gradient.double().cpu().numpy()
            advance(sum(len(evaluator.inputs.ids[index]) for index in indices))
    if not np.isfinite(total).all():
        raise CaptureError("ranking 'taylor': a gradient is not finite; the model's weights are broken")
    return np.abs(total) / evaluator.loss_denominator


def scaled_recurrent(rnn: nn.RNNBase, scale: Tensor) -> Callable[..., Any]:
    """Return the layer's forward pass with its neurons multiplied by `scale`; the recurrence sees the product."""
    scaled_rnn, size = copy.deepcopy(rnn), direction_size(rnn)
    names = [f"weight_hh_{suffix}" for suffix in last_layer_suffixes(rnn)]
    for name in names:
        delattr(scaled_rnn, name)  # a parameter, replaced by a tensor with a graph

    def forward(*inputs: Any, **named: Any) -> Any:
        # Set for each batch, because its graph is freed with its gradients.
        for i, name in enumerate(names):
            setattr(scaled_rnn, name, getattr(rnn, name).detach() * scale[i * size : (i + 1) * size])
        outputs, state = scaled_rnn.forward(*inputs, **named)
        return with_first_tensor(outputs, lambda output: output * scale), _scaled_state(
            state, scale, len(names)
        )

    return forward


def _scaled_state(state: Any, scale: Tensor, directions: int) -> Any:
    """Return the final state, consistent with the outputs: some models read it instead of them."""
    hidden = state[0] if isinstance(state, tuple) else state
    factors = scale.view(directions, 1, -1)
    scaled = torch.cat((hidden[:-directions], hidden[-directions:] * factors))
    return (scaled, *state[1:]) if isinstance(state, tuple) else scaled
