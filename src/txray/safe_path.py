"""Keep Python from importing modules from the working folder: files beside the user's data are data.

Imports only modules that every interpreter has loaded at startup: anything else could come from the working folder.
"""

from __future__ import annotations

import os
import sys

_VARIABLE = "PYTHONPATH"
_COMMANDS = ("txray", "txray.exe", "txray-script.py", "txray-script.pyw")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # see above
"""The folder that txray was imported from."""


def guard_command() -> None:
    """Remove the working folder from the import path if this process is the command `txray` or `python -m txray`.

    Child processes do not import from it either. Folders named in PYTHONPATH stay, and so does the one that txray was
    imported from. Scripts and notebooks that import txray are not affected.
    """
    run_as_module = _is_module()
    if not run_as_module and os.path.basename(sys.argv[0] if sys.argv else "") not in _COMMANDS:  # noqa: PTH119
        return
    if run_as_module and not sys.flags.safe_path:
        del sys.path[0]
    entries = os.environ.get(_VARIABLE, "").split(os.pathsep)
    if len(entries) > 1 and "" in entries and not any(map(_is_working_folder, filter(None, entries))):
        # Python reads an empty entry as the working folder.
        first = next((index for index, folder in enumerate(sys.path) if _is_working_folder(folder)), None)
        if first is not None:
            del sys.path[first]
    if not any(map(_is_root, sys.path)):
        sys.path.insert(0, _ROOT)
    os.environ.update(safe_environment())


def safe_environment() -> dict[str, str]:
    """Return environment variables for a process that can import txray, but nothing from its working folder."""
    folders = [folder for folder in os.environ.get(_VARIABLE, "").split(os.pathsep) if folder]
    if os.path.basename(_ROOT) not in ("site-packages", "dist-packages") and not any(map(_is_root, folders)):  # noqa: PTH119
        folders.append(_ROOT)
    variables = {"PYTHONSAFEPATH": "1"}
    # Python ignores an empty PYTHONPATH.
    return (
        {**variables, _VARIABLE: os.pathsep.join(folders)}
        if folders or _VARIABLE in os.environ
        else variables
    )


def imports_from(folder: str) -> bool:
    """Return whether a folder is on the import path of this process."""
    return any(_same(folder, entry or os.curdir) for entry in sys.path)


def _is_module() -> bool:
    """Return whether `python -m` runs txray. While Python locates the module, `sys.argv` does not name it yet."""
    if sys.argv[:1] != ["-m"] or len(sys.orig_argv) < len(sys.argv):
        return False
    name = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    return name.partition(".")[0] == "txray"


def _is_working_folder(folder: str) -> bool:
    return _same(folder or os.curdir, os.curdir)


def _is_root(folder: str) -> bool:
    return _same(folder or os.curdir, _ROOT)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
