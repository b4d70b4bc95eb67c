"""Data cannot run code, and packages import in one direction only: read off the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "txray"
FILES = sorted(SOURCE.rglob("*.py"))

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_FUNCTIONS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {"extractall", "extract"}
LOADERS = {"from_pretrained", "from_config", "load_dataset", "pipeline"}
"""Methods of transformers and datasets that can run code which comes with a model or a data set."""

BELOW: dict[str, set[str]] = {
    "preferences": set(),
    "analysis": {"preferences"},
    "pruning": {"corpus", "models", "capture", "preferences", "analysis"},
    # Of pruning, the results, which need no torch.
    "plots": {"preferences", "analysis", "pruning"},
    # The experiment only for its demo, and only when nothing else is served.
    "web": {"preferences", "analysis", "pruning", "plots", "experiment"},
    "corpus": set(),
    "models": {"corpus"},
    "training": {"corpus", "models"},
    "capture": {"corpus", "models", "preferences", "analysis"},
    "engines": {"corpus", "models", "capture", "preferences"},
    "synthetic": {"corpus", "models"},
    # The training only to read its runs.
    "tracking": {"corpus", "models", "training", "capture", "preferences", "analysis", "plots"},
}
"""Package -> the packages that it may import."""


DRAWING = ("plot", "txray.plots")
"""A function of this name may import this package, wherever it is: results draw themselves when they are asked to."""


def imports_of(file: Path) -> list[str]:
    """Modules that a file imports, at its top or within its functions, except those of `DRAWING`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    drawing = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == DRAWING[0]
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.module == DRAWING[1]
    }
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node not in drawing:
            modules.append(node.module)
    return modules


def unsafe_code(file: Path) -> list[str]:
    """Imports and calls of a file that can run code from data."""
    source = file.read_text(encoding="utf-8")
    offenders = [name for name in imports_of(file) if name.split(".")[0] in FORBIDDEN_MODULES]
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if (
            name in FORBIDDEN_FUNCTIONS
            or name.split(".")[-1] in FORBIDDEN_METHODS
            or (name.endswith("torch.load") and "weights_only=True" not in ast.unparse(call))
        ):
            offenders.append(f"line {call.lineno}: {name}()")
    return offenders


def test_nothing_unpickles_or_evaluates(tmp_path: Path) -> None:
    offenders = {str(file.relative_to(SOURCE)): lines for file in FILES if (lines := unsafe_code(file))}
    assert offenders == {}
    unsafe = tmp_path / "unsafe.py"
    for line in ("import pickle", "eval('1')", "archive.extractall()", "torch.load('x')"):
        unsafe.write_text(line)
        assert len(unsafe_code(unsafe)) == 1, line


def trusting(source: str) -> list[str]:
    """Calls that load what may come with code of its own, and do not refuse it: transformers asks on the terminal."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        f"line {node.lineno}: {name}"
        for node in calls
        for name in [ast.unparse(node.func).split(".")[-1]]
        for given in [[ast.unparse(each.value) for each in node.keywords if each.arg == "trust_remote_code"]]
        if given != ["False"] and (given or name in LOADERS)
    ]


def test_code_that_comes_with_models_is_refused_wherever_one_is_loaded() -> None:
    offenders = {
        str(file.relative_to(SOURCE)): found
        for file in FILES
        if (found := trusting(file.read_text(encoding="utf-8")))
    }
    assert offenders == {}
    loaders = [
        (SOURCE / "models" / name).read_text(encoding="utf-8") for name in ("huggingface.py", "pieces.py")
    ]
    n = sum(source.count("trust_remote_code=False") for source in loaders)
    assert n >= 4
    for unsafe in ("**{}", "trust_remote_code=True"):
        assert (
            sum(len(trusting(source.replace("trust_remote_code=False", unsafe))) for source in loaders) == n
        )


@pytest.mark.parametrize("package", sorted(BELOW))
def test_packages_import_in_one_direction(package: str) -> None:
    for file in (SOURCE / package).rglob("*.py"):
        for name in imports_of(file):
            parts = name.split(".")
            if parts[0] == "txray" and len(parts) > 1 and (SOURCE / parts[1]).is_dir():
                allowed = BELOW[package] | {package}
                assert parts[1] in allowed, f"{file.relative_to(SOURCE)} imports {name}"


def test_files_hold_one_idea_each() -> None:
    long = {str(file.relative_to(SOURCE)): len(file.read_text().splitlines()) for file in FILES}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
