"""How the tests of a comparison were done, in words: documents in common, exchanged folds, and the family of tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from txray.analysis.states import fdr_label
from txray.text import plural


def family_words(summary: Mapping[str, Any]) -> str:
    """Return over which tests the FDR is controlled: `5% FDR over the 384 tested neurons of layer rnn`.

    Args:
        summary: `Comparison.summary`, tested.
    """
    fdr, size = fdr_label(float(summary["fdr"])), summary.get("family_size")
    if size is None:
        return fdr
    if summary["family"] == "all":
        return f"{fdr} over the {plural(size, 'test')} of all layers and steps"
    return f"{fdr} over the {plural(size, 'tested neuron')} of layer {summary['layer']}"


def pairing_sentence(summary: Mapping[str, Any]) -> str:
    """Return which documents both stages read, and how the tests exchange folds; empty if nothing is tested.

    Args:
        summary: `Comparison.summary`.
    """
    if "paired" not in summary:
        return ""
    how = "the tests exchange fold i of one for fold i of the other" if summary["paired"] else ""
    how = how or "the tests exchange any folds of both"
    if summary.get("text_matched"):
        how += ", at equal text"
    common, before, after = (summary.get(f"documents_{name}") for name in ("in_common", "before", "after"))
    if common is None or before is None or after is None:
        return f"{how[0].upper()}{how[1:]}."
    if common == before == after:
        return f"Both stages read the same {plural(common, 'document')}: {how}."
    share = 100 * float(summary["words_in_common"])
    folds = ""
    if "folds_in_common" in summary:
        folds = f"; {summary['folds_in_common']} of {summary['folds_with_words']} folds are the same"
    return (
        f"{plural(common, 'document')} in common, of {before:,} before and {after:,} after ({share:.3g}% of the words "
        f"of the longer text{folds}): {how}."
    )
