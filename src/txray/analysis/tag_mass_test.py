"""Test of whether activation mass follows the frequency of parts of speech, or of any groups of words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.analysis.matching.strata import exchanged_within_strata
from txray.analysis.significance.permutation import q_values
from txray.arguments import checked_call
from txray.arrays import Bools, Floats, Ints
from txray.errors import UsageError
from txray.preferences.distributions import positions
from txray.preferences.preferences import Preferences
from txray.preferences.stage import Stage
from txray.preferences.stage_like import StageLike, as_stage


def mass_divergence(preferences: Preferences) -> float:
    """Return the total variation between shares of activation mass and corpus shares of the features.

    Args:
        preferences: of one stage, usually for `pos`.

    Returns:
        0 if mass follows frequency exactly, at most 1; NaN without mass.
    """
    return float(_total_variation(preferences.feature_mass(), preferences.feature_counts()))


@dataclass(frozen=True, eq=False)
class MassMatch:
    """How closely activation mass follows the frequency of parts of speech, beside two controls.

    Corpus frequency is the null model of "parts of speech are learned first": with one winner per word, mass follows
    frequency whatever the model knows. So the match has to be better than that of random groups of words, and than that
    of an untrained model, which is a stage of its own.

    Attributes:
        divergence: total variation between mass shares and corpus shares of the tags, 0 (follows exactly) to 1; like
            `shuffled` from tokens, each with the tags that it carries.
        shuffled: (draws,) divergences after words exchanged their tags with others of about the same frequency: random
            groups as large as the tags.
        noise: expected divergence if every occurrence had a random tag: the sampling noise in a corpus of this size.
        p_value: share of the shuffled groupings that mass follows at least as closely as the tags.
    """

    divergence: float
    shuffled: Floats
    noise: float
    p_value: float


@checked_call
def mass_match(stage: StageLike, *, layer: str | None = None, draws: int = 200, seed: int = 0) -> MassMatch:
    """Return how closely mass follows the frequency of the tags, and of shuffled ones.

    Args:
        stage: collected with `token` and `pos`, or its folder.
        layer: required only if the stage has several layers.
        draws: number of shuffles.
        seed: random seed of the shuffles.

    Raises:
        UnknownNameError: the stage lacks the layer, or one of the feature types.
        UsageError: no draws, or a stage without tagged words.
    """
    if draws < 1 or seed < 0:
        raise UsageError(f"mass match: draws={draws}, seed={seed}; at least 1 draw, and no negative seed")
    stage = as_stage(stage)
    tokens, pos = (stage.preferences(layer=layer, feature_type=name) for name in ("token", "pos"))
    tags = _tags_of_tokens(stage, tokens)
    if tags.nnz == 0 or not len(pos.sum):
        raise UsageError(f"stage {stage.name!r}: no tagged word was counted; collect it with token and pos")
    mass, count = tokens.feature_mass(), tokens.feature_counts().astype(np.float64)
    random = np.random.default_rng(seed)

    def divergence(owner: Ints) -> float:
        # Word i gets the tags of word `owner[i]`.
        tags_of_words = tags[owner]
        return float(_total_variation(tags_of_words.T @ mass, tags_of_words.T @ count))

    itself = divergence(np.arange(len(mass)))
    shuffled = np.array([divergence(exchanged_within_strata(count, random)) for _ in range(draws)])
    as_close = int((shuffled <= itself * (1 + 1e-12)).sum())
    return MassMatch(itself, shuffled, sampling_noise(pos), (as_close + 1) / (draws + 1))


def stages_that_track_tags(stages: pl.DataFrame, fdr: float = 0.05) -> Bools:
    """Return (n_stages,) whether mass follows parts of speech significantly more closely than shuffled tags.

    Args:
        stages: rows of `Timeline.stages` of one layer, all that one statement is about. False where there are no tags.
        fdr: false discovery rate over these stages (Benjamini-Hochberg).
    """
    q_value = q_values(stages["pos_p_value"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    return np.asarray(q_value <= fdr)


def _tags_of_tokens(stage: Stage, tokens: Preferences) -> sp.csr_array:
    """Return (n_tokens, n_tags) shares of each tag among the occurrences of a token; empty rows without tags."""
    known = stage.tags.filter(stage.tags["token"].is_in(tokens.features.tolist()))
    row = positions(known["token"].to_list(), tokens.features)
    names, column = np.unique(np.array(known["pos"].to_list(), dtype=object), return_inverse=True)
    count = known["count"].to_numpy().astype(np.float64)
    total = np.bincount(row, count, len(tokens.features))
    return sp.csr_array((count / total[row], (row, column)), shape=(len(tokens.features), len(names)))


def _total_variation(mass: Floats, count: NDArray[np.generic]) -> np.float64:
    total, occurrences = mass.sum(), count.sum()
    if total <= 0 or occurrences <= 0:
        return np.float64(np.nan)
    return np.float64(np.abs(mass / total - count / occurrences).sum() / 2)


def sampling_noise(pos: Preferences) -> float:
    """Return the divergence expected from sampling noise alone if mass follows frequency; NaN with fewer than two wins.

    Half the sum of the mean absolute deviations of the mass shares of random samples as large as the tags.

    Args:
        pos: preferences of one stage, usually for `pos`.
    """
    wins = pos.count.sum()
    if wins < 2:
        return float("nan")
    share = pos.feature_counts() / pos.words
    # Variance of a sum of values drawn without replacement.
    spread = (pos.sum_sq.sum() - pos.sum.sum() ** 2 / wins) / pos.sum.sum() ** 2 * wins / (wins - 1)
    deviation = np.sqrt(np.maximum(spread, 0) * share * (1 - share))
    return float(np.sqrt(2 / np.pi) * deviation.sum() / 2)
