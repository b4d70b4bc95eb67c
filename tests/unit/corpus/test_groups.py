"""Documents that depend on each other: which key decides the fold, and where groups come from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from txray.corpus import Corpus, Document, annotators, from_dataset, read_corpus
from txray.errors import CorpusError, UnknownNameError, UsageError
from txray.preferences import fold_of

WORDS = ("a", "river", "flows")


def key_by_hand(text: str, purpose: bytes) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return sum(byte << (8 * place) for place, byte in enumerate(digest)) // 2


def groups(corpus: Corpus) -> list[str | None]:
    return [document.group for document in corpus]


def test_the_fold_follows_from_the_group_or_from_the_words() -> None:
    plain, in_group = Document("1", WORDS), Document("1", WORDS, group="book")
    assert plain.fold_key == key_by_hand("a\0river\0flows", b"words")
    assert in_group.fold_key == key_by_hand("book", b"group")
    for document in (plain, in_group):
        assert [fold_of(document, folds) for folds in (1, 7, 16)] == [
            0,
            document.fold_key % 7,
            document.fold_key % 16,
        ]


def test_documents_of_the_same_words_share_a_key_whatever_else_they_hold() -> None:
    copy = Document("2", WORDS, {"pos": ("DT", "NN", "VBZ")}, {"label": "pos"}, (0, 1))
    assert copy.fold_key == Document("1", WORDS).fold_key
    assert copy.fold_key != Document("1", ("A", *WORDS[1:])).fold_key


def test_words_that_hold_the_separator_are_other_words() -> None:
    texts = [("a\0b", "c"), ("a", "b\0c"), ("a", "b", "c"), ("a\0b\0c",), ("abc",), ("a b", "c"), ("ab", "c")]
    assert len({Document("d", words).fold_key for words in texts}) == len(texts)


@pytest.mark.parametrize("group", [None, "book"])
def test_the_beginning_of_a_document_keeps_the_key_of_the_whole(group: str | None) -> None:
    whole = Document("1", WORDS, group=group)
    once, twice = whole.cut(2), whole.cut(2).cut(1)
    assert (once.words, twice.words) == (WORDS[:2], WORDS[:1])
    assert {once.fold_key, twice.fold_key} == {whole.fold_key}
    assert once.group == twice.group == group
    # A group that is given or taken away later decides alone.
    assert replace(twice, group=None).fold_key == Document("1", WORDS).fold_key


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(CorpusError, match="group ''"):
        Document("1", WORDS, group="")


def test_the_group_is_part_of_what_the_fingerprint_covers() -> None:
    made = [Document("1", WORDS), Document("1", WORDS, group="a"), Document("1", WORDS, group="b")]
    longer = [Document("1", (*WORDS, end)).cut(3) for end in ("on", "by")]
    prints = {Corpus.from_documents("c", [document]).fingerprint for document in (*made, *longer)}
    assert len(prints) == 5


def everything(corpus: Corpus) -> list[Corpus]:
    """The corpus after each thing that can be done to one."""
    tagger = annotators.words(str.isupper, "upper")
    return [
        corpus,
        corpus.take_words(1000),
        corpus.head(1000),
        corpus.shard(1, 1),
        corpus.cache(),
        corpus.select(lambda document: True, name="all"),
        corpus.annotate(tagger),
        corpus.annotate(tagger).shard(1, 1),
        Corpus.from_documents("held", corpus),
    ]


def test_whatever_copies_a_document_keeps_its_group(tmp_path: Any) -> None:
    corpus = Corpus.from_documents("c", [Document(str(i), WORDS, group=f"g{i // 2}") for i in range(4)])
    for derived in everything(corpus):
        assert groups(derived) == ["g0", "g0", "g1", "g1"]
    cached = corpus.annotate(annotators.words(str.isupper, "upper"), cache=tmp_path)
    assert groups(cached) == groups(cached) == groups(corpus)
    assert len(list(tmp_path.iterdir())) == 1
    assert groups(corpus.concat(corpus)) == 2 * groups(corpus)


def by_letter(document: Document) -> str | None:
    return document.id[0] if document.id[0] != "z" else None


def by_number(document: Document) -> int:
    return int(document.id[1])


def test_a_function_groups_documents() -> None:
    corpus = Corpus.from_documents(
        "c", [Document(name, WORDS, group="old") for name in ("a1", "a2", "b1", "z1")]
    )
    for derived in everything(corpus.group_by(by_letter)):
        assert groups(derived) == ["a", "a", "b", None]
    assert groups(corpus.group_by(by_number)) == ["1", "2", "1", "1"]
    parts = [corpus.group_by(by_letter).shard(number, 2) for number in (1, 2)]
    assert [groups(part) for part in parts] == [["a", "b"], ["a", None]]
    assert [groups(corpus.shard(number, 2).group_by(by_letter)) for number in (1, 2)] == [
        ["a", "b"],
        ["a", None],
    ]


def test_a_shard_that_is_grouped_is_a_shard_of_the_grouped_corpus() -> None:
    corpus = Corpus.from_documents("c", [Document(name, WORDS) for name in ("a1", "a2", "b1")])
    info = corpus.shard(2, 3).group_by(by_letter).shard_info
    assert info is not None
    assert (info.number, info.n_shards) == (2, 3)
    assert info.whole.fingerprint == corpus.group_by(by_letter).fingerprint


def test_grouping_by_another_function_gives_another_fingerprint() -> None:
    class Author:
        def __init__(self, fingerprint: str) -> None:
            self.fingerprint = fingerprint

        def __call__(self, document: Document) -> str:
            return self.fingerprint

    corpus = Corpus.from_documents("c", [Document("a1", WORDS)])
    functions = [by_letter, by_number, Author("1"), Author("2")]
    prints = [corpus.group_by(function).fingerprint for function in functions]
    assert len({corpus.fingerprint, *prints}) == 5
    assert corpus.group_by(Author("2")).fingerprint == prints[3]


def test_whole_numbers_of_numpy_name_groups_as_pythons_own_do() -> None:
    corpus = Corpus.from_documents("c", [Document("a1", WORDS)])
    assert groups(corpus.group_by(lambda document: np.int64(3))) == ["3"]  # type: ignore[arg-type, return-value]


def test_a_function_that_gives_no_group_is_refused() -> None:
    corpus = Corpus.from_documents("c", [Document("a1", WORDS)])
    with pytest.raises(UsageError, match=r"list .* 'a1'"):
        list(corpus.group_by(lambda document: ["a"]))  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match="'book'"):
        corpus.group_by("book")  # type: ignore[arg-type]


def test_paragraphs_of_a_wikitext_article_are_a_group(write: Any) -> None:
    text = (
        " The end of an article \n = First = \n\n One . \n = = ShardInfo = = \n Two . \n\n"
        " = = = Deep = = = \n Three . \n = Second = \n Four . \n"
    )
    file = write.plain("wiki.train.tokens", text)
    before, first, second = (f"wiki/train/{line:06d}" for line in (1, 2, 10))
    assert groups(read_corpus("wikitext", file)) == [before, *[first] * 6, *[second] * 2]
    assert groups(read_corpus("wikitext", file, headings="skip")) == [before, *[first] * 3, second]


def sentence(name: str, word: str, newdoc: str = "") -> str:
    columns = "\t".join(["1", word, *["_"] * 8])
    return f"{newdoc}# sent_id = {name}\n{columns}\n\n"


def test_sentences_of_a_treebanks_document_are_a_group(write: Any) -> None:
    text = (
        sentence("blog-a-0001", "zero")
        + sentence("x1", "one", "# newdoc id = d\n")
        + sentence("x2", "two")
        + sentence("x3", "three", "# newdoc\n")
        + sentence("x4", "four")
    )
    file = write.plain("en-ud-train.conllu", text)
    line = 1 + sum(len(sentence("", "", part).splitlines()) for part in ("", "# newdoc id = d\n", ""))
    assert groups(read_corpus("conllu", file, unit="sentence")) == [
        None,
        "d",
        "d",
        *[f"en-ud-train/{line:06d}"] * 2,
    ]
    assert groups(read_corpus("conllu", file)) == [None, None, None]


def test_sentences_numbered_in_series_are_groups_where_asked_for(write: Any) -> None:
    names = ["blog-a-0001", "blog-a-0002", "blog-b_1", "7", "end"]
    file = write.plain("en-ud-train.conllu", "".join(sentence(name, "word") for name in names))
    for unit in ("document", "sentence"):
        assert groups(read_corpus("conllu", file, unit=unit)) == [None] * 5
        by_series = read_corpus("conllu", file, unit=unit, group="sent_id")
        assert groups(by_series) == ["blog-a-", "blog-a-", "blog-b_", None, None]
        assert by_series.fingerprint != read_corpus("conllu", file, unit=unit).fingerprint
    with pytest.raises(UnknownNameError, match="newdoc, sent_id"):
        read_corpus("conllu", file, group="paragraph")


def test_a_key_of_jsonl_is_the_group(write: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"words": ["a"], "group": "x", "pos": ["DT"]},
        {"words": ["a"], "group": 7},
        {"words": ["a"], "group": None},
        {"text": "a"},
    ]
    file = write.plain("notes.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpus = read_corpus("jsonl", file)
    assert groups(corpus) == ["x", "7", None, None]
    assert list(next(iter(corpus)).annotations) == ["pos"]
    renamed = write.plain("books.jsonl", '{"words": ["a"], "book": "x"}\n')
    assert groups(read_corpus("jsonl", renamed, group="book")) == ["x"]
    with pytest.raises(CorpusError, match="'group' is"):
        list(read_corpus("jsonl", write.plain("bad.jsonl", '{"words": ["a"], "group": ["x"]}\n')))
    for group in ("words", 3):
        with pytest.raises(UsageError, match="option 'group'"):
            read_corpus("jsonl", file, group=group)


def test_a_column_is_the_group(tmp_path: Any) -> None:
    polars, datasets = pytest.importorskip("polars"), pytest.importorskip("datasets")
    columns: dict[str, Any] = {"words": [["a"]] * 3, "book": ["x", "y", None], "number": [1, 1, 2]}
    polars.DataFrame(columns).write_parquet(tmp_path / "books.parquet")
    dataset = datasets.Dataset.from_dict(columns)
    dataset.save_to_disk(tmp_path / "saved")
    for read in (
        lambda **options: read_corpus("parquet", tmp_path / "books.parquet", **options),
        lambda **options: read_corpus("hf", tmp_path / "saved", **options),
        lambda **options: from_dataset(dataset, **options),
    ):
        assert groups(read()) == [None] * 3
        assert groups(read(group="book")) == ["x", "y", None]
        assert groups(read(group="number")) == ["1", "1", "2"]
        assert (
            len({read().fingerprint, read(group="book").fingerprint, read(group="number").fingerprint}) == 3
        )
        with pytest.raises(UsageError, match="group='words'"):
            read(group="words")
        with pytest.raises(UnknownNameError, match="'author'"):
            read(group="author")


def test_a_column_of_a_review_table_is_the_group(write: Any) -> None:
    file = write.plain("r_train.csv", "text,label,film\nGood .,pos,Alien\nBad .,neg,Alien\nSo so .,neg,\n")
    assert groups(read_corpus("imdb", file)) == [None] * 3
    by_film = read_corpus("imdb", file, group="film")
    assert groups(by_film) == ["Alien", "Alien", None]
    assert by_film.fingerprint != read_corpus("imdb", file).fingerprint
    assert groups(read_corpus("imdb", file.parent, "train", group="film")) == groups(by_film)
    with pytest.raises(UnknownNameError, match="'actor'"):
        read_corpus("imdb", file, group="actor")
    write.plain("aclImdb/train/pos/0_9.txt", "Good .")
    write.plain("aclImdb/train/neg/0_1.txt", "Bad .")
    with pytest.raises(UsageError, match="group='film'"):
        read_corpus("imdb", file.parent / "aclImdb", "train", group="film")


def test_the_paragraphs_of_a_file_are_a_group_where_asked_for(write: Any) -> None:
    folder = write.plain("books/a.txt", "One.\n\nTwo.\n").parent
    write.plain("books/more/b.txt", "Three.\n")
    assert groups(read_corpus("text", folder)) == [None] * 3
    by_file = read_corpus("text", folder, group="file")
    assert groups(by_file) == ["a", "a", "more/b"]
    assert by_file.fingerprint != read_corpus("text", folder).fingerprint
    with pytest.raises(UnknownNameError, match="file"):
        read_corpus("text", folder, group="folder")
