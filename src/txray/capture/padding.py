"""Try out whether padding changes what a model computes, before inputs of different length share a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from txray.capture.dry_run_inputs import min_input_length, padded_input, text_ids
from txray.capture.hook_point import HookPoint
from txray.capture.hooks import capturing, evaluating
from txray.capture.model_adapter import ModelAdapter, TextModelAdapter
from txray.errors import CaptureError, PaddingWarning
from txray.models.base_model import input_device
from txray.models.text_model import TextModel

_ROUNDING = {torch.bfloat16: 5e-2, torch.float16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-8}
"""Share of a position's activations by which they may differ from batch to batch, by the number type."""

_LONG = 1024
"""Positions of the longest input that is tried, where the model can read so much: some attend to all positions of short
inputs, and to blocks of long ones."""

_CONTROL = 10
"""Times the difference that a batch without padding makes, beyond which padding is the cause."""

Outputs = Mapping[str, Sequence[Tensor]]
"""Layer -> for each input, (n_positions, n_neurons) at the positions in use."""

Read = Callable[[Tensor, Tensor, Sequence[int]], Outputs]
"""(ids, mask, lengths) -> outputs."""


def settle_padding(adapter: ModelAdapter, hook_points: Sequence[HookPoint]) -> None:
    """Let a adapter read inputs of equal length only where padding changes the layers that are read.

    The same inputs are read alone and beside a longer one. They depend on the model alone, so that all processes that
    read a part of a corpus with it agree.

    Args:
        adapter: whose `padded` and `settings` say afterwards how it reads.
        hook_points: the layers.

    Warns:
        PaddingWarning: the model's `reads_padding` is True and padding changes a layer; it is believed all the same.
    """
    if not isinstance(adapter, TextModelAdapter) or not adapter.padded:
        return

    def read(ids: Tensor, mask: Tensor, lengths: Sequence[int]) -> Outputs:
        with capturing(adapter.module, [hook_point.tap for hook_point in hook_points]) as captured:
            adapter.run(ids, mask, "an input of a few words")
            return {
                hook_point.layer: _rows(hook_point, captured.take(hook_point.layer), ids, lengths)
                for hook_point in hook_points
            }

    with evaluating(adapter.module, adapter.autocast):
        changed = _changed_by_padding(adapter.model, read, adapter.autocast)
    if changed is None:
        return
    if adapter.model.reads_padding:
        adapter.settings["batches"] = "padded (reads_padding=True)"
        _warn(adapter.name, changed)
    else:
        adapter.padded = False
        adapter.settings["batches"] = "equal lengths"


def scores_ignore_padding(model: TextModel) -> bool:
    """Return whether inputs of different length may be scored together: whether a model's logits are the same then.

    Warns:
        PaddingWarning: the model's `reads_padding` is True and padding changes its logits; it is believed all the same.
    """
    if not model.supports_padding:
        return False

    def read(ids: Tensor, mask: Tensor, lengths: Sequence[int]) -> Outputs:
        output = model.forward(model.module, ids, mask)
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor) or logits.dim() not in (2, 3):
            raise CaptureError("no logits")
        by_input = logits if logits.dim() == 3 else logits[:, None]
        return {"logits": [row[:length] for row, length in zip(by_input, lengths, strict=True)]}

    with evaluating(model.module):
        changed = _changed_by_padding(model, read)
    if changed is not None and model.reads_padding:
        _warn(model.name or type(model.module).__name__, changed)
    return changed is None or bool(model.reads_padding)


def _warn(name: str, changed: str) -> None:
    warnings.warn(
        f"model {name!r}: reads_padding=True, but padding changes {changed}, so numbers depend on the batch; "
        "leave reads_padding out",
        PaddingWarning,
        stacklevel=4,
    )


def _rows(hook_point: HookPoint, output: Tensor, ids: Tensor, lengths: Sequence[int]) -> Sequence[Tensor]:
    """Return a layer's activations at the positions in use, input by input."""
    flat, steps = hook_point.flat(output, *ids.shape)
    by_input = flat.reshape(len(lengths), steps, -1)
    missing = max(hook_point.layout.missing, 0)
    return [row[: length - missing] for row, length in zip(by_input, lengths, strict=True)]


def _changed_by_padding(model: TextModel, read: Read, autocast: torch.dtype | None = None) -> str | None:
    """Return the first layer that padding changes; None where it changes none, or where it cannot be tried out."""
    tried = (_changed_at(lengths, model, read, autocast) for lengths in _lengths(model))
    return next((changed for changed in tried if changed is not None), None)


def _changed_at(
    lengths: Sequence[int], model: TextModel, read: Read, autocast: torch.dtype | None
) -> str | None:
    """Return the first layer that padding changes where inputs of these lengths, ascending, are read together."""
    text, device = text_ids(model), input_device(model.module)
    ids, mask = padded_input(model, text, lengths, device)
    twice, whole = padded_input(model, text, [lengths[0]] * 2, device)
    try:
        alone = [
            read(ids[row : row + 1, :length], mask[row : row + 1, :length], [length])
            for row, length in enumerate(lengths)
        ]
        beside = read(twice, whole, [lengths[0]] * 2)
    except Exception:
        return None  # The documents will show what is wrong, each by its name.
    try:
        together = read(ids, mask, lengths)
    except Exception:
        return "whether it runs"
    for layer, rows in together.items():
        rounding = max(
            _ROUNDING.get(kind, 0.0) for kind in (rows[0].dtype, autocast, _type_of(model)) if kind
        )
        control = _difference(beside[layer][0], alone[0][layer][0])
        differences = [_difference(row, one[layer][0]) for row, one in zip(rows, alone, strict=True)]
        # Not `any(difference > ...)`: comparisons with NaN are False, and NaN must count as a change.
        if not all(difference <= rounding + _CONTROL * control for difference in differences):
            return f"layer {layer!r}" if layer != "logits" else "its logits"
    return None


def _lengths(model: TextModel) -> list[list[int]]:
    """Return lengths of inputs to read together, the longest much longer: of short ones, then of long ones.

    There are none where the model reads no two lengths, and no long ones where its limit is not known: a position too
    much ends whatever else runs on a GPU.
    """
    least, longest = min_input_length(model), min(model.max_length or 0, _LONG)
    short = (least, least + 5, 3 * least + 18)
    choices = [sorted({min(length, model.max_length or length) for length in short})]
    if longest > max(short):
        choices.append(sorted({least, max(least, longest * 3 // 4), longest}))
    return [lengths for lengths in choices if len(lengths) > 1]


def _type_of(model: TextModel) -> torch.dtype | None:
    return next((weight.dtype for weight in model.module.parameters() if weight.is_floating_point()), None)


def _difference(one: Tensor, other: Tensor) -> float:
    """Return the largest share of a position's activations by which two outputs differ."""
    one, other = one.double(), other.double()
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    size = other.square().mean(dim=1).sqrt()
    # Where a layer is silent, the difference is measured by its size at the other positions.
    size = torch.maximum(size, 1e-2 * other.square().mean().sqrt())
    apart = (one - other).square().mean(dim=1).sqrt()
    return float(torch.where(apart > 0, apart / size, 0).max())
