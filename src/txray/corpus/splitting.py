"""Split running text into words, with the options of every reader of text."""

from __future__ import annotations

import html as entities
import re
from itertools import pairwise

from txray.corpus.tokenize import Tokenizer, Tokens, has_words, runs, sentence_starts, tokenizer_name
from txray.errors import UsageError

_SPACES = re.compile(r"(\s+)")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


class TextSplitter:
    """Splits the texts of a reader into words and sentences.

    Attributes:
        rules: names everything that decides the words; part of the fingerprint of a corpus.
    """

    def __init__(self, *, tokenized: bool = False, html: bool = False) -> None:
        """Choose the rules.

        Args:
            tokenized: texts consist of words separated by white space; a line end is a sentence end.
            html: texts are HTML: `<br />` becomes a line end and entities become characters; other tags stay.

        Raises:
            UsageError: an option that is neither True nor False.
        """
        for option, value in (("tokenized", tokenized), ("html", html)):
            if not isinstance(value, bool):
                raise UsageError(f"option {option!r} is {value!r}; give True or False")
        self._tokenizer = None if tokenized else Tokenizer()
        self._html = html
        rules = "spaces" if tokenized else tokenizer_name()
        self.rules = f"{rules}, html" if html else rules

    def has_words(self, text: str) -> bool:
        """Return whether a text has any words, without splitting it."""
        return has_words(self._plain(text), spaces_only=self._tokenizer is None)

    def __call__(self, text: str) -> Tokens:
        """Return the words and sentence starts of a text."""
        text = self._plain(text)
        return _split_at_spaces(text) if self._tokenizer is None else self._tokenizer(text)

    def _plain(self, text: str) -> str:
        return entities.unescape(_BREAK.sub("\n", text)) if self._html else text


def _split_at_spaces(text: str) -> Tokens:
    """Return the words of a text that is already split; each line begins a sentence."""
    pairs = list(runs(text, _SPACES))
    spacing, words = tuple(gap for gap, _ in pairs), tuple(word for _, word in pairs)
    lines = [position for position, gap in enumerate(spacing) if position == 0 or "\n" in gap]
    starts = [
        start + position
        for start, end in pairwise([*lines, len(words)])
        for position in sentence_starts(words[start:end])
    ]
    return Tokens(words, tuple(starts), spacing)
