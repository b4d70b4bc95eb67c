"""Names and docstrings are plain: no empty words as identifiers, and summaries that say what comes back."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = [
    file
    for folder in ("src", "benchmarks", "examples", "docs/_extensions")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *CODE]

EMPTY_WORDS = {"found", "told", "kept", "held", "made", "here", "there", "mine", "place", "each"}
BAD_BEGINNINGS = ("What ", "Whether ", "The same ")
SPACED_PERCENT = re.compile(r"[\d}] %(?![\w(])")

NOT_YET = (
    "docs/results.md",
    "src/txray/analysis",
    "src/txray/plots",
)
"""Paths that do not follow the rules yet. This list may only shrink."""


def checked(file: Path) -> bool:
    path = file.relative_to(ROOT).as_posix()
    return not any(path == start or path.startswith(f"{start}/") for start in NOT_YET)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every variable, parameter, function, class, attribute, keyword and alias."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield line, name
            case ast.alias(name=name):
                yield line, name.rpartition(".")[2]
            case ast.Global(names=several) | ast.Nonlocal(names=several):
                yield from ((line, name) for name in several)
            case (
                ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name))
            ):
                yield line, name


def empty_words(file: Path) -> list[str]:
    """Offending names of a file, and its own name."""
    path = file.relative_to(ROOT).as_posix()
    module = [f"{path}: {file.stem}"] if file.stem.strip("_") in EMPTY_WORDS else []
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return module + [f"{path}:{line}: {name}" for line, name in names(tree) if name.strip("_") in EMPTY_WORDS]


def summaries(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first line of the docstring of every public module, class and function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            public = isinstance(node, ast.Module) or not node.name.startswith("_")
            if public and (docstring := ast.get_docstring(node)):
                yield getattr(node, "lineno", 1), docstring.splitlines()[0]


def test_no_name_is_an_empty_word() -> None:
    assert [offender for file in CODE if checked(file) for offender in empty_words(file)] == []


def test_summaries_of_docstrings_say_what_comes_back() -> None:
    offenders = [
        f"{file.relative_to(ROOT)}:{line}: {summary}"
        for file in CODE
        if checked(file)
        for line, summary in summaries(ast.parse(file.read_text(encoding="utf-8")))
        if summary.startswith(BAD_BEGINNINGS)
    ]
    assert offenders == []


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a page, or of the strings and comments of a Python file."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        return
    with file.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT):
                yield from enumerate(token.string.splitlines(), start=token.start[0])


def test_percentages_have_no_space() -> None:
    offenders = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file in TEXTS
        if checked(file)
        for number, line in prose(file)
        if SPACED_PERCENT.search(line)
    ]
    assert offenders == []


def test_the_rules_find_what_they_forbid() -> None:
    source = """
import each_thing as each
def told(mine): ...
class _Kept: held = 1
for place in x: f(made=1); x.here
try: ...
except E as found: ...
"""
    words = {name.strip("_").lower() for _, name in names(ast.parse(source))}
    assert words >= {"each", "told", "mine", "kept", "held", "place", "made", "here", "found"}
    assert SPACED_PERCENT.search("at 5 % of")
    assert SPACED_PERCENT.search("95 %.")
    assert not SPACED_PERCENT.search("95% and 5 %s")
