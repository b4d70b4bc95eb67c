"""`load_model`: one door to every kind of model on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from txray.models.snapshot import MODEL, load_snapshot

if TYPE_CHECKING:
    from txray.models.recurrent import RecurrentLanguageModel
    from txray.models.sentiment import SentimentClassifier
    from txray.models.text_model import TextModel


def load_model(name: Path | str) -> RecurrentLanguageModel | SentimentClassifier | TextModel:
    """A model, on the CPU, ready to be applied.

    Args:
        name: a snapshot folder of txray, a model folder of Hugging Face, or the name of a model on its hub.
            How Hugging Face models read long documents is chosen by `txray.models.hugging_face`.

    Raises:
        SnapshotError: there is no model, or it is damaged.
        UsageError: a Hugging Face model, and transformers is not installed.
    """
    from txray.models.hub import CONFIG, hugging_face

    folder = Path(name)
    if (folder / CONFIG).is_file() and not (folder / MODEL).exists():
        return hugging_face(name)
    return load_snapshot(folder) if folder.exists() or _is_path(folder) else hugging_face(name)


def _is_path(missing: Path) -> bool:
    """Whether what does not exist was meant as a path, rather than as a name such as `user/model`."""
    beside = missing.parent
    return len(missing.parts) > 2 or missing.is_absolute() or (beside != Path() and beside.exists())
