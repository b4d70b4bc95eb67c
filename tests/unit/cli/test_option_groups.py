"""Options that several commands share, as one dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from txray.cli.option_groups import expand_option_groups


@dataclass
class Shared:
    text: Annotated[str, typer.Option("--text", "-t", help="Some text.")]
    kind: Annotated[Literal["a", "b"], typer.Option("--kind")] = "a"
    layers: Annotated[list[str], typer.Option("--layer")] = field(default_factory=lambda: ["rnn"])


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def app(calls: list[Any]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @expand_option_groups
    def read(
        folder: Annotated[str, typer.Argument()],
        shared: Shared,
        n: Annotated[int, typer.Option("--n")] = 3,
    ) -> None:
        """Read a folder."""
        calls.append((folder, shared, n))

    return app


def test_a_command_gets_the_group_whole(app: typer.Typer, calls: list[Any]) -> None:
    arguments = ["here", "-t", "x", "--kind", "b", "--layer", "p", "--layer", "q", "--n", "5"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, ["there", "--text", "y"]).exit_code == 0
    assert calls == [("here", Shared("x", "b", ["p", "q"]), 5), ("there", Shared("y", "a", ["rnn"]), 3)]


def test_the_group_is_listed_and_checked_like_options_of_the_command(
    app: typer.Typer, calls: list[Any]
) -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    for part in ("Read a folder.", "--text", "Some text.", "--kind", "a|b", "--layer", "--n", "default: rnn"):
        assert part in text
    assert "shared" not in text
    for arguments in (["here"], ["here", "-t", "x", "--kind", "c"], ["here", "-t", "x", "--n", "one"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2
    assert not calls
