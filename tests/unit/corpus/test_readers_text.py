from __future__ import annotations

import pytest

from txray.corpus import read_corpus
from txray.errors import CorpusError, UsageError

TEXT = "\n\nIt's a line that is\n  wrapped. And more.\n\t\nSecond paragraph.\n"


def _read(corpus):
    return [(document.id, [" ".join(sentence) for sentence in document.sentences()]) for document in corpus]


def test_paragraphs_are_separated_by_lines_without_words_and_may_be_wrapped(write):
    assert _read(read_corpus("text", write.plain("notes.txt", TEXT))) == [
        ("notes/000003", ["It 's a line that is wrapped .", "And more ."]),
        ("notes/000006", ["Second paragraph ."]),
    ]


def test_lines(write):
    assert _read(read_corpus("text", write.plain("notes.txt", TEXT), unit="line")) == [
        ("notes/000003", ["It 's a line that is"]),
        ("notes/000004", ["wrapped .", "And more ."]),
        ("notes/000006", ["Second paragraph ."]),
    ]


def test_a_whole_file_where_a_paragraph_ends_a_sentence(write):
    text = TEXT.replace("more.", "more")
    assert _read(read_corpus("text", write.plain("notes.txt", text), unit="file")) == [
        ("notes", ["It 's a line that is wrapped .", "And more", "Second paragraph ."]),
    ]


@pytest.mark.parametrize("unit", ["paragraph", "file"])
def test_text_that_is_already_split_is_left_as_it_is(write, unit):
    text = "It's one . Two\nThree ! )\tfour\n"
    (document,) = _read(read_corpus("text", write.plain("notes.txt", text), unit=unit, tokenized=True))
    assert document[1] == ["It's one .", "Two", "Three ! )", "four"]


def test_a_folder_is_read_in_the_order_of_names_with_folders_below(write):
    write.plain("b.txt", "b")
    write.gz("a/z.txt.gz", "z")
    write.plain("a/y.txt", "y")
    write.plain(".hidden.txt", "hidden")
    write.plain(".git/x.txt", "hidden")
    write.plain("other.md", "other")
    assert [document.id for document in read_corpus("text", write.folder)] == [
        "a/y/000001",
        "a/z/000001",
        "b/000001",
    ]


def test_an_empty_file_in_a_folder_is_skipped_and_counted(write):
    write.plain("a.txt", "")
    write.plain("b.txt", " \n")
    write.plain("c.txt", "word")
    corpus = read_corpus("text", write.folder, unit="file")
    assert [document.id for document in corpus] == ["c"]
    assert corpus.skipped == {"no words": 2}


def test_two_files_with_the_same_ids_are_refused(write):
    write.plain("a.txt", "x")
    write.gz("a.txt.gz", "x")
    with pytest.raises(CorpusError, match=r"holds a\.txt and a\.txt\.gz; keep one"):
        read_corpus("text", write.folder)


def test_there_are_no_splits(write):
    with pytest.raises(UsageError, match="format 'text' has no splits, so 'train'"):
        read_corpus("text", write.plain("a.txt", "x"), split="train")


def test_options_and_file_names_are_part_of_the_fingerprint(write):
    file = write.plain("a.txt", "one . two\n\nthree")
    options = [
        {},
        {"unit": "line"},
        {"unit": "file"},
        {"tokenized": True},
        {"unit": "line", "tokenized": True},
    ]
    corpora = [read_corpus("text", file, **chosen) for chosen in options]
    assert len({corpus.fingerprint for corpus in corpora}) == len(options)


def test_control_characters_are_spaces_in_running_text_and_kept_in_split_text(write):
    file = write.plain("a.txt", "a very long line with one\x07bell and one\x00nul")
    (running,) = read_corpus("text", file)
    (split,) = read_corpus("text", file, tokenized=True)
    assert running.words[-3:] == ("and", "one", "nul")
    assert split.words[-3:] == ("one\x07bell", "and", "one\x00nul")


def test_a_word_of_a_million_characters(write):
    long = "ab" * 500_000
    (document,) = read_corpus("text", write.plain("a.txt", f"before {long} after."))
    assert document.words == ("before", long, "after", ".")
