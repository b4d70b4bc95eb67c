"""One document: words, with annotations and labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from txray.errors import CorpusError
from txray.text import is_text

RESERVED_NAMES = ("token", "subword", "output", "label")
"""Feature types that are not annotations; an annotation of such a name would be hidden."""

SPACES = r"\s\x00-\x1f\x7f-\x9f"
"""Characters between words, for regular expressions: white space and control characters."""

_SPACING = re.compile(f"[{SPACES}]*")
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
        spacing: (n_words,) the white space before each word as written, empty where a word follows directly; None if
            the source does not tell it.

    Raises:
        CorpusError: no words, an annotation or spacing of another length than the words, spacing that is not white
            space, an empty group, sentence starts that do not ascend from 0, or half of a surrogate pair.

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
    spacing: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.words:
            raise CorpusError(f"document {self.id!r}: no words; skip empty documents before this point")
        for name, values in self.annotations.items():
            if len(values) != len(self.words):
                raise CorpusError(
                    f"document {self.id!r}: annotation {name!r} has {len(values)} values for "
                    f"{len(self.words)} words; give one value per word"
                )
        if self.spacing is not None:
            self._require_spaces(self.spacing)
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

    def _require_spaces(self, spacing: tuple[str, ...]) -> None:
        if len(spacing) != len(self.words):
            raise CorpusError(
                f"document {self.id!r}: spacing has {len(spacing)} values for {len(self.words)} words; give the "
                "white space before each word, or None"
            )
        if _SPACING.fullmatch("".join(spacing)) is None:
            position, value = next(pair for pair in enumerate(spacing) if not _SPACING.fullmatch(pair[1]))
            raise CorpusError(
                f"document {self.id!r}: spacing {value[:40]!r} before word {position} is not white space; give the "
                "white space before each word, or None"
            )

    def __repr__(self) -> str:
        beginning = " ".join(self.words[:8])[:80] + (" ..." if len(self.words) > 8 else "")
        return f"Document({self.id[:80]!r}, {len(self.words):,} words: {beginning!r})"

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

    @property
    def text(self) -> str:
        """Return the text up to its last word: as written, or the words joined by spaces if `spacing` is None."""
        if self.spacing is None:
            return " ".join(self.words)
        return "".join(chain.from_iterable(zip(self.spacing, self.words, strict=True)))

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Return (n_words, 2) where each word begins and ends in `text`, in characters.

        >>> document = Document("d", ("It", "'s", "late"), spacing=("", "", "  "))
        >>> document.text, document.offsets.tolist()
        ("It's  late", [[0, 2], [2, 4], [6, 10]])
        """
        n = len(self.words)
        sizes = np.fromiter(map(len, self.words), np.int64, n)
        if self.spacing is None:
            spaces = (np.arange(n) > 0).astype(np.int64)
        else:
            spaces = np.fromiter(map(len, self.spacing), np.int64, n)
        ends = np.cumsum(spaces + sizes)
        return np.stack((ends - sizes, ends), axis=1)

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
            spacing=None if self.spacing is None else self.spacing[:words],
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
