"""The `txray` command, which reports every error in one line."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import typer
from typer.exceptions import Abort, Exit, TyperException

from txray.cli import (
    collect,
    compare,
    data,
    decompose,
    experiment,
    layers,
    match,
    match_models,
    merge,
    persistence,
    plot,
    prune,
    rank,
    replay,
    report,
    serve,
    similarity,
    tagger,
    timeline,
    train,
)
from txray.errors import TxrayError, TxrayWarning, in_one_line
from txray.text import escape_control

app = typer.Typer(
    name="txray",
    help="See what the neurons of a text model know, and how that knowledge changes between stages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    experiment.demo,
    layers.layers,
    collect.collect,
    merge.merge,
    compare.compare,
    decompose.decompose,
    match.match,
    rank.rank,
    match_models.match_models,
    timeline.timeline,
    persistence.persistence,
    replay.replay,
    similarity.similarity,
    plot.plot,
    report.report,
    serve.serve,
    experiment.experiment,
):
    app.command()(_command)
for _name, _group in (("data", data), ("tagger", tagger), ("train", train), ("prune", prune)):
    app.add_typer(_group.app, name=_name)

TRACEBACK = "TXRAY_TRACEBACK"
"""Environment variable: if set, errors are raised with their traceback."""
_INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Show version and exit.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"txray {version_of('txray')}")
        raise typer.Exit


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code: 0, 1 (failure), 2 (usage) or 130 (interrupted)."""
    sys.exit(_exit_code(None if arguments is None else list(arguments)))


def _exit_code(arguments: list[str] | None) -> int:
    for argument in sys.argv[1:] if arguments is None else arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            return _failed(f"argument {argument!r} is not UTF-8; correct it, or rename the file", 2)
    try:
        # Typer returns the exit code of --help, --version and Ctrl-C instead of raising it.
        with _one_line_warnings():
            code = app(arguments, standalone_mode=False)
        return _interrupted() if code == _INTERRUPTED else code if isinstance(code, int) else 0
    except TxrayError as error:
        return _failed(str(error), error.exit_code)
    except TyperException as error:
        message = _usage_message(error)
        return _failed(message, error.exit_code) if message else error.exit_code
    except Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return _interrupted()
    except MemoryError as error:
        return _failed(f"out of memory ({in_one_line(error)}); use fewer words or neurons", 1)
    except BrokenPipeError:
        # The reader of the output has exited, e.g. `txray ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        return _failed(f"{path}{error.strerror or error}; check the path, and the free disk space", 1)
    except RuntimeError as error:
        if "alloc" in str(error):  # torch has no MemoryError
            return _failed(
                "out of memory: the model or a batch is too large for this machine; use a smaller one", 1
            )
        return _unexpected(error)
    except Exception as error:
        return _unexpected(error)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show warnings of txray in one line, as errors; other libraries' warnings are shown as usual."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *location: Any, **more: Any) -> None:
        if issubclass(category, TxrayWarning):
            typer.echo(f"txray: warning: {escape_control(' '.join(str(message).split()))}", err=True)
        else:
            shown(message, category, *location, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _usage_message(error: TyperException) -> str:
    """Return the message of typer, with the closest choice for a misspelled one, or where to look."""
    message = error.format_message().replace("Value error, ", "")
    if re.match(r"(No such command|Missing|Got unexpected)", message):
        context = getattr(error, "ctx", None)
        command = getattr(context, "command_path", "") or "txray"
        return f"{message.rstrip('.')}; see {command} --help"
    misspelled = re.search(r"'([^']*)' is not one of (.*)\.$", message)
    if misspelled is None:
        return message
    close = get_close_matches(misspelled[1], re.findall(r"'([^']*)'", misspelled[2]), n=1)
    return f"{message[:-1]} (did you mean {close[0]!r}?)" if close else message


def _unexpected(error: Exception) -> int:
    return _failed(
        f"unexpected {type(error).__name__}: {error}; set {TRACEBACK}=1 to see where, and please report it", 1
    )


def _interrupted() -> int:
    return _failed("Interrupted. Run the same command again to resume.", _INTERRUPTED)


def _failed(message: str, exit_code: int) -> int:
    if os.environ.get(TRACEBACK) and sys.exception() is not None:
        raise
    typer.echo("txray: " + escape_control(" ".join(message.split())), err=True)
    return exit_code
