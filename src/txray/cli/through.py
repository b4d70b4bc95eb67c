"""The option `--through`: folders of autoencoders through which layers are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from txray.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from txray.capture import Layer
    from txray.models import TextModel


def layers_through(
    layers: Sequence[str],
    folders: Sequence[Path] | None,
    device: str = "cpu",
    model: nn.Module | TextModel | None = None,
) -> list[str | Layer]:
    """Return the layers, each read through the autoencoder of the folder at the same place in the list.

    Args:
        layers: names or patterns.
        folders: folders of autoencoders, or folders with one for each layer, named like the layer; None for none.
        device: device of the autoencoders.
        model: proposes the layer, if only folders are given.

    Raises:
        UsageError: not as many folders as layers, or the folder names a hook that means no layer clearly.
        SnapshotError: a folder cannot be read.
    """
    if not folders:
        return list(layers)
    from txray.capture import Layer, layer_of_hook
    from txray.models import SparseEncoder, TextModel, load_autoencoder
    from txray.models.autoencoder import CONFIG

    @cache
    def load(folder: Path) -> SparseEncoder:
        return load_autoencoder(folder).to(device)

    if not layers and isinstance(model, TextModel):
        proposals = [layer_of_hook(model, load(folder)) for folder in folders]
        for proposal, folder in zip(proposals, folders, strict=True):
            typer.echo(f"layer {proposal.label}, from hook_name {load(folder).hook_name} of {folder}")
        return list(proposals)
    layers = layers or ["rnn"]
    if len(layers) != len(folders):
        raise UsageError(
            f"--through: {len(folders)} folders for {len(layers)} layers; give one --through for each --layer, in the "
            "same order"
        )

    def through(folder: Path) -> object:
        # A folder of folders has an autoencoder for each layer that a pattern matches.
        several = folder.is_dir() and not (folder / CONFIG).exists()
        return (lambda name: load(folder / name)) if several else load(folder)

    return [
        replace(Layer.parse(layer), through=through(folder))  # type: ignore[arg-type]
        for layer, folder in zip(layers, folders, strict=True)
    ]
