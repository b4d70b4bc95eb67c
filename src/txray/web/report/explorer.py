"""The data of the detail explorer, as columns that turn into compact JSON.

Words become indices into one table per feature type, numbers keep four significant digits, and
of every neuron, only the strongest features and occurrences are listed. Words pass through `sanitize`, so nothing
in them is hidden or long; they are still plain text, and the page inserts them as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import CONFIDENT_STATES, Comparison
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.rules import changed_most_first, is_significant
from txray.analysis.states import NOT_TESTED, STATE_NAMES, state_label
from txray.plots.features import distinctive
from txray.plots.frame import feature_noun
from txray.plots.text import sanitize
from txray.plots.theme import StageStyle
from txray.preferences import Distributions, Preferences, Stage
from txray.preferences.distributions import aligned
from txray.preferences.output_tokens import LISTED, OUTPUT, PROMOTED, SUPPRESSED, agreement_sentence, has_sign
from txray.web.compact import rounded, sanitized_words

FEATURES = 25
"""Features listed per neuron, feature type and comparison."""
BEYOND = 8
"""Features listed per neuron and stage because they are its most distinctive ones."""
EXEMPLARS = 6
"""Occurrences listed per neuron and stage."""


def explorer_data(
    stages: Sequence[Stage], comparisons: Sequence[Comparison], styles: Mapping[str, StageStyle]
) -> dict[str, Any]:
    """Return everything that the explorer shows, as plain JSON values.

    Args:
        stages: all stages of the report, with distinct names.
        comparisons: of these stages; at least one.
        styles: stage name -> colour.

    Returns:
        `stages`: name, colour, and per layer the length, mass and wins of every neuron and its exemplars;
        `pairs`: one per comparison; `words`: per feature type the table that feature ids point into.
    """
    words = _WordTables()
    by_name = {stage.name: stage for stage in stages}
    index_of = {name: index for index, name in enumerate(by_name)}
    layers = dict.fromkeys(side.layer for pair in comparisons for side in (pair.before, pair.after))
    feature_type = comparisons[0].before.feature_type
    return {
        "feature": feature_type,
        "states": list(CONFIDENT_STATES),
        "nouns": {name: feature_noun(name) for stage in stages for name in stage.feature_types},
        "stages": [
            {
                "name": sanitize(stage.name),
                "color": styles[stage.name].color,
                "layers": {
                    layer: _layer(stage, layer, feature_type, words)
                    for layer in layers
                    if (layer, feature_type) in stage.collected
                },
            }
            for stage in stages
        ],
        "pairs": [
            _pair(pair, by_name, words)
            | {"before": index_of[pair.before.stage], "after": index_of[pair.after.stage]}
            for pair in comparisons
        ],
        "words": words.tables(),
    }


def _layer(stage: Stage, layer: str, feature_type: str, words: _WordTables) -> dict[str, Any]:
    """Return the size and the strongest occurrences of every neuron of one layer in one stage."""
    preferences = stage.preferences(layer=layer, feature_type=feature_type)
    return {
        "words": preferences.words,
        "length": preferences.lengths().tolist(),
        "mass": _rounded(preferences.mass()),
        "wins": preferences.wins().tolist(),
        "exemplars": _exemplars(stage.exemplars.filter(pl.col("layer") == layer), preferences.n_neurons),
        "writes": _writes(stage, layer, words),
    }


def _writes(stage: Stage, layer: str, words: _WordTables) -> dict[str, Any] | None:
    """Return the tokens that every neuron promotes and suppresses; None if the stage has none.

    Those of neuron n are start[n] .. start[n + 1] - 1 of each side; `agreement` is a sentence per neuron.
    """
    table = stage.output_tokens.filter(pl.col("layer") == layer, pl.col("rank") < LISTED).sort(
        "neuron", "rank"
    )
    if table.is_empty():
        return None
    packed: dict[str, Any] = {"agreement": None}
    for side in (PROMOTED, SUPPRESSED):
        rows = table.filter(side=side)
        start = np.searchsorted(rows["neuron"].to_numpy(), np.arange(stage.n_neurons[layer] + 1))
        packed[side] = {"start": start.tolist(), "id": words.ids("output tokens", rows["token"].to_list())}
    preferences = stage.collected.get((layer, OUTPUT))
    if preferences is not None and has_sign(preferences.selection):
        agreement = stage.output_agreement(layer=layer)
        packed["agreement"] = [agreement_sentence(row) or None for row in agreement.iter_rows(named=True)]
    return packed


def _exemplars(table: pl.DataFrame, n_neurons: int) -> dict[str, Any]:
    """Return the columns of the strongest occurrences; those of neuron n are start[n] .. start[n + 1] - 1."""
    rows = table.filter(pl.col("rank") < EXEMPLARS).sort("neuron", "rank")
    columns: dict[str, Any] = {
        "start": np.searchsorted(rows["neuron"].to_numpy(), np.arange(n_neurons + 1)).tolist(),
        "activation": _rounded(rows["activation"].to_numpy()),
        "position": rows["position"].to_list(),
    }
    for name in ("document", "word", "before", "after", "output", "label"):
        columns[name] = [sanitized_words(text) for text in rows[name]]
    columns["probability"] = [
        None if probability is None else round(probability, 3) for probability in rows["probability"]
    ]
    columns["activations"] = [
        None if around is None else _rounded(np.array(around, np.float64), digits=3)
        for around in rows["activations"].to_list()
    ]
    return columns


def _pair(comparison: Comparison, stages: Mapping[str, Stage], words: _WordTables) -> dict[str, Any]:
    """Return one row per neuron, and its strongest features of every type that both stages have."""
    neurons = comparison.neurons
    before, after = stages[comparison.before.stage], stages[comparison.after.stage]
    feature_types = [
        feature_type for feature_type in before.feature_types if feature_type in after.feature_types
    ]
    return {
        "layers": [comparison.before.layer, comparison.after.layer],
        "states": _states(tested=comparison.tested),
        "state": [
            CONFIDENT_STATES.index(state)
            for state in neurons["confident_state" if comparison.tested else "state"]
        ],
        "sentence": _sentences(comparison),
        "tests": _tests(comparison) if comparison.tested else None,
        "beyond": [_beyond(side, words) for side in (comparison.before, comparison.after)],
        "hellinger": _rounded(neurons["hellinger"].to_numpy()),
        **{name: neurons[name].to_list() for name in ("length_before", "length_after")},
        **{name: _rounded(neurons[name].to_numpy()) for name in ("mass_before", "mass_after")},
        "features": {
            feature_type: _features(
                _distributions(before, comparison.before, feature_type, comparison),
                _distributions(after, comparison.after, feature_type, comparison),
                words,
                feature_type,
            )
            for feature_type in feature_types
        },
    }


def _states(*, tested: bool) -> list[dict[str, str]]:
    """Return what the page calls the neurons of every state, beside their number (`label`) and alone (`name`)."""
    return [
        {
            "label": state_label(state, tested=tested),
            "name": STATE_NAMES[state] if tested else f"{STATE_NAMES[state]}, {NOT_TESTED}",
        }
        for state in CONFIDENT_STATES
    ]


def _sentences(comparison: Comparison) -> list[str]:
    """Return what happened to every neuron, in words."""
    noun = feature_noun(comparison.feature_type)
    stages = sanitize(comparison.before.stage), sanitize(comparison.after.stage)
    neurons, fdr = comparison.neurons, comparison.fdr
    if fdr is not None:
        neurons = neurons.with_columns(significant=is_significant(fdr))
    return [
        neuron_sentence(row, noun, stages, fdr, only_text=comparison.only_text)
        for row in neurons.iter_rows(named=True)
    ]


def _tests(comparison: Comparison) -> dict[str, Any]:
    """Return the columns of the tests: whether each neuron is significant, its rank by "changed most", the values."""
    neurons, fdr = comparison.neurons, float(comparison.summary["fdr"])
    rank = np.empty(len(neurons), np.int64)
    rank[changed_most_first(neurons, fdr).to_numpy()] = np.arange(len(neurons))
    return {
        "sure": neurons.select(significant=is_significant(fdr))["significant"].to_list(),
        "rank": rank.tolist(),
        **{
            name: _rounded(neurons[column].cast(pl.Float64).fill_null(np.nan).to_numpy())
            for name, column in (
                ("corrected", "hellinger_corrected"),
                ("low", "hellinger_corrected_low"),
                ("high", "hellinger_corrected_high"),
                ("z", "z_score"),
                ("q", "q_value"),
            )
        },
    }


def _beyond(side: Preferences, words: _WordTables) -> dict[str, list[int] | list[str]]:
    """Return the most distinctive features; those of neuron n are start[n] .. start[n + 1] - 1.

    `facts` are how well they predict the wins of each neuron on other documents, in words.
    """
    names = distinctive(side, BEYOND)
    return {
        "start": np.concatenate(([0], np.cumsum([len(features) for features in names]))).tolist(),
        "id": words.ids(side.feature_type, [feature for features in names for feature in features]),
        "facts": side.name_scores.facts,
    }


def _distributions(
    stage: Stage, side: Preferences, feature_type: str, comparison: Comparison
) -> Distributions:
    preferences = side if feature_type == side.feature_type else stage[side.layer, feature_type]
    return preferences.distributions(comparison.weight)


def _features(
    before: Distributions, after: Distributions, words: _WordTables, feature_type: str
) -> dict[str, Any]:
    """Return the strongest features of every neuron by the larger of the two probabilities.

    Those of neuron n are start[n] .. start[n + 1] - 1; `union` is the number of all.
    """
    before, after = aligned(before, after)
    strongest = before.matrix.maximum(after.matrix).tocsr()
    strongest.sort_indices()
    n_neurons = strongest.shape[0]
    union = np.diff(strongest.indptr)
    row = np.repeat(np.arange(n_neurons), union)
    order = np.lexsort((strongest.indices, -strongest.data, row))
    rank = np.arange(len(row)) - strongest.indptr[row]
    listed = order[rank < FEATURES]
    row, column = row[listed], strongest.indices[listed]
    return {
        "start": np.concatenate(([0], np.cumsum(np.minimum(union, FEATURES)))).tolist(),
        "id": words.ids(feature_type, before.features[column].tolist()),
        "before": _rounded(before.matrix[row, column]),
        "after": _rounded(after.matrix[row, column]),
        "union": union.tolist(),
    }


class _WordTables:
    """Every feature of a feature type once, numbered in the order of first use."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, int]] = {}

    def ids(self, feature_type: str, features: Sequence[str]) -> list[int]:
        ids = self._ids.setdefault(feature_type, {})
        return [ids.setdefault(feature, len(ids)) for feature in features]

    def tables(self) -> dict[str, list[str]]:
        return {
            feature_type: [sanitize(feature) for feature in ids] for feature_type, ids in self._ids.items()
        }


def _rounded(values: NDArray[np.float64], digits: int = 4) -> list[float | None]:
    return [rounded(value, digits) for value in values.tolist()]
