"""Key facts of a stage folder, logged beside or instead of its files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from txray.preferences.manifest import read_manifest


def stage_facts(folder: Path) -> dict[str, str | int]:
    """Return the key facts of a stage folder.

    Args:
        folder: a complete stage folder.

    Returns:
        `stage` (its name), `folder`, `words` and, if the manifest has them, `corpus`, `layers` with their numbers of
        neurons, `feature_types` and `selection`.

    Raises:
        StageError: not a complete stage folder.
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
        "feature_types": ", ".join(manifest["features"]),
        "selection": manifest.get("selection"),
    }
    return {name: value for name, value in facts.items() if isinstance(value, str | int)}


def facts_table(facts: dict[str, str | int]) -> pl.DataFrame:
    """Return the facts as a table with the string columns fact and value."""
    return pl.DataFrame({"fact": list(facts), "value": [str(value) for value in facts.values()]})
