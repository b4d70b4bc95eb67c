"""Quantities of whole layers in two stages, and whether they are the same within a margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from txray.analysis.equivalence import MARGIN, Equivalence, of_ratio
from txray.analysis.significance.pairing import aligned_texts, folds_are_exchanged_in_pairs
from txray.analysis.significance.tests import require_folds
from txray.analysis.subjects import preferences_of, require_comparable, same_documents, subject, text_facts
from txray.arguments import checked_call
from txray.arrays import Bools, Floats, Ints
from txray.preferences.preferences import Preferences
from txray.preferences.stage_like import StageLike

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison

_NAMES = {
    "win_rate": "wins per word:",
    "mass_per_word": "mass per word:",
    "neurons_in_use": "neurons in use:",
    "features": "features preferred by any neuron:",
    "length": "features per neuron in use in both stages:",
}
_SAME_TEXT = 0.99
"""Share of the occurrences in common, fold by fold, from which quantities that grow with the text are compared."""
_RATES = ("win_rate", "mass_per_word")
"""Quantities per word, which do not grow with the text."""


@checked_call
def compare_totals(
    before: StageLike | Preferences,
    after: StageLike | Preferences,
    *,
    layer: str | None = None,
    feature_type: str = "token",
    margin: float = MARGIN,
) -> pl.DataFrame:
    """Return quantities of a layer in two stages, and whether each is the same within a margin.

    Intervals come from leaving out each fold of documents in turn.

    Args:
        before, after: stages, their folders, or their preferences.
        layer: required only if there are several.
        feature_type: the feature type.
        margin: relative difference that counts as none.

    Returns:
        One row per quantity: quantity, before, after, change (relative), low, high (90% interval; null if unknown),
        verdict (`same`, `different`, `cannot tell`). Quantities: `win_rate` (selected activations per word),
        `mass_per_word`; and, if both stages read the same documents (at least 99% of the text), `neurons_in_use`,
        `features` (that any neuron prefers) and `length` (features per neuron in use in both stages), which grow with
        the text.

    Raises:
        UsageError: fewer than two folds, different numbers of them, or a margin that is not positive.
        ShapeError: the two do not hold the same neurons, feature type or selection.

    Example:
        >>> compare_totals(zero_shot, sup).select("quantity", "verdict")
    """
    sides = subject(before), subject(after)
    p, q = (preferences_of(side, layer, feature_type) for side in sides)
    require_comparable(p, q)
    require_folds(p, q)
    in_common = float(text_facts(*sides).get("words_in_common", 0))
    paired = folds_are_exchanged_in_pairs(p, q, same_documents(*sides), in_common)
    return _table(equivalences(p, q, paired=paired, margin=margin), p, q)


def totals_sentence(comparison: Comparison, margin: float = MARGIN) -> str:
    """Return which quantities of a tested comparison are the same within a margin; empty if it is not tested.

    Quantities that the selection fixes, such as wins per word under `max-1`, are left out.
    """
    if not comparison.tested:
        return ""
    results = equivalences(
        comparison.before, comparison.after, paired=bool(comparison.summary["paired"]), margin=margin
    )
    parts = [
        f"{_NAMES[name]} {result}" for name, result in results.items() if result.low != 0 or result.high != 0
    ]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def equivalences(
    before: Preferences, after: Preferences, *, paired: bool, margin: float = MARGIN
) -> Mapping[str, Equivalence]:
    """Return quantity -> whether it is the same in two stages; see `compare_totals`.

    Args:
        before, after: preferences of the same neurons and with the same number of folds.
        paired: whether both read documents in common, in folds of the same number.
        margin: relative.
    """
    texts = aligned_texts(before, after)
    used, words = np.asarray(texts.any(axis=2)), texts.sum(axis=(1, 2))
    paired = paired and bool((used[0] == used[1]).all())
    same = paired and texts.min(axis=0).sum() >= _SAME_TEXT * words.max()
    in_both = (before.lengths() > 0) & (after.lengths() > 0)
    values = [_quantities(side, in_both) for side in (before, after)]
    names = [name for name in values[0] if same or name in _RATES]
    return {name: of_ratio(values[0][name], values[1][name], margin, paired=paired) for name in names}


def _quantities(side: Preferences, in_both: Bools) -> dict[str, Floats]:
    """Return quantity -> (1 + folds with words,) its value, then its value without each fold."""
    words = side.corpus_counts.sum(axis=1)
    used = words > 0
    folds = side.folds
    count, total = (np.bincount(side.fold, values, folds) for values in (side.count, side.sum))
    shared = in_both[side.neuron]
    pairs = side.neuron * len(side.features) + side.feature_id
    n_both = max(int(in_both.sum()), 1)
    return {
        "win_rate": _without_each(count, used) / _without_each(words, used),
        "mass_per_word": _without_each(total, used) / _without_each(words, used),
        "neurons_in_use": _different(side.neuron, side.fold, used),
        "features": _different(side.feature_id, side.fold, used),
        "length": _different(pairs[shared], side.fold[shared], used) / n_both,
    }


def _without_each(values: Floats | Ints, used: Bools) -> Floats:
    """Return (1 + n_used,) the sum over all folds, then without each fold that has words."""
    return np.concatenate(([values.sum()], values.sum() - values[used])).astype(np.float64)


def _different(ids: Ints, fold: Ints, used: Bools) -> Floats:
    """Return (1 + n_used,) numbers of different ids in all folds, then without each fold that has words."""
    unique, first, index = np.unique(ids, return_index=True, return_inverse=True)
    # An id is lost with a fold if it occurs in that fold alone.
    lowest, highest = np.full(len(unique), len(used)), np.full(len(unique), -1)
    np.minimum.at(lowest, index, fold)
    np.maximum.at(highest, index, fold)
    alone = np.bincount(fold[first][lowest == highest], minlength=len(used))
    return np.concatenate(([len(unique)], len(unique) - alone[used])).astype(np.float64)


def _table(results: Mapping[str, Equivalence], before: Preferences, after: Preferences) -> pl.DataFrame:
    in_both = (before.lengths() > 0) & (after.lengths() > 0)
    values = [_quantities(side, in_both) for side in (before, after)]
    rows = [
        (name, values[0][name][0], values[1][name][0], result.change, result.low, result.high, result.verdict)
        for name, result in results.items()
    ]
    columns = {
        "quantity": pl.String,
        **dict.fromkeys(("before", "after", "change", "low", "high"), pl.Float64),
    }
    table = pl.DataFrame(rows, schema={**columns, "verdict": pl.String}, orient="row")
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))
