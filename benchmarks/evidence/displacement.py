"""One neuron grows: how often the others are said to change, and how often displaced."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from benchmarks.evidence.conditions import DISPLACED, SEEDS, Condition
from benchmarks.evidence.pairs import stages
from benchmarks.evidence.tables import Table, percent, ratio
from benchmarks.models import pretrained as pretrained_model
from txray import Preferences, TextModel, collect, compare, demo_corpus
from txray.analysis.significance.tests import SignificanceSettings, displacement_test

LAYER = "encoder.layer.2.intermediate.dense"
FACTORS = (1.5, 3.0)
_WORDS = 30_000


def measured() -> Table:
    """Return, by condition, what is said of unchanged neurons and of those that changed."""
    rows = []
    for condition in DISPLACED:
        table = pl.concat(
            [_neurons(condition, seed, changes=changes) for changes in (False, True) for seed in SEEDS]
        )
        same = table.filter(pl.col("group") == "unchanged")
        real = table.filter(~pl.col("group").is_in(["unchanged", "grown"]))
        alone = same.filter(pl.col("p_value_alone").is_not_null())
        rows.append(
            [
                condition.name,
                f"{len(same):,}",
                _share(same, pl.col("p_value") < 0.05),
                _share(alone, pl.col("p_value_alone") < 0.05),
                _share(same, pl.col("called")),
                _share(same, pl.col("called") & ~pl.col("displaced")),
                f"{len(real):,}",
                _share(real, pl.col("called")),
                _share(real, pl.col("called") & ~pl.col("displaced")),
            ]
        )
        print(rows[-1], flush=True)
    columns = [
        "condition",
        "unchanged neurons",
        "p < 0.05",
        "p < 0.05 without the rival",
        "q ≤ 0.05",
        "called changed",
        "changed neurons",
        "q ≤ 0.05",
        "called changed",
    ]
    return Table(columns, rows)


def _neurons(condition: Condition, seed: int, *, changes: bool) -> pl.DataFrame:
    """Return the tested neurons of one pair, with the p-value without the rival, whether it is needed or not."""
    (before, after), truth = stages(condition, seed, changes=changes)
    comparison = compare(before, after, seed=seed)
    neurons = comparison.neurons
    change = (neurons["win_rate_after"] - neurons["win_rate_before"]).to_numpy()
    certain = (neurons["rate_q_value"].fill_null(1) <= 0.05).to_numpy()
    settings = SignificanceSettings(seed=seed)
    paired, match_text = bool(comparison.summary["paired"]), comparison.text_matched
    test = displacement_test(before, after, "mean", settings, paired=paired, match_text=match_text)
    alone = test.of(before, after, change, certain, np.ones(len(neurons), bool))["displaced_p_value"]
    return (
        neurons.with_columns(group=truth["group"].cast(pl.String))
        .with_columns(
            pl.Series("p_value_alone", alone).fill_nan(None),
            called=pl.col("q_value") <= 0.05,
            displaced=pl.col("confident_state") == "displaced",
        )
        .filter(pl.col("p_value").is_not_null())
        .select("group", "p_value", "p_value_alone", "called", "displaced")
    )


def _share(table: pl.DataFrame, rule: pl.Expr) -> str:
    return percent(ratio(int(table.select(rule.sum()).item()), len(table)))


def pretrained() -> Table:
    """Return what is said of the other neurons of a pretrained model if the weights of one are multiplied.

    Their activations are the same to the bit: the layer is linear, and nothing before it changes.
    """
    text = demo_corpus("encyclopedia", words=_WORDS)

    def read(neuron: int, factor: float) -> Preferences:
        model: TextModel = pretrained_model()
        layer = model.module.get_submodule(LAYER)
        with torch.no_grad():
            for weights in (layer.weight, layer.bias):
                weights[neuron] *= factor
        return collect(model, text, layers=LAYER, name=f"x {factor:g}").preferences()

    before = read(0, 1.0)
    neuron = int(before.wins().argsort()[-6])
    rows = []
    for factor in FACTORS:
        after = read(neuron, factor)
        comparison = compare(before, after)
        others = comparison.neurons.filter((pl.col("neuron") != neuron) & pl.col("p_value").is_not_null())
        called = others.filter(pl.col("q_value") <= 0.05)
        wins = after.wins()
        rows.append(
            [
                f"{factor:g}",
                percent(float(wins[neuron] / wins.sum())),
                f"{len(others):,}",
                _share(others, pl.col("p_value") < 0.05),
                f"{len(called):,}",
                f"{(called['confident_state'] == 'displaced').sum():,}",
                f"{(called['confident_state'] != 'displaced').sum():,}",
                "yes" if comparison.neuron(neuron).significant else "no",
            ]
        )
        print(rows[-1], flush=True)
    columns = [
        "weights times",
        "its share of the wins",
        "other tested neurons",
        "p < 0.05",
        "q ≤ 0.05",
        "displaced",
        "called changed",
        "itself called changed",
    ]
    return Table(columns, rows)
