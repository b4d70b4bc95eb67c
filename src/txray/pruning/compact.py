"""Recurrent models without pruned neurons: fewer rows and columns, the same outputs as with a mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from txray.errors import UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel, RecurrentStack, seeded_weights
from txray.models.sentiment import SentimentClassifier
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget
from txray.pruning.recurrent import fold_into_biases

Model = TypeVar("Model", bound=RecurrentModel)


def compact_model(model: Model, mask: Mask) -> Model:
    """Return a smaller model with the same outputs as the masked one, up to rounding.

    The rows of the pruned neurons are removed from the last recurrent layer, and the columns from the layers that read
    it. A decoder that shares its weights with the embedding gets its own. Means of pruned neurons move into biases.

    Args:
        model: a language model or classifier of `txray.models`; it is not changed.
        mask: mask of its layer `rnn`, with the ablation `zero` or `mean` and the scope `every-step`.

    Raises:
        UsageError: another kind of model, layer or mask, a neuron that does not exist, or all neurons.
        UnknownNameError: unknown layer.
    """
    if not isinstance(model, RecurrentLanguageModel | SentimentClassifier):
        raise UsageError(
            f"compact_model: a {type(model).__name__} cannot be made smaller; only language models and classifiers of "
            "txray can; save a mask instead"
        )
    if mask.layer != "rnn":
        MaskTarget.of(model, mask.layer)
        raise UsageError(
            f"compact_model: layer {mask.layer!r}; only neurons of the layer 'rnn' can be removed"
        )
    if mask.ablation == "resample" or mask.scope != "every-step":
        raise UsageError(
            f"compact_model: a mask with ablation {mask.ablation!r} and scope {mask.scope!r} has no smaller model; use "
            "the ablation zero or mean, and the scope every-step"
        )
    target = MaskTarget.of(model, mask.layer)
    mask.require_within(target.n_neurons)
    remaining = [neuron for neuron in range(target.n_neurons) if neuron not in set(mask.neurons)]
    smaller = _uninitialized(model, len(remaining)).to(model.embedding.weight)
    value = model.embedding.weight.new_zeros(len(mask))
    if mask.values is not None:
        value = torch.from_numpy(mask.values.copy()).to(value)
    with torch.no_grad():
        smaller.embedding.weight.copy_(model.embedding.weight)
        _fill_recurrent(smaller.rnn, model.rnn, mask, remaining, value)
        _fill_readout(smaller, model, mask, remaining, value)
    return smaller.eval()  # type: ignore[return-value]  # of the same class


def _uninitialized(model: RecurrentModel, hidden: int) -> RecurrentModel:
    """Return a model of the same kind with a smaller last layer, whose weights are to be filled in."""
    config = model.config
    lower_sizes = config.lower_sizes or (config.hidden,) * (config.layers - 1) or None
    smaller = replace(config, hidden=hidden, lower_sizes=lower_sizes, tied=False)
    with seeded_weights(0):
        if isinstance(model, SentimentClassifier):
            return SentimentClassifier(model.vocabulary, smaller, model.pooling)
        return RecurrentLanguageModel(model.vocabulary, smaller)


def _fill_recurrent(
    smaller: nn.Module, larger: nn.Module, mask: Mask, remaining: list[int], value: Tensor
) -> None:
    targets, sources = _recurrent_layers(smaller), _recurrent_layers(larger)
    sources[-1] = fold_into_biases(sources[-1], list(mask.neurons), value)
    for depth, target in enumerate(targets):
        # The larger model has one module per layer, or one for all.
        source, number = (sources[depth], 0) if len(sources) == len(targets) else (sources[0], depth)
        for name, parameter in target.named_parameters():
            weight: Tensor = getattr(source, name.replace("_l0", f"_l{number}"))
            if depth == len(targets) - 1:
                weight = weight[_gate_rows(remaining, source.hidden_size, weight.shape[0])]
                if name.startswith("weight_hh"):
                    weight = weight[:, remaining]
            parameter.copy_(weight)


def _recurrent_layers(module: nn.Module) -> list[nn.RNNBase]:
    """Return the recurrent modules: one for all layers, or one per layer."""
    modules = list(module.layers) if isinstance(module, RecurrentStack) else [module]
    return [layer for layer in modules if isinstance(layer, nn.RNNBase)]


def _gate_rows(neurons: list[int], hidden: int, rows: int) -> list[int]:
    """Return the rows of some neurons in every gate."""
    return [gate * hidden + neuron for gate in range(rows // hidden) for neuron in neurons]


def _fill_readout(
    smaller: RecurrentModel, model: RecurrentModel, mask: Mask, remaining: list[int], value: Tensor
) -> None:
    """Copy the decoder or the head without the columns of the pruned neurons."""
    new: Any = smaller.head if isinstance(smaller, SentimentClassifier) else smaller.decoder
    old: Any = model.head if isinstance(model, SentimentClassifier) else model.decoder
    hidden, blocks = model.config.hidden, old.in_features // model.config.hidden
    columns = [block * hidden + neuron for block in range(blocks) for neuron in remaining]
    pruned = [block * hidden + neuron for block in range(blocks) for neuron in mask.neurons]
    new.weight.copy_(old.weight[:, columns])
    # The last, average and maximum state of a constant neuron are that constant.
    new.bias.copy_(old.bias + old.weight[:, pruned] @ value.repeat(blocks))
