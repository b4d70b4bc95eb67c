"""Name what a text model predicts at each word: the next piece, or the class of the document."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from txray.capture.forward.dry_run_inputs import min_input_length, padded_input, text_ids
from txray.capture.forward.hooks import evaluating, first_tensor
from txray.capture.text.encoding import Indices
from txray.errors import CaptureError, UsageError
from txray.models.base_model import input_device, unwrapped
from txray.models.fingerprint import model_fingerprint
from txray.models.text_model import TextModel

_LOGITS = 1 << 25
"""Number of logits computed at a time: 134 MB."""
_STEPS = 11
_ROUNDING = 1e-2
"""Difference of two logits, relative to the range of all, that may be rounding."""


class Predictor(Protocol):
    """Names what a model predicts at the words of a batch."""

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the predictions depend on besides the module that runs, as plain JSON values."""

    def scores(self, output: object) -> Tensor:
        """Return the (documents, ...) scores or states that the predictions depend on."""

    def names(self, output: object, row: Indices, step: Indices) -> list[str]:
        """Return the (n,) predictions at time steps of inputs, from the output of the module."""


def predictor_for(model: TextModel) -> Predictor:
    """Return the predictor of a model.

    Raises:
        UsageError: the model predicts neither classes nor the next word.
        SnapshotError: its head cannot be read.
        CaptureError: the head does not fit.
    """
    if model.task == "classification":
        return _Classes(model)
    try:
        return _NextPieces(model)
    except UsageError as error:
        raise UsageError(f"feature type 'output': {error}") from error


class _Classes:
    """Predicts the class of each input."""

    def __init__(self, model: TextModel) -> None:
        self._classes = model.classes
        self.settings: dict[str, Any] = {"classes": list(model.classes)}

    def scores(self, output: object) -> Tensor:
        return logits_of(output)

    def names(self, output: object, row: Indices, step: Indices) -> list[str]:
        scores = self.scores(output)
        _require_finite(scores)
        predicted = scores.argmax(dim=-1).cpu().numpy()
        return [self._classes[number] for number in predicted[row].tolist()]


class _NextPieces:
    """Predicts the piece after each word; the head runs at the last piece of each word only."""

    def __init__(self, model: TextModel) -> None:
        language_model = model.with_head()
        assert model.output_name is not None
        self._name = model.output_name
        self._names: dict[int, str] = {}
        self._head: Any = None
        self.settings: dict[str, Any] = {"predicts": "next piece"}
        if language_model is not unwrapped(model.module):
            self._head = output_embeddings(language_model)
            self._require_fit(model, language_model)
            self.settings["head"] = model_fingerprint(self._head)

    def scores(self, output: object) -> Tensor:
        if self._head is None:
            return logits_of(output)
        states = first_tensor(output)
        assert states is not None
        return states

    def names(self, output: object, row: Indices, step: Indices) -> list[str]:
        scores = self.scores(output)
        chosen = scores[torch.from_numpy(row).to(scores.device), torch.from_numpy(step).to(scores.device)]
        size = scores.shape[-1] if self._head is None else _n_ids(self._head)
        best: list[int] = []
        for part in torch.split(chosen, max(1, _LOGITS // size)):
            values, ids = (part if self._head is None else self._head(part)).max(dim=-1)
            _require_finite(values)
            best += ids.tolist()
        return [self._named(number) for number in best]

    def _named(self, number: int) -> str:
        if number not in self._names:
            self._names[number] = self._name(number) or f"[{number}]"
        return self._names[number]

    def _require_fit(self, model: TextModel, language_model: Any) -> None:
        """Raise unless the head alone orders the ids as the whole language model does."""
        device = input_device(model.module)
        steps = max(min(_STEPS, model.max_length or _STEPS), min_input_length(model))
        ids, mask = padded_input(model, text_ids(model), [steps], device)
        with evaluating(language_model):
            logits = logits_of(model.forward(language_model, ids, mask))
            states = self.scores(model.forward(unwrapped(model.module), ids, mask))
            alone = self._head(states) if states.dim() == 3 else states
        if not same_order(alone, logits):
            raise UsageError(
                f"{type(language_model).__name__}: its head does more than multiply the last hidden state by a matrix; "
                "load it with head=True"
            )


def logits_of(output: object) -> Tensor:
    """Return the logits in the output of a model with a head.

    Raises:
        CaptureError: there are none.
    """
    logits = first_tensor(getattr(output, "logits", output))
    if logits is None or logits.dim() < 2:
        raise CaptureError(
            f"the model returns {type(output).__name__}, which holds no logits; check 'task' and 'forward' of the "
            "TextModel"
        )
    return logits


def output_embeddings(language_model: Any) -> Any:
    """Return the module that multiplies the last hidden state by the unembedding.

    Raises:
        UsageError: the model names none.
    """
    head = language_model.get_output_embeddings()
    if head is None:
        raise UsageError(
            f"{type(language_model).__name__}: does not name its output embeddings; load it with head=True"
        )
    return head


def same_order(scores: Tensor, logits: Tensor) -> bool:
    """Return whether two (..., n) scores order the ids alike, up to rounding."""
    if scores.shape != logits.shape:
        return False
    ordered = logits.double().gather(-1, scores.argsort(dim=-1))
    size = (logits.amax(-1) - logits.amin(-1)).double()
    falls = (ordered.cummax(dim=-1).values - ordered).amax(-1)
    return bool((falls <= _ROUNDING * size).all())


def _n_ids(head: Any) -> int:
    weight = getattr(head, "weight", None)
    return max(weight.shape) if isinstance(weight, Tensor) and weight.dim() == 2 else 1 << 18


def _require_finite(scores: Tensor) -> None:
    if not bool(torch.isfinite(scores).all()):
        raise CaptureError(
            "the score of a prediction is not finite; the model's weights are broken, or its activations overflow"
        )
