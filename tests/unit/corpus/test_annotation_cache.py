"""Annotating while reading, and the cache of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from txray.corpus.annotation_cache import annotated_documents
from txray.corpus.corpus import Corpus
from txray.corpus.demo import demo_corpus
from txray.corpus.document import Document
from txray.errors import CorpusError, OutputError
from txray.progress import progress


class Lengths:
    """A tagger for tests: the length of each word; counts the documents it was asked for."""

    fingerprint = "lengths"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, document: Document) -> tuple[str, ...]:
        self.asked += 1
        return tuple(f"{len(word)}" for word in document.words)


@pytest.fixture
def corpus() -> Corpus:
    return demo_corpus("reviews", 2_000)


@pytest.fixture
def tagger() -> Lengths:
    return Lengths()


def expected(corpus: Corpus) -> list[tuple[str, ...]]:
    return [tuple(str(len(word)) for word in document.words) for document in corpus]


def read(corpus: Corpus, tagger: Lengths, file: Path | None) -> list[Document]:
    return list(annotated_documents(iter(corpus), tagger, "length", file))


def test_documents_keep_everything_and_gain_one_annotation(corpus: Corpus, tagger: Lengths) -> None:
    for before, after in zip(corpus, read(corpus, tagger, None), strict=True):
        assert (after.id, after.words, after.labels) == (before.id, before.words, before.labels)
        assert after.sentence_starts == before.sentence_starts
        assert after.annotations == {
            "pos": before.annotations["pos"],
            "length": tuple(str(len(word)) for word in before.words),
        }


def test_an_annotation_of_the_same_name_is_replaced(corpus: Corpus, tagger: Lengths) -> None:
    first = next(annotated_documents(iter(corpus), tagger, "pos", None))
    assert first.annotations == {"pos": tuple(str(len(word)) for word in first.words)}


class TestCache:
    def test_the_second_pass_reads_instead_of_computing(
        self, corpus: Corpus, tagger: Lengths, tmp_path: Path
    ) -> None:
        file = tmp_path / "deep" / "cache.gz"
        first = read(corpus, tagger, file)
        asked = tagger.asked
        assert asked == len(first)
        assert read(corpus, tagger, file) == first
        assert tagger.asked == asked
        assert [list(tmp_path.rglob("*"))[-1].name, len(list(file.parent.iterdir()))] == ["cache.gz", 1]

    def test_a_pass_that_breaks_off_leaves_nothing(
        self, corpus: Corpus, tagger: Lengths, tmp_path: Path
    ) -> None:
        file = tmp_path / "cache.gz"
        documents = annotated_documents(iter(corpus), tagger, "length", file)
        next(documents)
        next(documents)
        assert not file.exists()
        documents.close()  # type: ignore[attr-defined]
        assert list(tmp_path.iterdir()) == []

    def test_an_error_in_the_middle_leaves_nothing(self, corpus: Corpus, tmp_path: Path) -> None:
        asked = []

        def failing(document: Document) -> tuple[str, ...]:
            asked.append(document)
            if len(asked) == 3:
                raise RuntimeError("stop")
            return document.words

        with pytest.raises(RuntimeError):
            list(annotated_documents(iter(corpus), failing, "copy", tmp_path / "cache.gz"))
        assert list(tmp_path.iterdir()) == []

    def test_same_values_same_bytes(self, corpus: Corpus, tagger: Lengths, tmp_path: Path) -> None:
        files = [tmp_path / "one.gz", tmp_path / "two.gz"]
        for file in files:
            read(corpus, tagger, file)
        assert files[0].read_bytes() == files[1].read_bytes()
        assert files[0].read_bytes()[4:8] == bytes(4)  # no time stamp

    def test_two_passes_at_once(self, corpus: Corpus, tagger: Lengths, tmp_path: Path) -> None:
        file = tmp_path / "cache.gz"
        passes = [annotated_documents(iter(corpus), tagger, "length", file) for _ in range(2)]
        for one, other in zip(*passes, strict=True):
            assert one == other
        assert [document.annotations["length"] for document in read(corpus, tagger, file)] == expected(corpus)
        assert [entry.name for entry in tmp_path.iterdir()] == ["cache.gz"]

    def test_it_is_readable_text(self, tagger: Lengths, tmp_path: Path) -> None:
        file = tmp_path / "cache.gz"
        read(Corpus.from_documents("c", [Document("d", ("to", "be")), Document("e", ("or",))]), tagger, file)
        assert gzip.decompress(file.read_bytes()).decode().splitlines()[1:] == ["2 2", "2"]

    def test_through_corpus_annotate(self, corpus: Corpus, tagger: Lengths, tmp_path: Path) -> None:
        annotated = corpus.annotate(tagger, "length", cache=tmp_path)  # type: ignore[arg-type]
        first = [document.annotations["length"] for document in annotated]
        assert first == expected(corpus)
        asked = tagger.asked
        assert [document.annotations["length"] for document in annotated] == first
        assert tagger.asked == asked
        other = corpus.annotate(tagger, "size", cache=tmp_path)  # type: ignore[arg-type]
        assert other.fingerprint != annotated.fingerprint
        list(other)
        assert len(list(tmp_path.iterdir())) == 2


class TestWrongCache:
    @pytest.fixture
    def file(self, corpus: Corpus, tagger: Lengths, tmp_path: Path) -> Path:
        read(corpus, tagger, tmp_path / "cache.gz")
        return tmp_path / "cache.gz"

    @pytest.mark.parametrize("words", [1_900, 2_100])
    def test_of_other_documents(self, tagger: Lengths, file: Path, words: int) -> None:
        self.assert_refused(demo_corpus("reviews", words), tagger, file, "documents")

    def test_of_fewer_documents(self, corpus: Corpus, tagger: Lengths, file: Path) -> None:
        documents = list(corpus)
        shorter = Corpus.from_documents("c", documents[:-1])
        self.assert_refused(shorter, tagger, file, "more documents than the corpus")
        longer = Corpus.from_documents("c", [*documents, Document("new", ("one", "more"))])
        self.assert_refused(longer, tagger, file, "0 values for document 'new' of 2 words")

    def test_of_another_annotation(self, corpus: Corpus, tagger: Lengths, file: Path) -> None:
        with pytest.raises(CorpusError, match="not a cache of annotation 'pos'"):
            list(annotated_documents(iter(corpus), tagger, "pos", file))

    @pytest.mark.parametrize(
        "content",
        [b"", b"garbage", gzip.compress(b"\xff\xfe"), gzip.compress(b"{}\n1 2\n")],
        # A gzip header holds the time: as a name, the case would be another one in every worker.
        ids=["empty", "garbage", "not-utf-8", "no-header"],
    )
    def test_foreign(self, corpus: Corpus, tagger: Lengths, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        self.assert_refused(corpus, tagger, file, "cache.gz: is (damaged|not a cache)")

    def test_damaged(self, corpus: Corpus, tagger: Lengths, file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        self.assert_refused(corpus, tagger, file, "is damaged")
        middle = bytearray(content)
        middle[len(content) // 2] ^= 0xFF
        file.write_bytes(middle)
        self.assert_refused(corpus, tagger, file, "is damaged|belongs to other documents")

    @staticmethod
    def assert_refused(corpus: Corpus, tagger: Lengths, file: Path, reason: str) -> None:
        before = file.read_bytes()
        with pytest.raises(CorpusError, match=reason) as caught:
            read(corpus, tagger, file)
        assert "delete it and read again" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == before


@pytest.mark.parametrize(
    "values", [("a b", "c"), ("a",), ("a", ""), ("a", "b\n"), ("a", "b\x85"), ("a", "b", "c")]
)
def test_values_must_be_one_word_for_each_word(values: tuple[str, ...]) -> None:
    documents = iter([Document("d", ("one", "two"))])
    with pytest.raises(CorpusError, match="one value per word, without white space"):
        list(annotated_documents(documents, lambda document: values, "pos", None))


def test_progress_is_shown_once_and_takes_every_name(
    corpus: Corpus, tagger: Lengths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    list(annotated_documents(iter(corpus), tagger, "[/red]", None))
    assert "annotate '[/red]'" in capsys.readouterr().err
    with progress("collect"):
        read(corpus, tagger, None)
    shown = capsys.readouterr().err
    assert "collect" in shown
    assert "annotate" not in shown
    read(corpus, tagger, None)
    assert "annotate 'length'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written(corpus: Corpus, tagger: Lengths, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        read(corpus, tagger, tmp_path / "file" / "cache.gz")
