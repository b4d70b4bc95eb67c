"""Training of the part-of-speech tagger: its sentences, and the CRF by crfsuite."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from txray._optional import import_extra
from txray.corpus.annotators.annotator import UNKNOWN
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.corpus.tagger_features import HIDDEN, FeatureMaker
from txray.errors import CorpusError, OutputError, UnknownNameError
from txray.progress import progress

_MIN_DISK_SPACE = 128 << 20
"""Bytes for temporary files: several times the need of a large treebank."""

Sentence = tuple[tuple[str, ...], tuple[str, ...]]
"""Words and their tags."""


def gold_tags(document: Document, column: str) -> tuple[str, ...]:
    """Return an annotation of a document.

    Raises:
        UnknownNameError: the document has no such annotation.
    """
    if column not in document.annotations:
        raise UnknownNameError.of("annotation", column, document.annotations)
    return document.annotations[column]


def gold_sentences(corpus: Corpus, column: str) -> tuple[list[Sentence], int]:
    """Return the sentences whose words all have tags, and the number of others."""
    sentences: list[Sentence] = []
    skipped = 0
    for document in corpus:
        tags = iter(gold_tags(document, column))
        for words in document.sentences():
            sentence_tags = tuple(next(tags) for _ in words)
            for tag in sentence_tags:
                if not tag.isprintable() or tag.split() != [tag]:
                    raise CorpusError(
                        f"corpus {corpus.name!r}, document {document.id!r}: {column} {tag!r} is not a tag; "
                        "tags are words without spaces"
                    )
            if UNKNOWN in sentence_tags:
                skipped += 1
            else:
                sentences.append((words, sentence_tags))
    if not sentences:
        raise CorpusError(
            f"corpus {corpus.name!r}: no sentence has a tag for every word in {column!r}; choose another column"
        )
    return sentences, skipped


def with_hidden_words(sentences: Sequence[Sentence]) -> Iterator[Sentence]:
    """Yield every second sentence again, with its rare words replaced by `<unk>` as in WikiText.

    On held-out text this more than doubles the accuracy on hidden words, and does not change that on other words.
    """
    counts = Counter(word for words, _ in sentences for word in words)
    for words, tags in sentences[::2]:
        if any(counts[word] == 1 for word in words):
            yield tuple(HIDDEN if counts[word] == 1 else word for word in words), tags


def train_crf(sentences: Sequence[Sentence], features: FeatureMaker, iterations: int, seed: int) -> bytes:
    """Train by the passive-aggressive algorithm; return the content of the model file."""
    pycrfsuite = import_extra("training a tagger needs", "text", "pycrfsuite")
    trainer = pycrfsuite.Trainer(algorithm="pa", params={"max_iterations": iterations})
    with progress("read features", total=len(sentences), unit="sentences") as advance:
        for words, tags in sentences:
            trainer.append(features(words), tags)
            advance()
    with (
        progress("train tagger", total=iterations, unit="passes") as advance,
        tempfile.TemporaryDirectory() as folder,
    ):
        trainer.message = lambda text: advance() if text.startswith("***** Iteration") else None
        # crfsuite shuffles with the C library's generator without seeding it
        ctypes.CDLL(None if os.name == "posix" else "ucrtbase").srand(seed)
        # On a full disk, crfsuite ends the process or writes an incomplete file without an error.
        if shutil.disk_usage(folder).free < _MIN_DISK_SPACE:
            raise OutputError(
                f"{folder}: training a tagger needs {_MIN_DISK_SPACE >> 20} MiB for temporary files; free some, or set "
                "TMPDIR"
            )
        file = Path(folder) / "model.crfsuite"
        trainer.train(str(file))
        model = file.read_bytes()
        if model[:4] != b"lCRF" or int.from_bytes(model[4:8], "little") != len(model):
            raise OutputError(
                f"{folder}: the tagger's model could not be written as a whole; is the disk full?"
            )
        return model
