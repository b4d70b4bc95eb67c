"""Parquet: one document per row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from txray.corpus import Document, read_corpus
from txray.corpus.readers import parquet
from txray.errors import CorpusError, UnknownNameError, UsageError

ROWS = {
    "words": [["A", "quiet", "film"], ["No"]],
    "pos": [["DT", "JJ", "NN"], ["DT"]],
    "label": ["good", None],
    "rating": [0.5, None],
}


def write(file: Path, columns: dict[str, Any] = ROWS, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(file, **options)
    return file


def test_rows_are_documents(tmp_path: Path) -> None:
    corpus = read_corpus("parquet", write(tmp_path / "notes.parquet"))
    assert corpus.name == "parquet/notes"
    first, second = corpus
    assert first == Document(
        "notes/000000", ("A", "quiet", "film"), {"pos": ("DT", "JJ", "NN")}, {"label": "good"}
    )
    assert (second.words, second.labels) == (("No",), {})
    assert list(corpus) == [first, second]


def test_columns_are_options(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {**ROWS, "review": ["One. Two.", None], "key": [7, 8]})
    corpus = read_corpus("parquet", file, text="review", id="key")
    (only,) = corpus
    assert (only.id, only.words, only.sentence_starts) == ("7", ("One", ".", "Two", "."), (0, 2))
    assert corpus.skipped == {"no text": 1}
    (one, _) = read_corpus("parquet", file, annotations={"xpos": "pos"})
    assert one.annotations == {"xpos": ("DT", "JJ", "NN")}


@pytest.mark.parametrize("form", ["List", "Sequence", "bare"])
def test_the_names_of_classes_that_hugging_face_writes(tmp_path: Path, form: str) -> None:
    label = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    tags = {"feature": {"names": ["DT", "NN"], "_type": "ClassLabel"}, "_type": form}
    told = {"info": {"features": {"label": label, "tags": tags, "words": {"feature": {"dtype": "string"}}}}}
    file = tmp_path / "a.parquet"
    columns = {"words": [["A", "film"]], "tags": [[0, 1]], "label": [1]}
    pl.DataFrame(columns).write_parquet(file, metadata={"huggingface": json.dumps(told)})
    (document,) = read_corpus("parquet", file)
    assert document.annotations == {"tags": ("DT", "NN")}
    assert document.labels == {"label": "pos"}


@pytest.mark.parametrize(
    "told", ["", "{", "[]", '{"info": 5}', '{"info": {"features": {"label": 5}}}', "[" * 9999]
)
def test_metadata_that_say_nothing_are_passed_over(tmp_path: Path, told: str) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"words": [["A"]], "label": [1]}).write_parquet(file, metadata={"huggingface": told})
    (document,) = read_corpus("parquet", file)
    assert document.labels == {"label": "1"}


def test_what_datasets_writes_is_read_alike(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = {
        "tokens": datasets.List(datasets.Value("string")),
        "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
    }
    dataset = datasets.Dataset.from_dict(
        {"tokens": [["Ann", "is"], None], "ner_tags": [[1, 0], None]}, features=datasets.Features(features)
    )
    dataset.to_parquet(tmp_path / "some.parquet")
    corpus = read_corpus("parquet", tmp_path / "some.parquet")
    other = datasets.Dataset.from_parquet(str(tmp_path / "some.parquet"), cache_dir=str(tmp_path / "cache"))
    from txray.corpus import from_dataset

    same = from_dataset(other, name="some")
    assert (
        list(corpus) == list(same) == [Document("some/000000", ("Ann", "is"), {"ner_tags": ("B-PER", "O")})]
    )
    assert corpus.fingerprint == same.fingerprint


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name, word in (
            ("train-00001-of-00002", "b"),
            ("train-00000-of-00002", "a"),
            ("test-00000-of-00001", "c"),
        ):
            write(tmp_path / "hub" / "data" / f"{name}.parquet", {"words": [[word], [word * 2]]})
        return tmp_path / "hub"

    def test_a_split_is_all_its_files_in_order(self, folder: Path) -> None:
        corpus = read_corpus("parquet", folder, split="train")
        assert corpus.name == "parquet/hub/train"
        assert [(document.id, *document.words) for document in corpus] == [
            ("hub/train/000000", "a"),
            ("hub/train/000001", "aa"),
            ("hub/train/000002", "b"),
            ("hub/train/000003", "bb"),
        ]

    def test_how_rows_are_spread_over_files_does_not_matter(self, folder: Path, tmp_path: Path) -> None:
        rows = {"words": [["a"], ["aa"], ["b"], ["bb"]]}
        whole = write(
            tmp_path / "other" / "hub" / "train.parquet", rows, row_group_size=1, compression="gzip"
        )
        one, other = (read_corpus("parquet", place, split="train") for place in (folder, whole.parent))
        assert list(one) == list(other)
        assert one.fingerprint == other.fingerprint

    def test_splits_that_are_not_there(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(
            UsageError, match=r"hub: needs a split, one of test, train .split=..., or --split."
        ):
            read_corpus("parquet", folder)
        with pytest.raises(UnknownNameError, match="unknown split 'dev'; there are: test, train"):
            read_corpus("parquet", folder, split="dev")
        with pytest.raises(UsageError, match="its name does not say 'test'"):
            read_corpus("parquet", folder / "data" / "train-00000-of-00002.parquet", split="test")
        (tmp_path / "empty").mkdir()
        with pytest.raises(CorpusError, match="holds no .parquet file"):
            read_corpus("parquet", tmp_path / "empty")

    def test_folders_named_by_the_split(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "0000.parquet", {"words": [["a"]]})
        write(tmp_path / "test" / "0000.parquet", {"words": [["b"]]})
        assert [document.words for document in read_corpus("parquet", tmp_path, split="test")] == [("b",)]

    def test_files_without_a_split_are_read_together(self, tmp_path: Path) -> None:
        write(tmp_path / "b.parquet", {"words": [["b"]]})
        write(tmp_path / "a.parquet", {"words": [["a"]]})
        assert [document.words for document in read_corpus("parquet", tmp_path)] == [("a",), ("b",)]

    def test_files_of_other_columns_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", {"words": [["a"]], "x": [1]})
        write(tmp_path / "b.parquet", {"words": [["b"]], "x": ["1"]})
        with pytest.raises(CorpusError, match=r"b\.parquet: column 'x' is not as in a\.parquet"):
            read_corpus("parquet", tmp_path)


def test_long_files_are_read_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "long.parquet", {"words": [[f"w{row}"] for row in range(10)]})
    expected = list(read_corpus("parquet", file))
    seen: list[int] = []
    collect = pl.LazyFrame.collect
    monkeypatch.setattr(
        pl.LazyFrame, "collect", lambda frame: (part := collect(frame), seen.append(len(part)))[0]
    )
    for rows in (3, 5, 10, 11):
        monkeypatch.setattr(parquet, "_ROWS_AT_ONCE", rows)
        assert list(read_corpus("parquet", file)) == expected
    assert max(seen) == 10
    assert seen[:4] == [3, 3, 3, 1]


def test_the_fingerprint_is_of_what_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet")
    more = write(tmp_path / "more" / "a.parquet", {**ROWS, "rating": [1.0, 2.0]})
    assert read_corpus("parquet", file).fingerprint == read_corpus("parquet", more).fingerprint
    variants = [
        read_corpus("parquet", file),
        read_corpus("parquet", file, annotations=[]),
        read_corpus("parquet", write(tmp_path / "b.parquet")),
        read_corpus("parquet", write(tmp_path / "c" / "a.parquet", {**ROWS, "label": ["good", "bad"]})),
    ]
    assert len({corpus.fingerprint for corpus in variants}) == len(variants)


class TestRefused:
    def test_other_files(self, tmp_path: Path) -> None:
        file = tmp_path / "a.parquet"
        for content in (b"", b"text,label\n", b"PAR1", b"PAR1" + b"\0" * 100):
            file.write_bytes(content)
            with pytest.raises(CorpusError, match=r"a\.parquet: .*Parquet") as caught:
                read_corpus("parquet", file)
            assert "\n" not in str(caught.value)
        with pytest.raises(CorpusError, match="no such file"):
            read_corpus("parquet", tmp_path / "absent.parquet")

    def test_damage_is_found_while_reading(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.parquet", {"words": [["word"] * 50] * 50})
        content = bytearray(file.read_bytes())
        content[4:60] = b"\xff" * 56
        file.write_bytes(content)
        corpus = read_corpus("parquet", file)
        with pytest.raises(CorpusError, match=r"a\.parquet: damaged") as caught:
            list(corpus)
        assert "\n" not in str(caught.value)

    def test_wrong_columns_and_values(self, tmp_path: Path) -> None:
        file = write(
            tmp_path / "a.parquet", {**ROWS, "words": [["A", "quiet", ""], ["No"]], "years": [[0.5], [1.5]]}
        )
        with pytest.raises(CorpusError, match=r"a\.parquet, row 0: 'words': word 2 is empty"):
            list(read_corpus("parquet", file))
        with pytest.raises(UsageError, match="label='years' holds lists of numbers or dates.*label=False"):
            read_corpus("parquet", file, label="years")
        with pytest.raises(UnknownNameError, match=r"a\.parquet, text: unknown column 'review'"):
            read_corpus("parquet", file, text="review")

    def test_names_with_stars_are_names(self, tmp_path: Path) -> None:
        write(tmp_path / "a1.parquet", {"words": [["wrong"]]})
        file = write(tmp_path / "a[1].parquet", {"words": [["right"]]})
        assert [document.words for document in read_corpus("parquet", file)] == [("right",)]
