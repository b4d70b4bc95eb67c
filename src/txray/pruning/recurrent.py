"""Silent neurons of recurrent layers: not even the recurrence sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from txray.errors import CaptureError
from txray.pruning.held import Held

Forward = Callable[..., Any]


def width_of(rnn: nn.RNNBase) -> int:
    """Neurons of one direction of the last layer."""
    return rnn.proj_size or rnn.hidden_size


def neurons_of(rnn: nn.RNNBase) -> int:
    """Neurons that the last layer gives, in both directions where there are two."""
    return width_of(rnn) * (2 if rnn.bidirectional else 1)


def last_layer(rnn: nn.RNNBase) -> list[str]:
    """How the names of the last layer's weights end, one per direction: `weight_hh_l1`, `weight_hh_l1_reverse`."""
    return [f"l{rnn.num_layers - 1}{end}" for end in ("", "_reverse")[: 1 + rnn.bidirectional]]


def _like(rnn: nn.RNNBase) -> Tensor:
    """A tensor of the layer's number type, where the layer is."""
    return next(rnn.parameters())


def silenced(rnn: nn.RNNBase, neurons: list[int], held: Held, layer: str) -> Forward:
    """The forward pass of a recurrent layer whose last layer lacks some neurons at every step.

    Where they give the same number at all steps, a copy of the layer with other weights does it: what the recurrence
    would have made of that number stands in its bias. Else the last layer is run step by step.

    Args:
        rnn: stays as it is.
        neurons: of the last layer; those of the backward direction follow those of the forward one.
        held: what they give instead.
        layer: its name, for errors.
    """
    if not held.drawn and (rnn.bias or not held.constant(_like(rnn)).any()):
        return _folded(rnn, neurons, held)
    if rnn.bidirectional:
        raise CaptureError(
            f"layer {layer!r}: reads in both directions, and its neurons cannot be resampled there; "
            "use the ablation zero or mean"
        )
    return _stepped(rnn, neurons, held, layer)


def without_recurrence_of(rnn: nn.RNNBase, neurons: list[int], value: Tensor) -> nn.RNNBase:
    """A copy whose last layer's recurrence sees a constant instead of some neurons.

    Args:
        rnn: stays as it is; with biases, unless the constant is 0.
        neurons: (k,) of the last layer.
        value: (k,) the constant.
    """
    changed = copy.deepcopy(rnn)
    width = width_of(rnn)
    with torch.no_grad():
        for direction, suffix in enumerate(last_layer(rnn)):
            own = [i for i, neuron in enumerate(neurons) if neuron // width == direction]
            columns = [neurons[i] % width for i in own]
            weight = getattr(changed, f"weight_hh_{suffix}")
            if rnn.bias:
                getattr(changed, f"bias_hh_{suffix}").add_(weight[:, columns] @ value[own])
            weight[:, columns] = 0
    return changed


def _folded(rnn: nn.RNNBase, neurons: list[int], held: Held) -> Forward:
    changed = without_recurrence_of(rnn, neurons, held.constant(_like(rnn)))

    def forward(*inputs: Any, **named: Any) -> Any:
        # The mode of the layer may have changed since: dropout between layers depends on it.
        changed.training = rnn.training
        # Not called as a module: the copy has the hooks of the original, which are called as it is.
        outputs, state = changed.forward(*inputs, **named)
        return _replaced(outputs, neurons, held), _state_replaced(state, rnn, neurons, held)

    return forward


def _replaced(outputs: Tensor | PackedSequence, neurons: list[int], held: Held) -> Tensor | PackedSequence:
    rows = outputs.data if isinstance(outputs, PackedSequence) else outputs
    changed = rows.clone()
    changed[..., neurons] = held.constant(rows)
    return outputs._replace(data=changed) if isinstance(outputs, PackedSequence) else changed


def _state_replaced(state: Any, rnn: nn.RNNBase, neurons: list[int], held: Held) -> Any:
    """The state to go on from, as the outputs are; the cells of an LSTM are seen by their own neuron only."""
    hidden = (state[0] if isinstance(state, tuple) else state).clone()
    width, directions = width_of(rnn), 2 if rnn.bidirectional else 1
    value = held.constant(hidden)
    for i, neuron in enumerate(neurons):
        hidden[-directions + neuron // width, ..., neuron % width] = value[i]
    return (hidden, *state[1:]) if isinstance(state, tuple) else hidden


def _stepped(rnn: nn.RNNBase, neurons: list[int], held: Held, layer: str) -> Forward:
    """The last layer step by step, its neurons overwritten after each."""
    lower = _part(rnn, 0, rnn.num_layers - 1) if rnn.num_layers > 1 else None
    last = _part(rnn, rnn.num_layers - 1, 1)

    def forward(inputs: Any, state: Any = None) -> Any:
        if isinstance(inputs, PackedSequence) or inputs.dim() != 3:
            raise CaptureError(
                f"layer {layer!r}: is given packed or single sequences, where its neurons cannot be resampled; "
                "use the ablation zero or mean"
            )
        below, above = _split(state)
        if lower is not None:
            inputs, below = lower(inputs, below)
            if rnn.training and rnn.dropout:
                inputs = nn.functional.dropout(inputs, rnn.dropout)
        time = 1 if rnn.batch_first else 0
        rows, steps = inputs.shape[1 - time], inputs.shape[time]
        values = held.at(rows, steps, inputs).expand(rows, steps, len(neurons))
        found = []
        for step in range(steps):
            # Of a new text, the first step sees what the neurons give there: there is none before it.
            if step or above is None:
                above = _put(above, neurons, values[:, max(step - 1, 0)], last, rows)
            output, above = last(inputs.narrow(time, step, 1), above)
            output = output.clone()
            output[..., neurons] = values[:, step].unsqueeze(time)
            found.append(output)
        above = _put(above, neurons, values[:, -1], last, rows)
        return torch.cat(found, dim=time), _joined(below, above)

    return forward


def _part(rnn: nn.RNNBase, first: int, count: int) -> nn.RNNBase:
    """Some consecutive layers, as a recurrent layer of their own with the same weights."""
    inputs = rnn.input_size if first == 0 else neurons_of(rnn)
    named: dict[str, Any] = {"bias": rnn.bias, "batch_first": rnn.batch_first, "dropout": 0.0}
    if isinstance(rnn, nn.LSTM):
        part: nn.RNNBase = nn.LSTM(inputs, rnn.hidden_size, count, proj_size=rnn.proj_size, **named)
    elif isinstance(rnn, nn.GRU):
        part = nn.GRU(inputs, rnn.hidden_size, count, **named)
    else:
        part = nn.RNN(inputs, rnn.hidden_size, count, nonlinearity=rnn.nonlinearity, **named)
    part = part.to(_like(rnn)).eval()
    part.load_state_dict(
        {
            name: getattr(rnn, name.replace(f"_l{i}", f"_l{first + i}"))
            for i in range(count)
            for name in part.state_dict()
            if name.endswith(f"_l{i}")
        }
    )
    return part


def _split(state: Any) -> tuple[Any, Any]:
    """States of the layers below the last, and of the last."""
    if state is None:
        return None, None
    if isinstance(state, tuple):
        return tuple(each[:-1] for each in state), tuple(each[-1:] for each in state)
    return state[:-1], state[-1:]


def _joined(below: Any, above: Any) -> Any:
    if below is None:
        return above
    if isinstance(above, tuple):
        return tuple(torch.cat(pair) for pair in zip(below, above, strict=True))
    return torch.cat((below, above))


def _put(state: Any, neurons: list[int], value: Tensor, last: nn.RNNBase, rows: int) -> Any:
    """The state of the last layer, its neurons overwritten."""
    if state is None:
        hidden = value.new_zeros(1, rows, width_of(last))
        cells = (value.new_zeros(1, rows, last.hidden_size),) if isinstance(last, nn.LSTM) else ()
    else:
        hidden, cells = (state[0].clone(), state[1:]) if isinstance(state, tuple) else (state.clone(), ())
    hidden[..., neurons] = value
    return (hidden, *cells) if isinstance(last, nn.LSTM) else hidden
