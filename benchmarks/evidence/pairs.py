"""Stages of synthetic pairs under a condition, with what truly changed."""

from __future__ import annotations

import polars as pl

from benchmarks.evidence.conditions import KINDS, NEURONS, SHARE, Condition
from txray import Corpus, Preferences, collect, synthetic_pair
from txray.synthetic import synthetic_text


def texts(condition: Condition, seed: int) -> tuple[Corpus, Corpus]:
    """Return the texts of both stages; the same one where the condition says so."""
    before, after = (
        synthetic_text(
            condition.words[side],
            shift=condition.shift * side,
            document_words=condition.document_words[side],
            documents_per_group=condition.group[side],
            burst=condition.burst,
            seed=1_000 * seed + side,
        )
        for side in (0, 1)
    )
    return (before, before) if condition.same else (before, after)


def stages(
    condition: Condition, seed: int, *, changes: bool
) -> tuple[tuple[Preferences, Preferences], pl.DataFrame]:
    """Return the preferences of both stages, and the truth.

    Args:
        condition: how they differ.
        seed: of the pair and its texts.
        changes: whether there are planted changes.
    """
    before, after = texts(condition, seed)
    both = before if condition.same else before.concat(after)
    shares = dict.fromkeys(KINDS, SHARE if changes else 0.0)
    pair = synthetic_pair(
        NEURONS,
        corpus=both,
        lengths=condition.lengths,
        vanished=0,
        appeared=0,
        rarer=0,
        competition=condition.competition,
        displacement=condition.displacement,
        seed=seed,
        **shares,
    )
    preferences = [
        collect(model, text, layers=[pair.layer], name=name, selection=condition.selection).preferences()
        for model, text, name in ((pair.before, before, "before"), (pair.after, after, "after"))
    ]
    return (preferences[0], preferences[1]), pair.truth
