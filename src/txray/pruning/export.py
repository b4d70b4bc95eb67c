"""Write a model without its pruned neurons as a folder that its library loads like any other model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from txray.capture.forward.hooks import evaluating
from txray.errors import UsageError
from txray.files import atomic_folder
from txray.models import RecurrentLanguageModel, RecurrentModel, TextModel, load_model, save_model
from txray.models.fingerprint import model_fingerprint
from txray.models.folders import HUB, contents_of, is_model_folder
from txray.models.huggingface import without_progress_bars
from txray.models.load import is_on_hub
from txray.pruning.compact import compact_model
from txray.pruning.mask import Mask
from txray.pruning.masking import masked
from txray.pruning.smaller_transformer import smaller_transformer

PRUNED = "pruned.json"
"""File of an exported folder that lists what was removed."""

_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("bpe.codes", "chat_template.jinja"),
)
_TOLERANCE = 1e-4
"""Maximum difference of outputs, relative to the largest, between the masked and the smaller model in float32."""


@dataclass(frozen=True)
class Export:
    """A smaller model that was written.

    Attributes:
        folder: its folder.
        removed: layer -> number of pruned units.
        weights_before, weights_after: number of weights of the model.
        bytes_before, bytes_after: size of the files of weights.
        difference: largest difference of the outputs of the masked and the smaller model on a test input.
        notes: sentences about what could not be made smaller.
    """

    folder: Path
    removed: dict[str, int]
    weights_before: int
    weights_after: int
    bytes_before: int
    bytes_after: int
    difference: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        units = sum(self.removed.values())
        lines = [
            f"{units:,} units removed from {len(self.removed)} layer{'s' * (len(self.removed) > 1)}; "
            f"{self.weights_after:,} of {self.weights_before:,} weights remain "
            f"({100 * self.weights_after / self.weights_before:.1f}%), {self.bytes_after / 1e6:.1f} of "
            f"{self.bytes_before / 1e6:.1f} MB",
            f"largest difference to the masked model on a test input: {self.difference:.1e}",
            *(f"note: {note}" for note in self.notes),
            f"smaller model in {self.folder}",
        ]
        return "\n".join(lines)


def export_model(model: Path | str, masks: Sequence[Mask], out: Path | str) -> Export:
    """Write a model without its pruned neurons; its outputs are those of the masked model, up to rounding.

    A folder of transformers is loaded by plain `from_pretrained` afterwards: BERT-, GPT-2- and Llama-type models with
    any head, in the precision of the original, with its tokenizer. The folder of a txray model is loaded by
    `txray.load_model`.

    Args:
        model: folder of the model, or `hf:` and its name on the hub.
        masks: masks of its layers, see `smaller_transformer` and `compact_model`.
        out: new folder.

    Raises:
        UsageError: nothing to remove, an adapter, a model, layer or mask of another kind, a neuron that does not
            exist, or a folder that is not empty.
        OutputError: the folder cannot be written.

    Example:
        >>> export_model("sentiment", advice.masks(), "sentiment-small")  # doctest: +SKIP
    """
    out, masks = Path(out), [mask for mask in masks if len(mask)]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: already exists; pass a new folder, so that no model is lost")
    if not masks:
        raise UsageError("export: the masks have no neurons; nothing to remove")
    if not (is_on_hub(str(model)) or is_model_folder(Path(model))):
        return _export_recurrent(model, masks, out)
    contents = contents_of(str(model).removeprefix(HUB))
    if contents.adapter is not None:
        raise UsageError(
            f"{model}: an adapter of PEFT cannot be made smaller; merge it into its base model and save that first"
        )
    loaded = cast("TextModel", load_model(str(model), head="saved"))
    module: Any = loaded.module
    smaller = smaller_transformer(loaded, masks)
    difference = _largest_difference(loaded, module, smaller.module, masks)
    with atomic_folder(out, markers=()) as path:
        with without_progress_bars():
            cast("Any", smaller.module).save_pretrained(path)
        for name in _TOKENIZER_FILES:
            file = contents.weights.file(name)
            if file is not None:
                shutil.copyfile(file, path / name)
        _write_removed(path, module, masks)
        bytes_after = _size_of_weights(path)
    before = contents.weights.file("model.safetensors")
    bytes_before = _size_of_weights(before.parent) if before else _bytes_of(module)
    return _report(out, masks, module, smaller.module, bytes_before, bytes_after, difference, smaller.notes)


def _export_recurrent(model: Path | str, masks: Sequence[Mask], out: Path) -> Export:
    loaded: Any = load_model(str(model))
    if not isinstance(loaded, RecurrentModel) or len(masks) > 1:
        raise UsageError(
            f"export: {model}: a {type(loaded).__name__} with masks of {len(masks)} layers cannot be made smaller; "
            "export a mask instead"
        )
    smaller: Any = compact_model(loaded, masks[0])
    difference = _largest_difference(loaded, loaded, smaller, masks)
    pruned = {"set": "", "neurons": list(masks[0].neurons), "ablation": masks[0].ablation}
    save_model(smaller, out, pruned=pruned)
    return _report(
        out, masks, loaded, smaller, _size_of_weights(Path(model)), _size_of_weights(out), difference, ()
    )


def _report(
    out: Path,
    masks: Sequence[Mask],
    module: nn.Module,
    smaller: nn.Module,
    bytes_before: int,
    bytes_after: int,
    difference: float,
    notes: tuple[str, ...],
) -> Export:
    before, after = (sum(weight.numel() for weight in one.parameters()) for one in (module, smaller))
    removed = {mask.layer: len(mask) for mask in masks}
    return Export(out, removed, before, after, bytes_before, bytes_after, difference, notes)


def _write_removed(folder: Path, module: nn.Module, masks: Sequence[Mask]) -> None:
    content = {
        "model": model_fingerprint(module),
        "removed": [
            {"layer": mask.layer, "neurons": list(mask.neurons), "ablation": mask.ablation} for mask in masks
        ],
    }
    (folder / PRUNED).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _size_of_weights(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _bytes_of(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def _largest_difference(
    model: nn.Module | TextModel, module: nn.Module, smaller: nn.Module, masks: Sequence[Mask]
) -> float:
    """Return the largest difference of the outputs on a test input, and refuse a smaller model that differs."""
    is_recurrent = isinstance(module, RecurrentModel)
    described = cast("Any", module)
    n_ids = len(described.vocabulary) if is_recurrent else described.config.vocab_size
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, n_ids, (1, 12)))
    inputs = (
        (ids, torch.tensor([12]))
        if is_recurrent and not isinstance(module, RecurrentLanguageModel)
        else (ids,)
    )
    with evaluating(module), evaluating(smaller):
        with masked(model, *masks):
            expected = _first_output(module(*inputs))
        observed = _first_output(smaller(*inputs))
    difference = float((expected.double() - observed.double()).abs().max())
    tolerance = _TOLERANCE * max(1.0, torch.finfo(expected.dtype).eps / torch.finfo(torch.float32).eps)
    if not difference <= tolerance * max(1.0, float(expected.double().abs().max())):
        raise UsageError(
            f"export: outputs of the smaller model differ by {difference:.1e} from those of the masked one; this model "
            "computes its MLPs or heads in a way that is not known; export a mask instead"
        )
    return difference


def _first_output(output: Any) -> torch.Tensor:
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if hasattr(output, "values") else output[0]
    return output
