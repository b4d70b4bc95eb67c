from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txray.corpus import Document, read_corpus
from txray.errors import CorpusError, UsageError


def test_words_annotations_labels_and_ids(write):
    lines = [
        '{"id": "a", "words": ["Good", ".", "Yes"], "pos": ["JJ", ".", "UH"], "labels": {"label": "pos", "stars": 5}}',
        '{"words": ["x y", "\\n", "\\u0000"], "sentence_starts": [0, 2], "id": 7}',
        '{"text": "It isn\'t. No!"}',
    ]
    assert list(read_corpus("jsonl", write.plain("some.jsonl", "\n".join(lines)))) == [
        Document(
            "a", ("Good", ".", "Yes"), {"pos": ("JJ", ".", "UH")}, {"label": "pos", "stars": "5"}, (0, 2)
        ),
        Document("7", ("x y", "\n", "\0"), sentence_starts=(0, 2)),
        Document(
            "some/000003",
            ("It", "is", "n't", ".", "No", "!"),
            sentence_starts=(0, 4),
            spacing=("", " ", "", "", " ", ""),
        ),
    ]


def test_blank_lines_are_nothing_and_documents_without_words_are_counted(write):
    corpus = read_corpus(
        "jsonl", write.plain("a.jsonl", '\n{"words": []}\n  \n{"text": " "}\n{"words": ["a"]}\n\n')
    )
    assert [document.id for document in corpus] == ["a/000005"]
    assert corpus.skipped == {"no words": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"not JSON \(Expecting property name.* at column 2\)"),
        ("words", "not JSON"),
        ("[" * 100_000, "unusable JSON"),
        ('{"words": ["a"], "n": ' + "1" * 5000 + "}", "unusable JSON"),
        ('["a"]', "a JSON list, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ("{}", r"neither 'words' nor 'text' among its keys \(none\)"),
        ('{"tokens": ["a"]}', r"neither 'words' nor 'text' among its keys \('tokens'\)"),
        ('{"words": ["a"], "text": "a"}', "both 'words' and 'text'"),
        ('{"words": ["a", 5]}', "'words' holds 5 at position 1; give strings only"),
        ('{"words": ["a", null]}', "'words' holds null at position 1"),
        ('{"words": ["a", ["b"]]}', r"'words' holds \[\"b\"\] at position 1"),
        ('{"words": ["a", ""]}', "word 1 is empty"),
        ('{"words": "a b"}', "'words' is \"a b\"; give a list of strings"),
        ('{"text": 5}', "'text' is 5; give a string"),
        ('{"words": ["a"], "pos": ["DT", "NN"]}', "annotation 'pos' has 2 values for 1 words"),
        ('{"words": ["a"], "pos": [1]}', "'pos' holds 1 at position 0"),
        ('{"words": ["a"], "url": "http"}', r"'url' is \"http\"; give a list.*ignore=\['url'\]"),
        ('{"words": ["a"], "labels": ["pos"]}', "'labels' is .*; give an object of strings"),
        ('{"words": ["a"], "labels": {"label": [1]}}', r"'labels: label' is \[1\]; give a string"),
        ('{"words": ["a"], "id": null}', "'id' is null; an id is a string"),
        ('{"words": ["a"], "sentence_starts": [1]}', "sentence_starts"),
        ('{"words": ["a", "b"], "sentence_starts": [0, true]}', "'sentence_starts' is"),
        ('{"words": ["\\ud800"]}', "half of a surrogate pair"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(write, line, message):
    corpus = read_corpus("jsonl", write.plain("a.jsonl", f'{{"words": ["fine"]}}\n{line}\n'))
    with pytest.raises(CorpusError, match=rf"a\.jsonl, line 2: .*{message}") as caught:
        list(corpus)
    assert "\n" not in str(caught.value)


def test_keys_can_be_left_out_by_name(write):
    file = write.plain("a.jsonl", '{"words": ["a"], "url": "http", "score": 0.5}')
    (document,) = read_corpus("jsonl", file, ignore=["url", "score"])
    assert document == Document("a/000001", ("a",))


def test_what_is_left_out_is_part_of_the_fingerprint(write):
    file = write.plain("a.jsonl", '{"words": ["a"], "pos": ["DT"]}')
    prints = {read_corpus("jsonl", file, ignore=ignore).fingerprint for ignore in ((), ["pos"])}
    assert len(prints) == 2
    assert read_corpus("jsonl", file, ignore=["x", "pos"]).fingerprint == (
        read_corpus("jsonl", file, ignore=["pos", "x"]).fingerprint
    )


def test_there_are_no_splits(write):
    with pytest.raises(UsageError, match="format 'jsonl' has no splits"):
        read_corpus("jsonl", write.plain("a.jsonl", '{"words": ["a"]}'), split="test")


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_NAME = _TEXT.filter(lambda name: name not in ("id", "words", "text", "labels", "sentence_starts", "group"))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    words = draw(st.lists(_TEXT, min_size=1, max_size=8))
    values = st.lists(
        st.text(st.characters(exclude_categories=["Cs"])), min_size=len(words), max_size=len(words)
    )
    starts = draw(st.sets(st.integers(0, len(words) - 1)))
    return Document(
        draw(_TEXT),
        tuple(words),
        {name: tuple(column) for name, column in draw(st.dictionaries(_NAME, values, max_size=2)).items()},
        draw(st.dictionaries(_TEXT, _TEXT, max_size=2)),
        tuple(sorted(starts | {0})),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(held=st.lists(documents(), min_size=1, max_size=4), ascii_only=st.booleans())
def test_any_document_written_as_json_is_read_back(write, held, ascii_only):
    lines = [
        json.dumps(
            {
                "id": document.id,
                "words": document.words,
                "labels": dict(document.labels),
                "sentence_starts": document.sentence_starts,
                **document.annotations,
            },
            ensure_ascii=ascii_only,
        )
        for document in held
    ]
    file = write.gz("any.jsonl.gz", "".join(f"{line}\n" for line in lines))
    assert list(read_corpus("jsonl", file)) == held


@pytest.mark.parametrize("key", ["token", "output", "label", "subword"])
def test_an_annotation_that_would_be_hidden_is_refused(write, key):
    file = write.plain("a.jsonl", f'{{"words": ["a"], "{key}": ["x"]}}\n'.encode())
    with pytest.raises(CorpusError, match=rf"line 1: '{key}' is a feature type of its own"):
        list(read_corpus("jsonl", file))
    (document,) = read_corpus("jsonl", file, ignore=[key])
    assert document.annotations == {}
