"""Extraction as toolkits for probing do it, written from its description: what txray's single pass is measured against.

Sentences are read one by one, all hidden states are moved to numpy, each word gets those of its last piece, and every
sentence becomes a data set of an HDF5 file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch

from txray.corpus import Document
from txray.models import TextModel


def extract_sentence_by_sentence(model: TextModel, documents: Iterable[Document], file: Path) -> int:
    """All hidden states of every word into an HDF5 file; returns the number of words.

    Args:
        model: a Hugging Face encoder.
        documents: cut into sentences here.
        file: to write to.
    """
    words = 0
    with torch.inference_mode(), h5py.File(file, "w") as store:
        for number, sentence in enumerate(sentences(documents)):
            pieces = model.pieces(sentence)
            ids = torch.tensor([[*model.prefix, *pieces.ids, *model.suffix]])
            states = model.module(ids, output_hidden_states=True).hidden_states
            activations = np.stack([layer[0].cpu().numpy() for layer in states])
            last = {word: position for position, word in enumerate(pieces.word, len(model.prefix))}
            store.create_dataset(str(number), data=activations[:, list(last.values())])
            words += len(sentence)
    return words


def sentences(documents: Iterable[Document]) -> Iterator[Sequence[str]]:
    """The sentences of documents that know where theirs begin; whole documents otherwise."""
    for document in documents:
        starts = document.sentence_starts or (0,)
        for start, end in pairwise([*starts, len(document.words)]):
            yield document.words[start:end]
