"""Annotation by Stanza: a real pipeline trained here where it is installed, and stand-ins of its shape."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.builders.hostile import IN_CORPORA
from tests.unit.corpus.test_annotators import annotated, document
from txray.corpus import annotators
from txray.errors import UnknownNameError, UsageError


class Document:
    """Sentences of dictionaries, as Stanza's."""

    def __init__(self, sentences: list[list[dict[str, Any]]], text: str) -> None:
        self.text = text
        self.sentences = []
        for sentence in sentences:
            units = []
            for number, entry in enumerate(sentence, 1):
                places = dict(part.split("=") for part in entry["misc"].split("|"))
                assert text[int(places["start_char"]) : int(places["end_char"])] == entry["text"]
                assert entry["id"] == (number,)
                units.append(
                    SimpleNamespace(
                        text=entry["text"],
                        xpos=None,
                        upos=None,
                        lemma=None,
                        feats=None,
                        deprel=None,
                        ner=None,
                    )
                )
            self.sentences.append(SimpleNamespace(words=units, tokens=units))


class Pipeline:
    """Sets everything for capitals; the rest stays open."""

    def __init__(self, *processors: str) -> None:
        self.lang = "en"
        self.processors: dict[str, Any] = {name: SimpleNamespace(config={}) for name in processors}
        self.asked: list[list[str]] = []

    def process(self, document: Document, processors: list[str]) -> Document:
        self.asked.append(processors)
        for sentence in document.sentences:
            inside = False
            for word in sentence.words:
                if word.text[0].isupper():
                    word.xpos, word.upos, word.lemma, word.deprel = "NNP", "PROPN", word.text.lower(), "root"
                    word.feats, word.ner = "Number=Sing", "I-BIG NAME" if inside else "B-BIG NAME"
                    inside = True
                else:
                    word.ner, inside = "O", False
        return document


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("stanza", "stanza.models", "stanza.models.common", "stanza.models.common.doc")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["stanza"].__version__ = "1"  # type: ignore[attr-defined]
    sys.modules[names[-1]].Document = Document  # type: ignore[attr-defined]


@pytest.mark.usefixtures("stand_in")
class TestShape:
    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("pos", ("_", "NNP", "NNP", "_")),
            ("upos", ("_", "PROPN", "PROPN", "_")),
            ("lemma", ("_", "new", "york", "_")),
            ("feats", ("_", "Number=Sing", "Number=Sing", "_")),
            ("deprel", ("_", "root", "root", "_")),
            ("ent", ("O", "BIG␣NAME", "BIG␣NAME", "O")),
        ],
    )
    def test_columns(self, column: str, values: tuple[str, ...]) -> None:
        pipeline = Pipeline("tokenize", "mwt", "pos", "lemma", "depparse", "ner")
        annotator = annotators.stanza(pipeline, column)
        assert annotator.name == column
        assert annotated(annotator, "in", "New", "York", ".") == values
        assert pipeline.asked == [["pos", "lemma", "depparse", "ner"]]

    def test_sentences_and_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("txray.corpus.annotators.by_stanza.StanzaAnnotator.max_words", 3)
        pipeline = Pipeline("ner")
        values = annotators.stanza(pipeline, "ent")(document("A", "b", "", "D", "X" * 5000, starts=(0, 2)))
        assert values == ("BIG␣NAME", "O", "O", "BIG␣NAME", "BIG␣NAME")
        assert len(pipeline.asked) == 2

    def test_a_pipeline_that_changes_words_is_refused(self) -> None:
        pipeline = Pipeline("pos")
        pipeline.process = lambda document, processors: SimpleNamespace(sentences=[])  # type: ignore[method-assign, assignment]
        with pytest.raises(UsageError, match="^document 'd': StanzaAnnotator.* made 0 words of 1; leave out"):
            annotators.stanza(pipeline, "pos")(document("a"))

    def test_what_is_no_pipeline_or_lacks_the_processor(self) -> None:
        with pytest.raises(UnknownNameError, match="'xpos'.*there are: pos, upos"):
            annotators.stanza(Pipeline("pos"), "xpos")
        with pytest.raises(
            UsageError, match=r"^Stanza pipeline .tokenize, pos.: 'ent' needs the processor 'ner'"
        ):
            annotators.stanza(Pipeline("tokenize", "pos"), "ent")
        with pytest.raises(UsageError, match="a str; give a stanza.Pipeline"):
            annotators.stanza("en", "pos")

    def test_the_fingerprint_is_of_the_files_of_the_models(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one.pt", tmp_path / "other.pt"
        one.write_bytes(b"1")
        other.write_bytes(b"2")

        def fingerprint(column: str = "pos", **settings: Any) -> str:
            pipeline = Pipeline("tokenize", "pos", "ner")
            pipeline.processors["pos"].config = settings
            return annotators.stanza(pipeline, column).fingerprint

        prints = [
            fingerprint(),
            fingerprint("ent"),
            fingerprint(model_path=str(one)),
            fingerprint(model_path=str(other)),
            fingerprint(model_path=f"{one};{other}"),
            fingerprint(dependencies=[{"forward_charlm_path": str(other)}, {"pretrain_path": None}]),
            fingerprint(model_path=str(one), charlm_path=str(other)),
        ]
        assert len(set(prints)) == len(prints) - 1  # two of them read the same file and no other
        assert prints[3] == prints[5]
        assert fingerprint(model_path=str(one), batch_size="5") == prints[2]


def test_stanza_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stanza", None)
    with pytest.raises(
        UsageError, match=r"annotators.stanza needs the package 'stanza'.*pip install stanza$"
    ):
        annotators.stanza(Pipeline("pos"), "pos")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real pipeline with a small tagger, trained until it knows one sentence by heart."""
    stanza = pytest.importorskip("stanza")
    from stanza.models import tagger

    folder = tmp_path_factory.mktemp("stanza")
    rows = [("John", "PROPN", "NNP"), ("lives", "VERB", "VBZ"), ("in", "ADP", "IN"), (".", "PUNCT", ".")]
    lines = [
        f"{number}\t{word}\t{word}\t{upos}\t{xpos}\tA=b\t{int(number > 1)}\t{'dep' if number > 1 else 'root'}\t_\t_"
        for number, (word, upos, xpos) in enumerate(rows, 1)
    ]
    text = folder / "text.conllu"
    text.write_text(("\n".join(lines) + "\n\n") * 8)
    sizes = (
        "--word_emb_dim 16 --transformed_dim 16 --hidden_dim 16 --deep_biaff_hidden_dim 16 --char_emb_dim 8"
    )
    sizes += " --composite_deep_biaff_hidden_dim 16 --char_hidden_dim 8 --num_layers 1 --tag_emb_dim 8"
    more = "--no_pretrain --cpu --word_cutoff 0 --batch_size 40 --max_steps 60 --eval_interval 30 --lr 0.03"
    files = f"--train_file {text} --eval_file {text} --save_dir {folder} --save_name tagger.pt"
    tagger.main(f"--mode train --lang en --shorthand en_tiny {files} {sizes} {more}".split())
    (folder / "resources.json").write_text(
        json.dumps({"en": {"default_processors": {}, "lang_name": "English"}})
    )
    return stanza.Pipeline(
        "en",
        dir=str(folder),
        download_method=None,
        processors="tokenize,pos",
        tokenize_pretokenized=True,
        pos_model_path=str(folder / "tagger.pt"),
        pos_batch_size=100,
        use_gpu=False,
        verbose=False,
        allow_unknown_language=True,
    )


class TestReal:
    def test_tags_are_those_of_the_pipeline(self, pipeline: Any) -> None:
        some = document("John", "lives", "in", ".", "in", "John", starts=(0, 4))
        direct = pipeline([["John", "lives", "in", "."], ["in", "John"]])
        words = [word for sentence in direct.sentences for word in sentence.words]
        for column, attribute in (("pos", "xpos"), ("upos", "upos"), ("feats", "feats")):
            values = annotators.stanza(pipeline, column)(some)
            assert values == tuple(getattr(word, attribute) for word in words)
        assert annotators.stanza(pipeline, "pos")(some)[:4] == ("NNP", "VBZ", "IN", ".")

    def test_hostile_words(self, pipeline: Any) -> None:
        annotator = annotators.stanza(pipeline, "upos")
        assert len(annotated(annotator, *IN_CORPORA)) == len(IN_CORPORA)

    def test_the_fingerprint_reads_the_file_of_the_model(self, pipeline: Any) -> None:
        file = Path(pipeline.processors["pos"].config["model_path"])
        before = annotators.stanza(pipeline, "pos").fingerprint
        assert annotators.stanza(pipeline, "pos").fingerprint == before
        file.write_bytes(file.read_bytes() + b" ")
        assert annotators.stanza(pipeline, "pos").fingerprint != before
