"""Recurrent models without the neurons that a mask silences: fewer rows and columns, the same outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from txray.errors import UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel, RecurrentStack, seeded_weights
from txray.models.sentiment import SentimentClassifier
from txray.pruning.mask import Mask
from txray.pruning.masking import Target
from txray.pruning.recurrent import without_recurrence_of

Model = TypeVar("Model", bound=RecurrentModel)


def compact(model: Model, mask: Mask) -> Model:
    """A smaller model that computes what the masked one does, to rounding.

    The last recurrent layer loses the rows of its silent neurons, and whatever reads it loses their columns. A decoder
    that shared its weights with the embedding has its own afterwards. What neurons gave by their mean stands in biases.

    Args:
        model: a language model or classifier of `txray.models`; it stays as it is.
        mask: of its layer `rnn`, `zero` or `mean`, at every step.

    Raises:
        UsageError: another kind of model, layer or mask, a neuron that does not exist, or nothing left.
        UnknownNameError: no such layer.
    """
    if not isinstance(model, RecurrentLanguageModel | SentimentClassifier):
        raise UsageError(
            f"compact: a {type(model).__name__} cannot be made smaller; txray does so for its own language models and "
            "classifiers, and writes a mask for others"
        )
    if mask.layer != "rnn":
        Target.of(model, mask.layer)
        raise UsageError(f"compact: layer {mask.layer!r}; only neurons of the layer 'rnn' can be taken out")
    if mask.ablation == "resample" or mask.when != "every-step":
        raise UsageError(
            f"compact: a mask with ablation {mask.ablation!r} and when={mask.when!r} has no smaller model; use zero or "
            "mean, at every step"
        )
    target = Target.of(model, mask.layer)
    mask.require_within(target.n_neurons)
    kept = [neuron for neuron in range(target.n_neurons) if neuron not in set(mask.neurons)]
    smaller = _empty(model, len(kept)).to(model.embedding.weight)
    value = model.embedding.weight.new_zeros(len(mask))
    if mask.values is not None:
        value = torch.from_numpy(mask.values.copy()).to(value)
    with torch.no_grad():
        smaller.embedding.weight.copy_(model.embedding.weight)
        _fill_recurrent(smaller.rnn, model.rnn, mask, kept, value)
        _fill_reader(smaller, model, mask, kept, value)
    return smaller.eval()  # type: ignore[return-value]  # of the same class


def _empty(model: RecurrentModel, hidden: int) -> RecurrentModel:
    """A model of the same kind with a smaller last layer; its weights mean nothing."""
    config = model.config
    lower_sizes = config.lower_sizes or (config.hidden,) * (config.layers - 1) or None
    smaller = replace(config, hidden=hidden, lower_sizes=lower_sizes, tied=False)
    with seeded_weights(0):
        if isinstance(model, SentimentClassifier):
            return SentimentClassifier(model.vocabulary, smaller, model.pooling)
        return RecurrentLanguageModel(model.vocabulary, smaller)


def _fill_recurrent(
    smaller: nn.Module, larger: nn.Module, mask: Mask, kept: list[int], value: Tensor
) -> None:
    parts, wholes = _recurrent_layers(smaller), _recurrent_layers(larger)
    neurons = list(mask.neurons)
    wholes[-1] = without_recurrence_of(wholes[-1], neurons, value)
    for depth, part in enumerate(parts):
        whole, number = (wholes[depth], 0) if len(wholes) == len(parts) else (wholes[0], depth)
        for name, parameter in part.named_parameters():
            source: Tensor = getattr(whole, name.replace("_l0", f"_l{number}"))
            if depth == len(parts) - 1:
                rows = _gate_rows(kept, whole.hidden_size, source.shape[0])
                source = source[rows]
                if name.startswith("weight_hh"):
                    source = source[:, kept]
            parameter.copy_(source)


def _recurrent_layers(module: nn.Module) -> list[nn.RNNBase]:
    """The modules of a recurrent model's layers: one for all, or one for each."""
    found = list(module.layers) if isinstance(module, RecurrentStack) else [module]
    return [each for each in found if isinstance(each, nn.RNNBase)]


def _gate_rows(kept: list[int], hidden: int, rows: int) -> list[int]:
    """Rows of the neurons in every gate."""
    return [gate * hidden + neuron for gate in range(rows // hidden) for neuron in kept]


def _fill_reader(
    smaller: RecurrentModel, model: RecurrentModel, mask: Mask, kept: list[int], value: Tensor
) -> None:
    """The decoder or the head, without the columns of the silent neurons."""
    new: Any = smaller.head if isinstance(smaller, SentimentClassifier) else smaller.decoder
    old: Any = model.head if isinstance(model, SentimentClassifier) else model.decoder
    hidden, blocks = model.config.hidden, old.in_features // model.config.hidden
    columns = [block * hidden + neuron for block in range(blocks) for neuron in kept]
    silent = [block * hidden + neuron for block in range(blocks) for neuron in mask.neurons]
    new.weight.copy_(old.weight[:, columns])
    # Last, average and maximum of a neuron that always gives the same are that number.
    new.bias.copy_(old.bias + old.weight[:, silent] @ value.repeat(blocks))
