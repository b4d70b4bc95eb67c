"""Check every architecture, or those named, and write docs/conformity.md."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers

from benchmarks.conformity.architectures import architectures
from benchmarks.conformity.check import check
from benchmarks.conformity.page import page

PAGE = Path(__file__).parents[2] / "docs" / "conformity.md"


def main(names: list[str]) -> None:
    """Print one line per architecture; write the page if all of them were checked."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    results = []
    for architecture in architectures():
        if names and architecture.name not in names:
            continue
        result = check(architecture)
        results.append(result)
        state = "refused" if result.refused else "exact" if result.exact else "WRONG"
        print(f"{state:8}{result.name}: {result.checked} of {result.ran} layers {result.refused}", flush=True)
        for layer, number in result.wrong.items():
            print(f"        {layer}: {number} pairs", flush=True)
    if not names:
        PAGE.write_text(page(results, transformers.__version__), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
