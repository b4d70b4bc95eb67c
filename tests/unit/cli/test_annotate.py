"""Lexicons, spaCy pipelines, Parquet and saved data sets on the command line, through to a stage."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import spacy

from txray.cli.annotate import with_annotations
from txray.cli.main import _exit_code
from txray.corpus import Corpus, Document, demo_corpus
from txray.errors import UsageError
from txray.models import language_model, save_model
from txray.preferences import Stage

WORDS = (("The", "quiet", "film", "."), ("A", "film", "in", "York", "."))


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with random weights."""
    folder = tmp_path_factory.mktemp("model") / "lm"
    save_model(language_model("lstm", demo_corpus("reviews", 2_000), embedding=8, hidden=10), folder)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A lexicon, a pipeline, and a table, in one folder."""
    (tmp_path / "moods.tsv").write_text("quiet\tcalm\nfilm\tart\n")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "CITY", "pattern": "York"}])
    nlp.to_disk(tmp_path / "cities")
    pl.DataFrame(
        {"words": [list(words) for words in WORDS], "tag": [["x"] * len(words) for words in WORDS]}
    ).write_parquet(tmp_path / "some.parquet")
    return tmp_path


def counts(stage: Path, kind: str) -> dict[str, int]:
    preferences = Stage.load(stage).preferences(feature_type=kind)
    return dict(zip(preferences.features.tolist(), preferences.feature_counts().tolist(), strict=True))


def test_annotations_become_kinds_of_feature(
    model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("moods", "ent", "tag", "feeling")
    code = txray(
        *("collect", model, "-f", "parquet", "-t", texts / "some.parquet", "-o", texts / "stage"),
        *("--lexicon", texts / "moods.tsv", "--lexicon", f"{texts / 'moods.tsv'}:feeling"),
        *("--spacy", f"{texts / 'cities'}:ent"),
        *(part for kind in kinds for part in ("--feature-type", kind)),
    )
    assert code == 0, capsys.readouterr().err
    assert counts(texts / "stage", "moods") == {"O": 6, "art": 2, "calm": 1}
    assert counts(texts / "stage", "feeling") == counts(texts / "stage", "moods")
    assert counts(texts / "stage", "ent") == {"CITY": 1, "O": 8}
    assert counts(texts / "stage", "tag") == {"x": 9}


def test_a_saved_data_set_is_a_text(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": ["The quiet film.", None], "label": [1, 0]})
    dataset = dataset.cast_column("label", datasets.ClassLabel(names=["neg", "pos"]))
    datasets.DatasetDict({"test": dataset}).save_to_disk(str(texts / "saved"))
    stage = texts / "stage"
    asked = ("-f", "hf", "-t", texts / "saved", "--split", "test", "--feature-type", "label", "-o", stage)
    assert txray("collect", model, *asked) == 0, capsys.readouterr().err
    assert counts(stage, "label") == {"pos": 4}
    assert Stage.load(stage).manifest["corpus"]["documents_skipped"] == {"no text": 1}


@pytest.mark.parametrize(
    ("options", "exit_code", "says"),
    [
        (("--spacy", "en_core_web_sm"), 2, "name a pipeline and a column, such as en_core_web_sm:ent"),
        (("--spacy", "{cities}:tag"), 2, "unknown column of a spaCy pipeline 'tag'"),
        (("--spacy", "no_such_pipeline:pos"), 2, "'no_such_pipeline': cannot be loaded"),
        (("--spacy", "{cities}:pos"), 2, "no component gives 'pos'"),
        (("--lexicon", "absent.tsv"), 1, "absent.tsv: no such file"),
        (("--lexicon", "{broken}"), 1, "broken.tsv, line 1: 'word' is not a word and its categories"),
        (("--lexicon", "{moods}", "--lexicon", "{moods}"), 2, "two annotations named 'moods'"),
        (("--lexicon", "{moods}:token"), 2, "annotation 'token' is a feature type of its own"),
        (("--lexicon", "{moods}", "--feature-type", "mood"), 2, "did you mean 'moods'"),
    ],
)
def test_a_mistake_is_one_line(
    model: Path,
    texts: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    exit_code: int,
    says: str,
) -> None:
    (texts / "broken.tsv").write_text("word\n")
    names = {"cities": texts / "cities", "moods": texts / "moods.tsv", "broken": texts / "broken.tsv"}
    given = (option.format(**names) for option in options)
    code = txray("collect", model, "-f", "parquet", "-t", texts / "some.parquet", "-o", texts / "out", *given)
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (exit_code, 1), said
    assert says in said
    assert not (texts / "out").exists()


def test_a_file_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    file = tmp_path / "a:b.tsv"
    file.write_text("film\tart\n")
    corpus = Corpus.from_documents("c", [Document("d", ("film",))])
    (document,) = with_annotations(corpus, None, [str(file), f"{file}:again"], None)
    assert document.annotations == {"a:b": ("art",), "again": ("art",)}
    with pytest.raises(UsageError, match="two annotations named 'x'"):
        with_annotations(corpus, None, [f"{file}:x", f"{file}:x"], None)
