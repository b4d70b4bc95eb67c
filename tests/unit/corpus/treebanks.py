"""Treebanks for taggers to learn from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from txray.corpus.document import Document


def write_conllu(file: Path, documents: Iterable[Document], column: str = "pos") -> Path:
    """Write tagged documents as CoNLL-U, their sentences one after the other; returns the file."""
    with file.open("w", encoding="utf-8") as stream:
        for document in documents:
            tags = iter(document.annotations[column])
            for sentence in document.sentences():
                for position, word in enumerate(sentence, start=1):
                    tag = next(tags)
                    stream.write(f"{position}\t{word}\t_\t{tag[0]}\t{tag}\t_\t0\tdep\t_\t_\n")
                stream.write("\n")
    return file
