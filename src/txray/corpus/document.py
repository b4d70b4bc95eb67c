"""One document: words, with annotations and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

from txray.errors import CorpusError

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_ANNOTATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Document:
    """Words, plus annotations of each word, plus labels of the whole.

    Attributes:
        id: names the document; folds are drawn from it, so it must be unique within a corpus.
        words: (n_words,) as written, never empty.
        annotations: annotation name -> (n_words,) values, e.g. `pos`.
        labels: label name -> value, e.g. `{"label": "pos"}`.
        sentence_starts: positions at which a sentence starts, ascending, the first is 0.

    Raises:
        CorpusError: no words, or an annotation of another length than the words.
    """

    id: str
    words: tuple[str, ...]
    annotations: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_ANNOTATIONS)
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    sentence_starts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.words:
            raise CorpusError(f"document {self.id!r}: no words; skip empty documents before this point")
        for name, values in self.annotations.items():
            if len(values) != len(self.words):
                raise CorpusError(
                    f"document {self.id!r}: annotation {name!r} has {len(values)} values for "
                    f"{len(self.words)} words; give one value per word"
                )
        self._require_text()
        starts = self.sentence_starts
        ascending = all(start < following for start, following in pairwise(starts))
        if not starts or starts[0] != 0 or starts[-1] >= len(self.words) or not ascending:
            raise CorpusError(
                f"document {self.id!r}: sentence_starts {starts[:3]}... must begin with 0, ascend, and stay "
                f"below {len(self.words)}, the number of words"
            )

    def _require_text(self) -> None:
        # Half a surrogate pair is a Python string but no text: no table and no file can hold it.
        parts = (
            self.id,
            *self.labels.values(),
            *self.words,
            *(v for values in self.annotations.values() for v in values),
        )
        try:
            "".join(parts).encode("utf-8")
        except UnicodeEncodeError:
            broken = next(part for part in parts if any("\ud800" <= letter <= "\udfff" for letter in part))
            raise CorpusError(
                f"document {self.id!r}: {broken[:40]!r} holds half of a surrogate pair, which is no text; "
                "repair the source, or replace it by U+FFFD"
            ) from None

    def sentences(self) -> list[tuple[str, ...]]:
        """The words, sentence by sentence."""
        ends = (*self.sentence_starts[1:], len(self.words))
        return [self.words[start:end] for start, end in zip(self.sentence_starts, ends, strict=True)]

    def cut(self, words: int) -> Document:
        """The first `words` words of this document, with their annotations."""
        if words >= len(self.words):
            return self
        return Document(
            id=self.id,
            words=self.words[:words],
            annotations={name: values[:words] for name, values in self.annotations.items()},
            labels=self.labels,
            sentence_starts=tuple(start for start in self.sentence_starts if start < words),
        )
