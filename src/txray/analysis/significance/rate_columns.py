"""Columns of win rates and of their tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from txray.analysis.significance.absence_test import absence_p_values
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.permutation import q_values
from txray.analysis.significance.rates import rate_p_values
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.text_matching import text_matched
from txray.arrays import Floats
from txray.preferences.preferences import Preferences

if TYPE_CHECKING:
    from txray.analysis.significance.tests import SignificanceSettings


def wins_at_equal_text(
    folds: FoldCounts,
    before: Preferences,
    after: Preferences,
    settings: SignificanceSettings,
    *,
    match_text: bool,
    paired: bool,
) -> tuple[Floats, Floats]:
    """Return (n_neurons, 2 * folds) wins and (2 * folds,) words, at equal text if that is matched."""
    if not match_text:
        words = np.concatenate((before.corpus_counts.sum(axis=1), after.corpus_counts.sum(axis=1)))
        return folds.wins(), words.astype(np.float64)
    wins, counts = np.zeros((folds.n_neurons, 2 * folds.folds)), np.zeros(2 * folds.folds)
    for text in text_matched(folds, settings.draws, generator_for(settings.seed, "texts"), paired=paired):
        wins += text.wins() / settings.draws
        counts += np.asarray(text.occurrences.sum(axis=0)) / settings.draws
    return wins, counts


def changed_rate_p_values(
    wins: Floats, words: Floats, settings: SignificanceSettings, paired: bool
) -> Floats:
    """Return (n_neurons,) p-values of the change of the win rates."""
    random = generator_for(settings.seed, "rates")
    return rate_p_values(wins, words, paired=paired, n=settings.permutations, random=random)


def rate_columns(
    wins: Floats,
    words: Floats,
    before: Preferences,
    after: Preferences,
    settings: SignificanceSettings,
    paired: bool,
) -> dict[str, Floats]:
    """Return the columns of win rates and of their tests; wins and words are those of `wins_at_equal_text`."""
    p_value = changed_rate_p_values(wins, words, settings, paired)
    return {
        "win_rate_before": before.wins() / max(before.words, 1),
        "win_rate_after": after.wins() / max(after.words, 1),
        "rate_p_value": p_value,
        "rate_q_value": q_values(p_value),
        "absence_p_value": absence_p_values(wins, words),
    }
