"""Rankings of neurons for pruning: by their preferences, and by the usual importance scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.analysis.comparison import Comparison
from txray.capture.forward.hooks import evaluating, first_tensor, modules_by_name
from txray.capture.layer import Layer
from txray.corpus.corpus import Corpus
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier
from txray.preferences.preferences import Preferences
from txray.pruning.activation_stats import ActivationStats
from txray.pruning.evaluation import Evaluator, Model
from txray.pruning.masking import MaskTarget, resolve_layer_name
from txray.pruning.recurrent import direction_size, last_layer_suffixes
from txray.pruning.taylor import taylor_importance

Importance = NDArray[np.float64]
"""(n_neurons,) importance of each neuron; NaN if unknown."""


@dataclass(frozen=True, eq=False)
class RankingInputs:
    """Inputs of the rankings of the neurons of a layer; a ranking that lacks an input raises.

    Attributes:
        model: model to prune.
        layer: name of the layer.
        preferences: preferences of the layer in a stage of the model.
        comparison: comparison of an earlier stage with that stage.
        corpus: text for activations; up to `max_words` of it are read once.
        evaluator: evaluator of the model, for gradients; or a function that returns it, called when needed.
        max_words: maximum number of words of the corpus.

    Example:
        >>> inputs = RankingInputs(model, "rnn", corpus=corpus)  # doctest: +SKIP
        >>> inputs.importance("wanda").shape  # doctest: +SKIP
        (300,)
    """

    model: Model
    layer: str
    preferences: Preferences | None = None
    comparison: Comparison | None = None
    corpus: Corpus | None = None
    evaluator: Evaluator | Callable[[], Evaluator] | None = None
    max_words: int | None = None
    _cache: dict[str, Importance] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def activation_stats(self) -> ActivationStats:
        """Return the activation statistics over the corpus.

        Raises:
            UsageError: there is no corpus.
        """
        if self.corpus is None:
            raise UsageError("pruning: activations need a text; pass a corpus")
        return ActivationStats.measure(self.model, self.corpus, self.layer, max_words=self.max_words)

    def importance(self, ranking: str) -> Importance:
        """Return the (n_neurons,) importance of each neuron; NaN if unknown.

        Args:
            ranking: one of `RANKINGS`.

        Raises:
            UnknownNameError: unknown ranking.
            UsageError: an input of the ranking is missing.
            ShapeError: a stage of another model.
        """
        if ranking not in RANKINGS:
            raise UnknownNameError.of("ranking", ranking, RANKINGS)
        if ranking not in self._cache:
            importance = np.asarray(RANKINGS[ranking](self), np.float64)
            n_neurons = MaskTarget.of(self.model, self.layer).n_neurons
            if len(importance) != n_neurons:
                raise ShapeError(
                    f"ranking {ranking!r}: scores of {len(importance)} neurons, layer {self.layer!r} of the model has "
                    f"{n_neurons}; pass stages of this model"
                )
            self._cache[ranking] = importance
        return self._cache[ranking]

    def evaluator_for(self, ranking: str) -> Evaluator:
        """Return the evaluator; raise a `UsageError` that names the ranking if there is none."""
        if self.evaluator is None:
            raise UsageError(f"ranking {ranking!r}: needs a text to score the model on; pass an evaluator")
        return self.evaluator if isinstance(self.evaluator, Evaluator) else self.evaluator()

    def preferences_for(self, ranking: str) -> Preferences:
        """Return the preferences; raise a `UsageError` that names the ranking if there are none."""
        if self.preferences is None:
            raise UsageError(f"ranking {ranking!r}: needs a stage of the model; pass its preferences")
        return self.preferences

    def comparison_column(self, ranking: str) -> Importance:
        """Return the column of a ranking; raise a `UsageError` if there is no comparison, or an untested one."""
        if self.comparison is None:
            raise UsageError(
                f"ranking {ranking!r}: needs an earlier stage and one of the model; pass their comparison"
            )
        if ranking not in self.comparison.neurons.columns:
            raise UsageError(
                f"ranking {ranking!r}: needs a comparison tested for significance; pass comparison.test()"
            )
        return self.comparison.neurons[ranking].cast(float).fill_null(np.nan).to_numpy()


def _magnitude(inputs: RankingInputs) -> Importance:
    """Return the Euclidean norm of the incoming weights of each neuron."""
    target = MaskTarget.of(inputs.model, inputs.layer)
    if target.recurrent is not None:
        rnn, size = target.recurrent, direction_size(target.recurrent)
        squares = np.zeros(target.n_neurons)
        for direction, suffix in enumerate(last_layer_suffixes(rnn)):
            neurons = slice(direction * size, (direction + 1) * size)
            if rnn.proj_size:
                squares[neurons] += _squares(getattr(rnn, f"weight_hr_{suffix}"), dim=1)
                continue
            for name in (f"weight_ih_{suffix}", f"weight_hh_{suffix}"):
                by_row = _squares(getattr(rnn, name), dim=1)
                squares[neurons] += by_row.reshape(-1, size).sum(axis=0)  # over gates
        return np.sqrt(squares)
    matrix = None if target.side == "input" else _incoming_weights(target)
    if matrix is None:
        raise UsageError(
            f"ranking 'magnitude': layer {inputs.layer!r} ({type(target.module).__name__}) has no incoming weights of "
            f"its {target.n_neurons} neurons; name the linear layer that has them, or choose another ranking"
        )
    return np.sqrt(_squares(matrix, dim=0))


def _incoming_weights(target: MaskTarget) -> Tensor | None:
    """Return (inputs, n_neurons) weights of the last module in a layer that computes its neurons."""
    for module in reversed(list(target.module.modules())):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or isinstance(module, nn.Embedding):
            continue
        if type(module).__name__ == "Conv1D" and weight.dim() == 2 and weight.shape[1] == target.n_neurons:
            return weight
        if weight.dim() >= 2 and weight.shape[0] == target.n_neurons:
            return weight.flatten(1).T
    return None


def _squares(weight: Tensor, dim: int) -> Importance:
    squares: Importance = weight.detach().double().square().sum(dim=dim).cpu().numpy()
    return squares


def _mean_activation(inputs: RankingInputs) -> Importance:
    mean_absolute = inputs.activation_stats.mean_absolute
    assert mean_absolute is not None  # known for a text
    return mean_absolute


def _wanda(inputs: RankingInputs) -> Importance:
    """Return the sum of the absolute outgoing weights x root mean square of the activation."""
    matrices = _outgoing_weights(inputs)
    if not matrices:
        raise UsageError(
            f"ranking 'wanda': no linear layer reads the output of {inputs.layer!r} directly, so its outgoing weights "
            "are unknown; choose another ranking"
        )
    weights = sum(matrix.detach().double().abs().sum(dim=0).cpu().numpy() for matrix in matrices)
    return np.asarray(weights * inputs.activation_stats.root_mean_square)


def _outgoing_weights(inputs: RankingInputs) -> list[Tensor]:
    """Return the (outputs, n_neurons) weights of each module that reads the layer."""
    model, target = inputs.model, MaskTarget.of(inputs.model, inputs.layer)
    if isinstance(model, RecurrentModel) and target.recurrent is not None:
        recurrence = _recurrent_weights(target.recurrent)
        if isinstance(model, SentimentClassifier):
            blocks = model.head.weight.reshape(-1, model.config.hidden)  # last, average, maximum
            return [recurrence, blocks]
        if isinstance(model, RecurrentLanguageModel):
            return [recurrence, model.decoder.weight]
        return [recurrence]
    return _linear_readers(inputs, target)


def _recurrent_weights(rnn: nn.RNNBase) -> Tensor:
    """Return the weights by which the last layer reads its own state."""
    weight: Tensor = getattr(rnn, f"weight_hh_{last_layer_suffixes(rnn)[0]}")
    return weight


def _linear_readers(inputs: RankingInputs, target: MaskTarget) -> list[Tensor]:
    """Return the weights of the linear layers that read the tensor of the layer, found by one forward pass."""
    evaluator = inputs.evaluator_for("wanda")
    weights: list[Tensor] = []
    outputs: list[Tensor | None] = []
    module = evaluator.module

    def record_reader(reader: nn.Module, arguments: tuple[Any, ...]) -> None:
        argument = arguments[0] if arguments else None
        output = outputs[-1] if outputs else None
        if not isinstance(argument, Tensor) or output is None:
            return
        if argument.data_ptr() == output.data_ptr() and argument.shape == output.shape:
            weight: Any = reader.weight
            weights.append(weight.T if type(reader).__name__ == "Conv1D" else weight)

    linear_layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"
    ]
    handles = [layer.register_forward_pre_hook(record_reader) for layer in linear_layers]
    if target.side == "input":  # before the hook that records the module as a reader of its own input
        handles.append(
            target.module.register_forward_pre_hook(
                lambda *call: outputs.append(first_tensor(call[1])), prepend=True
            )
        )
    else:
        layer = modules_by_name(module)[Layer.parse(resolve_layer_name(module, inputs.layer)).name]
        handles.append(layer.register_forward_hook(lambda *call: outputs.append(target.tensor_of(call[2]))))
    try:
        with evaluating(module):
            evaluator.run(next(evaluator.inputs.batches())[-1:])
    finally:
        for handle in handles:
            handle.remove()
    if target.recurrent is not None and not target.recurrent.bidirectional:
        weights.append(_recurrent_weights(target.recurrent))
    return [weight for weight in weights if weight.shape[1] == target.n_neurons]


RANKINGS: Mapping[str, Callable[[RankingInputs], NDArray[Any]]] = {
    "mass": lambda inputs: inputs.preferences_for("mass").mass(),
    "length": lambda inputs: inputs.preferences_for("length").lengths(),
    "wins": lambda inputs: inputs.preferences_for("wins").wins(),
    "hellinger": lambda inputs: inputs.comparison_column("hellinger"),
    "signal": lambda inputs: inputs.comparison_column("signal"),
    "magnitude": _magnitude,
    "activation": _mean_activation,
    "wanda": _wanda,
    "taylor": lambda inputs: taylor_importance(inputs.evaluator_for("taylor"), inputs.layer),
}
"""Ranking -> function that computes the importance. From one stage: `mass`, `length`, `wins`. From two stages:
`hellinger`, `signal` (cross-validated squared distance). From the weights: `magnitude`. From a text: `activation` (mean
absolute activation), `wanda` (|outgoing weights| x root mean square of the activation), `taylor` (|activation x
gradient|)."""

STAGE_RANKINGS: Sequence[str] = ("mass", "length", "wins")
COMPARISON_RANKINGS: Sequence[str] = ("hellinger", "signal")
"""Rankings that need one stage or two; the others are independent of preferences."""
