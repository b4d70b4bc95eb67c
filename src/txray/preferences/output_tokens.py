"""The tokens that each neuron of a language model promotes and suppresses, and how its wins agree with predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.arrays import Floats
from txray.errors import UsageError

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

OUTPUT_TOKENS = "output_tokens.parquet"
"""In the folder of a stage whose output tokens were computed."""

OUTPUT = "output"
"""Feature type: what the model predicts."""

PROMOTED, SUPPRESSED = "promoted", "suppressed"
"""Sides of a neuron: tokens whose logits its activation raises and lowers."""

OUTPUT_TOKEN_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "side": pl.String(),
    "rank": pl.Int64(),
    "id": pl.Int64(),
    "token": pl.String(),
    "effect": pl.Float64(),
}
"""Columns of the table of output tokens."""

LISTED = 10
"""Number of tokens of each side that pages and sentences list."""

_TAIL = 0.025
"""Probability beyond each bound of an interval."""


def as_output_tokens(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table that was read from a file with the columns of `OUTPUT_TOKEN_SCHEMA`, checked.

    Raises:
        ValueError, PolarsError: the table cannot be what was written.
    """
    table = table.cast(OUTPUT_TOKEN_SCHEMA).select(*OUTPUT_TOKEN_SCHEMA)  # type: ignore[arg-type]
    if not table["effect"].is_finite().all() or not set(table["side"]) <= {PROMOTED, SUPPRESSED}:
        raise ValueError(f"{OUTPUT_TOKENS}: effects that are not finite, or a side that is neither")
    return table


def tokens_of_side(table: pl.DataFrame, side: str) -> pl.DataFrame:
    """Return the tokens that a neuron promotes or suppresses, the strongest first: token, effect."""
    return table.filter(side=side).sort("rank").select("token", "effect")


def output_lines(
    promoted: pl.DataFrame, suppressed: pl.DataFrame, agreement: pl.DataFrame | None
) -> list[str]:
    """Return what a neuron writes as at most three sentences: promoted and suppressed tokens, and the agreement."""
    lines = [
        f"{verb} {' · '.join(tokens['token'].head(LISTED))}."
        for verb, tokens in (("Promotes", promoted), ("Suppresses", suppressed))
        if len(tokens)
    ]
    rows = [] if agreement is None else agreement.rows(named=True)
    return lines + [sentence for row in rows if (sentence := agreement_sentence(row))]


def agreement_sentence(row: Mapping[str, Any]) -> str:
    """Return a row of `agreement_of` in words; empty if the neuron has no wins or no tokens."""
    if row["share"] is None:
        return ""
    low, high = row["low"], row["high"]
    interval = "" if low is None else f" (95% interval {100 * low:+.1f} to {100 * high:+.1f})"
    return (
        f"Where it wins, the model predicts one of its tokens {row['share']:.1%} of the time, at all words "
        f"{row['expected']:.1%}: {100 * row['difference']:+.1f} percentage points{interval}."
    )


def has_sign(selection: str) -> bool:
    """Return whether all activations that a selection takes have the same sign."""
    return "absolute" not in selection.split("/")


def agreement_of(preferences: Preferences, table: pl.DataFrame) -> pl.DataFrame:
    """Return how often the model predicts the tokens that a neuron promotes where the neuron wins.

    Args:
        preferences: of one layer, for the feature type `output`.
        table: output tokens of that layer.

    Returns:
        polars, one row per neuron: neuron; wins; share, of the wins at which the predicted token is among those that
        the neuron promotes (suppresses, if its negative activations were selected); expected, the share at all words;
        difference = share - expected; low and high, bounds of its 95% interval. Null without wins or without tokens;
        the bounds also if the wins are in one fold only, or the
        tokens are predicted at no word or at every word.

    Raises:
        UsageError: activations were selected by their absolute size, so the sign of a neuron's effect is unknown.
    """
    if not has_sign(preferences.selection):
        raise UsageError(
            f"stage {preferences.stage!r}: selection {preferences.selection!r} ignores the sign of activations, so a "
            "win may promote or suppress a token; collect the stage with another selection"
        )
    side = SUPPRESSED if "negative" in preferences.selection.split("/") else PROMOTED
    n, n_features, folds = preferences.n_neurons, len(preferences.features), preferences.folds
    tokens = table.filter(side=side).select("neuron", "token").unique()
    ids = pl.DataFrame(
        {"token": preferences.features.tolist(), "feature": np.arange(n_features)}, strict=False
    )
    pairs = tokens.join(ids.cast({"token": pl.String}), on="token")
    neuron, feature = (pairs[name].to_numpy().astype(np.int64) for name in ("neuron", "feature"))
    key = preferences.neuron * n_features + preferences.feature_id
    promoted = np.isin(key, neuron * n_features + feature)
    cell = preferences.fold * n + preferences.neuron
    wins, hits = (
        np.bincount(cell[rows], preferences.count[rows], folds * n).astype(np.float64).reshape(folds, n)
        for rows in (slice(None), promoted)
    )
    words = preferences.corpus_counts.sum(axis=1)[:, None].astype(np.float64)
    of_tokens = np.stack(
        [np.bincount(neuron, counts[feature], n).astype(np.float64) for counts in preferences.corpus_counts]
    )
    share, expected, difference, bound = _difference(hits, wins, of_tokens, words)
    has_tokens = np.bincount(tokens["neuron"].to_numpy(), minlength=n)[:n] > 0
    columns = {
        "share": share,
        "expected": expected,
        "difference": difference,
        "low": np.maximum(difference - bound, -1),
        "high": np.minimum(difference + bound, 1),
    }
    known = has_tokens & (wins.sum(axis=0) > 0)
    values = [
        pl.Series(name, np.where(known, values, np.nan)).fill_nan(None) for name, values in columns.items()
    ]
    return pl.DataFrame(
        [pl.Series("neuron", np.arange(n)), pl.Series("wins", wins.sum(axis=0).astype(np.int64)), *values]
    )


def _difference(
    hits: Floats, wins: Floats, of_tokens: Floats, words: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return (n_neurons,) shares, expected shares, their differences, and half the width of the 95% intervals.

    Args:
        hits, wins: (folds, n_neurons) wins at promoted tokens, and all wins.
        of_tokens: (folds, n_neurons) words at which a token that the neuron promotes is predicted.
        words: (folds, 1) all words.
    """
    from scipy.stats import t as student

    def shares(hits: Floats, wins: Floats, of_tokens: Floats, words: Floats) -> tuple[Floats, Floats]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return hits / wins, of_tokens / words

    share, expected = shares(hits.sum(0), wins.sum(0), of_tokens.sum(0), words.sum(0))
    # Leave out each fold in turn: the words of a document are not independent.
    share_without, expected_without = shares(*(part.sum(0) - part for part in (hits, wins, of_tokens, words)))
    folds = len(hits)
    without = share_without - expected_without
    variance = (folds - 1) / folds * np.square(without - without.mean(axis=0)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # At least that of independent words: a few wins on no promoted token do not vary, but say little.
        variance = np.maximum(variance, expected * (1 - expected) / wins.sum(0))
    variance = np.where((expected > 0) & (expected < 1), variance, np.nan)  # nothing to compare with
    quantile = student.ppf(1 - _TAIL, max(folds - 1, 1))
    return share, expected, share - expected, quantile * np.sqrt(variance)
