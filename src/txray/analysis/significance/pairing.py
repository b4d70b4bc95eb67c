"""Which texts two stages have in common: what decides which folds are exchanged, and whether texts are matched."""

from __future__ import annotations

import numpy as np

from txray.arrays import Ints
from txray.errors import PowerWarning, warn_user
from txray.preferences.distributions import positions
from txray.preferences.preferences import Preferences

MIN_IN_COMMON = 0.1
"""Share of the words of the longer text, in documents of both stages, from which folds are exchanged in pairs.

With fewer, the folds of both stages are nearly independent, and tests that take them as such are hardly conservative.
"""


def paired_folds(before: Preferences, after: Preferences, same_documents: bool | None) -> bool:
    """Return whether both stages read the same documents, fold by fold.

    Args:
        before, after: preferences of the two stages.
        same_documents: what their manifests say; if None, their features and how often each occurs decide.
    """
    words = before.corpus_counts.sum(axis=1), after.corpus_counts.sum(axis=1)
    if same_documents is not None:
        return same_documents and bool(np.array_equal(*words))
    return bool(
        np.array_equal(before.features, after.features)
        and np.array_equal(before.corpus_counts, after.corpus_counts)
    )


def folds_are_exchanged_in_pairs(
    before: Preferences, after: Preferences, same_documents: bool | None, words_in_common: float
) -> bool:
    """Return whether the tests exchange fold i of one stage for fold i of the other, and no other.

    That is right if the stages read the same documents, because both copies of a document are in folds of the same
    number; and if they read some of them, whatever the others are. Without documents in common, any folds may be
    exchanged, which gives more different permutations.

    Args:
        before, after: preferences of the two stages.
        same_documents: what their manifests say; see `paired_folds`.
        words_in_common: share of the words of the longer text that are in documents of both stages.
    """
    return words_in_common >= MIN_IN_COMMON or paired_folds(before, after, same_documents)


def aligned_texts(before: Preferences, after: Preferences) -> Ints:
    """Return (2, folds, n_features) occurrences of the features of both stages."""
    names = sorted({*before.features.tolist(), *after.features.tolist()})
    texts = np.zeros((2, before.folds, len(names)), np.int64)
    for text, side in zip(texts, (before, after), strict=True):
        text[:, positions(side.features, names)] = side.corpus_counts
    return texts


def folds_in_common(before: Preferences, after: Preferences) -> dict[str, int]:
    """Return `folds_in_common`, in which every feature occurs equally often in both stages, and `folds_with_words`."""
    texts = aligned_texts(before, after)
    used = texts.any(axis=(0, 2))
    return {
        "folds_in_common": int((texts[0] == texts[1]).all(axis=1)[used].sum()),
        "folds_with_words": int(used.sum()),
    }


def text_is_matched(
    before: Preferences, after: Preferences, same_documents: bool | None, wanted: bool | None
) -> bool:
    """Return whether the tests match the texts of two stages; warn if they have nothing in common.

    Args:
        before, after: preferences of the two stages.
        same_documents: what their manifests say; see `paired_folds`.
        wanted: what the user says; if None, texts that differ are matched.
    """
    if not (not paired_folds(before, after, same_documents) if wanted is None else wanted):
        return False
    if not np.isin(before.features, after.features).any():
        warn_user(
            f"significance of {before.stage!r} -> {after.stage!r}: the two texts have no {before.feature_type} in "
            "common, so no text is left after matching; compare stages that read similar texts, or pass "
            "text_matched=False (--no-text-matched)",
            PowerWarning,
        )
    return True
