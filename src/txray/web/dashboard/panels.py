"""Words and small tables of the pages: what is near a neuron, what pruning did, where a feature went, the sources."""

from __future__ import annotations

from typing import Any

import polars as pl
from dash import html

from txray.analysis.findings import fdr_label
from txray.plots.frame import feature_noun
from txray.plots.text import count, percent, plural, visible
from txray.plots.theme import stage_styles
from txray.preferences import StageFolder
from txray.pruning import Pruning
from txray.pruning.chance import chance_note, levels_of
from txray.web.dashboard.components import stage_label, table, word
from txray.web.dashboard.figures.features import postings
from txray.web.dashboard.neuron_details import nearest
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.url_state import UrlState

_LISTED = 100
"""Neurons of a feature's page."""


def nearest_rows(view: UrlState, desk: ResultStore) -> list[Any]:
    """Neurons that prefer most nearly the same as the one of a view."""
    parts: list[Any] = [html.P("Nearest neurons", className="eyebrow")]
    for side in nearest(view, desk):
        rows = [
            [
                html.A(
                    f"neuron {each['neuron']}",
                    href=view.but(neuron=each["neuron"], layer=side["layer"]).address,
                    **{"data-go": ""},
                ),
                f"{each['affinity']:.2f}",
                word(", ".join(each["words"])),
            ]
            for each in side["neurons"]
        ]
        parts.append(html.H3(["In ", stage_label(side["stage"], side["color"])]))
        parts.append(
            table(
                ["Neuron", "Affinity", "Prefers beyond frequency"],
                rows,
                f"Nearest neurons in {side['stage']}",
            )
            if rows
            else html.P("None shares a feature with it.", className="empty")
        )
    parts.append(
        html.P(
            "Affinity: how much two preference distributions overlap, 1 − H²; 1 is the same, 0 nothing in common.",
            className="note",
        )
    )
    return parts


def pruned_rows(view: UrlState, desk: ResultStore, prunings: list[Pruning]) -> list[Any]:
    """What became of the model's scores where the neuron was pruned; empty where it never was."""
    rows, chance = [], []
    # As the rest of the page does.
    layer = view.layer or next(iter(desk.library[view.after].layers))
    for pruning in prunings:
        holding = [
            each.name for each in pruning.neuron_sets() if view.neuron in each.neurons and each.layer == layer
        ]
        effects = pruning.effects.filter(pl.col("set").is_in(holding) & (pl.col("split") != "train"))
        for split in effects["split"].unique(maintain_order=True).to_list():
            clause = chance_note(levels_of(pruning.summary["texts"].get(split, {})))
            if clause:
                chance.append(
                    f"On {visible(split)} the whole model is not better than chance: {clause}; changes of such metrics "
                    "mean nothing."
                )
        for row in effects.iter_rows(named=True):
            interval = (
                f" ({row['change_low']:+.3f} to {row['change_high']:+.3f})"
                if row["change_low"] is not None
                else ""
            )
            rows.append(
                [
                    visible(row["set"]),
                    count(row["neurons"]),
                    visible(row["metric"]),
                    # A score may be undefined, as the AUROC of texts of one class is.
                    "–" if row["change"] is None else f"{row['change']:+.3f}{interval}",
                    row["verdict"] or "–",
                ]
            )
    if not rows:
        return []
    return [
        html.P("Pruning", className="eyebrow"),
        html.H3("What became of the model without it"),
        table(
            ["Set", "Neurons", "Score", "Change (95 %)", "Against random sets"], rows, "Effects of pruning"
        ),
        html.P(
            " ".join(
                (
                    "Neurons were pruned in sets; the effect is that of the whole set. Verdicts are of each effect "
                    "alone, at 95%: of twenty that are like random sets, one is called better or worse.",
                    *chance,
                )
            ),
            className="note",
        ),
    ]


def feature_rows(view: UrlState, desk: ResultStore) -> list[Any]:
    """Where the neurons that prefer a feature went, and which they are.

    Raises:
        UsageError: the view names no feature.
        NotReady: a stage is being read.
    """
    found = postings(view, desk)
    before, after = (desk.library[name] for name in (view.before, view.after))
    sides = [
        found.get(stage, pl.DataFrame(schema=next(iter(found.values())).schema)) for stage in (before, after)
    ]
    keys = ["layer", "neuron"]
    both = (
        sides[0]
        .select(*keys, before="probability", lift_before="lift", count_before="count")
        .join(
            sides[1].select(*keys, after="probability", lift_after="lift", count_after="count"),
            on=keys,
            how="full",
            coalesce=True,
        )
        .with_columns(most=pl.max_horizontal("lift_before", "lift_after"))
        .sort(["most", *keys], descending=[True, False, False])
    )
    kept = both.filter(pl.col("before").is_not_null() & pl.col("after").is_not_null()).height
    left = both.filter(pl.col("after").is_null()).height
    names = [visible(stage.name) for stage in (before, after)]
    if not len(both):
        return [
            html.P(
                f"No neuron prefers “{visible(view.word)}” in {names[0]} or {names[1]}.{_hint(view, before)}",
                className="empty",
            )
        ]
    sentence = (
        f"From {names[0]} to {names[1]}, {plural(kept, 'neuron')} kept preferring it, {count(left)} left it and "
        f"{count(len(both) - kept - left)} came to it."
    )
    rows = [
        [
            html.A(
                f"{row['layer']} · {row['neuron']}" if len(after.layers) > 1 else f"neuron {row['neuron']}",
                href=view.but(page="neuron", layer=row["layer"], neuron=row["neuron"]).address,
                **{"data-go": ""},
            ),
            *(
                "–"
                if row[side] is None
                else f"{percent(row[side])} · {row[f'lift_{side}']:.1f} × · {plural(row[f'count_{side}'], 'win')}"
                for side in ("before", "after")
            ),
            "kept"
            if None not in (row["before"], row["after"])
            else "left"
            if row["after"] is None
            else "came",
        ]
        for row in both.head(_LISTED).iter_rows(named=True)
    ]
    shown = "" if len(both) <= _LISTED else f" The {_LISTED} strongest are listed."
    return [
        html.H2("Where they went"),
        html.P(sentence + shown, className="lead"),
        table(["Neuron", names[0], names[1], ""], rows, f"Neurons that prefer {visible(view.word)}"),
        html.P(
            "Probability in the neuron's distribution, times its frequency would give (lift), and words won. "
            "The most beyond frequency first.",
            className="note",
        ),
    ]


def _hint(view: UrlState, stage: StageFolder) -> str:
    """Features that are spelled alike."""
    from difflib import get_close_matches

    if view.feature not in stage.feature_types:
        return ""
    names = stage.vocabulary(view.feature)[0]
    close = get_close_matches(view.word, names.tolist(), n=3)
    return (
        f" Did you mean {', '.join(f'“{visible(name)}”' for name in close)}?"
        if close
        else f" Its {feature_noun(view.feature)} is not in the text."
    )


def whole(path: str) -> str:
    """A path as one line, never cut; part by part where something in it could not be seen."""
    return path if path.isprintable() else "/".join(visible(part) if part else "" for part in path.split("/"))


def sources(desk: ResultStore) -> list[Any]:
    """Where every stage comes from."""
    styles = stage_styles(desk.library.names)
    rows = []
    for stage in desk.library:
        manifest = stage.manifest
        corpus, model = manifest.get("corpus") or {}, manifest.get("model") or {}
        layers = stage.layers
        rows.append(
            [
                stage_label(visible(stage.name), styles[stage.name].color),
                f"{visible(next(iter(layers)))} and {len(layers) - 1} more"
                if len(layers) > 1
                else visible(next(iter(layers))),
                count(sum(stage.n_neurons.values())),
                ", ".join(map(visible, stage.feature_types)),
                ", ".join(dict.fromkeys(map(visible, manifest["selections"].values()))),
                count(manifest["words"]) if manifest.get("words") else "–",
                percent(manifest["unknown_share"]) if manifest.get("unknown_share") is not None else "–",
                count(manifest["folds"]),
                visible(str(corpus.get("name", "–"))),
                visible(str(model.get("type", "–"))),
                # Whole: a path that is cut off leads nowhere.
                whole(str(stage.path)),
            ]
        )
    heads = [
        "Stage",
        "Layers",
        "Neurons",
        "Features",
        "Selection",
        "Words",
        "Unknown",
        "Folds",
        "Corpus",
        "Model",
        "Folder",
    ]
    choices = desk.choices
    return [
        table(heads, rows, "Stages"),
        html.P(
            f"Weight {choices.weight}; "
            + (
                "observed, not tested."
                if choices.fdr is None
                else f"tested at {fdr_label(choices.fdr)}, with up to {count(choices.permutations)} permutations."
            ),
            className="note",
        ),
        html.P(f"Results are kept in {whole(str(desk.cache.folder))}.", className="note"),
    ]
