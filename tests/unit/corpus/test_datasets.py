"""Hugging Face data sets as corpora, in memory, streamed, and saved to disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txray.corpus import Document, from_dataset, read_corpus
from txray.errors import CorpusError, UnknownNameError, UsageError

datasets = pytest.importorskip("datasets")

TAGS = datasets.List(datasets.ClassLabel(names=["DT", "NN"]))
WORDS = datasets.List(datasets.Value("string"))


def tagged(**columns: list[Any]) -> Any:
    """A data set as those for tagging are: words, numbers of tags, and more."""
    given_columns = {
        "tokens": [["A", "film", "."], ["No"]],
        "pos_tags": [[0, 1, 1], [0]],
        **columns,
    }
    return (
        datasets.Dataset.from_dict(given_columns).cast_column("tokens", WORDS).cast_column("pos_tags", TAGS)
    )


@pytest.fixture
def reviews() -> Any:
    columns = {"text": ["A quiet film. Good!", "Bad."], "label": [1, 0]}
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


class TestRows:
    def test_running_text_is_tokenised_and_classes_get_their_names(self, reviews: Any) -> None:
        corpus = from_dataset(reviews)
        assert corpus.name == "dataset"
        first, second = corpus
        assert first == Document(
            "dataset/000000",
            ("A", "quiet", "film", ".", "Good", "!"),
            labels={"label": "pos"},
            sentence_starts=(0, 4),
            spacing=("", " ", " ", "", " ", ""),
        )
        assert (second.id, second.words, second.labels) == ("dataset/000001", ("Bad", "."), {"label": "neg"})

    def test_words_stay_as_they_are_and_tags_are_annotations(self) -> None:
        first, second = from_dataset(tagged())
        assert first == Document("dataset/000000", ("A", "film", "."), {"pos_tags": ("DT", "NN", "NN")})
        assert second.annotations == {"pos_tags": ("DT",)}

    def test_columns_can_be_named(self) -> None:
        dataset = tagged(key=["x", "y"], kind=["a", None], lemma=[["a", "film", "."], ["no"]])
        dataset = dataset.rename_column("tokens", "forms")
        first, second = from_dataset(
            dataset, words="forms", id="key", label="kind", annotations={"pos": "pos_tags"}, name="mine"
        )
        assert first == Document("x", ("A", "film", "."), {"pos": ("DT", "NN", "NN")}, {"label": "a"})
        assert (second.id, second.labels) == ("y", {})
        (one, _) = from_dataset(dataset, words="forms", annotations=["lemma"], name="mine")
        assert one == Document("mine/000000", ("A", "film", "."), {"lemma": ("a", "film", ".")})
        (bare, _) = from_dataset(dataset, words="forms", annotations=[])
        assert bare.annotations == {}

    def test_words_come_before_running_text_unless_it_is_asked_for(self) -> None:
        dataset = tagged(text=["A film.", "No"])
        assert next(iter(from_dataset(dataset))).annotations == {"pos_tags": ("DT", "NN", "NN")}
        assert next(iter(from_dataset(dataset, text="text"))).annotations == {}

    def test_what_has_no_words_is_skipped_by_reason(self, reviews: Any) -> None:
        texts = [None, "", " \n", "A", None]
        dataset = datasets.Dataset.from_dict({"text": texts})
        corpus = from_dataset(dataset)
        assert [document.id for document in corpus] == ["dataset/000003"]
        assert corpus.skipped == {"no text": 2, "no words": 2}
        corpus = from_dataset(tagged(tokens=[None, []], pos_tags=[None, []]))
        with pytest.raises(CorpusError, match=r"no documents \(2 documents skipped\)"):
            list(corpus)
        assert corpus.skipped == {"no text": 1, "no words": 1}

    def test_values_that_are_not_known(self) -> None:
        dataset = tagged(label=[-1, 1]).cast_column("label", datasets.ClassLabel(names=["neg", "pos"]))
        first, second = from_dataset(tagged(pos_tags=[[None, -1, 1], [0]]))
        assert first.annotations == {"pos_tags": ("_", "_", "NN")}
        first, second = from_dataset(dataset)
        assert first.labels == {}
        assert second.labels == {"label": "pos"}

    def test_labels_may_be_numbers_and_hold_spaces(self) -> None:
        dataset = tagged(label=[7, -1], name=[["per son", "", "x\ty"], ["z"]], rank=[[1, 2, -1], [0]])
        first, second = from_dataset(dataset, annotations=["name", "rank"])
        assert first.annotations == {"name": ("per son", "", "x\ty"), "rank": ("1", "2", "-1")}
        assert [first.labels["label"], second.labels["label"]] == ["7", "-1"]

    @pytest.mark.parametrize("word", ["<script>", "\x00", "a b", "=1+1", "x" * 1_000_000, "\u202e"])
    def test_hostile_words_are_words(self, word: str) -> None:
        (document,) = from_dataset(datasets.Dataset.from_dict({"words": [[word]]}))
        assert document.words == (word,)


class TestReading:
    def test_it_can_be_read_again_and_only_when_asked(self) -> None:
        passes = []

        def rows() -> Iterator[dict[str, Any]]:
            passes.append(1)
            yield {"text": "One.", "label": "a"}
            yield {"text": "Two.", "label": None}
            yield {"text": "Three."}

        dataset = datasets.IterableDataset.from_generator(rows)
        corpus = from_dataset(dataset, name="streamed")
        looked = len(passes)
        assert [document.words[0] for document in corpus] == ["One", "Two", "Three"]
        assert list(corpus) == list(corpus)
        assert len(passes) == looked + 3
        assert [dict(document.labels) for document in corpus] == [{"label": "a"}, {}, {}]
        assert next(iter(corpus.take_words(1))).words == ("One",)

    def test_a_stream_that_knows_its_columns_gives_the_same(self) -> None:
        dataset = tagged(label=[1, 0])
        held, streamed = from_dataset(dataset), from_dataset(dataset.to_iterable_dataset())
        assert list(held) == list(streamed)
        assert held.fingerprint == streamed.fingerprint

    def test_a_format_and_a_choice_of_rows_do_not_matter(self, reviews: Any) -> None:
        expected = list(from_dataset(reviews))
        assert list(from_dataset(reviews.with_format("numpy"))) == expected
        turned = from_dataset(reviews.select([1, 0]))
        assert [document.words for document in turned] == [document.words for document in expected[::-1]]

    def test_columns_that_are_not_used_are_not_decoded(
        self, reviews: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset = reviews.add_column("picture", [b"no picture", b""]).cast_column("picture", datasets.Image())

        def decoded(*_: object, **__: object) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(datasets.Image, "decode_example", decoded)
        assert len(list(from_dataset(dataset))) == 2
        assert len(list(from_dataset(dataset.to_iterable_dataset()))) == 2

    def test_the_name_is_that_of_the_data_set_and_its_split(self, reviews: Any) -> None:
        dataset = datasets.Dataset(
            reviews.data, info=datasets.DatasetInfo(dataset_name="imdb"), split=datasets.Split.TEST
        )
        assert from_dataset(dataset).name == "imdb/test"
        assert next(iter(from_dataset(dataset))).id == "imdb/test/000000"

    def test_memory_does_not_grow_with_a_stream(self) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            while True:
                yield {"words": ["a", "b"]}

        corpus = from_dataset(datasets.IterableDataset.from_generator(rows))
        assert sum(len(document.words) for document in corpus.take_words(20_000)) == 20_000


class TestFingerprint:
    def test_equal_content_gives_an_equal_one_however_it_came_about(
        self, reviews: Any, tmp_path: Path
    ) -> None:
        expected = from_dataset(reviews).fingerprint
        more = reviews.add_column("extra", [1, 2])
        twice = datasets.concatenate_datasets([reviews, reviews]).select([0, 3])
        reviews.save_to_disk(str(tmp_path / "saved"))
        loaded = datasets.load_from_disk(str(tmp_path / "saved"))
        for same in (more, more.remove_columns("extra"), twice, loaded, reviews.map(lambda row: row)):
            assert from_dataset(same).fingerprint == expected
        # its own fingerprint tells these apart
        assert len({each._fingerprint for each in (reviews, more, twice, loaded)}) > 1

    def test_everything_that_changes_the_documents_changes_it(self) -> None:
        dataset = tagged(label=[1, 0], key=["x", "y"])
        renamed = dataset.cast_column("pos_tags", datasets.List(datasets.ClassLabel(names=["D", "N"])))
        variants = [
            from_dataset(dataset),
            from_dataset(dataset, name="other"),
            from_dataset(dataset, id="key"),
            from_dataset(dataset, label="key"),
            from_dataset(dataset, annotations=[]),
            from_dataset(dataset, annotations={"pos": "pos_tags"}),
            from_dataset(renamed),
            from_dataset(dataset.select([1, 0])),
            from_dataset(dataset.select([0])),
        ]
        assert len({corpus.fingerprint for corpus in variants}) == len(variants)

    def test_running_text_depends_on_the_tokenizer_and_words_do_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fingerprints() -> list[str]:
            columns: list[dict[str, list[Any]]] = [{"text": ["a"]}, {"words": [["a"]]}]
            return [from_dataset(datasets.Dataset.from_dict(each)).fingerprint for each in columns]

        before = fingerprints()
        monkeypatch.setattr("txray.corpus.splitting.tokenizer_name", lambda: "another")
        after = fingerprints()
        assert after[0] != before[0]
        assert after[1] == before[1]

    def test_running_text_and_its_words_differ(self) -> None:
        text = from_dataset(datasets.Dataset.from_dict({"text": ["a"]}))
        words = from_dataset(datasets.Dataset.from_dict({"words": [["a"]]}))
        assert [document.words for document in text] == [document.words for document in words]
        assert text.fingerprint != words.fingerprint


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"text": "texts"},
                UnknownNameError,
                "'dataset', text: unknown column 'texts' .did you mean 'text'",
            ),
            (
                {"text": "tokens"},
                UsageError,
                "text='tokens' holds lists of text, needs text; give words='tokens'",
            ),
            ({"words": "text"}, UsageError, "words='text' holds text, needs lists of text; give text='text'"),
            ({"words": "score"}, UsageError, "words='score' holds numbers or dates.*name another column"),
            ({"text": "text", "words": "tokens"}, UsageError, "both text='text' and words='tokens'"),
            ({"id": "score"}, UsageError, "id='score' holds numbers or dates, needs text or whole numbers"),
            ({"label": "tokens"}, UsageError, "label='tokens' holds lists of text"),
            ({"label": "labels"}, UnknownNameError, "unknown column 'labels'"),
            ({"annotations": "pos_tags"}, UsageError, r"give a list of columns, such as \['pos_tags'\]"),
            ({"annotations": ["text"]}, UsageError, "annotation 'text' holds text, needs lists"),
            ({"annotations": ["nested"]}, UsageError, "annotation 'nested' holds lists of something else"),
            ({"annotations": ["tags"]}, UnknownNameError, "unknown column 'tags'"),
            ({"annotations": [5]}, UsageError, "annotations=5; give the name of a column"),
            ({"annotations": {"token": "pos_tags"}}, UsageError, "'token' is a feature type of its own"),
            ({"text": "text", "annotations": ["pos_tags"]}, UsageError, "text='text' has no words yet"),
        ],
    )
    def test_a_wrong_column_at_the_call(self, options: Any, error: type[Exception], message: str) -> None:
        dataset = tagged(text=["a", "b"], score=[0.5, 1.0], nested=[[[0.1]], [[0.2]]])
        with pytest.raises(error, match=message) as caught:
            from_dataset(dataset, **options)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"tokens": [["a", None], ["b"]]}, "row 0: 'tokens' holds null at position 1; give strings only"),
            ({"tokens": [["a", "b", "c"], ["b", ""]]}, "row 1: 'tokens': word 1 is empty"),
            ({"pos_tags": [[0, 1, 1], None]}, "row 1: 'pos_tags' is null"),
            (
                {"pos_tags": [[0, 1], [0]]},
                "row 0: document 'dataset/000000': annotation 'pos_tags' has 2 values for 3",
            ),
        ],
    )
    def test_a_wrong_value_is_named_by_its_row(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(CorpusError, match=f"data set 'dataset', {message}") as caught:
            list(from_dataset(tagged(**columns)))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"text": 5}, "row 1: 'text' is 5; give a string"),
            ({"text": "\ud800"}, "row 1: 'text' holds half of a surrogate pair"),
            ({"text": "a", "label": [0.5]}, r"row 1: 'label' is \[0.5\]; give a string"),
            ({"text": "a", "key": True}, "row 1: 'key' is True; an id is"),
            ({"text": "a", "key": None}, "row 1: 'key' is null; an id is"),
        ],
    )
    def test_a_stream_may_hold_anything(self, row: dict[str, Any], message: str) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            yield {"text": "fine", "label": "a", "key": "1"}
            yield row

        corpus = from_dataset(
            datasets.IterableDataset.from_generator(rows), name="d", id="key" if "key" in row else None
        )
        with pytest.raises(CorpusError, match=f"data set 'd', {message}"):
            list(corpus)

    def test_a_class_without_a_name(self) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            yield {"tokens": ["a"], "pos_tags": [5]}

        features = datasets.Features({"tokens": WORDS, "pos_tags": TAGS})
        dataset = datasets.IterableDataset.from_generator(rows, features=features)
        with pytest.raises((CorpusError, ValueError), match="class 5; there are 0 to 1|Invalid"):
            list(from_dataset(dataset))

    def test_no_column_with_text(self) -> None:
        with pytest.raises(UsageError, match="no column 'words', 'tokens' or 'text'.*there are: sentence"):
            from_dataset(datasets.Dataset.from_dict({"sentence": ["a"]}))

    def test_several_splits(self, reviews: Any) -> None:
        with pytest.raises(UsageError, match="several splits; give one of them: train, test"):
            from_dataset(datasets.DatasetDict({"train": reviews, "test": reviews}))

    @pytest.mark.parametrize("thing", [None, "imdb", [{"text": "a"}]])
    def test_something_else(self, thing: object) -> None:
        with pytest.raises(UsageError, match="give a datasets.Dataset"):
            from_dataset(thing)

    def test_a_stream_without_rows(self) -> None:
        def rows() -> Iterator[dict[str, Any]]:
            yield from ()

        with pytest.raises(CorpusError, match="no rows"):
            from_dataset(datasets.IterableDataset.from_generator(rows))

    def test_datasets_is_not_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(UsageError, match="from_dataset needs the package 'datasets'.*pip install"):
            from_dataset([])
        with pytest.raises(UsageError, match=r"format 'hf' needs the extra 'hf'.*'txray\[hf\]"):
            read_corpus("hf", tmp_path)


class TestSaved:
    @pytest.fixture
    def saved(self, reviews: Any, tmp_path: Path) -> Path:
        datasets.DatasetDict({"train": reviews, "test": reviews.select([1])}).save_to_disk(
            str(tmp_path / "imdb")
        )
        return tmp_path / "imdb"

    def test_a_split_of_a_folder(self, saved: Path, reviews: Any) -> None:
        corpus = read_corpus("hf", saved, split="train")
        assert corpus.name == "imdb/train"
        assert list(corpus) == list(from_dataset(reviews, name="imdb/train"))
        assert [document.id for document in read_corpus("hf", saved, split="test")] == ["imdb/test/000000"]
        assert list(read_corpus("hf", saved / "train")) == list(from_dataset(reviews, name="train"))

    def test_columns_are_options(self, tmp_path: Path) -> None:
        tagged().save_to_disk(str(tmp_path / "tags"))
        (first, _) = read_corpus("hf", tmp_path / "tags", annotations={"pos": "pos_tags"})
        assert first.annotations == {"pos": ("DT", "NN", "NN")}

    def test_splits_that_are_not_there(self, saved: Path) -> None:
        with pytest.raises(UsageError, match="needs a split, one of train, test"):
            read_corpus("hf", saved)
        with pytest.raises(UnknownNameError, match="unknown split 'dev'.*train, test"):
            read_corpus("hf", saved, split="dev")
        with pytest.raises(UsageError, match="holds a single data set"):
            read_corpus("hf", saved / "train", split="validation")

    def test_other_folders_and_damage(self, saved: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(CorpusError, match="is not a folder that save_to_disk wrote"):
            read_corpus("hf", tmp_path / "empty")
        with pytest.raises(CorpusError, match="no such file"):
            read_corpus("hf", tmp_path / "absent")
        (arrow,) = (saved / "test").glob("*.arrow")
        arrow.write_bytes(arrow.read_bytes()[:50])
        with pytest.raises(CorpusError, match="cannot be loaded") as caught:
            read_corpus("hf", saved, split="test")
        assert "\n" not in str(caught.value)
        (saved / "dataset_dict.json").write_text(json.dumps({"splits": 5}))
        with pytest.raises(CorpusError, match="cannot be loaded"):
            read_corpus("hf", saved, split="train")


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    rows=st.lists(
        st.lists(st.tuples(_TEXT, st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))))),
        min_size=1,
        max_size=5,
    )
)
def test_any_words_and_labels_are_read_back(rows: list[list[tuple[str, str | None]]]) -> None:
    dataset = datasets.Dataset.from_dict(
        {
            "words": [[word for word, _ in row] for row in rows],
            "x": [[value for _, value in row] for row in rows],
        },
        features=datasets.Features({"words": WORDS, "x": WORDS}),
    )
    corpus = from_dataset(dataset).concat(from_dataset(datasets.Dataset.from_dict({"words": [["end"]]})))
    *found, _ = corpus
    expected = [row for row in rows if row]
    assert [document.words for document in found] == [tuple(word for word, _ in row) for row in expected]
    assert [document.annotations["x"] for document in found] == [
        tuple("_" if value is None else value for _, value in row) for row in expected
    ]
    assert corpus.skipped == ({"no words": len(rows) - len(expected)} if len(rows) > len(expected) else {})
