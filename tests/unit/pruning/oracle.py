"""Recurrent layers written out step by step in numpy, with neurons overwritten after each step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]
Hold = Callable[[Array, int], Array]
"""(rows, hidden) states of the last layer and the step -> the same, silent neurons overwritten."""


def unrolled(rnn: nn.RNNBase, inputs: Array, hold: Hold, first: Hold | None = None) -> Array:
    """(rows, time, hidden) what the last layer holds after each step.

    Args:
        rnn: an LSTM, GRU or plain layer, batch first.
        inputs: (rows, time, n).
        hold: overwrites silent neurons of the last layer.
        first: the same before the first step; nothing by default.
    """
    below = inputs
    for layer in range(rnn.num_layers):
        last = layer == rnn.num_layers - 1
        below = _layer(rnn, layer, below, hold if last else None, first if last else None)
    return below


def _layer(rnn: nn.RNNBase, layer: int, inputs: Array, hold: Hold | None, first: Hold | None) -> Array:
    w_ih, w_hh, b_ih, b_hh = (
        getattr(rnn, f"{name}_l{layer}").detach().double().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    rows, time, _ = inputs.shape
    h = c = np.zeros((rows, rnn.hidden_size))
    if first is not None:
        h = first(h.copy(), -1)
    outputs = []
    for step in range(time):
        x = inputs[:, step] @ w_ih.T + b_ih
        r = h @ w_hh.T + b_hh
        if isinstance(rnn, nn.LSTM):
            i, f, g, o = np.split(x + r, 4, axis=1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        elif isinstance(rnn, nn.GRU):
            (xr, xz, xn), (hr, hz, hn) = np.split(x, 3, axis=1), np.split(r, 3, axis=1)
            z = _sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + _sigmoid(xr + hr) * hn) + z * h
        else:
            h = np.tanh(x + r) if rnn.nonlinearity == "tanh" else np.maximum(x + r, 0)
        if hold is not None:
            h = hold(h.copy(), step)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
