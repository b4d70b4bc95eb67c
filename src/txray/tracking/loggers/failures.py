"""Errors of logging libraries as one-line errors of txray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from txray.errors import OutputError, in_one_line


@contextmanager
def wrap_errors(target: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a logging library that are raised in the block into an `OutputError`.

    Args:
        target: name of the target in the message, e.g. `visdom at http://localhost:8097`.
        errors: types to convert; others are raised unchanged.

    Raises:
        OutputError: one of `errors` was raised in the block.
    """
    try:
        yield
    except errors as error:
        raise OutputError(f"{target} did not accept the data: {in_one_line(error)}") from error


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain, for libraries whose outermost error has no message of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return error
