"""Texts and small tables of the pages: nearest neurons, effects of pruning, neurons of a feature, sources."""

from __future__ import annotations

from typing import Any

import polars as pl
from dash import html

from txray.analysis.states import fdr_label
from txray.plots.frame import feature_noun
from txray.plots.text import count, percent, plural, sanitize
from txray.plots.theme import stage_styles
from txray.preferences import StageFolder
from txray.pruning import Pruning
from txray.pruning.chance import chance_note, levels_of
from txray.web.dashboard.components import stage_label, table
from txray.web.dashboard.figures.features import feature_index
from txray.web.dashboard.neuron_details import nearest
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

_MAX_ROWS = 100
"""Neurons listed on the page of a feature."""


def nearest_rows(view: UrlState, store: ResultStore) -> list[Any]:
    """Return tables of the neurons whose preferences are most similar to those of the selected neuron."""
    parts: list[Any] = [html.P("Nearest neurons", className="eyebrow")]
    for side in nearest(view, store):
        rows = [
            [
                html.A(
                    f"neuron {near['neuron']}",
                    href=view.replace(neuron=near["neuron"], layer=side["layer"]).address,
                    **{"data-go": ""},
                ),
                f"{near['affinity']:.2f}",
                html.Bdi(", ".join(near["words"])),
            ]
            for near in side["neurons"]
        ]
        parts.append(html.H3(["In ", stage_label(side["stage"], side["color"])]))
        parts.append(
            table(
                ["Neuron", "Affinity", "Most distinctive words"],
                rows,
                f"Nearest neurons in {side['stage']}",
            )
            if rows
            else html.P("No other neuron responds to any of its words.", className="empty")
        )
    parts.append(
        html.P(
            "Affinity: overlap of two preference distributions (1 − H²), from 0 (nothing in common) to 1 (identical).",
            className="note",
        )
    )
    return parts


def pruned_rows(view: UrlState, store: ResultStore, prunings: list[Pruning]) -> list[Any]:
    """Return the effects of pruning sets that hold the neuron; empty if there are none."""
    rows, warnings = [], []
    # The same default as for the rest of the page.
    layer = view.layer or next(iter(store.catalog[view.after].layers))
    for pruning in prunings:
        sets = [
            neurons.name
            for neurons in pruning.neuron_sets()
            if view.neuron in neurons.neurons and neurons.layer == layer
        ]
        effects = pruning.effects.filter(pl.col("set").is_in(sets) & (pl.col("split") != "train"))
        for split in effects["split"].unique(maintain_order=True).to_list():
            clause = chance_note(levels_of(pruning.summary["texts"].get(split, {})))
            if clause:
                warnings.append(
                    f"On {sanitize(split)} the whole model is not better than chance ({clause}), so changes of these "
                    "metrics mean nothing."
                )
        for row in effects.iter_rows(named=True):
            interval = (
                f" ({row['change_low']:+.3f} to {row['change_high']:+.3f})"
                if row["change_low"] is not None
                else ""
            )
            rows.append(
                [
                    sanitize(row["set"]),
                    count(row["neurons"]),
                    sanitize(row["metric"]),
                    # A metric may be undefined, such as the AUROC of texts of one class.
                    "–" if row["change"] is None else f"{row['change']:+.3f}{interval}",
                    row["verdict"] or "–",
                ]
            )
    if not rows:
        return []
    return [
        html.P("Pruning", className="eyebrow"),
        html.H3("The model without this neuron"),
        table(
            ["Set", "Neurons", "Metric", "Change (95% interval)", "Against random sets"],
            rows,
            "Effects of pruning",
        ),
        html.P(
            " ".join(
                (
                    "Neurons were pruned in sets; each effect is that of a whole set. Verdicts are not corrected "
                    "for their number: of 20 sets that act like random ones, expect one to be called better or "
                    "worse.",
                    *warnings,
                )
            ),
            className="note",
        ),
    ]


def feature_rows(view: UrlState, store: ResultStore) -> list[Any]:
    """Return the neurons that prefer a feature, and what became of them.

    Raises:
        UsageError: the URL names no feature.
        JobPending: a stage is being read.
    """
    index = feature_index(view, store)
    before, after = (store.catalog[name] for name in (view.before, view.after))
    empty = next(iter(index.values())).clear()
    sides = [index.get(stage, empty) for stage in (before, after)]
    keys = ["layer", "neuron"]
    neurons = (
        sides[0]
        .select(*keys, before="probability", lift_before="lift", count_before="count")
        .join(
            sides[1].select(*keys, after="probability", lift_after="lift", count_after="count"),
            on=keys,
            how="full",
            coalesce=True,
        )
        .with_columns(
            lift=pl.max_horizontal("lift_before", "lift_after"),
            outcome=pl.when(pl.col("after").is_null())
            .then(pl.lit("stopped"))
            .when(pl.col("before").is_null())
            .then(pl.lit("started"))
            .otherwise(pl.lit("kept")),
        )
        .sort(["lift", *keys], descending=[True, False, False])
    )
    names = [sanitize(stage.name) for stage in (before, after)]
    if not len(neurons):
        return [
            html.P(
                f"No neuron responds to “{sanitize(view.word)}” in {names[0]} or {names[1]}.{_hint(view, before)}",
                className="empty",
            )
        ]
    n_kept, n_stopped, n_started = (
        neurons.filter(outcome=outcome).height for outcome in ("kept", "stopped", "started")
    )
    sentence = (
        f"From {names[0]} to {names[1]}, {plural(n_kept, 'neuron')} kept responding to it, {count(n_stopped)} stopped "
        f"and {count(n_started)} started."
    )
    rows = [
        [
            html.A(
                f"{row['layer']} · {row['neuron']}" if len(after.layers) > 1 else f"neuron {row['neuron']}",
                href=view.replace(page="neuron", layer=row["layer"], neuron=row["neuron"]).address,
                **{"data-go": ""},
            ),
            *(
                "–"
                if row[side] is None
                else f"{percent(row[side])} · {row[f'lift_{side}']:.1f} × · {plural(row[f'count_{side}'], 'win')}"
                for side in ("before", "after")
            ),
            row["outcome"],
        ]
        for row in neurons.head(_MAX_ROWS).iter_rows(named=True)
    ]
    limit = "" if len(neurons) <= _MAX_ROWS else f" The {_MAX_ROWS} strongest are listed."
    return [
        html.H2("What became of them"),
        html.P(sentence + limit, className="lead"),
        table(["Neuron", names[0], names[1], ""], rows, f"Neurons that respond to {sanitize(view.word)}"),
        html.P(
            "Probability in the neuron's distribution, lift (how many times more often than the frequency predicts), "
            "and number of wins; ranked by lift.",
            className="note",
        ),
    ]


def _hint(view: UrlState, stage: StageFolder) -> str:
    """Return suggestions with similar spelling."""
    from difflib import get_close_matches

    if view.feature_type not in stage.feature_types:
        return ""
    names = stage.vocabulary(view.feature_type)[0]
    close = get_close_matches(view.word, names.tolist(), n=3)
    return (
        f" Did you mean {', '.join(f'“{sanitize(name)}”' for name in close)}?"
        if close
        else f" This {feature_noun(view.feature_type)} does not occur in the text."
    )


def full_path(path: str) -> str:
    """Return a path as one line, not truncated, with invisible characters escaped."""
    return (
        path if path.isprintable() else "/".join(sanitize(part) if part else "" for part in path.split("/"))
    )


def sources(store: ResultStore) -> list[Any]:
    """Return the origin of every stage."""
    styles = stage_styles(store.catalog.names)
    rows = []
    for stage in store.catalog:
        manifest = stage.manifest
        corpus, model = manifest.get("corpus") or {}, manifest.get("model") or {}
        first, *others = stage.layers
        rows.append(
            {
                "Stage": stage_label(sanitize(stage.name), styles[stage.name].color),
                "Layers": f"{sanitize(first)} and {count(len(others))} more" if others else sanitize(first),
                "Neurons": count(sum(stage.n_neurons.values())),
                "Feature types": ", ".join(map(sanitize, stage.feature_types)),
                "Selection": ", ".join(dict.fromkeys(map(sanitize, manifest["selections"].values()))),
                "Words": count(manifest["words"]) if manifest.get("words") else "–",
                "Unknown words": percent(manifest["unknown_share"])
                if manifest.get("unknown_share") is not None
                else "–",
                "Folds": count(manifest["folds"]),
                "Corpus": sanitize(str(corpus.get("name", "–"))),
                "Model": sanitize(str(model.get("type", "–"))),
                # In full: a truncated path cannot be opened.
                "Folder": full_path(str(stage.path)),
            }
        )
    config = store.config
    least = f"Changes of at least {config.min_effect:g}" if config.min_effect else "Changes"
    return [
        table(list(rows[0]), [list(row.values()) for row in rows], "Stages"),
        html.P(
            f"Weight: {config.weight}. "
            + (
                "Changes are observed, not tested."
                if config.tested_fdr is None
                else f"{least} are tested at {fdr_label(config.tested_fdr)}, with up to {count(config.permutations)} "
                "permutations per neuron."
            ),
            className="note",
        ),
        html.P(f"Results are cached in {full_path(str(store.cache.folder))}.", className="note"),
    ]
