"""Errors of others, as txray shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.builders.stages import stage_of, vocabulary
from txray import compare
from txray.errors import PowerWarning, in_one_line

SOURCE = Path(__file__).parents[2] / "src" / "txray"


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("plain"), "plain"),
        (ValueError("two\n  lines\t here"), "two lines here"),
        (ValueError("\x1b[1;31mred\x1b[0m and \x1b[38;5;208mmore\x1b[K"), "red and more"),
        (ValueError("\x1b]0;title\x07text \x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\"), "text link"),
        (ValueError("bell\x07 and a lone \x1b"), "bell\\x07 and a lone \\x1b"),
        (ValueError(""), "ValueError"),
        (ValueError("\x1b[0m"), "ValueError"),
        (MuteError(), "MuteError"),
        (ValueError("x" * 300), "x" * 199 + "…"),
    ],
)
def test_an_error_becomes_one_line(error: Exception, line: str) -> None:
    assert in_one_line(error) == line


def test_nothing_else_makes_one_line_of_an_error() -> None:
    by_hand = re.compile(r"join\(str\((?:error|cause)\)\.split|str\(error\)\.splitlines")
    offenders = [
        str(file) for file in SOURCE.rglob("*.py") if by_hand.search(file.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_a_warning_points_at_the_line_that_called_txray() -> None:
    before, after = (
        stage_of(name, vocabulary(40), seed=seed) for seed, name in enumerate(("before", "after"))
    )
    with pytest.warns(PowerWarning) as warned:
        compare(before, after, permutations=10)
    assert [warning.filename for warning in warned] == [__file__] * len(warned)
