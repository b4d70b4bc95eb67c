from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txray.corpus import read_corpus
from txray.errors import CorpusError, UsageError

TREEBANK = """\
# newdoc id = first
# sent_id = first-1
# text = I don't.
1\tI\tI\tPRON\tPRP\tCase=Nom|Number=Sing\t2\tnsubj\t2:nsubj\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t0\troot\t0:root\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t2:advmod\t_
3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t2:conj\t_
4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t2:punct\t_

# sent_id = first-2
1\tNew York\tNew York\tPROPN\t_\t_\t0\troot\t_\t_

# newdoc
# sent_id = second-1
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def test_documents_sentences_and_annotations(write):
    first, second = read_corpus("conllu", write.plain("en.conllu", TREEBANK))
    assert first.id == "first"
    assert first.words == ("I", "do", "n't", ".", "New York")
    assert first.sentence_starts == (0, 4)
    assert first.annotations == {
        "pos": ("PRP", "VBP", "RB", ".", "_"),
        "upos": ("PRON", "AUX", "PART", "PUNCT", "PROPN"),
        "lemma": ("I", "do", "not", ".", "New York"),
        "feats": ("Case=Nom|Number=Sing", "_", "_", "_", "_"),
        "deprel": ("nsubj", "root", "advmod", "punct", "root"),
    }
    assert (second.id, second.words) == ("en/000014", ("Yes",))


def test_one_document_per_sentence(write):
    documents = list(read_corpus("conllu", write.plain("en.conllu", TREEBANK), unit="sentence"))
    assert [(document.id, len(document.words)) for document in documents] == [
        ("first-1", 4),
        ("first-2", 1),
        ("second-1", 1),
    ]


def test_without_newdoc_every_sentence_is_a_document(write):
    text = "\n".join(line for line in TREEBANK.splitlines() if "newdoc" not in line and "sent_id" not in line)
    documents = list(read_corpus("conllu", write.plain("en.conllu", text)))
    assert [(document.id, len(document.words)) for document in documents] == [
        ("en/000001", 4),
        ("en/000009", 1),
        ("en/000011", 1),
    ]


def test_sentences_before_the_first_newdoc_stand_alone(write):
    text = "1\tA\ta\tX\tDT\t_\t0\troot\t_\t_\n\n" * 2 + TREEBANK
    assert [len(document.words) for document in read_corpus("conllu", write.plain("en.conllu", text))] == [
        1,
        1,
        5,
        1,
    ]


def test_a_block_without_words_is_counted(write):
    text = "# only a comment\n\n1.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_\n\n\n\n" + TREEBANK
    corpus = read_corpus("conllu", write.plain("en.conllu", text))
    assert [document.id for document in corpus] == ["first", "en/000020"]
    assert corpus.skipped == {"no words": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2\tone two three", "2 columns separated by tabs, CoNLL-U has 10"),
        ("2 a a X DT _ 0 root _ _", "1 columns"),
        ("2\ta\ta\tX\tDT\t_\t0\troot\t_\t_\t_", "11 columns"),
        ("3\ta\ta\tX\tDT\t_\t0\troot\t_\t_", "id '3' where 2 must follow"),
        (
            "1\ta\ta\tX\tDT\t_\t0\troot\t_\t_",
            "id '1' where 2 must follow; a line is missing, or the blank line",
        ),
        ("two\ta\ta\tX\tDT\t_\t0\troot\t_\t_", "id 'two' where 2 must follow"),
        ("2\t\ta\tX\tDT\t_\t0\troot\t_\t_", "an empty column; write _"),
        ("2\ta\ta\tX\t\t_\t0\troot\t_\t_", "an empty column; write _"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(write, line, message):
    text = f"# sent_id = 1\n1\tA\ta\tX\tDT\t_\t0\troot\t_\t_\n{line}\n"
    corpus = read_corpus("conllu", write.gz("en.conllu.gz", text))
    with pytest.raises(CorpusError, match=rf"en\.conllu\.gz, line 3: {message}"):
        list(corpus)


def test_a_treebank_folder(write):
    for part in ("train", "dev", "test"):
        write.gz(f"en_ewt-ud-{part}.conllu.gz", TREEBANK.replace("first", part))
    write.plain("LICENSE.txt", "text")
    for split, part in (
        ("train", "train"),
        ("dev", "dev"),
        ("valid", "dev"),
        ("validation", "dev"),
        ("test", "test"),
    ):
        corpus = read_corpus("conllu", write.folder, split=split)
        assert next(iter(corpus)).id == part
    with pytest.raises(UsageError, match="needs a split, one of train, dev, test"):
        read_corpus("conllu", write.folder)


def test_a_folder_with_one_file_needs_no_split(write):
    write.plain("mine.conllu", TREEBANK)
    assert read_corpus("conllu", write.folder).name == "conllu/mine"


def test_a_folder_with_the_plain_and_the_compressed_file(write):
    write.plain("en-ud-dev.conllu", TREEBANK)
    write.gz("en-ud-dev.conllu.gz", TREEBANK)
    assert len(list(read_corpus("conllu", write.folder, split="dev"))) == 2


def test_a_folder_with_two_treebanks_or_none(write):
    write.plain("readme.txt", "text")
    with pytest.raises(CorpusError, match=r"holds no file like xx-ud-train\.conllu"):
        read_corpus("conllu", write.folder, split="train")
    write.plain("en_ewt-ud-train.conllu", TREEBANK)
    write.plain("en_gum-ud-train.conllu", TREEBANK)
    with pytest.raises(UsageError, match="en_ewt-ud-train.conllu and en_gum-ud-train.conllu; name one"):
        read_corpus("conllu", write.folder, split="train")


def test_the_unit_is_part_of_the_fingerprint(write):
    file = write.plain("en.conllu", TREEBANK)
    assert read_corpus("conllu", file).fingerprint != read_corpus("conllu", file, unit="sentence").fingerprint


_FIELD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8).filter(
    str.strip
)
_SENTENCES = st.lists(st.lists(st.tuples(*[_FIELD] * 5), min_size=1, max_size=5), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sentences=_SENTENCES, new_documents=st.lists(st.booleans(), min_size=6, max_size=6))
def test_whatever_is_written_as_conllu_is_read_back(write, sentences, new_documents):
    lines, expected = [], []
    for number, (sentence, new) in enumerate(zip(sentences, new_documents, strict=False)):
        if new or not number:
            lines.append(f"# newdoc id = d{number}")
            expected.append([])
        lines += [
            f"{place}\t{form}\t{lemma}\t{upos}\t{xpos}\t_\t0\t{deprel}\t_\t_"
            for place, (form, lemma, upos, xpos, deprel) in enumerate(sentence, 1)
        ]
        lines.append("")
        expected[-1].append(sentence)
    documents = list(read_corpus("conllu", write.plain("any.conllu", "\n".join(lines))))
    assert len(documents) == len(expected)
    for document, wanted in zip(documents, expected, strict=True):
        assert [list(words) for words in document.sentences()] == [
            [row[0] for row in rows] for rows in wanted
        ]
        rows = [row for rows in wanted for row in rows]
        for name, column in (("lemma", 1), ("upos", 2), ("pos", 3), ("deprel", 4)):
            assert list(document.annotations[name]) == [row[column] for row in rows]


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "sentences", "words"),
    [("train", 12_544, 204_577), ("dev", 2_001, 25_147), ("test", 2_077, 25_094)],
)
def test_the_real_treebank_has_the_published_counts(data_folder, split, sentences, words):
    by_document = list(read_corpus("conllu", data_folder / "ud-ewt", split=split))
    by_sentence = list(read_corpus("conllu", data_folder / "ud-ewt", split=split, unit="sentence"))
    assert sum(len(document.words) for document in by_document) == words
    assert sum(len(document.words) for document in by_sentence) == words
    assert sum(len(document.sentence_starts) for document in by_document) == len(by_sentence) == sentences
    for documents in (by_document, by_sentence):
        assert len({document.id for document in documents}) == len(documents)
    assert "_" not in {tag for document in by_document for tag in document.annotations["pos"]}
