"""Preferences and comparisons to draw, and a reader of what a figure shows."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from txray import plots
from txray.analysis import (
    Comparison,
    Timeline,
    compare,
    layer_affinity,
    match,
    timeline,
)
from txray.preferences import Preferences, Stage, Tally
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.tags import tag_table

TAGS = ("NN", "IN", "DT", "JJ", "VBD", "PRP$", ".", "<b>")


class Text:
    """A made-up text with tags, and what a made-up layer makes of it."""

    def __init__(
        self, words: Sequence[str], *, n_words: int = 4000, n_neurons: int = 40, folds: int = 4, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.n_neurons = n_neurons
        self.folds = folds
        rank = np.minimum(rng.zipf(1.3, n_words) - 1, len(words) - 1)
        self.words = [words[i] for i in rank]
        self.tags = [TAGS[(i * 7 + i // 3) % len(TAGS)] for i in rank]
        self.tag_of = dict(zip(self.words, self.tags, strict=True))
        self.rank = rank
        self.fold = rng.integers(0, folds, n_words)

    def stage(self, name: str, *, seed: int, silent: Sequence[int] = ()) -> tuple[Preferences, Preferences]:
        """Token and POS preferences of one stage; `silent` neurons win nothing.

        Each word has a favourite neuron, which wins four times in five.
        """
        rng = np.random.default_rng(seed)
        awake = np.setdiff1d(np.arange(self.n_neurons), silent)
        n = len(self.words)
        favourite = rng.permutation(awake)[self.rank % len(awake)] if len(awake) else np.zeros(n, np.int64)
        winner = np.where(rng.random(n) < 0.8, favourite, rng.choice(awake, n) if len(awake) else 0)
        activation = rng.uniform(0.05, 1.0, n)
        return tuple(  # type: ignore[return-value]
            self._frozen(name, kind, values, winner, activation, bool(len(awake)))
            for kind, values in (("token", self.words), ("pos", self.tags))
        )

    def _frozen(
        self, name: str, kind: str, values: Sequence[str], winner: Any, activation: Any, wins: bool
    ) -> Preferences:
        tally = Tally(self.n_neurons, self.folds)
        ids = tally.feature_ids(values)
        tally.count_occurrences(self.fold, ids)
        if wins:
            tally.update(self.fold, winner, ids, activation)
        return tally.freeze(stage=name, layer="rnn", feature_type=kind, selection="max-1")


def plain_words(n: int) -> list[str]:
    """n distinct harmless words."""
    return [f"word{i}" for i in range(n)]


@functools.cache
def neurons_of(preferences: Preferences) -> dict[int, dict[str, tuple[int, float]]]:
    """Neuron -> feature -> (count, sum) over all folds, by plain loops: the oracle of the figures."""
    table: dict[int, dict[str, tuple[int, float]]] = {}
    for neuron, feature_id, count, total in zip(
        preferences.neuron.tolist(),
        preferences.feature_id.tolist(),
        preferences.count.tolist(),
        preferences.sum.tolist(),
        strict=True,
    ):
        features = table.setdefault(neuron, {})
        before = features.get(preferences.features[feature_id], (0, 0.0))
        features[preferences.features[feature_id]] = (before[0] + count, before[1] + total)
    return table


def rows_of(preferences: Preferences) -> list[tuple[int, str, int, float]]:
    """(neuron, feature, count, sum) over all folds."""
    return [
        (neuron, feature, count, total)
        for neuron, features in neurons_of(preferences).items()
        for feature, (count, total) in features.items()
    ]


def distribution(preferences: Preferences, neuron: int) -> dict[str, float]:
    """Feature -> probability of weight `mean`."""
    mean = {f: total / count for f, (count, total) in neurons_of(preferences).get(neuron, {}).items()}
    return {feature: value / sum(mean.values()) for feature, value in mean.items()}


def mass_of(preferences: Preferences) -> list[float]:
    """Activation mass of each neuron."""
    mass = [0.0] * preferences.n_neurons
    for neuron, _, _, total in rows_of(preferences):
        mass[neuron] += total
    return mass


def title_of(figure: go.Figure) -> str:
    """The finding, without the subtitle and markup."""
    return " ".join(re.findall(r"<b>(.*?)</b>", figure.layout.title.text))


def numbers_in(text: str) -> list[float]:
    """The numbers of a title, in order; commas every three digits are read as such."""
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def caption_of(figure: go.Figure) -> str:
    """The line at the bottom."""
    return str(figure.layout.annotations[-1].text)


def marks_in(figure: go.Figure) -> int:
    """Marks drawn: points of all traces."""
    return sum(len(trace.x) for trace in figure.data if getattr(trace, "x", None) is not None)


def strings_in(value: Any) -> list[str]:
    """Every string of a figure that is not a key."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings_in(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in strings_in(inner)]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [text for inner in value.tolist() for text in strings_in(inner)]
    return []


def significant(before: Preferences, after: Preferences) -> Comparison:
    """A comparison with significance, by few permutations."""
    return compare(before, after, permutations=0).test(permutations=100, splits=2, draws=1)


def rarer(preferences: Preferences, keep: float, seed: int = 0) -> Preferences:
    """The same preferences of a stage that won only a share of its words, drawn at random."""
    rng = np.random.default_rng(seed)
    count = rng.binomial(preferences.count, keep)
    rows = np.flatnonzero(count)
    share = count[rows] / preferences.count[rows]
    return replace(
        preferences,
        neuron=preferences.neuron[rows],
        feature_id=preferences.feature_id[rows],
        fold=preferences.fold[rows],
        count=count[rows],
        sum=preferences.sum[rows] * share,
        sum_sq=preferences.sum_sq[rows] * share,
        max=preferences.max[rows],
    )


def stage_of(sides: tuple[Preferences, Preferences]) -> Stage:
    """A stage with tokens, tags, and what tag each token carried."""
    tokens, tags = sides
    pairs: Counter[tuple[str, str]] = Counter()
    for token, count in zip(tokens.features.tolist(), tokens.feature_counts().tolist(), strict=True):
        pairs[token, TAGS[len(token) % len(TAGS)]] += count
    return Stage(
        tokens.stage,
        {(tokens.layer, side.feature_type): side for side in (tokens, tags)},
        pl.DataFrame(schema=EXEMPLAR_SCHEMA),
        {},
        tag_table(pairs),
    )


def timeline_of(stages: Sequence[tuple[Preferences, Preferences]], permutations: int = 50) -> Timeline:
    """A timeline of these stages, each with a perplexity."""
    made = [stage_of(sides) for sides in stages]
    scores = pl.DataFrame(
        {
            "stage": [stage.name for stage in made],
            "perplexity": [1000 / (number + 1) ** 2 for number in range(len(made))],
        }
    )
    return timeline(made, scores=scores, permutations=permutations)


def all_figures(
    stages: Sequence[tuple[Preferences, Preferences]], tag_of: dict[str, str], *, neuron: int = 0
) -> dict[str, go.Figure]:
    """Every figure of two stages."""
    (a, a_tags), (b, b_tags) = stages
    tokens, tags = compare(a, b, permutations=0), compare(a_tags, b_tags, permutations=0)
    sure = significant(a, b)
    line = timeline_of(stages)
    matching = match(a, b, min_wins=1, shuffles=20)
    affinity = layer_affinity(*(stage_of(sides) for sides in stages), min_wins=1)
    return {
        "volcano": plots.volcano(sure),
        "hellinger_length_tested": plots.hellinger_length(sure),
        "states_tested": plots.states(sure),
        "gained_table_tested": plots.gained_table(sure),
        "most_changed_tested": plots.most_changed_neurons(sure, pos=tags, token_tags=tag_of, k=4, min_wins=1),
        "timeline": plots.timeline(line),
        "knowledge_flow": plots.knowledge_flow(line),
        "stage_distances": plots.stage_distances(line),
        "pos_first": plots.pos_first(line),
        "matching": plots.matching(matching),
        "matching_curve": plots.matching_curve(matching),
        "layer_affinity": plots.layer_affinity(*(stage_of(sides) for sides in stages), affinity),
        "mass_activation": plots.mass_activation([a, b]),
        "pos_frequency": plots.pos_frequency(a_tags, b_tags),
        "token_frequency": plots.pos_frequency(a, b),
        "hellinger_length": plots.hellinger_length(tokens),
        "length_shift": plots.length_shift(tokens),
        "length_shift_pos": plots.length_shift(tags),
        "states": plots.states(tokens, tags),
        "gained_table": plots.gained_table(tokens),
        "neuron_detail": plots.neuron_detail([a, b], neuron, pos=[a_tags, b_tags], token_tags=tag_of),
        "most_changed": plots.most_changed_neurons(tokens, pos=tags, token_tags=tag_of, k=4, min_wins=1),
        "least_changed": plots.least_changed_neurons(tokens, pos=tags, token_tags=tag_of, k=3, min_wins=1),
    }
