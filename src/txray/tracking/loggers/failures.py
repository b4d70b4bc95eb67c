"""What trackers' libraries raise, in many ways and lines, as one error in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from txray.errors import OutputError, in_one_line


@contextmanager
def one_line(place: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a tracker into one of txray's.

    Args:
        place: what would not take something, e.g. `visdom at http://localhost:8097`.
        errors: what it raises; everything else stays what it is.

    Raises:
        OutputError: one of `errors` was raised in the block.
    """
    try:
        yield
    except errors as error:
        raise OutputError(f"{place} did not take it: {in_one_line(error)}") from error


def cause(error: BaseException) -> BaseException:
    """The error at the bottom, where the one at the top tells nothing."""
    while error.__context__ is not None:
        error = error.__context__
    return error
