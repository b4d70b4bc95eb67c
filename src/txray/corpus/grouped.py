"""Groups of documents that a function gives while they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from txray.checks import is_integer
from txray.corpus.document import Document
from txray.errors import UsageError

GroupFunction = Callable[[Document], str | int | None]
"""Gives the group of a document; None for one that depends on no other."""


def grouped(make: Callable[[], Document], function: GroupFunction) -> Document:
    """Return a document with the group that a function gives it.

    Raises:
        UsageError: the function gave neither a string, nor a whole number, nor None.
    """
    document = make()
    group = function(document)
    if group is not None and not isinstance(group, str) and not is_integer(group):
        raise UsageError(
            f"group_by: the function gave {type(group).__name__} {str(group)[:40]!r} for document {document.id!r}; it "
            "must give a string, a whole number or None"
        )
    return replace(document, group=None if group is None else str(group))
