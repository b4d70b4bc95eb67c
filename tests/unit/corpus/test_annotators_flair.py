"""Annotation by Flair: real taggers with random weights where it is installed, and stand-ins of its shape."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.builders.hostile import IN_CORPORA
from tests.unit.corpus.test_annotators import annotated, document
from txray.corpus import annotators
from txray.errors import UsageError


class Token:
    def __init__(self, text: str, idx: int) -> None:
        self.text, self.idx = text, idx
        self.labels: dict[str, str] = {}

    def get_label(self, kind: str, default: str) -> SimpleNamespace:
        return SimpleNamespace(value=self.labels.get(kind, default))


class Sentence(list[Token]):
    """Of a list of words, as Flair's."""

    def __init__(self, words: list[str]) -> None:
        assert all(words)
        super().__init__(Token(word, place) for place, word in enumerate(words, 1))
        self.spans: list[Any] = []

    def get_spans(self, kind: str) -> list[Any]:
        return self.spans

    def add_span(self, start: int, end: int, label: str) -> None:
        class Span(list[Token]):
            def get_label(self, kind: str) -> SimpleNamespace:
                return SimpleNamespace(value=label)

        self.spans.append(Span(self[start:end]))


class Tagger:
    """Labels capitals `UP` where `kind` is pos, and every run of them as one entity where it is ner."""

    def __init__(self, kind: str) -> None:
        self.label_type = kind
        self.training = True
        self.seen: list[list[str]] = []

    def eval(self) -> None:
        self.training = False

    def train(self, training: bool) -> None:
        self.training = training

    def predict(self, sentences: list[Sentence], embedding_storage_mode: str) -> None:
        assert not self.training
        assert embedding_storage_mode == "none"
        for sentence in sentences:
            self.seen.append([token.text for token in sentence])
            capital = [place for place, token in enumerate(sentence) if token.text[0].isupper()]
            if self.label_type == "ner" and capital:
                sentence.add_span(capital[0], capital[-1] + 1, "BIG NAME")
            elif self.label_type != "ner":
                for place in capital:
                    sentence[place].labels[self.label_type] = "UP"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    package, data = ModuleType("flair"), ModuleType("flair.data")
    data.Sentence = Sentence  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flair", package)
    monkeypatch.setitem(sys.modules, "flair.data", data)


@pytest.mark.usefixtures("stand_in")
class TestShape:
    def test_labels_of_words(self) -> None:
        tagger = Tagger("pos")
        annotator = annotators.flair(tagger)
        assert annotator.name == "pos"
        assert annotator(document("A", "b", "C", starts=(0, 2))) == ("UP", "O", "UP")
        assert tagger.seen == [["A", "b"], ["C"]]
        assert tagger.training

    def test_labels_of_spans(self) -> None:
        annotator = annotators.flair(Tagger("ner"), "entity")
        assert annotator.name == "entity"
        assert annotated(annotator, "in", "New", "York", ".") == ("O", "BIG␣NAME", "BIG␣NAME", "O")

    def test_every_word_keeps_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("txray.corpus.annotators.by_flair.FlairAnnotator.max_words", 2)
        tagger = Tagger("pos")
        assert annotated(annotators.flair(tagger), "a", "", "X" * 5000) == ("O", "O", "UP")
        assert tagger.seen == [["a", "_"], ["X" * 1000]]

    def test_a_tagger_that_changes_words_is_refused(self) -> None:
        tagger = Tagger("pos")
        tagger.predict = lambda sentences, **_: sentences[0].pop()  # type: ignore[method-assign, assignment]
        with pytest.raises(
            UsageError, match="^document 'd': FlairAnnotator.* made 1 words of 2; use a tagger"
        ):
            annotators.flair(tagger)(document("a", "b"))
        assert tagger.training

    @pytest.mark.parametrize("thing", [None, "ner", object()])
    def test_something_else_is_refused(self, thing: object) -> None:
        with pytest.raises(UsageError, match="give a loaded model"):
            annotators.flair(thing)


def test_flair_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flair", None)
    monkeypatch.setitem(sys.modules, "flair.data", None)
    with pytest.raises(UsageError, match="annotators.flair needs the package 'flair'.*pip install flair$"):
        annotators.flair(Tagger("pos"))


class TestReal:
    @staticmethod
    def tagger(kind: str, labels: list[str], seed: int = 0) -> Any:
        pytest.importorskip("flair")
        import torch
        from flair.data import Dictionary
        from flair.embeddings import OneHotEmbeddings
        from flair.models import SequenceTagger

        torch.manual_seed(seed)
        words, tags = Dictionary(add_unk=True), Dictionary(add_unk=False)
        for word in ("in", "New", "York", "."):
            words.add_item(word)
        for label in labels:
            tags.add_item(label)
        tags.span_labels = kind == "ner"
        return SequenceTagger(
            OneHotEmbeddings(words, embedding_length=8), tags, kind, hidden_size=8, use_crf=False
        )

    def test_tags_are_those_of_the_tagger(self) -> None:
        tagger = self.tagger("pos", ["DT", "NN", "VB X", "JJ", "IN"])
        values = annotators.flair(tagger)(document("in", "New", "York", ".", "in", starts=(0, 4)))
        from flair.data import Sentence as RealSentence

        tagger.eval()
        expected = []
        for words in (["in", "New", "York", "."], ["in"]):
            sentence = RealSentence(words)
            tagger.predict(sentence)
            expected += [token.get_label("pos").value.replace(" ", "␣") for token in sentence]
        assert list(values) == expected

    def test_entities_are_those_of_the_tagger(self) -> None:
        tagger = self.tagger("ner", ["PER", "LOC X"], seed=3)
        values = annotators.flair(tagger)(document("in", "New", "York", "."))
        from flair.data import Sentence as RealSentence

        tagger.eval()
        sentence = RealSentence(["in", "New", "York", "."])
        tagger.predict(sentence, force_token_predictions=True)
        expected = [
            token.get_label("ner", "O").value.partition("-")[2].replace(" ", "␣") or "O" for token in sentence
        ]
        assert list(values) == expected

    @pytest.mark.parametrize(("kind", "labels"), [("pos", ["DT", "NN"]), ("ner", ["PER", "LOC"])])
    def test_hostile_words(self, kind: str, labels: list[str]) -> None:
        annotator = annotators.flair(self.tagger(kind, labels))
        assert len(annotated(annotator, *IN_CORPORA)) == len(IN_CORPORA)
        assert annotated(annotator, *IN_CORPORA) == annotated(annotator, *IN_CORPORA)

    def test_the_fingerprint_is_of_weights_and_labels(self) -> None:
        def fingerprint(*how: Any) -> str:
            return annotators.flair(self.tagger(*how)).fingerprint

        same, again = fingerprint("pos", ["DT", "NN"]), fingerprint("pos", ["DT", "NN"])
        others = [
            fingerprint("pos", ["NN", "DT"]),
            fingerprint("pos", ["DT", "NN"], 1),
            fingerprint("x", ["DT", "NN"]),
        ]
        assert same == again
        assert len({same, *others}) == 4
