"""Every error that txray raises on purpose, and every warning.

    TxrayError                  anything txray refuses or cannot do; the message is one line
    ├── UsageError              a wrong request: fix the call (exit code 2)
    │   ├── UnknownNameError    a layer, feature, format or preset that does not exist
    │   └── ShapeError          two things that must align do not
    ├── CorpusError             text that cannot be read: missing, empty, wrong encoding, malformed
    ├── DownloadError           a download that failed or has the wrong content
    ├── SnapshotError           a saved model that cannot be used
    ├── StageError              a stage folder that is missing, incomplete or damaged
    ├── CaptureError            a model whose activations cannot be used
    ├── EngineError             workers that cannot be reached or keep crashing
    └── OutputError             a result that could not be written

    TxrayWarning                base class of all warnings, a UserWarning
    ├── StageWarning            a caveat about how a stage was collected
    │   ├── DominanceWarning    a result that one neuron dominates
    │   ├── DuplicateWarning    text that repeats itself
    │   ├── EmptyLayerWarning   a layer for which no word was counted
    │   ├── PaddingWarning      a model that was declared to ignore padding, but does not
    │   ├── RandomPassWarning   a forward pass that gives different results each time
    │   └── RepeatedCallWarning a layer that runs several times in a forward pass, of which one call was used
    ├── DocumentLengthWarning   a test of stages whose documents differ much in length
    ├── ChanceWarning           a model to be pruned that is no better than chance
    ├── PowerWarning            tests that cannot become significant, or hardly show anything
    ├── ExposedWarning          a dashboard that other machines can reach
    └── TrackingWarning         a training that could not be tracked as requested

A message names what is wrong, where, the value and the fix. The command line prints it as one line and exits with
`exit_code`: 2 for a wrong request, 1 for everything else.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches

from txray.text import escape_control

_SHOWN = 25
"""Maximum number of known names in a message: more than there are figures."""


class TxrayError(Exception):
    """Base class of all errors; the message is one line that says how to fix the problem."""

    exit_code = 1


class UsageError(TxrayError):
    """A wrong request: fix the call."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A layer, feature, format or preset that does not exist."""

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownNameError:
        """Return an error that suggests the closest known name and lists the others.

        >>> print(UnknownNameError.of("layer", "rn", ["embedding", "rnn"]))
        unknown layer 'rn' (did you mean 'rnn'?); there are: embedding, rnn

        Args:
            what: kind of name, e.g. `layer`.
            name: the unknown name.
            known: the names that exist.
            where: where the name was looked up, e.g. `document 'a'`.
        """
        names = list(known)
        close = get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        shown = ", ".join(names[:_SHOWN]) + (f", ... {len(names)} in all" if len(names) > _SHOWN else "")
        location = f"{where}: " if where else ""
        return cls(f"{location}unknown {what} {name!r}{hint}; there are: {shown or 'none'}")


class ShapeError(UsageError):
    """Two things that must align do not."""


class CorpusError(TxrayError):
    """Text that cannot be read: missing, empty, wrong encoding, malformed."""


class DownloadError(TxrayError):
    """A download that failed or has the wrong content."""


class SnapshotError(TxrayError):
    """A saved model that cannot be used."""


class StageError(TxrayError):
    """A stage folder that is missing, incomplete or damaged."""


class CaptureError(TxrayError):
    """A model whose activations cannot be used."""


class EngineError(TxrayError):
    """Workers that cannot be reached or keep crashing."""


class OutputError(TxrayError):
    """A result that could not be written."""


class TxrayWarning(UserWarning):
    """Base class of all warnings; the message is one line that says what to do."""


class StageWarning(TxrayWarning):
    """A caveat about how a stage was collected; it is stored in the manifest of the stage as well."""


class DominanceWarning(StageWarning):
    """One neuron wins more than half of all words of a layer; the message names it and the remedy."""


class EmptyLayerWarning(StageWarning):
    """A layer for which no word was counted; the message names it and why the words were skipped."""


class DuplicateWarning(StageWarning):
    """More than 1% of the words are in documents that repeat another; the message gives the share and the remedy."""


class PaddingWarning(StageWarning):
    """A model that was declared to ignore padding does not; the message names what changes and the remedy."""


class RandomPassWarning(StageWarning):
    """A layer whose activations differ between equal forward passes; the message names it and the remedy."""


class RepeatedCallWarning(StageWarning):
    """A layer that runs several times in a forward pass, with no call chosen; the message says which one was used."""


class PowerWarning(TxrayWarning):
    """A test that cannot become significant, or a selection that hardly shows a change; the message has the remedy."""


class DocumentLengthWarning(TxrayWarning):
    """Documents of one stage are much longer than those of the other, which looks like change; with the remedy."""


class ChanceWarning(TxrayWarning):
    """A model that is no better than chance, so changes of its metrics mean nothing; the message names both."""


class ExposedWarning(TxrayWarning):
    """A dashboard that other machines can reach; the message names the risk and the remedy."""


class TrackingWarning(TxrayWarning):
    """A training that could not be tracked as requested; it continues, and the message names what is missing."""


_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""Codes that colour text on a terminal, move its cursor, or set its title."""


def in_one_line(error: BaseException, limit: int = 200) -> str:
    r"""Return the error's message, or its type if it has none, as one line of at most `limit` characters.

    Terminal codes are removed, and other control characters are written out.

    >>> in_one_line(ValueError("first line\nsecond line"), limit=15)
    'first line sec…'
    """
    try:
        message = str(error)
    except Exception:  # a broken __str__ of a foreign class
        message = ""
    text = escape_control(" ".join(_TERMINAL_CODES.sub("", message).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def warn_user(warning: str | Warning, category: type[Warning] = TxrayWarning) -> None:
    """Issue a warning that points at the line outside txray from which txray was called.

    Args:
        warning: the message, or a warning with its own category.
        category: category of a message.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "txray":
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, category, stacklevel=level)
