"""One document: words, with annotations and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

from txray.errors import CorpusError
from txray.text import is_text

RESERVED_NAMES = ("token", "subword", "output", "label")
"""Feature types that are not annotations; an annotation of such a name would be hidden."""

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_NO_ANNOTATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Document:
    """Words, annotations of each word, and labels of the whole document.

    Attributes:
        id: unique within a corpus.
        words: (n_words,) as written, at least one.
        annotations: annotation name -> (n_words,) values, e.g. `pos`.
        labels: label name -> value, e.g. `{"label": "pos"}`.
        sentence_starts: positions at which a sentence starts, ascending, the first is 0.
        group: documents of one group, such as chapters of a book, always share a fold; None for a document that
            depends on no other.
        cut_from: hash of the words of the document of which this is the beginning; None for a whole document.

    Raises:
        CorpusError: no words, an annotation of another length than the words, an empty group, sentence starts that do
            not ascend from 0, or half of a surrogate pair.

    Example:
        >>> document = Document("note-1", ("A", "quiet", "film"), annotations={"pos": ("DT", "JJ", "NN")})
    """

    id: str
    words: tuple[str, ...]
    annotations: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_ANNOTATIONS)
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    sentence_starts: tuple[int, ...] = (0,)
    group: str | None = None
    cut_from: int | None = None

    def __post_init__(self) -> None:
        if not self.words:
            raise CorpusError(f"document {self.id!r}: no words; skip empty documents before this point")
        for name, values in self.annotations.items():
            if len(values) != len(self.words):
                raise CorpusError(
                    f"document {self.id!r}: annotation {name!r} has {len(values)} values for "
                    f"{len(self.words)} words; give one value per word"
                )
        if self.group == "":
            raise CorpusError(f"document {self.id!r}: group '' is empty; name the group, or give None")
        self._require_texts()
        starts = self.sentence_starts
        ascending = all(start < following for start, following in pairwise(starts))
        if not starts or starts[0] != 0 or starts[-1] >= len(self.words) or not ascending:
            raise CorpusError(
                f"document {self.id!r}: sentence_starts {starts[:3]}... must begin with 0, ascend, and stay "
                f"below {len(self.words)}, the number of words"
            )

    def _require_texts(self) -> None:
        strings = (
            self.id,
            self.group or "",
            *self.labels.values(),
            *self.words,
            *(v for values in self.annotations.values() for v in values),
        )
        if not is_text("".join(strings)):
            broken = next((string for string in strings if not is_text(string)), "")
            raise CorpusError(
                f"document {self.id!r}: {broken[:40]!r} holds half of a surrogate pair, which no file can hold; "
                "repair the source, or replace it by U+FFFD"
            )

    @property
    def fold_key(self) -> int:
        """Hash of 63 bits that decides the fold: of the group or, without one, of the words as written.

        Documents with the same words therefore share a fold, and so do a document and its beginning.
        """
        if self.group is not None:
            return _hashed(self.group.encode(), b"group")
        return words_key(self.words) if self.cut_from is None else self.cut_from

    def sentences(self) -> list[tuple[str, ...]]:
        """Return the words of each sentence."""
        ends = (*self.sentence_starts[1:], len(self.words))
        return [self.words[start:end] for start, end in zip(self.sentence_starts, ends, strict=True)]

    def cut(self, words: int) -> Document:
        """Return the first `words` words of this document, with their annotations."""
        if words >= len(self.words):
            return self
        return Document(
            id=self.id,
            words=self.words[:words],
            annotations={name: values[:words] for name, values in self.annotations.items()},
            labels=self.labels,
            sentence_starts=tuple(start for start in self.sentence_starts if start < words),
            group=self.group,
            cut_from=words_key(self.words) if self.cut_from is None else self.cut_from,
        )


def words_key(words: Sequence[str]) -> int:
    """Return a 63-bit hash of words as written, the same in every process and on every machine."""
    text = "\0".join(words)
    if text.count("\0") >= len(words):  # a word contains the separator
        text = repr(tuple(words))
    return _hashed(text.encode(), b"words")


def _hashed(text: bytes, purpose: bytes) -> int:
    digest = hashlib.blake2b(text, digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "little") >> 1
