"""Credit words by plain transformers and NumPy, one input at a time and without padding."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conformity.text import BEGIN, documents, inputs


@dataclass(frozen=True)
class Tap:
    """A tensor of a forward pass.

    Attributes:
        layer: name of the module.
        reads_input: whether it is the module's input instead of its output.
        axes: order of its axes, as in `txray.Layer`.
        dropped: axes of size 1 besides.
    """

    layer: str
    reads_input: bool = False
    axes: str = "batch-time-neurons"
    dropped: tuple[int, ...] = ()


TOLERANCE = 2e-5
"""Largest difference, relative to the largest activation of a layer, that rounding may cause."""


@dataclass(frozen=True)
class Credits:
    """Credits of every neuron and word.

    Attributes:
        words: the distinct words, sorted.
        least, most: (n_neurons, n_words) bounds of the number of selected activations; they differ where rounding
            decides which of several neurons is the strongest, or whether an activation is positive.
        total: (n_neurons, n_words) sum of the selected activations.
        scale: largest absolute activation.
    """

    words: Sequence[str]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    total: NDArray[np.float64]
    scale: float


def activations(
    module: Any, taps: Iterable[Tap], max_length: int | None
) -> dict[Tap, list[tuple[str, NDArray[np.float64]]]]:
    """Return the word and the activations of every word of the text, by tap.

    Args:
        module: a base model of transformers.
        taps: tensors of the model.
        max_length: positions that the model reads at once.
    """
    taps = list(taps)
    tensors: dict[Tap, torch.Tensor] = {}
    handles = [handle for tap in taps for handle in _hooks(module, tap, tensors)]
    pairs: dict[Tap, list[tuple[str, NDArray[np.float64]]]] = defaultdict(list)
    lags = _lags(module, taps, tensors)
    try:
        for document in documents():
            for ids, words, positions in inputs(document.words, max_length):
                _run(module, ids, ids)
                for tap in taps:
                    rows = _arranged(tensors[tap], tap)
                    for word, pieces in zip(words, positions, strict=True):
                        steps = slice(pieces.start + lags[tap], pieces.stop + lags[tap])
                        if steps.stop <= len(rows):  # otherwise the layer has no output for the word
                            pairs[tap].append((word, rows[steps].max(axis=0)))
    finally:
        for handle in handles:
            handle.remove()
    return pairs


def credited(pairs: Sequence[tuple[str, NDArray[np.float64]]], selection: str) -> Credits:
    """Return what `max-1` (the strongest neuron of each word) or `all` (each positive neuron) credits."""
    words = sorted({word for word, _ in pairs})
    values = np.stack([row for _, row in pairs])
    column = np.array([words.index(word) for word, _ in pairs])
    scale = float(np.abs(values).max(initial=0))
    slack = TOLERANCE * scale
    if selection == "all":
        sure, possible = values > slack, values > -slack
        chosen = values > 0
    else:
        top = values.max(axis=1, keepdims=True)
        possible = (values >= top - slack) & (values > -slack)
        sure = possible & (possible.sum(axis=1, keepdims=True) == 1) & (top > slack)
        chosen = (np.arange(values.shape[1]) == values.argmax(axis=1)[:, None]) & (values > 0)

    def by_word(rows: NDArray[Any]) -> NDArray[Any]:
        table = np.zeros((len(words), values.shape[1]), rows.dtype)
        np.add.at(table, column, rows)
        return table.T

    return Credits(
        words,
        by_word(sure.astype(np.int64)),
        by_word(possible.astype(np.int64)),
        by_word(np.where(chosen, values, 0.0)),
        scale,
    )


def _hooks(module: Any, tap: Tap, tensors: dict[Tap, torch.Tensor]) -> list[Any]:
    """Store the tensor of the last call of a module; of one with several names, of the last that this parent makes."""
    part, parent = module.get_submodule(tap.layer), module.get_submodule(tap.layer.rpartition(".")[0])
    shared = sum(other is part for _, other in module.named_modules(remove_duplicate=False)) > 1
    running = [not shared]

    def first(value: Any) -> torch.Tensor:
        while not isinstance(value, torch.Tensor):
            value = next(iter(value.values() if isinstance(value, Mapping) else value))
        return value.detach().clone()

    def keep_output(part: Any, arguments: Any, output: Any) -> None:
        if running[0]:
            tensors[tap] = first(output)

    def keep_input(part: Any, arguments: Any, named: Any) -> None:
        if running[0]:
            tensors[tap] = first([value for value in (*arguments, *named.values()) if torch.is_tensor(value)])

    def enter(*_: Any) -> None:
        running[0] = True

    def leave(*_: Any) -> None:
        running[0] = False

    handles = []
    if shared:
        handles = [parent.register_forward_pre_hook(enter), parent.register_forward_hook(leave)]
    if tap.reads_input:
        return [*handles, part.register_forward_pre_hook(keep_input, with_kwargs=True)]
    return [*handles, part.register_forward_hook(keep_output)]


def _run(module: Any, ids: Sequence[int], decoded: Sequence[int]) -> None:
    """Run the model on one input; a decoder reads `decoded` after its start symbol."""
    config = module.config
    arguments: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    if "use_cache" in inspect.signature(module.forward).parameters:
        arguments["use_cache"] = False  # as in training: some models read text differently when they generate
    if config.is_encoder_decoder:
        arguments["decoder_input_ids"] = torch.tensor([[_start(config), *decoded[:-1]]])
    with torch.no_grad():
        module(**arguments)


def _start(config: Any) -> int:
    start = getattr(config, "decoder_start_token_id", None)
    return BEGIN if start is None else int(start)


def _arranged(tensor: torch.Tensor, tap: Tap) -> NDArray[np.float64]:
    """Return a tensor of one input as (time, neurons)."""
    values = tensor.double().numpy().squeeze(tap.dropped)
    match tap.axes:
        case "flat":
            return values.reshape(-1, values.shape[-1])
        case "batch-neurons-time":
            return np.ascontiguousarray(values.reshape(values.shape[1], -1).T)
        case "time-batch-neurons":
            return values.reshape(values.shape[0], -1)
    return values.reshape(values.shape[1], -1)


def _lags(module: Any, taps: Sequence[Tap], tensors: dict[Tap, torch.Tensor]) -> dict[Tap, int]:
    """Return 1 for tensors with one row per position of the decoder's input, which lags by its start symbol."""
    if not module.config.is_encoder_decoder:
        return dict.fromkeys(taps, 0)
    ids = [BEGIN, *range(5, 11)]
    _run(module, ids, ids[:4])
    return {tap: int(len(_arranged(tensors[tap], tap)) == 4) for tap in taps}
