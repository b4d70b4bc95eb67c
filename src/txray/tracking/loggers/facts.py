"""What a tracker tells of a stage folder next to, or instead of, its files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from txray.preferences.manifest import read_manifest


def stage_facts(folder: Path) -> dict[str, str | int]:
    """The key facts of a stage folder.

    Args:
        folder: a complete stage.

    Returns:
        Its `stage` (name), `folder`, `words` and, where the manifest tells them, `corpus`, `layers` with their
        neurons, `features` and `selection`.

    Raises:
        StageError: no complete stage folder.
    """
    manifest = read_manifest(folder)
    layers = ", ".join(f"{layer} ({neurons} neurons)" for layer, neurons in manifest["neurons"].items())
    corpus = manifest.get("corpus")
    facts = {
        "stage": manifest["name"],
        "folder": str(folder.resolve()),
        "corpus": corpus.get("name") if isinstance(corpus, dict) else None,
        "words": manifest.get("words"),
        "layers": layers,
        "features": ", ".join(manifest["features"]),
        "selection": manifest.get("selection"),
    }
    return {name: value for name, value in facts.items() if isinstance(value, str | int)}


def facts_table(facts: dict[str, str | int]) -> pl.DataFrame:
    """The facts as a table, columns fact and value (both texts)."""
    return pl.DataFrame({"fact": list(facts), "value": [str(value) for value in facts.values()]})
