"""Options: choices are those of the library, wrong ones are refused before any work, defaults agree."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer.main

import txray
from txray.analysis import MEASURES
from txray.analysis.distances import Distance
from txray.cli import options
from txray.cli.main import _exit_code, app
from txray.corpus.read import FORMATS
from txray.experiment import PRESETS, Settings
from txray.plots.export import SUFFIXES
from txray.preferences.preferences import Weight
from txray.tracking import loggers
from txray.tracking.history import UNITS
from txray.training import device_of

COMMANDS = typer.main.get_command(app)


def parameters(command: Any = COMMANDS, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its options, groups included."""
    for name, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield from ((path, parameter) for parameter in command.params)


def choices(command: str, option: str) -> tuple[str, ...]:
    """The choices of an option, as its help shows them."""
    (parameter,) = (each for path, each in parameters() if path == command and option in each.opts)
    annotation = parameter.type_descriptor.annotation
    literals = [annotation, *get_args(annotation)]  # an optional choice is a union with None
    return next(get_args(literal) for literal in literals if get_origin(literal) is Literal)


def test_choices_are_those_of_the_library() -> None:
    assert get_args(options.TextFormat) == (*FORMATS, "demo", "activations")
    assert get_args(options.WeightName) == get_args(Weight)
    assert {f"{name}logger" for name in get_args(options.LoggerName)} == {
        name.lower() for name in loggers.__all__ if name != "Logger"
    }
    assert options.FIGURE_FILES == SUFFIXES
    assert choices("compare", "--distance") == get_args(Distance)
    assert choices("similarity", "--measure") == MEASURES
    assert choices("replay", "--unit") == UNITS
    assert choices("experiment", "--preset") == tuple(PRESETS)
    with pytest.raises(txray.errors.UnknownNameError, match=", ".join(get_args(options.DeviceName))):
        device_of("tpu")


def test_options_of_the_experiment_are_its_settings() -> None:
    from txray.cli.experiment import SizeOptions

    assert set(inspect.signature(SizeOptions).parameters) <= set(inspect.signature(Settings).parameters)


def test_options_of_comparisons_are_parameters_of_the_functions_that_get_them() -> None:
    names = set(inspect.signature(options.ComparisonOptions).parameters)
    for function in (txray.compare, txray.timeline, txray.report, txray.serve):
        assert names <= set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("similarity", "a", "b", "-f", "demo", "-t", "reviews", "--figure", "x.gif"), ".gif"),
        (("similarity", "a", "b", "-f", "demo", "-t", "reviews", "--measure", "ckka"), "did you mean 'cka'"),
        (("match", "a", "b", "-o", "x.txt"), ".txt"),
        (("prune", "pool", "a", "b", "-o", "x.txt"), "unknown file type of x.txt '.txt'"),
        (
            ("prune", "export", "m", "--set", "1", "-f", "wikitex", "-t", "x", "-o", "y"),
            "did you mean 'wikitext'",
        ),
        (("timeline", "a", "b", "--scores", "x.xlsx"), ".xlsx"),
        (
            ("collect", "m", "-f", "demo", "-t", "reviews", "-o", "x", "--device", "gpu"),
            "'gpu' is not one of",
        ),
        (("collect", "m", "-f", "demo", "-t", "reviews", "-o", "x", "--engine", "rey"), "did you mean 'ray'"),
        (("collect", "m", "-f", "demo", "-t", "reviews", "-o", "x", "--autocast", "int8"), "'int8'"),
        (("collect", "m", "-f", "wikitex", "-t", "reviews", "-o", "x"), "did you mean 'wikitext'"),
        (
            ("replay", "c", "-f", "demo", "-t", "reviews", "-o", "x", "--logger", "wand"),
            "did you mean 'wandb'",
        ),
        (("compare", "a", "b", "--weight", "maen"), "did you mean 'mean'"),
        (("experiment", "--preset", "smal", "-o", "x"), "did you mean 'small'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_wrong_choice_is_refused_before_anything_is_opened(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(list(arguments)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert "Value error" not in error


def test_permutations_have_the_same_default_everywhere() -> None:
    functions = [getattr(txray, name) for name in txray.__all__ if callable(getattr(txray, name))]
    python = {
        function.__name__: parameter.default
        for function in functions
        if (parameter := inspect.signature(function).parameters.get("permutations"))
    }
    assert {"Tracker", "compare", "timeline", "report"} <= set(python)
    assert set(python.values()) == {10_000}
    command_line = {path: each.default for path, each in parameters() if "--permutations" in each.opts}
    assert {"compare", "timeline", "replay"} <= set(command_line)
    assert set(command_line.values()) == {10_000}


def test_the_help_of_every_option_is_a_sentence() -> None:
    texts = {
        f"{path} {each.opts[0]}": each.help or "" for path, each in parameters() if each.opts[0] != "--help"
    }
    # Sentences may begin with a value of the option, such as "3/8: ..." or "auto: ...".
    assert [name for name, text in texts.items() if not text.endswith(".")] == []
    assert [
        name for name, text in texts.items() if text.startswith(("Of ", "At most", "May be", "Where "))
    ] == []


def test_the_file_type_is_that_of_the_suffix(tmp_path: Path) -> None:
    check = options.file_of_type(options.TABLE_FILES)
    assert check(None) is None
    assert check(tmp_path / "a.CSV") == tmp_path / "a.CSV"
    with pytest.raises(txray.errors.UnknownNameError, match=r"unknown file type of .*'\.txt'"):
        check(tmp_path / "a.txt")
