"""What all loggers have in common: they cost nothing until one is made, and say what they miss."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from txray._optional import import_extra
from txray.errors import UsageError
from txray.tracking import loggers
from txray.tracking.loggers import MLflowLogger, TensorBoardLogger, VisdomLogger, WandbLogger


def test_importing_the_package_brings_in_no_tracker() -> None:
    code = """
import sys, txray.tracking.loggers as loggers
print(sorted({'torch', 'plotly', 'polars', 'wandb', 'tensorboard', 'mlflow', 'visdom', 'kaleido'} & set(sys.modules)))
[getattr(loggers, name) for name in loggers.__all__]
print(sorted({'torch', 'wandb', 'tensorboard', 'mlflow', 'visdom', 'kaleido'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_its_names_are_these() -> None:
    assert dir(loggers) == ["Logger", "MLflowLogger", "TensorBoardLogger", "VisdomLogger", "WandbLogger"]
    assert [getattr(loggers, name).__name__ for name in loggers.__all__] == loggers.__all__
    with pytest.raises(AttributeError, match="CometLogger"):
        _ = loggers.CometLogger


@pytest.mark.parametrize(
    ("make", "missing", "told"),
    [
        (WandbLogger, "wandb", "logging to Weights & Biases needs the extra 'wandb' (wandb is missing)"),
        (lambda: TensorBoardLogger("log"), "tensorboard", "the extra 'tensorboard' (tensorboard is missing)"),
        (lambda: TensorBoardLogger("log"), "kaleido", "the extra 'tensorboard' (kaleido is missing)"),
        (MLflowLogger, "mlflow", "logging to MLflow needs the extra 'mlflow' (mlflow is missing)"),
        (VisdomLogger, "visdom", "logging to Visdom needs the extra 'visdom' (visdom is missing)"),
    ],
)
def test_a_library_that_is_missing_is_one_line_with_the_extra(
    make: object, missing: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert callable(make)
    with pytest.raises(UsageError) as caught:
        make()
    extra = told.split("'")[1]
    assert told in str(caught.value)
    assert str(caught.value).endswith(f"pip install 'txray[{extra}]'")
    assert "\n" not in str(caught.value)


def test_what_an_extra_brings_is_imported() -> None:
    assert import_extra("this needs", "none", "json", "html") is sys.modules["json"]


def test_what_is_missing_below_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "zipapp", raising=False)
    monkeypatch.setitem(sys.modules, "zipfile", None)
    with pytest.raises(UsageError) as caught:
        import_extra("this needs", "some", "zipapp", hint="or do without")
    assert str(caught.value) == (
        "this needs the extra 'some' (zipfile is missing): pip install 'txray[some]' (or do without)"
    )


def test_a_request_to_another_machine_would_be_seen(asked: list[str]) -> None:
    with pytest.raises(OSError, match="."):
        socket.create_connection(("nowhere.invalid", 80), timeout=5)
    assert asked == ["nowhere.invalid"]
    asked.clear()
