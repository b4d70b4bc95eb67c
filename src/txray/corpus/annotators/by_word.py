"""Annotation by a function of a single word."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from txray.corpus.annotators.annotator import OUTSIDE, as_label
from txray.corpus.corpus import derived
from txray.corpus.document import Document
from txray.errors import UsageError


def words(function: Callable[[str], Any], name: str) -> Words:
    """Annotate each word by a function of it, e.g. `words(str.isupper, "upper")` or `words(clusters.get, "cluster")`.

    Args:
        function: pure; gives a string, a whole number, True or False for a word as written, or None, which becomes
            `O`. White space inside a string becomes `␣`, the empty string `_`.
        name: of the annotation. The fingerprint is of this name and, where Python knows it, of the function's source,
            so a function that depends on anything else (a dictionary, a file) needs another name when that changes.

    Raises:
        UsageError: no function or no name; while reading: the function gave something else.
    """
    return Words(function, name)


class Words:
    """See `words`."""

    def __init__(self, function: Callable[[str], Any], name: str) -> None:
        if not callable(function):
            raise UsageError(f"words: {function!r} cannot be called; give a function of one word")
        if not isinstance(name, str) or not name:
            raise UsageError(f"words: name={name!r}; name the annotation")
        self.name = name
        self._function = function

    @property
    def fingerprint(self) -> str:
        """Hash of the name and of the source."""
        return derived("words", self.name, _source(self._function))

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Values of the words."""
        return tuple(map(self._value, document.words))

    def _value(self, word: str) -> str:
        value = self._function(word)
        if value is None:
            return OUTSIDE
        if not isinstance(value, str | int):
            raise UsageError(
                f"annotation {self.name!r}: the function gave {type(value).__name__} {str(value)[:40]!r} for the word "
                f"{word[:40]!r}; it must give a string, a whole number or None"
            )
        return as_label(str(value))


def _source(function: object) -> str:
    """What Python knows of a function's source; nothing of what is built in."""
    try:
        return inspect.getsource(function)  # type: ignore[arg-type]
    except (TypeError, OSError):
        return ""
