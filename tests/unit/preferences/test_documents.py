"""Repeated documents and groups, counted in bounded memory without a trace of order or shards."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from txray.preferences import documents
from txray.preferences.documents import DocumentTally, as_documents, counts_of, duplication, merged_documents

SparseStats = list[tuple[int, int, int | None]]


def drawn(n: int, texts: int, groups: int, seed: int = 0) -> SparseStats:
    """(text, words, group) of documents; the length of a text follows from its hash."""
    random = np.random.default_rng(seed)
    known = random.integers(0, 1 << 63, texts)
    of_groups = random.integers(0, 1 << 63, groups)
    return [
        (int(text), 1 + int(text) % 50, None if random.random() < 0.3 else int(random.choice(of_groups)))
        for text in random.choice(known, n)
    ]


def tally(rows: SparseStats) -> DocumentTally:
    counted = DocumentTally()
    for row in rows:
        counted.add(*row)
    return counted


def test_counts_are_those_of_sets() -> None:
    rows = drawn(3000, 2000, 40)
    texts = {text: words for text, words, _ in rows}
    assert tally(rows).counts() == {
        "groups": len({group for _, _, group in rows if group is not None}),
        "documents_without_group": sum(group is None for _, _, group in rows),
        "documents_repeated": len(rows) - len(texts),
        "words_repeated": sum(words for _, words, _ in rows) - sum(texts.values()),
    }


@pytest.mark.parametrize("kept", [1 << 18, 128])
def test_neither_order_nor_shards_leave_a_trace(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_HASHES", kept)
    monkeypatch.setattr(documents, "_PENDING", 37)
    rows = drawn(3000, 2000, 300)
    whole = tally(rows)
    assert whole.table()["kind"].value_counts()["count"].max() <= kept
    assert tally(rows[::-1]).table().equals(whole.table())
    shards = [tally(rows[number::7]) for number in range(7)]
    merged = merged_documents([shard.table() for shard in shards[::-1]])
    assert merged.equals(whole.table())
    in_steps = merged_documents([merged_documents([shard.table() for shard in shards[:3]]), merged])
    assert in_steps.equals(whole.table())
    words = sum(words for _, words, _ in rows)
    without = sum(group is None for _, _, group in rows)
    assert counts_of(merged, documents=3000, words=words, without_group=without) == whole.counts()


def test_beyond_what_is_kept_counts_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_HASHES", 1 << 12)
    rows = drawn(60_000, 50_000, 20_000)
    exact = {
        "documents_repeated": 60_000 - len({text for text, _, _ in rows}),
        "words_repeated": sum(w for _, w, _ in rows) - sum({text: w for text, w, _ in rows}.values()),
        "groups": len({group for _, _, group in rows} - {None}),
    }
    counts = tally(rows).counts()
    # A standard error of 1/sqrt(4096) of what is distinct: 1.6%, of words a little more.
    assert counts["documents_repeated"] == pytest.approx(exact["documents_repeated"], abs=0.05 * 60_000)
    assert counts["words_repeated"] == pytest.approx(exact["words_repeated"], abs=0.06 * 60_000 * 25)
    assert counts["groups"] == pytest.approx(exact["groups"], rel=0.05)
    assert counts["documents_repeated"] != exact["documents_repeated"]


def test_a_line_warns_of_more_than_a_hundredth_of_the_words() -> None:
    corpus = {"name": "c", "documents": 1000, "documents_repeated": 30, "words_repeated": 100, "groups": 0}
    assert list(duplication(corpus, 10_000)) == []
    (line,) = duplication(corpus, 9_999)
    assert "'c'" in line
    assert "30 of 1,000" in line
    assert "different groups" not in line
    (line,) = duplication({**corpus, "groups": 5}, 9_999)
    assert "different groups" in line
    assert list(duplication({}, 0)) == list(duplication({}, 100)) == []


def test_a_damaged_table_is_refused() -> None:
    whole = tally(drawn(20, 10, 2)).table()
    assert as_documents(whole).equals(whole)
    with pytest.raises(ValueError, match="below 0"):
        as_documents(whole.with_columns(words=pl.lit(-1)))
    with pytest.raises(ValueError, match="gap"):
        as_documents(whole.with_columns(hash=pl.lit(None, pl.Int64)))
    for damaged in (whole[::-1], pl.concat([whole, whole]), whole.with_columns(kind=pl.lit("word"))):
        with pytest.raises(ValueError, match="out of order"):
            as_documents(damaged)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        as_documents(whole.drop("words"))
