"""The words that a word-level model knows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from txray.corpus.corpus import Corpus
from txray.errors import UsageError

UNKNOWN = "<unk>"
END = "<eos>"
SPECIALS = (UNKNOWN, END)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; the position of a word is its id.

    >>> Vocabulary(("<unk>", "<eos>", "good")).encode(["Good", "film"])
    [2, 0]

    Attributes:
        words: (n,) distinct words; the first two are `<unk>` (id 0) and `<eos>` (id 1).
        lowercase: whether words of the text are lower-cased before they are looked up.

    Raises:
        UsageError: the special words are not first, or a word occurs twice or can never be looked up.
    """

    words: tuple[str, ...]
    lowercase: bool = True
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[:2] != SPECIALS:
            raise UsageError(
                f"vocabulary: begins with {list(self.words[:2])!r}; "
                f"the first two words must be {list(SPECIALS)!r}"
            )
        ids = {word: position for position, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            twice = next(word for position, word in enumerate(self.words) if ids[word] != position)
            raise UsageError(f"vocabulary: {twice!r} occurs more than once; pass each word once")
        if self.lowercase:
            unreachable = next((word for word in self.words if word.lower() != word), None)
            if unreachable is not None:
                raise UsageError(
                    f"vocabulary: {unreachable!r} can never be looked up, because words are lower-cased first; "
                    "pass lower-cased words, or lowercase=False"
                )
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def from_corpus(cls, corpus: Corpus, size: int | None = None, lowercase: bool = True) -> Vocabulary:
        """Return the `size` most frequent words of a corpus, `<unk>` and `<eos>` included; ties in alphabetical order.

        Raises:
            UsageError: `size` leaves no room for a single word.
        """
        if size is not None and size <= len(SPECIALS):
            raise UsageError(
                f"vocabulary: size={size} leaves no room for words beside {' and '.join(SPECIALS)}; "
                "choose at least 3"
            )
        counts = Counter(chain.from_iterable(document.words for document in corpus))
        if lowercase:
            lowered: Counter[str] = Counter()
            for word, count in counts.items():
                lowered[word.lower()] += count
            counts = lowered
        for special in SPECIALS:
            counts.pop(special, None)
        n_words = None if size is None else size - len(SPECIALS)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[:n_words]
        return cls((*SPECIALS, *ranked), lowercase)

    def __len__(self) -> int:
        return len(self.words)

    def form(self, word: str) -> str:
        """Return the word as the model sees it: lower-cased if the model does so, or `<unk>` if it is unknown."""
        form = word.lower() if self.lowercase else word
        return form if form in self._ids else UNKNOWN

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return (n_words,) ids; unknown words have the id of `<unk>`."""
        find = self._ids.get
        if self.lowercase:
            return [find(word.lower(), 0) for word in words]
        return [find(word, 0) for word in words]

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the words, their order and the casing as hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.lowercase, *self.words]).encode()).hexdigest()
