"""Load any type of model by its name or folder."""

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
"""Prefix of the names of models on the hub; without it, the network is never used."""


def load_model(
    name: Path | str, *, head: bool | Literal["saved"] = False, classes: Sequence[str] | None = None
) -> RecurrentLanguageModel | SentimentClassifier | TextModel:
    """Load a model on the CPU, in evaluation mode.

    >>> model = txray.models.language_model("gru", txray.demo_corpus("reviews", words=500), hidden=8)
    >>> txray.models.save_model(model, "snapshot")
    >>> load_model("snapshot").rnn
    GRU(300, 8, batch_first=True)

    Args:
        name: a snapshot folder of txray, a model folder of Hugging Face, or `hf:` and the name of a model on the hub,
            such as `hf:gpt2`. `txray.models.hugging_face` has options for how such models read long documents.
        head, classes: see `txray.models.hugging_face`; ignored for txray's own models, which always have their head.

    Raises:
        SnapshotError: there is no model, or it is damaged.
        UsageError: it is a Hugging Face model, and transformers is not installed.
    """
    from txray.models.huggingface import CONFIG, hugging_face

    if str(name).startswith(HUB):
        return hugging_face(str(name).removeprefix(HUB), head=head, classes=classes)
    folder = Path(name)
    if not folder.is_dir():
        raise SnapshotError(
            f"{name}: no such folder; pass a snapshot of txray, a folder of Hugging Face with {CONFIG}, or {HUB}{name} "
            "for a model on the hub"
        )
    if (folder / CONFIG).is_file() and not (folder / MODEL).exists():
        return hugging_face(folder, head=head, classes=classes)
    return load_snapshot(folder)
