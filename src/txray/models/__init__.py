"""Models that read text: recurrent models and their snapshots, Hugging Face models, and any other module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.models.adapter import from_transformers as from_transformers
    from txray.models.autoencoder import load_autoencoder as load_autoencoder
    from txray.models.huggingface import hugging_face as hugging_face
    from txray.models.load import load_model as load_model
    from txray.models.recurrent import Cell as Cell
    from txray.models.recurrent import RecurrentConfig as RecurrentConfig
    from txray.models.recurrent import RecurrentLanguageModel as RecurrentLanguageModel
    from txray.models.recurrent import RecurrentModel as RecurrentModel
    from txray.models.recurrent import language_model as language_model
    from txray.models.sentiment import SentimentClassifier as SentimentClassifier
    from txray.models.sentiment import classifier as classifier
    from txray.models.snapshot import load_snapshot as load_snapshot
    from txray.models.snapshot import save_model as save_model
    from txray.models.snapshot import snapshot_metadata as snapshot_metadata
    from txray.models.sparse_encoder import EncoderConfig as EncoderConfig
    from txray.models.sparse_encoder import SparseEncoder as SparseEncoder
    from txray.models.text_model import Pieces as Pieces
    from txray.models.text_model import Pooling as Pooling
    from txray.models.text_model import Task as Task
    from txray.models.text_model import TextModel as TextModel
    from txray.models.vocabulary import Vocabulary as Vocabulary

# Imported on first use, so that `txray.models.vocabulary` does not import torch.
__getattr__, __dir__, __all__ = attach(__name__)
