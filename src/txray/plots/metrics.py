"""Metrics of pruned models in words: their names, units, and hover texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.errors import UnknownNameError
from txray.plots.text import count, hover_text, plural, sanitize
from txray.pruning.chance import chance_note, levels_of

if TYPE_CHECKING:
    from txray.pruning.result import Pruning

_IN_PERCENT = ("accuracy", "f1", "auroc")
_NAMES: Mapping[str, str] = {"f1": "F1", "auroc": "AUROC", "loss": "loss (nats)"}
VERDICTS: Mapping[str, str] = {
    "better": "better than random",
    "worse": "worse than random",
    "not distinguishable": "like random",
}


def chosen_rows(pruning: Pruning, metric: str | None) -> tuple[str, pl.DataFrame]:
    """Return the metric (by default F1, perplexity, or the first), and its effects of sets that are not empty.

    Raises:
        UnknownNameError: no such metric.
    """
    metrics = pruning.effects["metric"].unique(maintain_order=True).to_list()
    if metric is None:
        metric = next((name for name in ("f1", "perplexity") if name in metrics), metrics[0])
    if metric not in metrics:
        raise UnknownNameError.of("metric", metric, metrics)
    return metric, pruning.effects.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())


def splits_of(rows: pl.DataFrame) -> list[str]:
    """Return the texts that were scored on, in order."""
    splits: list[str] = rows["split"].unique(maintain_order=True).to_list()
    return splits


def scale_of(metric: str) -> tuple[float, str]:
    """Return the factor of the values of a metric, and their unit."""
    return (100.0, "%") if metric in _IN_PERCENT else (1.0, "")


def metric_name(metric: str) -> str:
    """Return the name of a metric in titles and on axes."""
    return _NAMES.get(metric, sanitize(metric))


def effect_hover_text(row: Mapping[str, Any], metric: str) -> str:
    """Return the hover text of one effect: neurons, values, change, and comparison with random sets."""
    scale, unit = scale_of(metric)

    def with_unit(name: str) -> str:
        return f"{scale * row[name]:+.3g}{unit}"

    lines = [
        f"{plural(row['neurons'], 'neuron')}; {metric_name(metric)} {scale * row['unpruned']:.4g}{unit} → "
        f"{scale * row['value']:.4g}{unit}",
    ]
    if row["change_low"] is not None:
        lines.append(
            f"change {with_unit('change')} ({with_unit('change_low')} to {with_unit('change_high')})"
        )
    if row["verdict"] is not None:
        lines.append(
            f"against random sets {with_unit('versus_random')} ({with_unit('versus_random_low')} to "
            f"{with_unit('versus_random_high')}): {VERDICTS[row['verdict']]}"
        )
    return hover_text(f"{sanitize(row['set'])}, {sanitize(row['split'])}", *lines)


def chance_words(pruning: Pruning, metric: str, splits: Iterable[str]) -> str:
    """Return a clause for a title where the whole model is not better than chance; empty where it is."""
    notes = [
        f"{sanitize(split)} ({note})"
        for split in splits
        if (note := chance_note(levels_of(pruning.summary["texts"].get(split, {})), metric, interval=False))
    ]
    return f"; the whole model is not better than chance on {' and '.join(notes)}" if notes else ""


def caption_of_pruning(pruning: Pruning) -> str:
    """Return the source of a figure, as plain text: layers, texts, how neurons were ablated, random sets."""
    summary = pruning.summary
    layers = ", ".join(f"{sanitize(layer)} ({count(n)} neurons)" for layer, n in summary["layers"].items())
    texts = ", ".join(
        f"{sanitize(split)} {count(text['documents'])} documents"
        + (f" in {plural(text['groups'], 'group')}" if text["groups"] < text["documents"] else "")
        for split, text in summary["texts"].items()
        if text["documents"]
    )
    parts = [
        f"layer {layers}",
        texts,
        f"ablation {summary['ablation']}, {summary['scope']}",
        f"{count(summary['n_random_sets'])} random sets of each size"
        if summary["n_random_sets"]
        else "no random sets",
        *(
            f"whole model on {sanitize(split)}: {note}"
            for split, text in summary["texts"].items()
            if (note := chance_note(levels_of(text)))
        ),
    ]
    return " · ".join(part for part in parts if part)
