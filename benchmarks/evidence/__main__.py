"""Measure all tables, or those named, and write them to docs/evidence.md."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.evidence import (
    displacement,
    effects,
    groups,
    matching,
    null,
    pruning,
    rates,
    sizes,
    statistics,
    synthetic_pair,
)
from benchmarks.evidence.tables import Measured

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"

TABLES: dict[str, Measured] = {
    "null": null.measured,
    "groups": groups.measured,
    "calibration-of-statistics": statistics.calibration,
    "statistics": statistics.comparison_of_statistics,
    "statistics-by-condition": statistics.by_condition,
    "displacement": displacement.measured,
    "displacement-of-a-pretrained-model": displacement.pretrained,
    "synthetic": synthetic_pair.ranking,
    "strata": synthetic_pair.strata,
    "states": synthetic_pair.states,
    "sizes": sizes.measured,
    "layers": sizes.layers,
    "minimum-calibration": effects.calibration,
    "minimum-recall": effects.recall,
    "rates": rates.measured,
    "matching": matching.measured,
    "rankings": pruning.rankings,
    "coverage": pruning.measured_coverage,
    "calibration": pruning.measured_calibration,
    "costs": matching.costs,
}


def main(chosen: list[str]) -> None:
    """Measure the tables; each replaces the text between its two marks."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in chosen or TABLES:
        started = time.perf_counter()
        table = TABLES[name]()
        print(f"{name}: {time.perf_counter() - started:.0f} s\n{table}", flush=True)
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), name, str(table)), encoding="utf-8")


def filled(page: str, name: str, text: str) -> str:
    """Return the page with `text` between the marks of a table."""
    first, last = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->"
    head, begun, rest = page.partition(first)
    _, ended, tail = rest.partition(last)
    if not (begun and ended):
        raise SystemExit(
            f"{PAGE.name} has no marks {first.strip()!r} and {last!r}; put them where the table is to be"
        )
    return f"{head}{first}\n{text}\n{last}{tail}"


if __name__ == "__main__":
    main(sys.argv[1:])
