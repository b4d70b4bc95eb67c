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
    "activations": {"corpus"},
    "models": {"corpus", "activations"},
    "training": {"corpus", "models"},
    "capture": {"corpus", "activations", "models", "preferences", "analysis"},
    "engines": {"corpus", "activations", "models", "capture", "preferences"},
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
    assert n >= 3
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


def modules_imported(file: Path) -> set[str]:
    """Modules of txray that a file imports at run time, its functions included; packages stand for their names."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
        if isinstance(node, ast.FunctionDef) and node.name == DRAWING[0]:
            node.body = [
                part
                for part in node.body
                if not (isinstance(part, ast.ImportFrom) and part.module == DRAWING[1])
            ]
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {home(node.module, alias.name) for alias in node.names}
    return modules & MODULES.keys()


def home(module: str, name: str) -> str:
    """The module that defines what `from module import name` imports, looked up in the lists of the packages."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    listed = SOURCE.joinpath(*module.split(".")[1:], "__init__.py")
    if module.split(".")[0] == "txray" and listed.is_file():
        for node in ast.walk(ast.parse(listed.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module or node.module == module:
                continue
            if name in {alias.asname or alias.name for alias in node.names}:
                return home(node.module, name)
    return module


def module_of(file: Path) -> str:
    """Name by which a file is imported."""
    return ".".join(("txray", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES if file.name != "__init__.py"}
"""Files that hold code; a package's own file only lists names, so they are looked up where they are defined."""


def circles(imported: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(imported[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            start = stack.index(module)
            groups.append(sorted(stack[start:]))
            del stack[start:]

    for module in sorted(imported):
        if module not in index:
            visit(module)
    return sorted(group for group in groups if len(group) > 1)


def test_circles_are_recognized() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}}) == [["a", "b"], ["c", "d"]]


def test_no_files_import_each_other_in_a_circle() -> None:
    imported = {name: modules_imported(file) - {name} for name, file in MODULES.items()}
    assert home("txray", "Stage") == home("txray.preferences", "Stage") == "txray.preferences.stage"
    assert imported["txray.preferences.stage"] > {"txray.preferences.stage_folder", "txray.preferences.store"}
    assert circles(imported) == []


def test_files_hold_one_idea_each() -> None:
    long = {str(file.relative_to(SOURCE)): len(file.read_text().splitlines()) for file in FILES}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
