"""Every error that txray raises on purpose, and every warning.

    TxrayError                  anything txray refuses or cannot do; its text is one line
    ├── UsageError              the request is wrong: fix the call (exit code 2)
    │   ├── UnknownNameError    a layer, feature, format or preset that does not exist
    │   └── ShapeError          two things that must align do not
    ├── CorpusError             text that cannot be read: missing, empty, wrong encoding, malformed
    ├── DownloadError           a download that failed, or is not what it should be
    ├── SnapshotError           a saved model that cannot be used
    ├── StageError              a stage folder that is missing, incomplete or damaged
    ├── CaptureError            a model that gave unusable activations
    ├── EngineError             workers that cannot be reached, or that end again and again
    └── OutputError             a result that could not be written

    TxrayWarning                a UserWarning: everything that txray warns of
    ├── StageWarning            something to know about how a stage was collected
    │   ├── DominanceWarning    a result that one neuron dominates
    │   ├── DuplicateWarning    text that repeats itself
    │   ├── EmptyLayerWarning   a layer of which no word was counted
    │   ├── PaddingWarning      a model said to ignore padding that does not
    │   ├── RandomPassWarning   a forward pass that is not the same twice
    │   └── RepeatedCallWarning a layer that runs several times in a forward pass, of which one call was taken
    ├── ChanceWarning           a model to be pruned that is not better than chance
    ├── PowerWarning            tests that cannot find anything
    ├── ExposedWarning          a dashboard that other machines can reach
    └── TrackingWarning         a training that could not be watched as asked for

An error text names what, where, the value and the fix. The command line prints it as one line and
exits with `exit_code`: 2 for a wrong request, 1 for everything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from txray.printable import printable


class TxrayError(Exception):
    """Anything txray refuses or cannot do; the text is one line that says how to go on."""

    exit_code = 1


class UsageError(TxrayError):
    """The request is wrong: fix the call."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A layer, feature, format or preset that does not exist."""

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownNameError:
        """Build the error that lists the names that do exist, the closest one first.

        Args:
            what: the kind of thing asked for, e.g. `layer`.
            name: the name that does not exist.
            known: the names that do.
            where: what it was asked of, e.g. `document 'a'`.
        """
        names = list(known)
        close = get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        shown = ", ".join(names[:20]) + (f", ... {len(names)} in all" if len(names) > 20 else "")
        of = f"{where}: " if where else ""
        return cls(f"{of}unknown {what} {name!r}{hint}; there are: {shown or 'none'}")


class ShapeError(UsageError):
    """Two things that must align do not."""


class CorpusError(TxrayError):
    """Text that cannot be read: missing, empty, wrong encoding, malformed."""


class DownloadError(TxrayError):
    """A download that failed, or is not what it should be."""


class SnapshotError(TxrayError):
    """A saved model that cannot be used."""


class StageError(TxrayError):
    """A stage folder that is missing, incomplete or damaged."""


class CaptureError(TxrayError):
    """A model that gave unusable activations."""


class EngineError(TxrayError):
    """Workers that cannot be reached, or that end again and again."""


class OutputError(TxrayError):
    """A result that could not be written."""


class TxrayWarning(UserWarning):
    """Anything txray warns of; the text is one line that says how to go on."""


class StageWarning(TxrayWarning):
    """Something to know about how a stage was collected; the manifest of the stage says so too."""


class DominanceWarning(StageWarning):
    """One neuron wins more than half of all words of a layer; the text names it and the remedy."""


class EmptyLayerWarning(StageWarning):
    """A layer of which no word was counted; the text names it, and what the words were skipped for."""


class DuplicateWarning(StageWarning):
    """More than 1% of the words are in documents that repeat another; the text says how many, and the remedy."""


class PaddingWarning(StageWarning):
    """A model that is said to ignore padding does not; the text names what padding changes, and the remedy."""


class RandomPassWarning(StageWarning):
    """A layer whose activations differ from one forward pass to the next; the text names it and the remedy."""


class RepeatedCallWarning(StageWarning):
    """A layer that runs several times in a forward pass, without a call named; the text says which one was taken."""


class PowerWarning(TxrayWarning):
    """A test whose smallest p-value is too large for anything to be found; the text names it and the remedy."""


class ChanceWarning(TxrayWarning):
    """A model that is not better than chance, so that changes of its metrics mean nothing; the text names both."""


class ExposedWarning(TxrayWarning):
    """A dashboard that other machines can reach; the text names the risk and the remedy."""


class TrackingWarning(TxrayWarning):
    """A training that could not be watched as asked for; it goes on, and the text names what is missing."""


_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""What colours text on a terminal, moves its cursor, or names its window."""


def in_one_line(error: BaseException, most: int = 200) -> str:
    """Return an error's message, or its type if it has none, as one line of at most `most` characters.

    Codes for terminals are left out, and other control characters are spelled out.
    """
    try:
        said = str(error)
    except Exception:  # an error of somebody's that cannot say what it is
        said = ""
    text = printable(" ".join(_TERMINAL_CODES.sub("", said).split())) or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 1]}…"
