"""`load_model`: one door to every kind of model on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from txray.errors import SnapshotError
from txray.models.snapshot import MODEL, load_snapshot

if TYPE_CHECKING:
    from txray.models.recurrent import RecurrentLanguageModel
    from txray.models.sentiment import SentimentClassifier
    from txray.models.text_model import TextModel


HUB = "hf:"
"""Begins the name of a model on the hub: nothing is asked of the network unless it is meant."""


def load_model(
    name: Path | str, *, head: bool | Literal["saved"] = False, classes: Sequence[str] | None = None
) -> RecurrentLanguageModel | SentimentClassifier | TextModel:
    """A model, on the CPU, ready to be applied.

    Args:
        name: a snapshot folder of txray, a model folder of Hugging Face, or `hf:` and the name of a model on its
            hub, such as `hf:gpt2`. How such models read long documents is chosen by `txray.models.hugging_face`.
        head, classes: of a Hugging Face model, see there; txray's own always have their head.

    Raises:
        SnapshotError: there is no model, or it is damaged.
        UsageError: a Hugging Face model, and transformers is not installed.
    """
    from txray.models.huggingface import CONFIG, hugging_face

    if str(name).startswith(HUB):
        return hugging_face(str(name).removeprefix(HUB), head=head, classes=classes)
    folder = Path(name)
    if not folder.is_dir():
        raise SnapshotError(
            f"{name}: no such folder; give a snapshot of txray, a folder of Hugging Face with {CONFIG}, or {HUB}{name} "
            "for a model on its hub"
        )
    if (folder / CONFIG).is_file() and not (folder / MODEL).exists():
        return hugging_face(folder, head=head, classes=classes)
    return load_snapshot(folder)
