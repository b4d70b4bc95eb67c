"""Shards make only their own documents, and are the same shards as if every document had been made."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from txray import Corpus, Document, read_corpus
from txray.corpus import from_dataset
from txray.corpus.tokenize import Tokenizer, has_words
from txray.errors import CorpusError


def jsonl(folder: Path) -> Corpus:
    entries: list[dict[str, Any]] = [
        {"words": [f"w{i}", "river"], "pos": ["NN", "NN"]} if i % 3 else {"text": f"A river, {i} miles."}
        for i in range(20)
    ]
    entries[4:4] = [{"words": []}, {"text": " \x00\n"}, {"text": ""}, {"words": [], "pos": ["NN"]}]
    (folder / "a.jsonl").write_text("\n\n".join(map(json.dumps, entries)))
    return read_corpus("jsonl", folder / "a.jsonl")


def text(folder: Path) -> Corpus:
    (folder / "a.txt").write_text(
        "\n\n".join(f"Line {i}.\nAnd more." if i % 5 else "\x01 \x02" for i in range(20))
    )
    return read_corpus("text", folder / "a.txt")


def split_text(folder: Path) -> Corpus:
    (folder / "a.txt").write_text(
        "\n\n".join(f"Line {i}.\nAnd more." if i % 5 else "\x01" for i in range(20))
    )
    return read_corpus("text", folder / "a.txt", tokenized=True)


def reviews(folder: Path) -> Corpus:
    rows = [f"{'<br /> &nbsp;' if i % 4 == 1 else f'Good, {i}.'},{i % 2}" for i in range(20)]
    (folder / "a.csv").write_text("\n".join(["text,label", *(f'"{r[0:-2]}",{r[-1]}' for r in rows)]))
    return read_corpus("imdb", folder / "a.csv")


def rows() -> dict[str, list[str | None]]:
    return {"text": [(None, " \x00", f"Row {i}. And more.")[min(i % 5, 2)] for i in range(24)]}


def parquet(folder: Path) -> Corpus:
    pl.DataFrame(rows()).write_parquet(folder / "a.parquet")
    return read_corpus("parquet", folder / "a.parquet")


def dataset(folder: Path) -> Corpus:
    return from_dataset(datasets.Dataset.from_dict(rows()))


def lists_of_words(folder: Path) -> Corpus:
    words = [[] if i % 5 == 0 else [f"w{i}", "river"] for i in range(24)]
    pl.DataFrame({"words": words}).write_parquet(folder / "b.parquet")
    return read_corpus("parquet", folder / "b.parquet")


def annotated(folder: Path) -> Corpus:
    return text(folder).annotate(lambda document: tuple(map(str.upper, document.words)), "loud")  # type: ignore[arg-type]


READERS = [jsonl, text, split_text, reviews, parquet, dataset, lists_of_words, annotated]


@pytest.mark.parametrize("read", READERS)
def test_shards_are_every_nth_document(read: Callable[[Path], Corpus], tmp_path: Path) -> None:
    corpus = read(tmp_path)
    made = list(corpus)
    skipped = dict(corpus.skipped)
    assert len(made) > 10
    assert bool(skipped) == (read is not split_text), "control characters are words where spaces alone divide"
    for of in (1, 3, 4):
        for number in range(1, of + 1):
            shard = corpus.shard(number, of)
            assert list(shard) == list(islice(made, number - 1, None, of))
            assert dict(shard.skipped) == skipped


def test_documents_of_other_shards_are_not_made(tmp_path: Path) -> None:
    seen = []

    def tag(document: Document) -> tuple[str, ...]:
        seen.append(document.id)
        return ("X",) * len(document.words)

    corpus = text(tmp_path).annotate(tag, "x")  # type: ignore[arg-type]
    ids = [document.id for document in corpus.shard(2, 5)]
    assert seen == ids
    assert len(ids) == 3


def test_what_is_wrong_with_a_line_is_told_by_the_shard_that_has_it(tmp_path: Path) -> None:
    lines = [json.dumps({"words": ["a"], "pos": ["X"] * (1 + (i == 5))}) for i in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    corpus = read_corpus("jsonl", tmp_path / "a.jsonl")
    with pytest.raises(CorpusError, match="line 6: .*annotation 'pos' has 2 values for 1 words"):
        list(corpus.shard(3, 3))
    assert len(list(corpus.shard(1, 3))) == 3


@pytest.mark.parametrize("read", [parquet, dataset])
def test_rows_of_other_shards_are_not_tokenised(
    read: Callable[[Path], Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenised: list[str] = []
    tokenize = Tokenizer.__call__
    monkeypatch.setattr(
        Tokenizer, "__call__", lambda self, text: tokenised.append(text) or tokenize(self, text)
    )
    assert len(list(read(tmp_path).shard(2, 5))) == len(tokenised) == 3


@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "\n\n",
        "\x00",
        "\x1f\x85",
        " \u00a0\u2003",
        "\u200b",
        "a",
        "\x00a",
        ".",
        "\ufeff",
        "\u2028",
        "\u00ad",
    ],
)
def test_whether_there_are_words_is_known_without_finding_them(said: str) -> None:
    assert has_words(said) == bool(Tokenizer()(said).words)
    assert has_words(said, spaces_only=True) == bool(said.split())


def test_an_empty_corpus_is_known_by_its_first_document(tmp_path: Path) -> None:
    assert not text(tmp_path).is_empty()
    assert text(tmp_path).shard(20, 20).is_empty()
    assert Corpus.from_documents("none", []).is_empty()
