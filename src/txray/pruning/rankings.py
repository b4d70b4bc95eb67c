"""Scores of neurons by which they are pruned: what txray knows of them, and what everybody else uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.analysis.comparison import Comparison
from txray.capture.hooks import evaluating, first_tensor, modules_by_name
from txray.corpus.corpus import Corpus
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier
from txray.preferences.preferences import Preferences
from txray.pruning.activity import Activity
from txray.pruning.evaluation import Evaluator, Model
from txray.pruning.masking import Target, resolved
from txray.pruning.recurrent import last_layer, width_of
from txray.pruning.taylor import taylor_scores

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What neurons of a layer can be ranked by; each ranking says what it lacks.

    Attributes:
        model: that is to be pruned.
        layer: of it.
        preferences: of the stage that the model is.
        comparison: of an earlier stage with that one.
        corpus: text for activations; read at most once, `max_words` of it.
        evaluator: of the model, on text that gradients come from; or what makes it, where it is needed.
        max_words: of the corpus.
    """

    model: Model
    layer: str
    preferences: Preferences | None = None
    comparison: Comparison | None = None
    corpus: Corpus | None = None
    evaluator: Evaluator | Callable[[], Evaluator] | None = None
    max_words: int | None = None
    known: dict[str, Scores] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def activity(self) -> Activity:
        """Activations over the text.

        Raises:
            UsageError: no text is given.
        """
        if self.corpus is None:
            raise UsageError("pruning: activations need a text; give one")
        return Activity.over(self.model, self.corpus, self.layer, max_words=self.max_words)

    def scored_text(self, ranking: str) -> Evaluator:
        """Text that the model can be run and scored on, for a ranking that needs it.

        Raises:
            UsageError: none is given.
        """
        found = (
            self.evaluator
            if isinstance(self.evaluator, Evaluator) or not self.evaluator
            else self.evaluator()
        )
        if found is None:
            raise UsageError(f"ranking {ranking!r}: needs a text that the model can be scored on; give one")
        return found

    def scores(self, ranking: str) -> Scores:
        """(n_neurons,) scores; no number where a neuron has none.

        Args:
            ranking: one of `RANKINGS`.

        Raises:
            UnknownNameError: no such ranking.
            UsageError: something that it needs is not given.
        """
        if ranking not in RANKINGS:
            raise UnknownNameError.of("ranking", ranking, RANKINGS)
        if ranking not in self.known:
            found = np.asarray(RANKINGS[ranking](self), np.float64)
            wanted = Target.of(self.model, self.layer).n_neurons
            if len(found) != wanted:
                raise ShapeError(
                    f"ranking {ranking!r}: scores of {len(found)} neurons, layer {self.layer!r} of the model has "
                    f"{wanted}; give stages of this model"
                )
            self.known[ranking] = found
        return self.known[ranking]

    def stage(self, ranking: str) -> Preferences:
        """Preferences of the stage, for a ranking that needs them.

        Raises:
            UsageError: none are given.
        """
        if self.preferences is None:
            raise UsageError(f"ranking {ranking!r}: needs a stage of the model; give one")
        return self.preferences

    def change(self, ranking: str, column: str) -> Scores:
        """A column of the comparison, for a ranking that needs it.

        Raises:
            UsageError: none is given, or it was not tested.
        """
        if self.comparison is None:
            raise UsageError(f"ranking {ranking!r}: needs an earlier stage and one of the model; give both")
        if column not in self.comparison.neurons.columns:
            raise UsageError(
                f"ranking {ranking!r}: needs to know what is more than chance; give a tested comparison "
                "(comparison.test())"
            )
        return self.comparison.neurons[column].cast(float).fill_null(np.nan).to_numpy()


def _mass(of: Evidence) -> Scores:
    return of.stage("mass").mass()


def _length(of: Evidence) -> Scores:
    return of.stage("length").lengths().astype(np.float64)


def _wins(of: Evidence) -> Scores:
    return of.stage("wins").wins().astype(np.float64)


def _hellinger(of: Evidence) -> Scores:
    return of.change("hellinger", "hellinger")


def _signal(of: Evidence) -> Scores:
    return of.change("signal", "signal")


def _magnitude(of: Evidence) -> Scores:
    """Euclidean norm of the weights that make up a neuron."""
    target = Target.of(of.model, of.layer)
    squares = np.zeros(target.n_neurons)
    if isinstance(target.module, nn.RNNBase):
        rnn, width = target.module, width_of(target.module)
        for direction, suffix in enumerate(last_layer(rnn)):
            own = slice(direction * width, (direction + 1) * width)
            if rnn.proj_size:
                squares[own] += _squares(getattr(rnn, f"weight_hr_{suffix}"), dim=1)
                continue
            for name in (f"weight_ih_{suffix}", f"weight_hh_{suffix}"):
                of_rows = _squares(getattr(rnn, name), dim=1)
                squares[own] += of_rows.reshape(-1, width).sum(axis=0)
        return np.sqrt(squares)
    matrix = _maker(target)
    if matrix is None:
        raise UsageError(
            f"ranking 'magnitude': layer {of.layer!r} ({type(target.module).__name__}) has no weights that make its "
            f"{target.n_neurons} neurons; name the linear layer that does, or choose another ranking"
        )
    return np.sqrt(_squares(matrix, dim=0))


def _maker(target: Target) -> Tensor | None:
    """(inputs, n_neurons) weights of the last part of a layer that makes its neurons."""
    for module in reversed(list(target.module.modules())):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or isinstance(module, nn.Embedding):
            continue
        if type(module).__name__ == "Conv1D" and weight.dim() == 2 and weight.shape[1] == target.n_neurons:
            return weight
        if weight.dim() >= 2 and weight.shape[0] == target.n_neurons:
            return weight.flatten(1).T
    return None


def _squares(weight: Tensor, dim: int) -> Scores:
    found: Scores = weight.detach().double().square().sum(dim=dim).cpu().numpy()
    return found


def _mean_activation(of: Evidence) -> Scores:
    found = of.activity.mean_absolute
    assert found is not None  # of a text, it is always known
    return found


def _wanda(of: Evidence) -> Scores:
    """Sum over what reads a neuron of |weight| x root mean square of its activation."""
    reading = _readers(of)
    if not reading:
        raise UsageError(
            f"ranking 'wanda': no linear layer reads the output of {of.layer!r} as it is, so its weights are not "
            "known; choose another ranking"
        )
    weights = sum(matrix.detach().double().abs().sum(dim=0).cpu().numpy() for matrix in reading)
    return np.asarray(weights * of.activity.root_mean_square)


def _readers(of: Evidence) -> list[Tensor]:
    """(outputs, n_neurons) weights of everything that reads the layer."""
    model, target = of.model, Target.of(of.model, of.layer)
    if isinstance(model, RecurrentModel) and isinstance(target.module, nn.RNNBase):
        own = _recurrence(target.module)
        if isinstance(model, SentimentClassifier):
            blocks = model.head.weight.reshape(-1, model.config.hidden)  # last, average, maximum
            return [own, blocks]
        return [own, model.decoder.weight] if isinstance(model, RecurrentLanguageModel) else [own]
    return _linear_readers(of, target)


def _recurrence(rnn: nn.RNNBase) -> Tensor:
    """Weights by which the last layer reads itself."""
    weight: Tensor = getattr(rnn, f"weight_hh_{last_layer(rnn)[0]}")
    return weight


def _linear_readers(of: Evidence, target: Target) -> list[Tensor]:
    """Linear layers that are given the very output of the layer, found out by one forward pass."""
    evaluator = of.scored_text("wanda")
    found: list[Tensor] = []
    outputs: list[Tensor | None] = []
    module = evaluator.module

    def look(reader: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0] if inputs else None
        output = outputs[-1] if outputs else None
        if not isinstance(given, Tensor) or output is None:
            return
        if given.data_ptr() == output.data_ptr() and given.shape == output.shape:
            weight: Any = reader.weight
            found.append(weight.T if type(reader).__name__ == "Conv1D" else weight)

    linear = [
        each for each in module.modules() if isinstance(each, nn.Linear) or type(each).__name__ == "Conv1D"
    ]
    handles = [each.register_forward_pre_hook(look) for each in linear]
    watched = modules_by_name(module)[resolved(module, of.layer)]
    handles.append(watched.register_forward_hook(lambda *call: outputs.append(first_tensor(call[2]))))
    try:
        with evaluating(module):
            evaluator.run(next(evaluator.inputs.batches())[-1:])
    finally:
        for handle in handles:
            handle.remove()
    rnn = target.module
    if isinstance(rnn, nn.RNNBase) and not rnn.bidirectional:
        found.append(_recurrence(rnn))
    return [weight for weight in found if weight.shape[1] == target.n_neurons]


def _taylor(of: Evidence) -> Scores:
    return taylor_scores(of.scored_text("taylor"), of.layer)


RANKINGS: Mapping[str, Callable[[Evidence], Scores]] = {
    "mass": _mass,
    "length": _length,
    "wins": _wins,
    "hellinger": _hellinger,
    "signal": _signal,
    "magnitude": _magnitude,
    "activation": _mean_activation,
    "wanda": _wanda,
    "taylor": _taylor,
}
"""Ranking -> scores. Of one stage: `mass`, `length`, `wins`. Of two: `hellinger`, `signal` (cross-validated
squared). Of the weights: `magnitude`. Of a text: `activation` (mean of the size), `wanda` (|weight| x root mean square
of the activation, over everything that reads the neuron), `taylor` (|activation x gradient|)."""

OF_ONE_STAGE: Sequence[str] = ("mass", "length", "wins")
OF_TWO_STAGES: Sequence[str] = ("hellinger", "signal")
"""Rankings that come from preferences; the others are the usual ones."""
