"""Annotators: what all of them keep to, functions of words, and lexicons."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.hostile import IN_CORPORA
from tests.unit.corpus.conftest import Containers
from txray.corpus import Annotator, Corpus, Document, annotators, demo_corpus
from txray.corpus.annotators.annotator import as_label, pieces
from txray.errors import CorpusError, UnknownNameError, UsageError


def last(word: str, size: int) -> str:
    return word[-size:]


ENDINGS = partial(last, size=1), partial(last, size=2)


def ending(size: int) -> Callable[[str], str]:
    return lambda word: word[-size:]


def document(*words: str, starts: tuple[int, ...] = (0,)) -> Document:
    return Document("d", words, sentence_starts=starts)


def annotated(annotator: Annotator, *words: str) -> tuple[str, ...]:
    """The values, through a corpus and so with its checks."""
    (only,) = Corpus.from_documents("c", [document(*words)]).annotate(annotator, "x")
    return only.annotations["x"]


class TestRules:
    @pytest.mark.parametrize(
        ("value", "label"),
        [
            ("NN", "NN"),
            ("per son", "per␣son"),
            (" a\u00a0\tb\n", "a␣b"),
            ("", "_"),
            (" ", "_"),
            ("a\x85b", "a␣b"),
        ],
    )
    def test_labels_are_words(self, value: str, label: str) -> None:
        assert as_label(value) == label

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_becomes_a_label_that_a_corpus_takes(self, value: str) -> None:
        assert annotated(annotators.words(lambda word: value, "x"), "w") == (as_label(value),)

    def test_words_become_readable(self) -> None:
        assert list(pieces(document("a", "", "x" * 5000), 9)) == [[["a", "_", "x" * 1000]]]

    @given(
        lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
        most=st.integers(1, 10),
    )
    def test_pieces_are_the_whole_in_order(self, lengths: list[int], most: int) -> None:
        words = tuple(f"w{position}" for position in range(sum(lengths)))
        starts = tuple(sum(lengths[:number]) for number in range(len(lengths)))
        parts = list(pieces(Document("d", words, sentence_starts=starts), most))
        sentences = [sentence for part in parts for sentence in part]
        assert [word for sentence in sentences for word in sentence] == list(words)
        assert all(0 < sum(map(len, part)) <= most for part in parts)
        begins = {sum(map(len, sentences[:number])) for number in range(len(sentences))}
        assert set(starts) <= begins  # a sentence starts where it did, and where a long one was cut
        if max(lengths) <= most:
            assert begins == set(starts)

    def test_the_name_is_the_annotators_own_unless_another_is_given(self) -> None:
        corpus = Corpus.from_documents("c", [document("a")])
        upper = annotators.words(str.upper, "upper")
        (one,) = corpus.annotate(upper)
        (other,) = corpus.annotate(upper, "capital")
        assert [one.annotations, other.annotations] == [{"upper": ("A",)}, {"capital": ("A",)}]

        class Nameless:
            fingerprint = "n"

            def __call__(self, document: Document) -> list[str]:
                return ["X" for _ in document.words]

        (third,) = corpus.annotate(Nameless())  # type: ignore[arg-type]
        assert third.annotations == {"pos": ("X",)}

    @pytest.mark.parametrize("name", ["token", "subword", "output", "label"])
    def test_a_name_that_would_be_hidden_is_refused(self, name: str) -> None:
        corpus = Corpus.from_documents("c", [document("a")])
        with pytest.raises(UsageError, match=f"corpus 'c': annotation '{name}' is a feature type of its own"):
            corpus.annotate(annotators.words(str.upper, name))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (["a"], "gave 1 values for 2 words"),
            (["a", ""], "gave '' for word 1, 'two'"),
            (["a", "b c"], "gave 'b c' for word 1, 'two'"),
            ([None, "b"], "gave None for word 0, 'one'"),
            ([5, "b"], "gave 5 for word 0"),
        ],
    )
    def test_a_wrong_value_is_shown_with_its_word(self, values: list[Any], message: str) -> None:
        class Wrong:
            fingerprint = "w"

            def __call__(self, document: Document) -> Any:
                return values

        with pytest.raises(
            CorpusError, match=f"^document 'd', annotation 'x': the annotator {message}"
        ) as caught:
            annotated(Wrong(), "one", "two")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("cached", [True, False])
    def test_a_value_that_is_no_text_is_refused_before_it_is_kept(self, cached: bool, tmp_path: Path) -> None:
        broken = annotators.words(lambda word: "\ud800", "x")
        corpus = Corpus.from_documents("c", [document("a")])
        with pytest.raises(CorpusError, match="half of a surrogate pair"):
            list(corpus.annotate(broken, cache=tmp_path if cached else None))
        assert list(tmp_path.iterdir()) == []

    def test_shards_know_the_whole(self) -> None:
        corpus = Corpus.from_documents("c", [document("a"), Document("e", ("b",))])
        shard = corpus.shard(2, 2).annotate(annotators.words(str.upper, "upper"))
        assert [one.annotations["upper"] for one in shard] == [("B",)]
        assert shard.shard_info is not None
        assert next(iter(shard.shard_info.whole)).annotations["upper"] == ("A",)

    def test_nothing_heavy_is_imported_before_it_is_used(self) -> None:
        heavy = "{'spacy', 'torch', 'flair', 'stanza', 'datasets', 'pandas', 'pyarrow', 'polars'}"
        code = (
            "import sys, txray.corpus; from txray.corpus import annotators, from_dataset, read_corpus; "
            f"print(sorted({heavy} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestWords:
    def test_values_of_a_function(self) -> None:
        clusters = {"run": "motion", "walk": "motion", "odd": "two words", "empty": ""}
        assert annotated(annotators.words(clusters.get, "cluster"), "run", "odd", "empty", "sea") == (
            "motion",
            "two␣words",
            "_",
            "O",
        )
        assert annotated(annotators.words(len, "length"), "<b>", "", "é") == ("3", "0", "1")
        assert annotated(annotators.words(str.isupper, "upper"), "A", "b") == ("True", "False")

    def test_hostile_words(self) -> None:
        values = annotated(annotators.words(lambda word: word, "copy"), *IN_CORPORA)
        assert values == tuple(map(as_label, IN_CORPORA))

    @pytest.mark.parametrize("value", [0.5, b"x", ["a"]])
    def test_other_values_are_refused(self, value: object) -> None:
        annotator = annotators.words(lambda word: value, "x")
        with pytest.raises(
            UsageError, match=rf"'x': the function gave {type(value).__name__} .* for the word 'w'"
        ):
            annotated(annotator, "w")

    @pytest.mark.parametrize(("function", "name"), [("no function", "x"), (str.upper, ""), (str.upper, None)])
    def test_neither_without_a_function_nor_without_a_name(self, function: Any, name: Any) -> None:
        with pytest.raises(UsageError, match="words: "):
            annotators.words(function, name)

    def test_the_fingerprint_is_of_name_and_function(self) -> None:
        def one(word: str) -> str:
            return word[:1]

        def other(word: str) -> str:
            return word[1:]

        prints = {annotators.words(function, "x").fingerprint for function in (one, other, str.upper)}
        assert len(prints) == 3
        assert annotators.words(one, "x").fingerprint == annotators.words(one, "x").fingerprint
        assert annotators.words(one, "y").fingerprint != annotators.words(one, "x").fingerprint
        gets = [annotators.words(table.get, "x").fingerprint for table in ({}, {"a": "b"}, {"a": "b"})]
        assert gets[0] != gets[1] == gets[2]

    @pytest.mark.parametrize(
        ("first", "second"),
        [(str.istitle, str.islower), (ending(1), ending(3)), (ENDINGS[0], ENDINGS[1])],
        ids=["built in", "closure", "partial"],
    )
    def test_a_cache_is_not_used_for_another_function(self, first: Any, second: Any, tmp_path: Path) -> None:
        corpus = demo_corpus("reviews", words=60)
        for function in (first, second, first):
            read = list(corpus.annotate(annotators.words(function, "kind"), cache=tmp_path))
            values = [value for document in read for value in document.annotations["kind"]]
            assert values == [str(function(word)) for document in read for word in document.words]
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_function_that_cannot_be_told_apart_is_not_cached(self, tmp_path: Path) -> None:
        lock = Lock()

        def function(word: str) -> str:
            with lock:
                return word[:1]

        corpus = demo_corpus("reviews", words=60)
        annotator = annotators.words(function, "kind")
        with pytest.raises(UsageError, match=r"'kind'.*_thread\.lock.*version="):
            corpus.annotate(annotator, cache=tmp_path)
        assert (
            annotator.fingerprint == annotator.fingerprint != annotators.words(function, "kind").fingerprint
        )
        values = next(iter(corpus.annotate(annotator))).annotations["kind"]
        for version in ("1", "2"):
            given = annotators.words(function, "kind", version=version)
            assert next(iter(corpus.annotate(given, cache=tmp_path))).annotations["kind"] == values
            list(corpus.annotate(given, cache=tmp_path))
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(UsageError, match="version"):
            annotators.words(function, "kind", version="")

    def test_what_is_selected_by_another_function_is_not_read_from_the_cache(self, tmp_path: Path) -> None:
        corpus = demo_corpus("reviews", words=400)

        def of_length(odd: int) -> Corpus:
            return corpus.select(lambda document: len(document.words) % 2 == odd, name="some")

        for odd in (0, 1):
            read = list(of_length(odd).annotate(annotators.words(str.upper, "upper"), cache=tmp_path))
            assert all(
                document.annotations["upper"] == tuple(map(str.upper, document.words)) for document in read
            )
        assert of_length(0).fingerprint == of_length(0).fingerprint != of_length(1).fingerprint


LIWC = "%\n1\tfunct\n2\tposemo\n%\nthe\t1\nhapp*\t2\nwell\t1\t2\n"


class TestLexicon:
    @pytest.fixture
    def emotions(self, write: Containers) -> Path:
        return write.plain(
            "emotions.tsv",
            "Happy\tjoy\tpositive\nhappy\tcalm\n\nsad\tsadness\n*\tstar\nf**k\tangry words\n"
            "lov*\tjoy\nlove\tpositive\n",
        )

    def test_words_get_their_categories(self, emotions: Path) -> None:
        lexicon = annotators.lexicon(emotions)
        assert lexicon.name == "emotions"
        assert lexicon.categories == ("angry␣words", "calm", "joy", "positive", "sadness", "star")
        words = ("happy", "HAPPY", "sad", "sadly", "*", "**", "f**k", "love", "lovely", "lo", "")
        assert annotated(lexicon, *words) == (
            "calm|joy|positive",
            "calm|joy|positive",
            "sadness",
            "O",
            "star",
            "O",
            "angry␣words",
            "joy|positive",
            "joy",
            "O",
            "O",
        )

    def test_some_categories_alone(self, emotions: Path) -> None:
        lexicon = annotators.lexicon(emotions, "mood", categories=["positive", "sadness"])
        assert lexicon.name == "mood"
        assert annotated(lexicon, "happy", "sad", "lovely", "love") == (
            "positive",
            "sadness",
            "O",
            "positive",
        )
        with pytest.raises(
            UnknownNameError, match=r"emotions\.tsv: unknown category 'positiv' .did you mean"
        ):
            annotators.lexicon(emotions, categories=["positiv"])
        for nothing in ([], "joy"):
            with pytest.raises(UsageError, match="give a list of at least one category"):
                annotators.lexicon(emotions, categories=nothing)  # type: ignore[arg-type]

    def test_a_dictionary_with_numbered_categories(self, write: Containers) -> None:
        lexicon = annotators.lexicon(write.plain("LIWC.dic", LIWC))
        assert annotated(lexicon, "The", "happiness", "well", "sea") == (
            "funct",
            "posemo",
            "funct|posemo",
            "O",
        )

    def test_it_may_be_compressed_and_come_from_anywhere(self, write: Containers) -> None:
        plain = annotators.lexicon(write.plain("a.tsv", "\ufeffcafé\tplace\r\nno\tneg\t\t\r\n"))
        packed = annotators.lexicon(write.gz("a.tsv.gz", "no\tneg\nCAFÉ\tplace\nno\tneg\n"))
        assert annotated(plain, "Café", "no") == annotated(packed, "Café", "no") == ("place", "neg")
        assert plain.fingerprint == packed.fingerprint
        assert (plain.name, packed.name) == ("a", "a")

    def test_what_changes_values_changes_the_fingerprint(self, write: Containers, emotions: Path) -> None:
        lexicons = [
            annotators.lexicon(emotions),
            annotators.lexicon(emotions, categories=["joy"]),
            annotators.lexicon(write.plain("b.tsv", "a\tx\n")),
            annotators.lexicon(write.plain("c.tsv", "a*\tx\n")),
            annotators.lexicon(write.plain("d.tsv", "a\ty\n")),
            annotators.lexicon(write.plain("e.tsv", "b\tx\n")),
            annotators.lexicon(write.plain("f.tsv", "b*\tx\n")),
        ]
        assert len({lexicon.fingerprint for lexicon in lexicons}) == len(lexicons)

    def test_hostile_words(self, write: Containers) -> None:
        # What holds a tab or the end of a line cannot be a word of a table.
        listed = [word for word in IN_CORPORA if word.split() == [word]]
        assert len(listed) > 10
        lines = "".join(f"{word}\tc{number}\n" for number, word in enumerate(listed))
        values = annotated(annotators.lexicon(write.plain("h.tsv", lines)), *IN_CORPORA)
        assert [value.startswith("c") for value in values] == [word in listed for word in IN_CORPORA]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a\tx\nword\n", "line 2: 'word' is not a word and its categories; separate them by single tabs"),
            ("a\tx\rb\ty\n", "line 1: .* holds a line end that is not"),
            ("a x\n", "line 1: 'a x' is not"),
            ("\tx\n", "line 1: 'x' is not"),
            ("a\t\tx\n", "line 1: .* is not"),
            ("aback\tanger\t0\n", "line 1: category '0' is a number; give categories by name"),
            ("a\tx|y\n", r"line 1: category 'x\|y' is ambiguous"),
            ("a\tO\n", "line 1: category 'O' is ambiguous"),
            ("%\n1\tfunct\nthe\t1\n", "line 3: 'the.t1' is not a number and a category"),
            ("%\n1\tfunct\n", "do not end with one; add it"),
            ("%\n1\tfunct\n%\nthe\t2\n", "line 4: category '2' is not one of the 1 in the header"),
            ("%\n1\tO\n%\nthe\t1\n", "line 2: category 'O' is ambiguous"),
            ("%\n1\tfunct\n%\n", "holds no words"),
            ("\n \n", "holds no words"),
            ("", "empty"),
            (b"a\tx\n\xff\ty\n", "not UTF-8"),
        ],
    )
    def test_a_broken_line_is_named_by_file_and_number(
        self, write: Containers, content: str | bytes, message: str
    ) -> None:
        with pytest.raises(CorpusError, match=rf"broken\.tsv.*{message}") as caught:
            annotators.lexicon(write.plain("broken.tsv", content))
        assert "\n" not in str(caught.value)

    def test_there_is_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(CorpusError, match="no such file"):
            annotators.lexicon(tmp_path / "absent.tsv")

    @given(
        table=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4).filter(
                lambda word: word == word.strip() and not word.endswith("*") and word != "\ufeff"
            ),
            st.sets(st.sampled_from(["joy", "fear", "two words"]), min_size=1),
            min_size=1,
        )
    )
    def test_any_table_is_read_back(
        self, table: dict[str, set[str]], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folded: dict[str, set[str]] = {}
        for word, categories in table.items():
            folded.setdefault(word.casefold(), set()).update(categories)
        file = tmp_path_factory.mktemp("lexicon") / "any.tsv"
        lines = [
            "first\tjoy",
            *("\t".join([word, *sorted(categories)]) for word, categories in table.items()),
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        lexicon = annotators.lexicon(file)
        for word, value in zip(table, lexicon(document(*table)), strict=True):
            expected = folded[word.casefold()] | ({"joy"} if word.casefold() == "first" else set())
            assert value == "|".join(sorted(map(as_label, expected)))
