"""Find how many neurons can be removed for a loss of at most so much, with confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from txray.capture.roles import Role, layer_roles
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import ChanceWarning, UnknownNameError, UsageError, warn_user
from txray.hashing import splitmix64
from txray.models.fingerprint import model_fingerprint
from txray.models.load import as_model
from txray.models.text_model import TextModel
from txray.progress import progress
from txray.pruning.advice import LAYER_SCHEMA, STEP_SCHEMA, Advice
from txray.pruning.bootstrap import Bootstrap
from txray.pruning.chance import chance_note
from txray.pruning.evaluation import Evaluator, Model, evaluator
from txray.pruning.fisher import fisher_importance
from txray.pruning.loss_bounds import UNITS, Loss, loss_of, smallest_bound
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget, masked
from txray.pruning.neuron_sets import pruning_order
from txray.pruning.predictions import Predictions

Widths = Literal["equal", "free"]

_GRID = 64
"""Number of shares that the search chooses from."""
_SEQUENCE = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1, 5 / 4)
"""Sizes that are tested, in this order, relative to the largest that looks safe on the documents for choosing."""
_RESAMPLES = 1_000
_ROLES: tuple[Role, ...] = ("MLP neurons", "attention heads")


def advise(
    model: Model,
    text: Corpus | Mapping[str, Corpus],
    *,
    lose_at_most: float = 0.5,
    metric: str | None = None,
    layers: Sequence[str] | None = None,
    widths: Widths = "equal",
    each_layer: bool = False,
    confidence: float = 0.95,
    max_documents: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
) -> Advice:
    """Return how many neurons of a model can be removed for a loss of at most `lose_at_most`, and which.

    Half of the documents decide in which order neurons are removed (see `fisher_importance`) and which sizes are
    tested; the other half tests them. Sizes are tested from small to large until one fails, in an order that does not
    depend on the tests (a fixed sequence), so looking several times needs no correction: the probability that the
    advised removal loses more than `lose_at_most` on documents like these is at most 1 - `confidence`. If each layer
    is tested alone, that is so for all layers at once (Bonferroni).

    Args:
        model: a classifier or language model of `txray.models`, or a `TextModel` with a task.
        text: documents, for a classifier with labels; documents of one group, or with the same words, stay together.
            Or the texts `choose` and `verify`.
        lose_at_most: percentage points of accuracy or AUROC, or percent of the perplexity.
        metric: `accuracy` (default of classifiers), `auroc` (two classes), or `perplexity` (language models).
        layers: names of layers; by default `rnn`, or the MLP neurons of all blocks of a transformer.
        widths: `equal` removes the same share of each layer, which models with one size for all blocks need to become
            smaller; `free` removes the least important neurons of all layers.
        each_layer: whether to test each layer alone, instead of removing neurons from all layers together.
        confidence: one-sided confidence of the promise.
        max_documents: maximum number of documents, chosen by a hash of their ids.
        max_length: maximum number of words per document.
        seed: random seed of the split of the documents.

    Raises:
        UsageError: a number out of range, no layers, or a metric that the model does not have.
        UnknownNameError: unknown layer, metric or widths.
        CorpusError: a text that cannot be scored on.
        CaptureError: the model fails, or a loss has no gradient.

    Warns:
        ChanceWarning: the unpruned model is not better than chance on the documents for verification.

    Example:
        >>> advice = advise(model, corpus, lose_at_most=0.5)  # doctest: +SKIP
        >>> advice.masks()  # doctest: +SKIP
    """
    for name, value, low, high in (
        ("lose_at_most", lose_at_most, 0.0, 100.0),
        ("confidence", confidence, 0.5, 1.0),
    ):
        if not isinstance(value, int | float) or not low < value < high:
            raise UsageError(f"advise: {name}={value}; pass a number between {low:g} and {high:g}")
    if widths not in get_args(Widths):
        raise UnknownNameError.of("widths", widths, get_args(Widths))
    if max_documents is not None and (type(max_documents) is not int or max_documents < 1):
        raise UsageError(f"advise: max_documents={max_documents}; pass a positive integer, or None for all")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise UsageError(f"advise: seed={seed}; pass an integer from 0 to 2^63 - 1")
    model = as_model(model)
    if not isinstance(model, nn.Module | TextModel):
        raise UsageError(
            f"advise: a model of type {type(model).__name__}; pass a model of txray, or a TextModel"
        )
    targets = [
        MaskTarget.of(model, layer) for layer in (layers if layers is not None else default_layers(model))
    ]
    if not targets or len({target.layer for target in targets}) < len(targets):
        raise UsageError("advise: no layers, or one named twice; pass distinct names of layers")
    small = next((target for target in targets if target.n_neurons < 2), None)
    if small is not None:
        raise UsageError(
            f"advise: layer {small.layer!r} has 1 neuron, which cannot be removed; leave the layer out"
        )
    choose, verify = (
        evaluator(model, part, max_documents=limit, max_length=max_length)
        for part, limit in _parts(text, max_documents, seed)
    )
    searches = [[target] for target in targets] if each_layer else [targets]
    level = 1 - (1 - confidence) / len(searches)
    tests = _Tests(model, choose, verify, metric, lose_at_most, level)
    importance = fisher_importance(choose, targets)
    layer_rows: list[tuple[Any, ...]] = []
    steps: list[tuple[Any, ...]] = []
    with progress("advice", len(searches), unit="searches") as advance:
        for search in searches:
            orders = [pruning_order(importance[targets.index(target)]) for target in search]
            costs = None if widths == "equal" else [importance[targets.index(target)] for target in search]
            plan = _Removal(search, orders, costs)
            removed, loss = tests.search(
                plan, search[0].layer if each_layer and len(targets) > 1 else "", steps
            )
            for target, neurons in zip(search, removed, strict=True):
                layer_rows.append(_layer_row(target, neurons, loss))
            advance(1)
    summary = {
        "lose_at_most": float(lose_at_most),
        "metric": tests.metric,
        "unit": UNITS[tests.metric],
        "confidence": float(confidence),
        "each_layer": bool(each_layer),
        "widths": widths,
        "seed": seed,
        "choosing_documents": choose.inputs.n_documents,
        "verification_documents": verify.inputs.n_documents,
        "verification_groups": verify.inputs.n_groups,
        "unpruned": tests.unpruned_value,
        "not_above_chance": bool(tests.chance_note),
        "smallest_bound": smallest_bound(tests.metric, verify.inputs.n_documents, level),
        "model": model_fingerprint(model.module if isinstance(model, TextModel) else model),
        "texts": {"choose": choose.inputs.digest, "verify": verify.inputs.digest},
    }
    return Advice(
        pl.DataFrame(layer_rows, schema=LAYER_SCHEMA, orient="row"),
        pl.DataFrame(steps, schema=STEP_SCHEMA, orient="row"),
        summary,
    )


def default_layers(model: Model, roles: Sequence[Role] = _ROLES[:1]) -> list[str]:
    """Return the layers of a model whose units are advised on: `rnn`, or those of some roles in all blocks.

    Args:
        model: a model of `txray.models`, or a `TextModel`.
        roles: `MLP neurons` and `attention heads`; ignored for recurrent models.

    Raises:
        UsageError: none of the layers has such a role.
    """
    if not isinstance(model, TextModel):
        return ["rnn"]
    names = [layer for role in layer_roles(model) if role.role in roles for layer in role.layers]
    if not names:
        raise UsageError(
            f"advise: the model has no {' or '.join(roles)} that txray recognizes; pass the names of layers"
        )
    return names


def _parts(
    text: Corpus | Mapping[str, Corpus], max_documents: int | None, seed: int
) -> list[tuple[Corpus, int | None]]:
    """Return the documents for choosing and for verification, and the maximum number of each."""
    if isinstance(text, Mapping):
        if set(text) != {"choose", "verify"}:
            raise UsageError(
                f"advise: texts {', '.join(map(str, text))}; pass one text, or choose and verify"
            )
        return [(text[name], max_documents) for name in ("choose", "verify")]
    if not isinstance(text, Corpus):
        raise UsageError(
            f"advise: a text of type {type(text).__name__}; pass a Corpus, or two named choose and verify"
        )
    limit = None if max_documents is None else max(max_documents // 2, 1)

    def in_part(document: Document, part: int) -> bool:
        key = np.array([document.fold_key ^ seed], np.uint64)
        return int(splitmix64(key)[0] & np.uint64(1)) == part

    # Documents that depend on each other have one key, so none of them is in both parts.
    return [
        (text.select(lambda document: in_part(document, 0), name="choose"), limit),
        (text.select(lambda document: in_part(document, 1), name="verify"), limit),
    ]


@dataclass(frozen=True, eq=False)
class _Removal:
    """The order in which neurons of some layers are removed: each removal contains the smaller ones.

    Attributes:
        targets: layers.
        orders: (n_neurons,) neurons of each layer, least important first.
        importance: importance of the neurons of each layer, if layers compete; None to remove equal shares.
    """

    targets: Sequence[MaskTarget]
    orders: Sequence[NDArray[np.int64]]
    importance: Sequence[NDArray[np.float64]] | None

    def neurons(self, share: float) -> list[tuple[int, ...]]:
        """Return the neurons of each layer that a removal of some share of all contains; one is always left."""
        sizes = [target.n_neurons for target in self.targets]
        if self.importance is None:
            counts = [int(share * size) for size in sizes]
        else:
            # An attention head has more weights than a neuron, so its importance per element is compared.
            value = np.concatenate(
                [one / target.width for one, target in zip(self.importance, self.targets, strict=True)]
            )
            layer = np.repeat(np.arange(len(sizes)), sizes)
            first = np.argsort(value, kind="stable")[: int(share * len(value))]
            counts = np.bincount(layer[first], minlength=len(sizes)).tolist()
        return [
            tuple(sorted(order[: min(count, size - 1)].tolist()))
            for order, count, size in zip(self.orders, counts, sizes, strict=True)
        ]


class _Tests:
    """Scores removals on the two parts of the documents."""

    def __init__(
        self,
        model: Model,
        choose: Evaluator,
        verify: Evaluator,
        metric: str | None,
        lose_at_most: float,
        confidence: float,
    ) -> None:
        self._model, self._choose, self._verify = model, choose, verify
        self._limit, self._confidence = lose_at_most, confidence
        self._unpruned = {text: self._predict(text, []) for text in (choose, verify)}
        self._bootstrap = {
            text: Bootstrap.of(unpruned, text.inputs.documents_digest, _RESAMPLES, text.inputs.groups)
            for text, unpruned in self._unpruned.items()
        }
        names = [name for name in self._bootstrap[verify].names if name in UNITS]
        if metric is not None and metric not in names:
            raise UnknownNameError.of("metric with a bound for this model", metric, names)
        self.metric = metric or names[0]
        self.unpruned_value = self._bootstrap[verify].metrics(self._unpruned[verify]).observed[self.metric]
        self.chance_note = chance_note(self._bootstrap[verify].chance(self._unpruned[verify]), self.metric)
        if self.chance_note:
            warn_user(
                f"advise: the unpruned model is not better than chance: {self.chance_note}; there is nothing to lose, "
                "so the advice is meaningless: advise on a trained model, on documents with the labels that it was "
                "trained on",
                ChanceWarning,
            )

    def search(
        self, plan: _Removal, label: str, steps: list[tuple[Any, ...]]
    ) -> tuple[list[tuple[int, ...]], Loss | None]:
        """Return the largest removal that is known to lose little enough, and its loss; append the tests to `steps`."""
        candidate = self._largest_that_looks_safe(plan)
        total = sum(target.n_neurons for target in plan.targets)
        best: tuple[list[tuple[int, ...]], Loss | None] = ([() for _ in plan.targets], None)
        tested: set[int] = {0}
        for factor in _SEQUENCE:
            neurons = plan.neurons(min(candidate * factor, 1.0))
            removed = sum(map(len, neurons))
            if removed in tested:
                continue
            tested.add(removed)
            loss = self._loss(self._verify, plan, neurons)
            holds = loss.bound <= self._limit
            steps.append(
                (label, len(tested) - 1, removed, removed / total, loss.before, loss.after, loss.loss,
                 _finite(loss.bound), holds)
            )  # fmt: skip
            if not holds:
                break
            best = (neurons, loss)
        return best

    def _largest_that_looks_safe(self, plan: _Removal) -> float:
        """Return the largest share that loses at most the limit on the documents for choosing, by bisection."""
        low, high = 0, _GRID
        while high - low > 1:
            middle = (low + high) // 2
            neurons = plan.neurons(middle / _GRID)
            safe = not any(neurons) or self._loss(self._choose, plan, neurons).loss <= self._limit
            low, high = (middle, high) if safe else (low, middle)
        # If the smallest share of the grid looks too large, a part of it is tested nevertheless.
        return max(low, 0.5) / _GRID

    def _loss(self, text: Evaluator, plan: _Removal, neurons: Sequence[Sequence[int]]) -> Loss:
        masks = [
            Mask(target.layer, of_layer)
            for target, of_layer in zip(plan.targets, neurons, strict=True)
            if len(of_layer)
        ]
        return loss_of(
            self.metric,
            self._unpruned[text],
            self._predict(text, masks),
            self._bootstrap[text],
            text.inputs.n_groups,
            self._confidence,
        )

    def _predict(self, text: Evaluator, masks: Sequence[Mask]) -> Predictions:
        label = "scoring" if masks else "scoring the unpruned model"
        with (
            masked(self._model, *masks) as batch_keys,
            progress(label, text.inputs.n_positions, unit="positions") as advance,
        ):
            return text.predict(batch_keys, advance)


def _layer_row(target: MaskTarget, neurons: Sequence[int], loss: Loss | None) -> tuple[Any, ...]:
    known = None if loss is None or not neurons else loss
    return (
        target.layer,
        target.n_neurons,
        len(neurons),
        len(neurons) / target.n_neurons,
        None if known is None else known.loss,
        None if known is None else known.bound,
        " ".join(map(str, neurons)),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
