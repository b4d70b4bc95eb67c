"""Test whether padding changes what a model computes, before inputs of different length share a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from txray.capture.forward.dry_run_inputs import min_input_length, padded_input, text_ids
from txray.capture.forward.hooks import capturing, evaluating
from txray.capture.forward.routes import RoutedRows
from txray.capture.hook_point import HookPoint
from txray.capture.model_adapter import TextModelAdapter
from txray.capture.source_for import Source
from txray.errors import CaptureError, PaddingWarning, warn_user
from txray.models.base_model import input_device
from txray.models.text_model import TextModel

_ROUNDING = {torch.bfloat16: 5e-2, torch.float16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-8}
"""Relative difference of a position's activations that is taken for rounding, by dtype."""

_LONG = 1024
"""Length of the longest test input, if the model can read that much: some models attend to all positions of short
inputs, but only to blocks of long ones."""

_CONTROL = 10
"""Padding is blamed for differences larger than this many times those of a batch without padding."""

_UNTESTED = "an input that cannot be read alone"
"""Returned instead of a layer if the test is not possible."""

Outputs = Mapping[str, Sequence[Tensor]]
"""Layer -> for each input, (n_positions, n_neurons) activations at the positions in use."""

Read = Callable[[Tensor, Tensor, Sequence[int]], Outputs]
"""(ids, mask, lengths) -> outputs."""


def settle_padding(adapter: Source, hook_points: Sequence[HookPoint]) -> None:
    """Restrict an adapter to batches of equal length if padding changes the collected layers.

    Updates `padded` and `settings` of the adapter. The same inputs are read alone and together with a longer one. They
    depend on the model alone, so that all processes that read a part of a corpus agree.

    Warns:
        PaddingWarning: the model's `reads_padding` is True, but padding changes a layer; it is used all the same.
    """
    if not isinstance(adapter, TextModelAdapter) or not adapter.padded:
        return

    def read(ids: Tensor, mask: Tensor, lengths: Sequence[int]) -> Outputs:
        with capturing(adapter.module, [hook_point.tap for hook_point in hook_points]) as captured:
            output = adapter.run(ids, mask, "an input of a few words")
            outputs = {
                hook_point.layer: _rows(hook_point, hook_point.take(captured), ids, lengths)
                for hook_point in hook_points
            }
        if adapter.predictor is None:
            return outputs
        return outputs | {"logits": _by_input(adapter.predictor.scores(output), lengths)}

    with evaluating(adapter.module, adapter.autocast):
        changed = _changed_by_padding(adapter.model, read, adapter.autocast)
    if changed is None:
        return
    if adapter.model.reads_padding:
        adapter.settings["batches"] = "padded (reads_padding=True)"
        if changed != _UNTESTED:
            _warn(adapter.name, changed)
    else:
        adapter.padded = False
        adapter.settings["batches"] = "equal lengths"


def scores_ignore_padding(model: TextModel) -> bool:
    """Return whether inputs of different length may be scored together, without a change of the logits.

    Warns:
        PaddingWarning: the model's `reads_padding` is True, but padding changes its logits; it is used all the same.
    """
    if not model.supports_padding:
        return False

    def read(ids: Tensor, mask: Tensor, lengths: Sequence[int]) -> Outputs:
        output = model.forward(model.module, ids, mask)
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor) or logits.dim() not in (2, 3):
            raise CaptureError("no logits")
        return {"logits": _by_input(logits, lengths)}

    with evaluating(model.module):
        changed = _changed_by_padding(model, read)
    if changed not in (None, _UNTESTED) and model.reads_padding:
        _warn(model.name or type(model.module).__name__, changed)
    return changed is None or bool(model.reads_padding)


def _warn(name: str, changed: str) -> None:
    warn_user(
        f"model {name!r}: reads_padding=True, but padding changes {changed}, so results depend on the batch; "
        "omit reads_padding",
        PaddingWarning,
    )


def _by_input(scores: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Return the scores of each input, at the positions in use if it has several."""
    by_position = scores if scores.dim() == 3 else scores[:, None]
    return [row[:length] for row, length in zip(by_position, lengths, strict=True)]


def _rows(
    hook_point: HookPoint, output: Tensor | RoutedRows, ids: Tensor, lengths: Sequence[int]
) -> Sequence[Tensor]:
    """Return a layer's activations at the positions in use, input by input."""
    flat, steps = hook_point.by_position(output, *ids.shape)
    by_input = flat.reshape(len(lengths), steps, -1)
    missing = max(hook_point.layout.missing, 0)
    return [row[: length - missing] for row, length in zip(by_input, lengths, strict=True)]


def _changed_by_padding(model: TextModel, read: Read, autocast: torch.dtype | None = None) -> str | None:
    """Return the first layer that padding changes; None if there is none."""
    changes = (_changed_at(lengths, model, read, autocast) for lengths in _lengths(model))
    return next(filter(None, changes), None)


def _changed_at(
    lengths: Sequence[int], model: TextModel, read: Read, autocast: torch.dtype | None
) -> str | None:
    """Return the first layer that padding changes if inputs of these ascending lengths are read together."""
    text, device = text_ids(model), input_device(model.module)
    weights = next((weight.dtype for weight in model.module.parameters() if weight.is_floating_point()), None)
    ids, mask = padded_input(model, text, lengths, device)
    twice, whole = padded_input(model, text, [lengths[0]] * 2, device)
    try:
        alone = [
            read(ids[row : row + 1, :length], mask[row : row + 1, :length], [length])
            for row, length in enumerate(lengths)
        ]
        doubled = read(twice, whole, [lengths[0]] * 2)
    except Exception:
        return _UNTESTED  # Equal lengths are slower, but right; collection will report the error.
    try:
        together = read(ids, mask, lengths)
    except Exception:
        return "whether it runs"
    for layer, rows in together.items():
        rounding = max(_ROUNDING.get(dtype, 0.0) for dtype in (rows[0].dtype, autocast, weights) if dtype)
        control = _difference(doubled[layer][0], alone[0][layer][0])
        differences = [_difference(row, single[layer][0]) for row, single in zip(rows, alone, strict=True)]
        # Not `any(difference > ...)`: comparisons with NaN are False, but NaN must count as a change.
        if not all(difference <= rounding + _CONTROL * control for difference in differences):
            return f"layer {layer!r}" if layer != "logits" else "its logits"
    return None


def _lengths(model: TextModel) -> list[list[int]]:
    """Return the lengths of test inputs to read together: first short ones, then long ones.

    Empty if the model reads inputs of one length only. Long inputs are tested only if `max_length` is known: one
    position too many would crash everything that runs on the GPU.
    """
    shortest, longest = min_input_length(model), min(model.max_length or 0, _LONG)
    short = (shortest, shortest + 5, 3 * shortest + 18)
    choices = [sorted({min(length, model.max_length or length) for length in short})]
    if longest > max(short):
        choices.append(sorted({shortest, max(shortest, longest * 3 // 4), longest}))
    return [lengths for lengths in choices if len(lengths) > 1]


def _difference(values: Tensor, reference: Tensor) -> float:
    """Return the largest relative difference of the activations of a position between two outputs."""
    values, reference = values.double(), reference.double()
    if values.shape != reference.shape:
        return float("inf")
    if not values.numel():
        return 0.0
    size = reference.square().mean(dim=1).sqrt()
    # Where a layer is near zero, the difference is measured by its size at the other positions.
    size = torch.maximum(size, 1e-2 * reference.square().mean().sqrt())
    difference = (values - reference).square().mean(dim=1).sqrt()
    return float(torch.where(difference > 0, difference / size, 0).max())
