"""Annotation by a function of a single word."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from txray.corpus.annotators.annotator import OUTSIDE, as_label
from txray.corpus.document import Document
from txray.errors import UsageError
from txray.identity import derived, identity_of


def words(function: Callable[[str], Any], name: str, *, version: str | None = None) -> Words:
    """Annotate each word by a function of it, e.g. `words(str.isupper, "upper")` or `words(clusters.get, "cluster")`.

    Args:
        function: pure; returns a string, a whole number, True or False for a word as written, or None, which becomes
            `O`. White space inside a string becomes `␣`, the empty string `_`.
        name: of the annotation.
        version: identifies the function, in place of its code and the values that it uses (see `txray.identity`).
            Needed only to cache the values of a function that uses an object without describable state, such as an
            open connection; change it whenever the function returns other values.

    Raises:
        UsageError: not a function, no name, or no version; while reading: the function returned something else.
    """
    return Words(function, name, version)


class Words:
    """Annotator that applies a function to each word; see `words`."""

    def __init__(self, function: Callable[[str], Any], name: str, version: str | None = None) -> None:
        if not callable(function):
            raise UsageError(f"words: {function!r} cannot be called; give a function of one word")
        if not isinstance(name, str) or not name:
            raise UsageError(f"words: name={name!r}; name the annotation")
        if version is not None and (not isinstance(version, str) or not version):
            raise UsageError(f"words: version={version!r}; give a string, such as '2'")
        self.name = name
        self._function = function
        self._version = version

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the name, and of the version or of what decides the function's values."""
        if self._version is not None:
            return derived("words", self.name, "version", self._version)
        return derived("words", self.name, identity_of(self._function))

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Return the values of the words."""
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
