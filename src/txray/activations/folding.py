"""Compare texts regardless of case, accents and white space, which tokenizers may change."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from txray.corpus.document import words_key


def folded(text: str) -> str:
    """Return a text in lower case, without accents and white space.

    >>> folded("Café au lait")
    'cafeaulait'
    """
    if text.isascii():
        return "".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join("".join(letter for letter in decomposed if not unicodedata.combining(letter)).split())


def text_key(words: Sequence[str]) -> int:
    """Return a hash of the folded words, regardless of where they are separated."""
    return words_key((folded("".join(words)),))
