"""Ablation within recurrent layers: the recurrence sees the replaced values as well."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from txray.errors import CaptureError
from txray.pruning.ablation_values import AblationValues

Forward = Callable[..., Any]


def direction_size(rnn: nn.RNNBase) -> int:
    """Return the number of neurons of one direction of the last layer."""
    return rnn.proj_size or rnn.hidden_size


def output_size(rnn: nn.RNNBase) -> int:
    """Return the number of neurons in the output of the last layer, in both directions if it has two."""
    return direction_size(rnn) * (2 if rnn.bidirectional else 1)


def last_layer_suffixes(rnn: nn.RNNBase) -> list[str]:
    """Return the suffixes of the last layer's weights, one per direction: `l1` and `l1_reverse` of `weight_hh_l1`."""
    return [f"l{rnn.num_layers - 1}{end}" for end in ("", "_reverse")[: 1 + rnn.bidirectional]]


def _like(rnn: nn.RNNBase) -> Tensor:
    """Return a tensor with the dtype and on the device of the layer."""
    return next(rnn.parameters())


def ablated_forward(rnn: nn.RNNBase, neurons: list[int], values: AblationValues, layer: str) -> Forward:
    """Return the forward pass of a recurrent layer with neurons of its last layer ablated at every time step.

    If their values are constant, a copy of the layer with other weights is used: the contribution of the constants to
    the recurrence is folded into its biases. Otherwise the last layer is run step by step. Neurons of the backward
    direction follow those of the forward direction.

    Raises:
        CaptureError: resampling in a bidirectional layer.
    """
    if not values.is_resampled and (rnn.bias or not values.constant(_like(rnn)).any()):
        return _folded(rnn, neurons, values)
    if rnn.bidirectional:
        raise CaptureError(
            f"layer {layer!r}: reads in both directions, and its neurons cannot be resampled there; "
            "use the ablation zero or mean"
        )
    return _stepped(rnn, neurons, values, layer)


def fold_into_biases(rnn: nn.RNNBase, neurons: list[int], value: Tensor) -> nn.RNNBase:
    """Return a copy whose last layer's recurrence sees (k,) constants instead of (k,) neurons.

    The layer must have biases, unless the constants are 0.
    """
    folded = copy.deepcopy(rnn)
    size = direction_size(rnn)
    with torch.no_grad():
        for direction, suffix in enumerate(last_layer_suffixes(rnn)):
            indices = [i for i, neuron in enumerate(neurons) if neuron // size == direction]
            columns = [neurons[i] % size for i in indices]
            weight = getattr(folded, f"weight_hh_{suffix}")
            if rnn.bias:
                getattr(folded, f"bias_hh_{suffix}").add_(weight[:, columns] @ value[indices])
            weight[:, columns] = 0
    return folded


def _folded(rnn: nn.RNNBase, neurons: list[int], values: AblationValues) -> Forward:
    folded = fold_into_biases(rnn, neurons, values.constant(_like(rnn)))

    def forward(*inputs: Any, **named: Any) -> Any:
        # The mode of the layer may have changed since: dropout between layers depends on it.
        folded.training = rnn.training
        # `forward`, not a call: the copy has the hooks of the original, which would run twice.
        outputs, state = folded.forward(*inputs, **named)
        return _ablated_outputs(outputs, neurons, values), _ablated_state(state, rnn, neurons, values)

    return forward


def _ablated_outputs(
    outputs: Tensor | PackedSequence, neurons: list[int], values: AblationValues
) -> Tensor | PackedSequence:
    data = outputs.data if isinstance(outputs, PackedSequence) else outputs
    ablated = data.clone()
    ablated[..., neurons] = values.constant(data)
    return outputs._replace(data=ablated) if isinstance(outputs, PackedSequence) else ablated


def _ablated_state(state: Any, rnn: nn.RNNBase, neurons: list[int], values: AblationValues) -> Any:
    """Return the final state, consistent with the outputs. The cell of an LSTM is seen by its own neuron only."""
    hidden = (state[0] if isinstance(state, tuple) else state).clone()
    size, directions = direction_size(rnn), 2 if rnn.bidirectional else 1
    value = values.constant(hidden)
    for i, neuron in enumerate(neurons):
        hidden[-directions + neuron // size, ..., neuron % size] = value[i]
    return (hidden, *state[1:]) if isinstance(state, tuple) else hidden


def _stepped(rnn: nn.RNNBase, neurons: list[int], values: AblationValues, layer: str) -> Forward:
    """Return a forward pass that runs the last layer step by step and overwrites its neurons after each step."""
    lower = _sublayers(rnn, 0, rnn.num_layers - 1) if rnn.num_layers > 1 else None
    last = _sublayers(rnn, rnn.num_layers - 1, 1)

    def forward(inputs: Any, state: Any = None) -> Any:
        if isinstance(inputs, PackedSequence) or inputs.dim() != 3:
            raise CaptureError(
                f"layer {layer!r}: reads packed or unbatched sequences, in which its neurons cannot be resampled; "
                "use the ablation zero or mean"
            )
        below, above = _split(state)
        if lower is not None:
            inputs, below = lower(inputs, below)
            if rnn.training and rnn.dropout:
                inputs = nn.functional.dropout(inputs, rnn.dropout)
        time = 1 if rnn.batch_first else 0
        rows, steps = inputs.shape[1 - time], inputs.shape[time]
        by_step = values.at(rows, steps, inputs).expand(rows, steps, len(neurons))
        outputs = []
        for step in range(steps):
            # At the start of a text, the first step sees its own values, as there are none before it.
            if step or above is None:
                above = _with_values(above, neurons, by_step[:, max(step - 1, 0)], last, rows)
            output, above = last(inputs.narrow(time, step, 1), above)
            output = output.clone()
            output[..., neurons] = by_step[:, step].unsqueeze(time)
            outputs.append(output)
        above = _with_values(above, neurons, by_step[:, -1], last, rows)
        return torch.cat(outputs, dim=time), _joined(below, above)

    return forward


def _sublayers(rnn: nn.RNNBase, first: int, count: int) -> nn.RNNBase:
    """Return some consecutive layers as a separate module with the same weights."""
    inputs = rnn.input_size if first == 0 else output_size(rnn)
    named: dict[str, Any] = {"bias": rnn.bias, "batch_first": rnn.batch_first, "dropout": 0.0}
    if isinstance(rnn, nn.LSTM):
        module: nn.RNNBase = nn.LSTM(inputs, rnn.hidden_size, count, proj_size=rnn.proj_size, **named)
    elif isinstance(rnn, nn.GRU):
        module = nn.GRU(inputs, rnn.hidden_size, count, **named)
    else:
        module = nn.RNN(inputs, rnn.hidden_size, count, nonlinearity=rnn.nonlinearity, **named)
    module = module.to(_like(rnn)).eval()
    module.load_state_dict(
        {
            name: getattr(rnn, name.replace(f"_l{i}", f"_l{first + i}"))
            for i in range(count)
            for name in module.state_dict()
            if name.endswith(f"_l{i}")
        }
    )
    return module


def _split(state: Any) -> tuple[Any, Any]:
    """Return the states of the layers below the last, and of the last."""
    if state is None:
        return None, None
    if isinstance(state, tuple):
        return tuple(part[:-1] for part in state), tuple(part[-1:] for part in state)
    return state[:-1], state[-1:]


def _joined(below: Any, above: Any) -> Any:
    if below is None:
        return above
    if isinstance(above, tuple):
        return tuple(torch.cat(pair) for pair in zip(below, above, strict=True))
    return torch.cat((below, above))


def _with_values(state: Any, neurons: list[int], value: Tensor, last: nn.RNNBase, rows: int) -> Any:
    """Return the state of the last layer with some neurons overwritten."""
    if state is None:
        hidden = value.new_zeros(1, rows, direction_size(last))
        cells = (value.new_zeros(1, rows, last.hidden_size),) if isinstance(last, nn.LSTM) else ()
    else:
        hidden, cells = (state[0].clone(), state[1:]) if isinstance(state, tuple) else (state.clone(), ())
    hidden[..., neurons] = value
    return (hidden, *cells) if isinstance(last, nn.LSTM) else hidden
