"""Masks as files: JSON, for models that are not made smaller."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from txray.errors import SnapshotError, TxrayError, UsageError, in_one_line
from txray.files import write_text
from txray.pruning.mask import Mask

FORMAT = 1


def save_masks(masks: Sequence[Mask], file: Path | str, *, model: str | None = None) -> Path:
    """Write masks to a file; returns its path.

    Args:
        masks: of one model, at most one per layer.
        file: replaced if it exists.
        model: fingerprint of the model that they are for.

    Raises:
        UsageError: no masks.
        OutputError: the place cannot be written.
    """
    if not masks:
        raise UsageError(f"{file}: no masks to save; give at least one")
    content = {
        "format": FORMAT,
        "model": model,
        "masks": [
            {
                "layer": mask.layer,
                "neurons": list(mask.neurons),
                "ablation": mask.ablation,
                "when": mask.when,
                "values": None if mask.values is None else mask.values.tolist(),
                "seed": mask.seed,
            }
            for mask in masks
        ],
    }
    target = Path(file)
    write_text(target, json.dumps(content, allow_nan=False) + "\n")
    return target


def load_masks(file: Path | str, *, model: str | None = None) -> list[Mask]:
    """Read masks, for `masked(model, *load_masks(file))`.

    Args:
        file: written by `save_masks`.
        model: fingerprint of the model that they are to be for; any by default.

    Raises:
        SnapshotError: no such file, damaged, of another version, or for another model.
    """
    target = Path(file)
    if not target.is_file():
        raise SnapshotError(f"{target}: no such file; name a mask that 'txray prune export' wrote")
    try:
        content: Any = json.loads(target.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else None
            raise SnapshotError(
                f"{target}: format {found!r}; this version of txray reads format {FORMAT}; use the version that wrote "
                "it"
            )
        if model is not None and content["model"] not in (None, model):
            raise SnapshotError(
                f"{target}: is for the model {content['model']!r}, not {model!r}; export it again"
            )
        if not isinstance(content["masks"], list) or not content["masks"]:
            raise ValueError("it holds no masks")
        return [
            Mask(**{**each, "values": None if each["values"] is None else np.array(each["values"])})
            for each in content["masks"]
        ]
    except SnapshotError:
        raise
    except (TxrayError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SnapshotError(f"{target}: damaged: {in_one_line(error)}; export the mask again") from error
