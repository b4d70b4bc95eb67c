"""Stages that read some documents in common: their folds are paired, and one more document changes little."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.unit.capture.test_folds import corpus_of, documents, in_groups, small_model
from txray import Comparison, Corpus, Document, Stage, collect, compare, demo_corpus, synthetic_pair
from txray.analysis.significance.fold_counts import FoldCounts
from txray.analysis.significance.pairing import folds_are_exchanged_in_pairs
from txray.analysis.significance.text_matching import text_matched
from txray.analysis.test_facts import pairing_sentence
from txray.preferences import documents as stored
from txray.preferences.documents import DOCUMENT_SCHEMA, documents_in_common

QUICK: dict[str, Any] = {"permutations": 400}
N = 100


@cache
def articles() -> list[Document]:
    return list(demo_corpus("encyclopedia", words=None, seed=1))[: 3 * N]


@cache
def stage(start: int, end: int, side: str = "after", *, changed: float = 0.3) -> Stage:
    """Documents `start` to `end`, read by a module before or after a change."""
    pair = synthetic_pair(60, changed=changed, vanished=0, appeared=0, rarer=0, effect=1.0, seed=1)
    text = Corpus.from_documents("articles", articles()[start:end])
    return collect(getattr(pair, side), text, layers=[pair.layer], name=side)


@cache
def comparison(start: int, end: int) -> Comparison:
    return compare(stage(0, N, "before"), stage(start, end), **QUICK)


def test_one_more_or_one_less_document_changes_hardly_anything() -> None:
    same = comparison(0, N)
    assert same.summary["changed"] >= 5
    for end in (N - 1, N + 1):
        other = comparison(0, end)
        assert other.summary["paired"] is True
        assert other.summary["documents_in_common"] == min(N, end)
        assert other.summary["folds_in_common"] == other.summary["folds_with_words"] - 1
        assert abs(other.summary["changed"] - same.summary["changed"]) <= 3
        difference = (other.neurons["z_score"] - same.neurons["z_score"]).drop_nulls().abs()
        assert difference.median() < 0.3
        assert difference.max() < 4


def test_without_documents_in_common_any_folds_are_exchanged() -> None:
    summary = comparison(N, 2 * N).summary
    assert summary["documents_in_common"] == summary["words_in_common"] == 0
    assert summary["paired"] is False
    assert comparison(0, N).summary["words_in_common"] == 1


@pytest.mark.parametrize(("share", "paired"), [(0.0, False), (0.09, False), (0.1, True), (1.0, True)])
def test_a_tenth_of_the_words_in_common_is_enough_to_pair(share: float, *, paired: bool) -> None:
    sides = stage(0, N, "before").preferences(), stage(N, 2 * N).preferences()
    for known in (None, False):
        assert folds_are_exchanged_in_pairs(*sides, known, share) is paired


def test_texts_are_thinned_only_where_they_differ() -> None:
    folds = FoldCounts.of(stage(0, N, "before").preferences(), stage(0, N + 1).preferences())
    before = folds.occurrences.toarray()
    (matched,) = text_matched(folds, 1, np.random.default_rng(0), paired=True)
    after = matched.occurrences.toarray()
    assert (before[:, :16] != before[:, 16:]).any()
    # One text contains the other, so that they become equal, fold by fold.
    np.testing.assert_array_equal(after[:, :16], before[:, :16])
    np.testing.assert_array_equal(after[:, 16:], before[:, :16])
    wins, whole = matched.count.toarray(), folds.count.toarray()
    same = np.flatnonzero((before[:, :16] == before[:, 16:]).all(axis=0))
    assert len(same) == 15
    np.testing.assert_array_equal(wins[:, same + 16], whole[:, same + 16])
    np.testing.assert_array_equal(wins[:, :16], whole[:, :16])
    assert (wins <= after[matched.feature]).all()


def test_every_feature_occurs_equally_often_if_half_of_the_documents_are_in_common() -> None:
    folds = FoldCounts.of(stage(0, N, "before").preferences(), stage(N // 2, 3 * N // 2).preferences())
    before = folds.occurrences.toarray().reshape(-1, 2, 16)
    (matched,) = text_matched(folds, 1, np.random.default_rng(0), paired=True)
    after = matched.occurrences.toarray().reshape(-1, 2, 16)
    fewer = before.sum(axis=2).min(axis=1)
    np.testing.assert_array_equal(after.sum(axis=2), np.stack((fewer, fewer), axis=1))
    # No fold is thinned below the same fold of the other stage.
    assert (after >= np.minimum(before, before[:, ::-1])).all()


def test_where_nothing_changed_p_values_are_neither_too_small_nor_too_large() -> None:
    p_values = {
        start: compare(stage(0, N, "before"), stage(start, N + start, "before"), **QUICK)
        .neurons["p_value"]
        .drop_nulls()
        .to_numpy()
        for start in (0, 5, 10, 50)
    }
    # One model on the same documents gives the same activations.
    assert (p_values.pop(0) == 1).all()
    pooled = np.concatenate(list(p_values.values()))
    assert len(pooled) > 100
    assert (pooled < 0.05).mean() < 0.12
    # Exchanging any folds, as if all documents were others, gives p-values near 1.
    assert 0.25 < (pooled < 0.5).mean() < 0.75


def test_one_model_with_one_more_document_has_not_changed() -> None:
    comparison = compare(stage(0, N, "before"), stage(0, N + 1, "before"), **QUICK)
    p_values = comparison.neurons["p_value"].drop_nulls()
    assert comparison.summary["folds_in_common"] == 15
    assert (comparison.neurons["wins_before"] < comparison.neurons["wins_after"]).sum() >= 5
    # One fold differs, and exchanging it gives the same difference.
    assert len(p_values) > 25
    assert (p_values == 1).all()


def test_documents_in_common_are_counted_by_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    keys = np.sort(random.permutation(np.unique(random.integers(0, 1 << 63, 3_000)))[:2_500])

    def table(chosen: np.ndarray) -> pl.DataFrame:
        columns = {"kind": ["text"] * len(chosen), "hash": chosen, "words": 1 + chosen % 7}
        return pl.DataFrame(columns, schema=DOCUMENT_SCHEMA)

    one, other = keys[:2_000], keys[500:]
    words = [int((1 + side % 7).sum()) for side in (one, other, np.intersect1d(one, other))]
    facts = documents_in_common(table(one), table(other))
    assert facts == {
        "documents_before": 2_000,
        "documents_after": 2_000,
        "documents_in_common": 1_500,
        "words_in_common": words[2] / max(words[:2]),
    }
    assert documents_in_common(table(one), table(one[:0])) == {}
    # A sample of the hashes gives an estimate, and the same one whichever stage comes first.
    monkeypatch.setattr(stored, "_MAX_HASHES", 1_000)
    mixed = random.permutation(keys)
    one, other = np.sort(mixed[:2_000]), np.sort(mixed[500:])
    estimate = documents_in_common(table(one[:1_000]), table(other[:1_000]))
    assert estimate["documents_in_common"] == pytest.approx(1_500, rel=0.1)
    assert estimate["words_in_common"] == pytest.approx(0.75, abs=0.04)
    swapped = documents_in_common(table(other[:1_000]), table(one[:1_000]))
    assert swapped["documents_in_common"] == estimate["documents_in_common"]


def test_documents_in_other_groups_are_not_in_common() -> None:
    sources = documents(20)
    plain, grouped, again = (
        collect(small_model(), corpus_of(source), name="s")
        for source in (sources, in_groups(sources, 2), in_groups(sources, 2))
    )
    assert documents_in_common(plain.documents, grouped.documents)["documents_in_common"] == 0
    assert documents_in_common(grouped.documents, again.documents)["documents_in_common"] == 20


def test_sentences_say_how_many_documents_are_in_common() -> None:
    more = pairing_sentence(comparison(0, N + 1).summary)
    assert f"{N} documents in common, of {N} before and {N + 1} after" in more
    assert "15 of 16 folds are the same" in more
    assert "fold i of one for fold i of the other, at equal text" in more
    assert f"the same {N} documents" in pairing_sentence(comparison(0, N).summary)
    assert "any folds of both" in pairing_sentence(comparison(N, 2 * N).summary)
    assert more in comparison(0, N + 1)._repr_html_()
    untested = compare(stage(0, N, "before"), stage(0, N), permutations=0)
    assert pairing_sentence(untested.summary) == ""
    unknown = compare(*(side.preferences() for side in (stage(0, N, "before"), stage(0, N))), **QUICK)
    assert pairing_sentence(unknown.summary) == "The tests exchange fold i of one for fold i of the other."


def test_a_saved_comparison_is_paired_again(tmp_path: Any) -> None:
    original = comparison(0, N + 1)
    original.save(tmp_path / "saved")
    loaded = Comparison.load(tmp_path / "saved")
    again = replace(loaded, neurons=original.neurons.drop("q_value")).test(**QUICK)
    assert again.summary["paired"] is True
    assert again.neurons["q_value"].equals(original.neurons["q_value"])
