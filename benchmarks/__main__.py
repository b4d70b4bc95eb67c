"""Measure everything, or the cases named, and write docs/performance.md."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.cases import CASES, Result, costs

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_MARK = "<!-- measured: everything below is written by `make bench` -->"


def main(chosen: list[str]) -> None:
    """Measure; with names of cases, print them and write nothing."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results: list[Result] = []
    for name in chosen or CASES:
        outcome = CASES[name]()
        for result in outcome if isinstance(outcome, Iterator) else [outcome]:
            print(f"{result.what}: {result.measured} (target: {result.target}); {result.detail}", flush=True)
            results.append(result)
    if not chosen:
        head = PAGE.read_text(encoding="utf-8").partition(_MARK)[0]
        PAGE.write_text(head + _MARK + "\n\n" + _tables(results), encoding="utf-8")


def _tables(results: list[Result]) -> str:
    rows = "\n".join(f"| {r.what} | {r.target} | {r.measured} | {r.detail} |" for r in results)
    cost = "\n".join(f"| {quantity} | {value} | {seconds} |" for quantity, value, seconds in costs())
    return (
        f"| what | target | measured | |\n| --- | --- | --- | --- |\n{rows}\n\n"
        "## What tallying costs\n\nSeconds per million words of `max-1`, without a model, for 1,500 neurons, "
        "10,000 distinct words and 16 folds unless the row says otherwise:\n\n"
        f"| | | seconds |\n| --- | ---: | ---: |\n{cost}\n\n"
        f"One thread of one processor ({platform.machine()}), Python {platform.python_version()}, "
        f"torch {version('torch')}, numpy {version('numpy')}.\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
