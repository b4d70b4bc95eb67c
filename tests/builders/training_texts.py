"""Small texts that can be learned, and ways to look at what a run left."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.models import RecurrentLanguageModel, Vocabulary, language_model

RING = tuple("abcdefgh")
VOCABULARY = Vocabulary(("<unk>", "<eos>", *RING))


def ring(name: str, documents: int, seed: int, *, step: int = 1) -> Corpus:
    """Each word is followed by the one `step` further round the ring: all words equally frequent, none free."""
    random = np.random.default_rng(seed)
    texts = []
    for number in range(documents):
        start, length = random.integers(len(RING)), random.integers(5, 30)
        words = tuple(RING[(start + step * place) % len(RING)] for place in range(length))
        texts.append(Document(f"{name}-{number}", words))
    return Corpus.from_documents(name, texts)


def model(seed: int = 0, dropout: float = 0.1) -> RecurrentLanguageModel:
    return language_model("gru", VOCABULARY, embedding=6, hidden=8, dropout=dropout, seed=seed)


def reviews(name: str, documents: int, seed: int, *, noise: float = 0.0) -> Corpus:
    """Documents of 3 to 20 words; `a` and `b` are praise, `g` and `h` are blame, the rest says nothing."""
    random = np.random.default_rng(seed)
    texts = []
    for number in range(documents):
        good = number % 2 == 0
        telling = RING[:2] if good else RING[-2:]
        words = [str(random.choice(RING[2:6])) for _ in range(random.integers(2, 19))]
        words.insert(int(random.integers(len(words) + 1)), str(random.choice(telling)))
        label = good if random.random() >= noise else not good
        texts.append(Document(f"{name}-{number}", tuple(words), labels={"label": "pos" if label else "neg"}))
    return Corpus.from_documents(name, texts)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Path within the folder -> content, of every file, hidden ones included."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
