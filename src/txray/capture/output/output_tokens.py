"""Find the tokens that the neurons of a language model promote and suppress by their output weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from txray.activations import StoredActivations
from txray.arguments import checked_call
from txray.capture.forward.dry_run_inputs import min_input_length, padded_input, text_ids
from txray.capture.forward.hooks import evaluating, modules_by_name
from txray.capture.hook_point import HookPoint
from txray.capture.layer import Layer, as_layers
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.capture.output.linear_steps import FrozenNorm, Step
from txray.capture.output.readout import Readout
from txray.capture.selection import Selection
from txray.errors import CaptureError, UsageError
from txray.models.base_model import input_device, unwrapped
from txray.models.fingerprint import model_fingerprint
from txray.models.load import as_model
from txray.models.recurrent import RecurrentLanguageModel
from txray.models.text_model import OutputName, TextModel
from txray.preferences.output_tokens import OUTPUT_TOKEN_SCHEMA, PROMOTED, SUPPRESSED

_UNITS = 1024
"""Number of units whose effects are computed at a time."""
_IDS = 8192
"""Number of ids of which the effects are computed at a time: 34 MB for 1,024 units."""
_DOCUMENTS, _STEPS = 2, 11


@dataclass(frozen=True, eq=False)
class OutputTokens:
    """Table of the tokens that neurons promote and suppress, with the settings that it depends on.

    Attributes:
        table: polars, columns as in `Stage.output_tokens`.
        settings: entry of the manifest, as plain JSON values.
    """

    table: pl.DataFrame
    settings: dict[str, Any]


@checked_call
def output_tokens(
    model: object,
    *,
    layers: str | Layer | Sequence[str | Layer],
    k: int = 20,
    fold_norm: bool = True,
) -> pl.DataFrame:
    """Return the tokens that each neuron of a language model promotes and suppresses most.

    A neuron adds its activation times a fixed vector to the residual stream: its column of the output projection. The
    product of this vector with the unembedding is its direct effect on the logit of each token (the logit lens of its
    weights, or direct logit attribution). Effects through later layers are not included.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> tokens = txray.output_tokens(model, layers="rnn", k=3)
    >>> tokens.filter(neuron=0, side="promoted")["token"].len()
    3

    Args:
        model: a language model, as for `txray.collect`: one of txray, the name or folder of a causal language model, a
            `TextModel` that predicts the next word, or an object that contains one.
        layers: as for `txray.collect`: MLP neurons (`layers.*.mlp.down_proj:input`), elements of attention heads
            (`layers.*.self_attn.o_proj:input`), units of the residual stream (`layers.*`) or the output of whatever is
            added to it.
        k: number of tokens per neuron and side.
        fold_norm: whether norms between the neuron and the logits are included, at a fixed scale: the mean over the
            elements is subtracted if the norm does so, and each element is multiplied by the norm's gain.

    Returns:
        polars, columns as in `Stage.output_tokens`: layer, neuron, side (`promoted` or `suppressed`), rank (0 is the
        strongest), id, token and effect. The effect is the change of the logit per unit of activation, relative to the
        mean over all tokens, which softmax ignores; with `fold_norm`, times the standard deviation (or root mean
        square) by which the norm divides at a position. Scales and soft caps of the logits are left out, because they
        do not change the order. A side has fewer rows if fewer tokens are affected, and none for a neuron without
        weights.

    Raises:
        UsageError: the model does not predict the next word, or what the units of a layer write is not defined: they
            are multiplied or normalized before they are added to the residual stream that the head reads.
        UnknownNameError, CaptureError: as for `txray.collect`.

    Source:
        nostalgebraist 2020 (logit lens); Geva et al. 2022 (values of feed-forward layers promote concepts).
    """
    return computed_output_tokens(model, layers, k, fold_norm=fold_norm).table


def computed_output_tokens(
    model: object, layers: str | Layer | Sequence[str | Layer], k: int, *, fold_norm: bool = True
) -> OutputTokens:
    """Return the output tokens of layers with the settings for the manifest; see `output_tokens`."""
    if type(k) is not int or not 1 <= k <= 1000:
        raise UsageError(f"output_tokens: k={k!r}; it must be an integer from 1 to 1,000")
    if isinstance(model, StoredActivations):
        raise UsageError("output_tokens: stored activations hold no weights; pass the model itself")
    opened: Any = as_model(model)
    adapter = adapter_for(opened, outputs=False)
    hook_points = hook_points_for(adapter, as_layers(layers), Selection())
    language_model, run, name = _language_model(opened)
    modules = modules_by_name(adapter.module)
    tables, accounts = [], {}
    with evaluating(language_model):
        readout = Readout.of(language_model, run)
        if readout.unembedding.is_meta:
            raise UsageError(
                "output_tokens: the weights of the head are not in memory; load the model without device_map"
            )
        for hook_point in hook_points:
            _require_units(hook_point)
            factor, maps = readout.path(hook_point.tap, modules[hook_point.tap.layer])
            if not fold_norm:
                maps = [step for step in maps if not isinstance(step, FrozenNorm)]
            accounts[hook_point.layer] = {"factor": factor, "maps": [type(step).__name__ for step in maps]}
            vectors = _Vectors(hook_point.n_neurons, factor, maps)
            tables.append(_table(hook_point.layer, vectors, readout.unembedding, name, k))
    settings = {
        "k": k,
        "fold_norm": fold_norm,
        "unembedding": model_fingerprint(readout.head),
        "layers": accounts,
    }
    return OutputTokens(pl.concat(tables), settings)


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Computes the vectors that the units of a layer add to the input of the head, per unit of activation."""

    n_units: int
    factor: float
    steps: Sequence[Step]

    def of(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Return the (n, n_inputs) vectors of some units, in float32."""
        directions = torch.zeros((stop - start, self.n_units), device=device)
        directions[torch.arange(stop - start), torch.arange(start, stop)] = self.factor
        for step in self.steps:
            directions = step(directions)
        return directions.to(device)


def _language_model(model: Any) -> tuple[nn.Module, Callable[[], object], OutputName]:
    """Return the language model, a function that runs it on a few words, and the names of its ids."""
    if isinstance(model, nn.Module):
        model = unwrapped(model)
    if isinstance(model, RecurrentLanguageModel):
        words = model.vocabulary.words
        ids = torch.arange(_DOCUMENTS * _STEPS, device=input_device(model)).reshape(_DOCUMENTS, _STEPS)
        recurrent = model
        return recurrent, lambda: recurrent(ids % len(words)), dict(enumerate(words)).get
    if not isinstance(model, TextModel):
        raise UsageError(f"output_tokens: a {type(model).__name__} predicts no words; pass a language model")
    text_model = model
    language_model = text_model.with_head()
    device = input_device(language_model)
    steps = max(min(_STEPS, model.max_length or _STEPS), min_input_length(model))
    ids, mask = padded_input(model, text_ids(model), [steps] * _DOCUMENTS, device)
    assert model.output_name is not None
    return language_model, lambda: text_model.forward(language_model, ids, mask), model.output_name


def _require_units(hook_point: HookPoint) -> None:
    """Raise if the units of a layer are no elements of one tensor at every position."""
    tap, reason = hook_point.tap, ""
    if hook_point.heads is not None:
        reason = "the unit of an attention head is a norm; collect its elements"
    elif hook_point.through is not None:
        reason = "its units are read through a module that is not part of the model; omit through"
    elif tap.route is not None:
        reason = "its expert sees some positions only; choose another layer"
    elif tap.part is not None or tap.stacked:
        reason = "it is a part of an output, or of a position at a time; choose another layer"
    if reason:
        raise UsageError(f"layer {hook_point.layer!r}: what a neuron writes is not defined: {reason}")


def _table(layer: str, vectors: _Vectors, unembedding: Tensor, name: OutputName, k: int) -> pl.DataFrame:
    """Return the rows of one layer."""
    ids = [number for number in range(len(unembedding)) if name(number) is not None]
    if not ids:
        raise UsageError(f"layer {layer!r}: none of the ids of the model has a name")
    named = torch.tensor(ids, device=unembedding.device)
    # Common to all tokens, and without effect on their probabilities.
    mean = torch.zeros(unembedding.shape[1], dtype=torch.float64, device=unembedding.device)
    for part in torch.split(named, _IDS):
        mean += unembedding[part].double().sum(dim=0)
    mean = (mean / len(named)).float()
    tables: list[pl.DataFrame] = []
    for start in range(0, vectors.n_units, _UNITS):
        directions = vectors.of(start, min(start + _UNITS, vectors.n_units), unembedding.device)
        if not bool(torch.isfinite(directions).all()):
            raise CaptureError(f"layer {layer!r}: its output weights are not finite; the model is broken")
        tables += _strongest(directions, unembedding, mean, named, k, start)
    table = pl.concat(tables).sort("neuron", "side", "rank")
    tokens = {number: name(number) for number in table["id"].unique().to_list()}
    token = pl.col("id").replace_strict(tokens, return_dtype=pl.String)
    columns = [pl.col(column).cast(dtype) for column, dtype in OUTPUT_TOKEN_SCHEMA.items()]
    return table.with_columns(layer=pl.lit(layer), token=token).select(columns)


def _strongest(
    directions: Tensor, unembedding: Tensor, mean: Tensor, named: Tensor, k: int, first: int
) -> Iterator[pl.DataFrame]:
    """Yield the largest and the smallest effects of some units, the first of which has the number `first`."""
    sides = ((PROMOTED, 1.0), (SUPPRESSED, -1.0))
    best: dict[str, tuple[Tensor, Tensor]] = {}
    for part in torch.split(named, _IDS):
        effects = directions @ (unembedding[part].float() - mean).T
        for side, sign in sides:
            values, columns = effects.topk(min(k, len(part)), dim=1, largest=sign > 0)
            values, ids = values * sign, part[columns]
            if side in best:
                values, ids = (torch.cat(pair, dim=1) for pair in zip(best[side], (values, ids), strict=True))
            values, columns = values.topk(min(k, values.shape[1]), dim=1)
            best[side] = values, ids.gather(1, columns)
    for side, sign in sides:
        values, ids = best[side]
        yield _of_side(side, sign, values.cpu().numpy(), ids.cpu().numpy(), first)


def _of_side(side: str, sign: float, best: Any, ids: Any, first: int) -> pl.DataFrame:
    """Return the rows of one side, the strongest first, ties by id; without tokens that are not affected."""
    order = np.lexsort((ids, -best), axis=1)
    best, ids = np.take_along_axis(best, order, axis=1), np.take_along_axis(ids, order, axis=1)
    neuron, rank = np.nonzero(best > 0)
    return pl.DataFrame(
        {
            "neuron": first + neuron,
            "side": pl.repeat(side, len(neuron), eager=True),
            "rank": rank,
            "id": ids[neuron, rank],
            "effect": sign * best[neuron, rank],
        }
    )
