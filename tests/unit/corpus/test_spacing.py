"""White space between words: every reader that knows it keeps it, and nothing loses it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray import Corpus, Document, read_corpus
from txray.corpus import annotators, demo_corpus, from_dataset
from txray.corpus.corpus import document_digest
from txray.corpus.splitting import TextSplitter
from txray.errors import CorpusError

WRITTEN = '  I do\'nt\tlike it…  (at all)\r\n\x00\x0c"Really?"\u3000He said\x85no.\n\n中文和日本語。'
DOCUMENT = Document("d", ("It", "'s", "late", "!"), spacing=(" ", "", "\n\n", ""))


def check(document: Document, written: str) -> None:
    assert document.text == written
    assert [written[begin:end] for begin, end in document.offsets.tolist()] == list(document.words)


def test_the_text_and_the_offsets_are_those_written() -> None:
    check(DOCUMENT, " It's\n\nlate!")
    check(Document("d", DOCUMENT.words), "It 's late !")
    assert Document("d", ("a", "", "b"), spacing=("", "", "")).offsets.tolist() == [[0, 1], [1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("spacing", "message"), [(("",), "1 values for 4 words"), (("", "", "x ", ""), "'x ' before word 2")]
)
def test_spacing_of_another_length_or_with_letters_is_refused(spacing: Any, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        Document("d", DOCUMENT.words, spacing=spacing)


def test_spacing_changes_the_fingerprint_and_neither_fold_nor_the_fingerprint_without_it() -> None:
    plain = Document("d", DOCUMENT.words)
    assert plain.fold_key == DOCUMENT.fold_key
    assert document_digest(plain) != document_digest(DOCUMENT)
    corpora = [Corpus.from_documents("c", [document]).fingerprint for document in (plain, DOCUMENT)]
    assert corpora[0] != corpora[1]


def test_every_operation_on_corpora_keeps_it(tmp_path: Path) -> None:
    corpus = Corpus.from_documents("c", [DOCUMENT, DOCUMENT.cut(2)])
    assert [document.text for document in corpus] == [" It's\n\nlate!", " It's"]
    assert DOCUMENT.cut(2).cut_from is not None
    annotator = annotators.words(str.istitle, "title")
    for changed in (
        corpus.annotate(annotator, cache=tmp_path),
        corpus.annotate(annotator, cache=tmp_path),  # from the cache
        corpus.group_by(lambda document: "g"),
        corpus.cache(),
        corpus.select(lambda document: True, name="all"),
    ):
        assert [document.spacing for document in changed] == [DOCUMENT.spacing, (" ", "")]
    assert [document.text for document in corpus.take_words(3)] == [" It's\n\nlate"]
    assert [document.text for document in corpus.shard(2, 2) + corpus.head(1)] == [" It's", " It's\n\nlate!"]


@given(st.text(st.sampled_from(" \t\n\r\x00\x0b\x0c\x1c\x85\u2028\u3000\xa0aBé中.?!)\"'…,-"), max_size=40))
def test_splitters_lose_no_character(text: str) -> None:
    for splitter in (TextSplitter(), TextSplitter(tokenized=True)):
        tokens = splitter(text)
        assert tokens.spacing is not None
        together = "".join(gap + word for gap, word in zip(tokens.spacing, tokens.words, strict=True))
        rest = text[len(together) :]
        assert text.startswith(together)
        assert not splitter.has_words(rest)
        assert all(not gap or not splitter.has_words(gap) for gap in tokens.spacing)


def test_columns_and_lines_of_running_text_keep_it(tmp_path: Path) -> None:
    table = {"text": [WRITTEN, "b  c"]}
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in table["text"]))
    (tmp_path / "t.csv").write_text('text,label\n"A  film,<br /><br />a&nbsp;joy!",pos\n')
    corpora = (
        read_corpus("parquet", tmp_path / "t.parquet"),
        read_corpus("jsonl", tmp_path / "t.jsonl"),
        from_dataset(datasets.Dataset.from_dict(table)),
    )
    for corpus in corpora:
        for document, written in zip(corpus, table["text"], strict=True):
            check(document, written)
    check(next(iter(read_corpus("imdb", tmp_path / "t.csv"))), "A  film,\n\na\xa0joy!")


def test_lists_of_words_have_it_in_a_column_or_not_at_all(tmp_path: Path) -> None:
    rows = {"words": [["It", "'s"], ["no"]], "spacing": [["", ""], None], "pos": [["A", "B"], ["C"]]}
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    lines = [{"words": ["It", "'s"], "spacing": ["", ""], "pos": ["A", "B"]}, {"words": ["no"], "pos": ["C"]}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for corpus in (
        read_corpus("parquet", tmp_path / "t.parquet"),
        read_corpus("jsonl", tmp_path / "t.jsonl"),
        from_dataset(datasets.Dataset.from_dict(rows)),
    ):
        assert [document.spacing for document in corpus] == [("", ""), None]
        assert [set(document.annotations) for document in corpus] == [{"pos"}, {"pos"}]
    named = read_corpus("parquet", tmp_path / "t.parquet", annotations=["pos"])
    other = from_dataset(datasets.Dataset.from_dict({"words": [["a"]]}))
    assert [document.spacing for document in (*named, *other)] == [("", ""), None, None]
    (tmp_path / "bad.jsonl").write_text('{"words": ["a"], "spacing": ["x"]}')
    with pytest.raises(CorpusError, match="line 1.*'x' before word 0"):
        list(read_corpus("jsonl", tmp_path / "bad.jsonl"))


TEXT = '\n  One\tof  them  \r\n\x0c two.\r\n\r\n \n"Three," \nfour\x00 five.\n'


@pytest.mark.parametrize("tokenized", [False, True])
@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", [TEXT.rstrip()]),
        ("paragraph", ["  One\tof  them  \r\n\x0c two.", '"Three," \nfour\x00 five.']),
        ("line", ["  One\tof  them", "\x0c two.", '"Three,"', "four\x00 five."]),
    ],
)
def test_plain_text_is_as_in_the_file(
    unit: str, expected: list[str], tokenized: bool, tmp_path: Path
) -> None:
    file = tmp_path / "t.txt"
    file.write_bytes(TEXT.encode())
    corpus = read_corpus("text", file, unit=unit, tokenized=tokenized)
    for document, written in zip(corpus, expected, strict=True):
        check(document, written)


CONLLU = """# newdoc id = one
# text = Don't go -  now!
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t1\txcomp\t_\t_
4\t-\t-\tPUNCT\t:\t_\t1\tpunct\t_\t_
5\tnow\tnow\tADV\tRB\t_\t1\tadvmod\t_\tSpaceAfter=No
6\t!\t!\tPUNCT\t.\t_\t1\tpunct\t_\tSpaceAfter=No

1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\tA=b|SpaceAfter=No
2-3\tI'm\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tI\tI\tPRON\tPRP\t_\t1\tdep\t_\t_
3\t'm\tbe\tAUX\tVBP\t_\t1\tdep\t_\t_
4\t.\t.\tPUNCT\t.\t_\t1\tpunct\t_\t_

# newpar
# text = something else
1\tSo\tso\tADV\tRB\t_\t0\troot\t_\t_

# newdoc id = two
# text = zum Kino
1-2\tzum\t_\t_\t_\t_\t_\t_\t_\t_
1\tzu\tzu\tADP\t_\t_\t3\tcase\t_\t_
2\tdem\tder\tDET\t_\t_\t3\tdet\t_\t_
3\tKino\tKino\tNOUN\t_\t_\t0\troot\t_\t_

"""


def test_treebanks_say_where_no_space_is(tmp_path: Path) -> None:
    (tmp_path / "t.conllu").write_text(CONLLU)
    one, two = read_corpus("conllu", tmp_path / "t.conllu")
    # A text comment that does not agree with the words is ignored.
    check(one, "Don't go -  now!YesI'm.\n\nSo")
    assert two.spacing is None  # "zum" is not written as "zu" and "dem"
    sentences = list(read_corpus("conllu", tmp_path / "t.conllu", unit="sentence"))
    assert [sentence.text for sentence in sentences] == ["Don't go -  now!", "YesI'm.", "So", "zu dem Kino"]


def test_sentences_of_a_real_treebank_are_their_texts(data_folder: Path) -> None:
    path = data_folder / "ud-ewt/en_ewt-ud-test.conllu.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [
            line.removeprefix("# text = ").rstrip("\n") for line in lines if line.startswith("# text = ")
        ]
    read = read_corpus("conllu", path, unit="sentence")
    assert [document.text for document in read] == texts


def test_text_without_known_spacing_says_so(tmp_path: Path) -> None:
    (tmp_path / "wiki.train.tokens").write_text(" = A = \n \n the well @-@ known , film . \n")
    for corpus in (
        read_corpus("wikitext", tmp_path / "wiki.train.tokens"),
        demo_corpus("reviews", words=50),
    ):
        assert all(document.spacing is None for document in corpus)


def test_a_hundred_thousand_spaces_take_no_time() -> None:
    text = ("a" + " " * 50_000) * 3 + "\x00" * 50_000 + "b"
    for splitter in (TextSplitter(), TextSplitter(tokenized=True)):
        assert len("".join(splitter(text).spacing or ())) >= 150_000
