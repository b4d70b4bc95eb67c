"""All readers alike: what they leave out, how they write labels, and how they split text into words."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.corpus.conftest import Containers
from txray.corpus import Corpus, from_dataset, read_corpus
from txray.errors import CorpusError, UnknownNameError, UsageError

datasets = pytest.importorskip("datasets")

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
WIKI = " The <unk> game @-@ like series sold 1 @,@ 000 units . It sold . \n"
REVIEW = "It&#x27;s good.<br /><br />Yes"


def ids(corpus: Corpus) -> list[str]:
    return sorted(document.id for document in corpus)


class TestFolders:
    def test_endings_may_be_written_in_capitals(self, write: Containers) -> None:
        write.plain("a/one.txt", "First .")
        write.plain("a/TWO.TXT", "Second .")
        write.gz("a/Three.Txt.GZ", "Third .")
        corpus = read_corpus("text", write.folder / "a")
        assert ids(corpus) == ["TWO/000001", "Three/000001", "one/000001"]
        assert corpus.skipped == Counter()
        assert ids(read_corpus("text", write.folder / "a" / "Three.Txt.GZ")) == ["Three/000001"]

    def test_so_in_every_format(self, write: Containers) -> None:
        pl.DataFrame({"text": ["a"]}).write_parquet(write.folder / "TRAIN-00000-of-00001.PARQUET")
        assert len(ids(read_corpus("parquet", write.folder, split="train"))) == 1
        row = "1\tA\t_\t_\tDT\t_\t0\t_\t_\t_\n"
        write.plain("ud/EN-UD-TRAIN.CONLLU", row)
        assert len(ids(read_corpus("conllu", write.folder / "ud", split="train"))) == 1
        write.plain("wiki/WIKI.TRAIN.TOKENS", WIKI)
        assert ids(read_corpus("wikitext", write.folder / "wiki", split="train")) == ["wiki/train/000001"]
        write.gz("imdb/TRAIN.CSV.GZ", "text,label\ngood,1\nbad,0\n")
        assert len(ids(read_corpus("imdb", write.folder / "imdb", split="train"))) == 2
        write.plain("L.JSONL.GZ", gzip.compress(json.dumps({"text": "a"}).encode()))
        assert ids(read_corpus("jsonl", write.folder / "L.JSONL.GZ")) == ["L/000001"]

    def test_files_that_are_left_out_are_counted(self, write: Containers) -> None:
        for name in (
            "one.txt",
            "._one.txt",
            ".DS_Store",
            "__MACOSX/one.txt",
            "sub/Thumbs.db",
            "notes.md",
            "b.pdf",
        ):
            write.plain(f"a/{name}", "First .")
        corpus = read_corpus("text", write.folder / "a")
        for _ in range(2):
            assert ids(corpus) == ["one/000001"]
            assert corpus.skipped == {"hidden or system file": 4, "file with another ending": 2}

    def test_reviews_are_the_same_in_a_folder_and_in_its_archive(self, write: Containers) -> None:
        files: dict[str, bytes] = {}
        for label in ("pos", "neg"):
            files |= {f"aclImdb/train/{label}/{i}_8.txt": b"A film." for i in range(2)}
            files |= {f"aclImdb/train/{label}/2_9.TXT": b"A film.", f"aclImdb/train/{label}/._0_8.txt": APPLE}
            files |= {
                f"aclImdb/train/{label}/notes.md": b"x",
                f"__MACOSX/aclImdb/train/{label}/._0_8.txt": APPLE,
            }
        for name, content in files.items():
            write.plain(name, content)
        found = [
            (ids(corpus), corpus.skipped)
            for path in (write.folder / "aclImdb", write.tar("a.tar.gz", files))
            for corpus in [read_corpus("imdb", path, split="train")]
        ]
        assert found[0] == found[1]
        assert len(found[0][0]) == 6
        assert found[0][1] == {"hidden or system file": 2, "file with another ending": 2}

    def test_a_zip_from_a_mac_holds_one_text(self, write: Containers) -> None:
        file = write.zip(
            "w.zip",
            {"w/wiki.train.tokens": WIKI, "__MACOSX/wiki.train.tokens": WIKI, "w/._wiki.train.tokens": APPLE},
        )
        assert ids(read_corpus("wikitext", file, split="train")) == ["wiki/train/000001"]


LABELS: dict[str, tuple[list[Any], list[str | None]]] = {
    "whole": ([1, 0, None], ["1", "0", None]),
    "whole floats": ([1.0, 0.0, None], ["1", "0", None]),
    "not a number": ([1.0, float("nan"), -2.0], ["1", None, "-2"]),
    "fractions": ([3.8, 2.0, None], ["3.8", "2", None]),
    "large": ([2**62, 1, None], [str(2**62), "1", None]),
    "truth": ([True, False, None], ["True", "False", None]),
    "text": (["pos", "1.0", None], ["pos", "1.0", None]),
}


def labels(corpus: Corpus) -> list[str | None]:
    return [document.labels.get("label") for document in corpus]


@pytest.mark.parametrize(("values", "expected"), LABELS.values(), ids=LABELS)
def test_labels_are_written_alike(values: list[Any], expected: list[str | None], tmp_path: Path) -> None:
    texts = ["a", "b", "c"]
    file = tmp_path / "a.parquet"
    pl.DataFrame({"text": texts, "label": values}).write_parquet(file)
    assert labels(read_corpus("parquet", file)) == expected
    assert labels(from_dataset(datasets.Dataset.from_dict({"text": texts, "label": values}))) == expected
    rows = [{"text": text, "label": value} for text, value in zip(texts, values, strict=True)]
    assert labels(from_dataset(datasets.IterableDataset.from_generator(lambda: iter(rows)))) == expected
    lines = [json.dumps({"text": row["text"], "labels": {"label": row["label"]}}) for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert labels(read_corpus("jsonl", tmp_path / "a.jsonl")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(date(2024, 1, 31), "2024-01-31"), (Decimal("2.50"), "2.50"), (Decimal("2.00"), "2")],
)
def test_labels_of_a_table_may_be_dates_and_decimals(value: Any, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"text": ["a", "b"], "label": [value, None]}).write_parquet(file)
    assert labels(read_corpus("parquet", file)) == [expected, None]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"x"], ids=["list", "struct", "bytes"])
def test_a_label_that_cannot_be_one_is_refused(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"text": ["a"], "label": [value]}).write_parquet(file)
    stored = datasets.Dataset.from_dict({"text": ["a"], "label": [value]})
    for read in (lambda **o: read_corpus("parquet", file, **o), lambda **o: from_dataset(stored, **o)):
        with pytest.raises(UsageError, match=r"label='label'.*label=False"):
            read()
        assert labels(read(label=False)) == [None]


def test_an_infinite_label_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"], "label": [float("inf")]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="row 0: 'label' is inf"):
        list(read_corpus("parquet", tmp_path / "a.parquet"))


def test_a_csv_with_gaps_gives_the_labels_of_one_without(write: Containers) -> None:
    floats = write.plain("floats.csv", "text,label,rating,id\ngood,1.0,8.0,7.0\nbad,0.0,,8.0\n")
    whole = write.plain("whole.csv", "text,label,rating,id\ngood,1,8,7\nbad,0,nan,8\n")
    read = [
        [(d.id.partition("/")[2], dict(d.labels)) for d in read_corpus("imdb", file)]
        for file in (floats, whole)
    ]
    assert (
        read[0]
        == read[1]
        == [
            ("000001/7", {"label": "pos", "rating": "8"}),
            ("000002/8", {"label": "neg"}),
        ]
    )


class TestFormatsOfDatasets:
    def test_a_transform_is_applied(self) -> None:
        plain = datasets.Dataset.from_dict({"text": ["loud", "quiet"], "label": [0, 1]})
        louder = plain.with_transform(lambda rows: {"text": [text.upper() for text in rows["text"]]})
        assert [document.words for document in from_dataset(louder)] == [("LOUD",), ("QUIET",)]
        assert from_dataset(louder).fingerprint != from_dataset(plain).fingerprint

    def test_columns_that_a_format_hides_are_not_read(self) -> None:
        plain = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
        assert labels(from_dataset(plain.with_format("numpy", columns=["text", "label"]))) == ["0"]
        assert labels(from_dataset(plain.with_format("numpy", columns=["text"]))) == [None]


def everywhere(text: str, tmp_path: Path) -> Mapping[str, Any]:
    """The same text in every format, as functions of the reader's options."""
    pl.DataFrame({"text": [text]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    (tmp_path / "a.txt").write_text(text)
    stored = datasets.Dataset.from_dict({"text": [text]})
    stored.save_to_disk(str(tmp_path / "saved"))
    return {
        "parquet": lambda **options: read_corpus("parquet", tmp_path / "a.parquet", **options),
        "jsonl": lambda **options: read_corpus("jsonl", tmp_path / "a.jsonl", **options),
        "text": lambda **options: read_corpus("text", tmp_path / "a.txt", **options),
        "hf": lambda **options: read_corpus("hf", tmp_path / "saved", **options),
        "from_dataset": lambda **options: from_dataset(stored, **options),
    }


class TestOptions:
    def test_text_that_is_split_already_is_left_so(self, tmp_path: Path) -> None:
        for name, read in everywhere(WIKI, tmp_path).items():
            (document,) = read(tokenized=True)
            assert document.words == tuple(WIKI.split()), name
            assert document.sentence_starts == (0, 12), name
            assert "unk" in next(iter(read())).words, name
            assert read(tokenized=True).fingerprint != read().fingerprint

    def test_html_becomes_text(self, tmp_path: Path) -> None:
        for name, read in everywhere(REVIEW, tmp_path).items():
            (document,) = read(html=True)
            assert document.words == ("It", "'s", "good", ".", "Yes"), name
            assert {"good", "br"} <= set(next(iter(read())).words), name
            assert read(html=True).fingerprint != read().fingerprint
            assert next(iter(read(html=True, tokenized=True))).words == ("It's", "good.", "Yes"), name

    def test_lines_of_split_text_are_sentences(self, tmp_path: Path) -> None:
        for name, read in everywhere("a b\nc . d", tmp_path).items():
            assert [d.sentence_starts for d in read(tokenized=True)] == [(0, 2, 4)], name

    def test_texts_of_nothing_but_markup_are_skipped(self, tmp_path: Path) -> None:
        pl.DataFrame({"text": ["<br />&nbsp;", "a"]}).write_parquet(tmp_path / "a.parquet")
        corpus = read_corpus("parquet", tmp_path / "a.parquet", html=True)
        assert [document.words for document in corpus] == [("a",)]
        assert corpus.skipped == {"no words": 1}

    @pytest.mark.parametrize("option", ["tokenized", "html"])
    def test_wrong_options_are_refused(self, option: str, tmp_path: Path) -> None:
        for read in everywhere("a", tmp_path).values():
            with pytest.raises(UsageError, match=f"option '{option}' is 'yes'"):
                read(**{option: "yes"})
        words = datasets.Dataset.from_dict({"words": [["a"]]})
        with pytest.raises(UsageError, match=f"{option}=True.*words='words'"):
            from_dataset(words, **{option: True})


class TestWikiTextOfTheHub:
    ROWS = ("", " = A heading = \n", "", WIKI)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "hub").mkdir()
        for split in ("train", "validation"):
            pl.DataFrame({"text": self.ROWS}).write_parquet(
                tmp_path / "hub" / f"{split}-00000-of-00001.parquet"
            )
        return tmp_path / "hub"

    def test_its_rows_are_the_lines_of_the_file(self, folder: Path, write: Containers) -> None:
        write.plain("f/wiki.train.tokens", "".join(row or " \n" for row in self.ROWS))
        for options in ({}, {"headings": "skip"}, {"markup": "restore"}):
            table = read_corpus("wikitext", folder, split="train", **options)
            assert list(table) == list(read_corpus("wikitext", write.folder / "f", split="train", **options))
        assert read_corpus("wikitext", folder, split="valid").fingerprint != table.fingerprint

    @pytest.mark.parametrize("split", ["valid", "validation"])
    def test_splits_have_both_names(self, split: str, folder: Path) -> None:
        assert len(ids(read_corpus("wikitext", folder, split=split))) == 2

    def test_a_split_that_is_not_there_is_refused(self, folder: Path) -> None:
        with pytest.raises(CorpusError, match="no Parquet file named like test-"):
            read_corpus("wikitext", folder, split="test")
        with pytest.raises(UnknownNameError, match="text"):
            pl.DataFrame({"words": [["a"]]}).write_parquet(folder / "test-00000-of-00001.parquet")
            read_corpus("wikitext", folder, split="test")
