"""Models that read text: the built-in recurrent ones and their snapshots, Hugging Face's, and any module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.models.adapter import from_transformers
    from txray.models.huggingface import hugging_face
    from txray.models.load import load_model
    from txray.models.recurrent import RecurrentConfig, RecurrentLanguageModel, RecurrentModel, language_model
    from txray.models.sentiment import SentimentClassifier, classifier
    from txray.models.snapshot import load_snapshot, save_model, snapshot_facts
    from txray.models.text_model import Pieces, TextModel
    from txray.models.vocabulary import Vocabulary

# Looked up on first use, so that `txray.models.vocabulary` costs no torch.
_HOMES = {
    "RecurrentConfig": "recurrent",
    "RecurrentLanguageModel": "recurrent",
    "RecurrentModel": "recurrent",
    "SentimentClassifier": "sentiment",
    "Pieces": "text_model",
    "TextModel": "text_model",
    "Vocabulary": "vocabulary",
    "classifier": "sentiment",
    "language_model": "recurrent",
    "from_transformers": "adapter",
    "hugging_face": "huggingface",
    "load_model": "load",
    "load_snapshot": "snapshot",
    "save_model": "snapshot",
    "snapshot_facts": "snapshot",
}

__all__ = [
    "Pieces",
    "RecurrentConfig",
    "RecurrentLanguageModel",
    "RecurrentModel",
    "SentimentClassifier",
    "TextModel",
    "Vocabulary",
    "classifier",
    "from_transformers",
    "hugging_face",
    "language_model",
    "load_model",
    "load_snapshot",
    "save_model",
    "snapshot_facts",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
