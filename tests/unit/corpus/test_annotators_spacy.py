"""Annotation by real spaCy pipelines, made here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from tests.builders.hostile import IN_CORPORA
from tests.unit.corpus.test_annotators import annotated, document
from txray.corpus import annotators, demo_corpus
from txray.errors import UnknownNameError, UsageError


def entities(label: str = "CITY") -> Language:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": [{"LOWER": "new"}, {"LOWER": "york"}]}])
    return nlp


def ruled() -> Language:
    """Tags, morphology and lemmas by rule; the component declares nothing of what it assigns."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("attribute_ruler")
    attributes = {"TAG": "NNS", "POS": "NOUN", "LEMMA": "film", "MORPH": "Number=Plur"}
    ruler.add(patterns=[[{"LOWER": "films"}]], attrs=attributes)
    return nlp


@pytest.fixture(scope="module")
def trained() -> Language:
    """A small tagger of Penn tags, trained on the embedded corpus."""
    corpus = demo_corpus("reviews", 3_000, seed=1)
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger")
    examples = [
        Example(
            Doc(nlp.vocab, words=list(each.words)),
            Doc(nlp.vocab, words=list(each.words), tags=list(each.annotations["pos"])),
        )
        for each in corpus
    ]
    spacy.util.fix_random_seed(0)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(3):
        nlp.update(examples, sgd=optimizer)
    return nlp


class TestColumns:
    def test_entities(self) -> None:
        annotator = annotators.spacy(entities("BIG CITY"), "ent")
        assert annotator.name == "ent"
        values = annotated(annotator, "in", "New", "York", ".")
        assert values == ("O", "BIG␣CITY", "BIG␣CITY", "O")

    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("pos", ("NNS", "_")),
            ("upos", ("NOUN", "_")),
            ("lemma", ("film", "_")),
            ("feats", ("Number=Plur", "_")),
            ("deprel", ("_", "_")),
        ],
    )
    def test_what_rules_give(self, column: str, values: tuple[str, ...]) -> None:
        assert annotated(annotators.spacy(ruled(), column), "Films", "here") == values

    def test_a_trained_tagger_gives_what_it_gives_in_spacy(self, trained: Language) -> None:
        annotator = annotators.spacy(trained, "pos")
        right = words = 0
        for each in demo_corpus("reviews", 1_000, seed=2):
            direct = trained(
                Doc(
                    trained.vocab,
                    words=list(each.words),
                    sent_starts=[place in each.sentence_starts for place in range(len(each.words))],
                )
            )
            values = annotator(each)
            assert values == tuple(token.tag_ for token in direct)
            right += sum(map(str.__eq__, values, each.annotations["pos"]))
            words += len(values)
        assert right > 0.5 * words

    def test_sentences_are_those_of_the_document(self) -> None:
        seen: list[list[bool]] = []

        @Language.component("txray_test_sentences")
        def look(doc: Doc) -> Doc:
            seen.append([bool(token.is_sent_start) for token in doc])
            return doc

        nlp = entities()
        nlp.add_pipe("txray_test_sentences", first=True)
        annotators.spacy(nlp, "ent")(document("a", ".", "b", "c", starts=(0, 2)))
        assert seen == [[True, False, True, False]]

    def test_long_documents_go_through_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("txray.corpus.annotators.by_spacy.SpacyAnnotator.max_words", 3)
        annotator = annotators.spacy(entities(), "ent")
        words = ("New", "York", "a", "New", "York", "New", "York")
        values = annotator(document(*words, starts=(0, 2, 3)))
        # the sentence New York New York is cut after three words, and its last New York between the two
        assert values == ("CITY", "CITY", "O", "CITY", "CITY", "O", "O")

    def test_hostile_words(self, trained: Language) -> None:
        for annotator in (annotators.spacy(trained, "pos"), annotators.spacy(entities(), "ent")):
            assert len(annotated(annotator, *IN_CORPORA)) == len(IN_CORPORA)

    def test_a_lemma_may_hold_a_space(self) -> None:
        nlp = spacy.blank("en")
        nlp.add_pipe("attribute_ruler").add(patterns=[[{"LOWER": "nyc"}]], attrs={"LEMMA": "New York"})
        assert annotated(annotators.spacy(nlp, "lemma"), "NYC") == ("New␣York",)


class TestRefused:
    def test_an_unknown_column(self) -> None:
        with pytest.raises(UnknownNameError, match="'tag'; there are: pos, upos, lemma, feats, deprel, ent"):
            annotators.spacy(entities(), "tag")

    def test_a_column_that_no_component_gives(self) -> None:
        with pytest.raises(UsageError, match=r"'en_pipeline' .entity_ruler.: no component gives 'pos'"):
            annotators.spacy(entities(), "pos")
        with pytest.raises(UsageError, match="no components.: no component gives 'ent'"):
            annotators.spacy(spacy.blank("en"), "ent")

    def test_a_pipeline_that_merges_words(self) -> None:
        nlp = entities()
        nlp.add_pipe("merge_entities")
        with pytest.raises(UsageError, match=r"^document 'd': spaCy pipeline .* made 2 words of 3; disable"):
            annotators.spacy(nlp, "ent")(document("in", "New", "York"))

    def test_no_pipeline(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="'no_such_pipeline': cannot be loaded .*; install it") as caught:
            annotators.spacy("no_such_pipeline", "ent")
        assert "\n" not in str(caught.value)
        with pytest.raises(UsageError, match="cannot be loaded"):
            annotators.spacy(tmp_path, "ent")
        with pytest.raises(UsageError, match="a int; give a pipeline"):
            annotators.spacy(5, "ent")


class TestFingerprint:
    def test_reading_text_does_not_change_it(self) -> None:
        nlp = entities()
        before = annotators.spacy(nlp, "ent").fingerprint
        annotators.spacy(nlp, "ent")(document("never", "seen", "before"))
        assert annotators.spacy(nlp, "ent").fingerprint == before

    def test_a_saved_pipeline_has_it_in_every_process(self, trained: Language, tmp_path: Path) -> None:
        trained.to_disk(tmp_path / "tagger")
        expected = annotators.spacy(trained, "pos")
        loaded = annotators.spacy(str(tmp_path / "tagger"), "pos")
        assert loaded.fingerprint == expected.fingerprint
        some = document("a", "quiet", "film", ".")
        assert loaded(some) == expected(some)
        code = (
            "from txray.corpus import annotators; "
            f"print(annotators.spacy({str(tmp_path / 'tagger')!r}, 'pos').fingerprint)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected.fingerprint

    def test_what_changes_values_changes_it(self, trained: Language) -> None:
        def further(nlp: Language) -> Language:
            copy = spacy.blank("en").from_config(nlp.config).from_bytes(nlp.to_bytes())
            copy.get_pipe("tagger").model.get_ref("softmax").set_param(
                "b", copy.get_pipe("tagger").model.get_ref("softmax").get_param("b") + 1
            )
            return copy

        makers: list[Callable[[], tuple[Any, str]]] = [
            lambda: (entities(), "ent"),
            lambda: (entities("TOWN"), "ent"),
            lambda: (ruled(), "pos"),
            lambda: (ruled(), "upos"),
            lambda: (trained, "pos"),
            lambda: (further(trained), "pos"),
        ]
        prints = [annotators.spacy(*make()).fingerprint for make in makers]
        assert len(set(prints)) == len(prints)
        assert annotators.spacy(entities(), "ent").fingerprint == prints[0]
