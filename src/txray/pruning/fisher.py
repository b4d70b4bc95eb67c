"""Second-order estimate of how much the loss grows without each neuron, for all layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray

from txray.capture.forward.hooks import evaluating
from txray.errors import CaptureError
from txray.progress import progress
from txray.pruning.evaluation import Evaluator
from txray.pruning.masking import MaskTarget, forward_replaced
from txray.pruning.taylor import scaled_recurrent

_BATCH = 4
"""Maximum number of inputs whose gradients are added before they are squared."""


def fisher_importance(evaluator: Evaluator, targets: Sequence[MaskTarget]) -> list[NDArray[np.float64]]:
    """Return the mean of (sum of activation x gradient)² over small batches, for the neurons of each layer.

    Where training has converged, the first-order change of the loss is 0 on average, and its square is what tells
    neurons apart: half of it estimates the second-order change (after LeCun et al. 1990, Optimal brain damage, with
    squared gradients instead of second derivatives).

    Args:
        evaluator: evaluator of the model on the text of the loss.
        targets: layers.

    Returns:
        For each layer, (n_neurons,) importance; comparable between layers.

    Raises:
        CaptureError: the loss does not depend on a layer, or a gradient is not finite.
    """
    parameter = next(evaluator.module.parameters())
    scales = [
        torch.ones(target.n_neurons, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
        for target in targets
    ]
    totals = [np.zeros(target.n_neurons) for target in targets]
    with (
        ExitStack() as stack,
        evaluating(evaluator.module),
        torch.enable_grad(),
        # cuDNN's recurrent kernels have no gradients in evaluation mode.
        torch.backends.cudnn.flags(enabled=False),
        progress("gradients", evaluator.inputs.n_positions, unit="positions") as advance,
    ):
        for target, scale in zip(targets, scales, strict=True):
            stack.enter_context(_scaled(target, scale))
        for batch in evaluator.batches():
            for start in range(0, len(batch), _BATCH):
                indices = batch[start : start + _BATCH]
                gradients = torch.autograd.grad(evaluator.losses(indices).sum(), scales, allow_unused=True)
                for target, total, gradient in zip(targets, totals, gradients, strict=True):
                    if gradient is None:
                        raise CaptureError(
                            f"advise: the loss does not depend on layer {target.layer!r} in a way that can be "
                            "differentiated; leave the layer out"
                        )
                    total += gradient.double().cpu().numpy() ** 2
                advance(sum(len(evaluator.inputs.ids[index]) for index in indices))
    if not all(np.isfinite(total).all() for total in totals):
        raise CaptureError("advise: a gradient is not finite; the model's weights are broken")
    return [total / evaluator.inputs.n_documents for total in totals]


def _scaled(target: MaskTarget, scale: torch.Tensor):  # type: ignore[no-untyped-def]  # a context of contextlib
    if target.recurrent is not None:
        return forward_replaced(target.recurrent, scaled_recurrent(target.recurrent, scale))
    return target.transformed(lambda tensor: tensor * target.spread(scale))
