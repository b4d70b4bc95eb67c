from __future__ import annotations

import zipfile

import pytest

from txray.corpus import read_corpus
from txray.errors import CorpusError, UsageError

TEXT = (
    " \n = Valkyria Chronicles III = \n \n"
    " The game sold 1 @,@ 000 <unk> copies . It was well @-@ liked ! \n"
    " \n = = Gameplay = = \n \n Rated 9 @.@ 5 . \n"
    " = not a heading \n = = x = \n"
)
RAW = TEXT.replace("<unk>", "Japanese")


def test_every_line_with_words_is_a_document_named_by_its_line(write):
    documents = list(read_corpus("wikitext", write.plain("wiki.train.tokens", TEXT)))
    assert [
        (document.id, document.labels["section"], " ".join(document.words)) for document in documents
    ] == [
        ("wiki/train/000002", "heading", "= Valkyria Chronicles III ="),
        ("wiki/train/000004", "paragraph", "The game sold 1 @,@ 000 <unk> copies . It was well @-@ liked !"),
        ("wiki/train/000006", "heading", "= = Gameplay = ="),
        ("wiki/train/000008", "paragraph", "Rated 9 @.@ 5 ."),
        ("wiki/train/000009", "paragraph", "= not a heading"),
        ("wiki/train/000010", "paragraph", "= = x ="),
    ]
    assert [" ".join(words) for words in documents[1].sentences()] == [
        "The game sold 1 @,@ 000 <unk> copies .",
        "It was well @-@ liked !",
    ]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("= a =", True),
        ("= = a b = =", True),
        ("= a = b =", True),
        ("= = a b =", False),
        ("= a b = =", False),
        ("= a", False),
        ("a =", False),
        ("=", False),
        ("= =", False),
        ("= = =", False),
        ("== a ==", False),
    ],
)
def test_a_heading_stands_between_equally_many_signs(write, line, heading):
    (document,) = read_corpus("wikitext", write.plain("wiki.train.tokens", f" {line} \n"))
    assert document.labels == {"section": "heading" if heading else "paragraph"}


def test_files_deeper_than_one_folder_are_not_looked_for(write):
    write.plain("a/b/wiki.train.tokens", TEXT)
    packed = write.zip("a.zip", {"a/b/wiki.train.tokens": TEXT})
    for path in (write.folder, packed):
        with pytest.raises(CorpusError, match=r"holds no wiki\.train\.tokens"):
            read_corpus("wikitext", path, split="train")


def test_headings_can_be_skipped_and_are_counted(write):
    corpus = read_corpus("wikitext", write.plain("wiki.train.tokens", TEXT), headings="skip")
    assert [document.id[-2:] for document in corpus] == ["04", "08", "09", "10"]
    assert corpus.skipped == {"heading": 2}


def test_markup_can_be_restored_word_by_word(write):
    corpus = read_corpus("wikitext", write.plain("wiki.train.tokens", TEXT), markup="restore")
    texts = [" ".join(document.words) for document in corpus]
    assert texts[1] == "The game sold 1 , 000 <unk> copies . It was well - liked !"
    assert texts[3] == "Rated 9 . 5 ."


LAYOUTS = {
    "folder": lambda write: write.plain("wiki.train.tokens", TEXT).parent,
    "compressed": lambda write: write.gz("wiki.train.tokens.gz", TEXT).parent,
    "both": lambda write: (
        (write.plain("wiki.train.tokens", TEXT), write.gz("wiki.train.tokens.gz", TEXT))[0].parent
    ),
    "subfolder": lambda write: write.plain("wikitext-2/wiki.train.tokens", TEXT).parent.parent,
    "raw subfolder": lambda write: write.plain("wikitext-2-raw/wiki.train.raw", TEXT).parent.parent,
    "file": lambda write: write.plain("wiki.train.tokens", TEXT),
    "zip": lambda write: write.zip("a.zip", {"wiki.train.tokens": TEXT}),
    "official zip": lambda write: write.zip(
        "a.zip", {"wikitext-2-raw/": b"", "wikitext-2-raw/wiki.train.raw": TEXT}
    ),
    "compressed in zip": lambda write: write.zip(
        "a.zip", {"x/wiki.train.tokens.gz": write.gz("t", TEXT).read_bytes()}
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_corpus(write, layout):
    reference = read_corpus("wikitext", write.plain("else/where/wiki.train.tokens", TEXT))
    corpus = read_corpus("wikitext", LAYOUTS[layout](write), split="train")
    assert corpus.name == reference.name == "wikitext/train"
    assert list(corpus) == list(corpus) == list(reference)
    assert corpus.fingerprint == reference.fingerprint


def test_options_change_the_fingerprint(write):
    file = write.plain("wiki.train.tokens", TEXT)
    corpora = [
        read_corpus("wikitext", file, **options)
        for options in ({}, {"headings": "skip"}, {"markup": "restore"})
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 3


@pytest.mark.parametrize("split", ["valid", "validation"])
def test_the_split_is_chosen_and_validation_means_valid(write, split):
    for name in ("train", "valid", "test"):
        write.plain(f"wiki.{name}.tokens", f" {name} \n")
    (document,) = read_corpus("wikitext", write.folder, split=split)
    assert (document.id, document.words) == ("wiki/valid/000001", ("valid",))


def test_a_folder_needs_a_split_and_one_that_exists(write):
    write.plain("wiki.train.tokens", TEXT)
    with pytest.raises(UsageError, match="needs a split, one of train, valid, test"):
        read_corpus("wikitext", write.folder)
    with pytest.raises(UsageError, match=r"unknown split 'trian' \(did you mean 'train'\?\)"):
        read_corpus("wikitext", write.folder, split="trian")
    with pytest.raises(CorpusError, match=r"holds no wiki\.test\.tokens, \.raw or \.gz"):
        read_corpus("wikitext", write.folder, split="test")


def test_a_single_file_may_be_named_freely_and_then_has_no_split(write):
    file = write.plain("mine.txt", " a b \n")
    assert [document.id for document in read_corpus("wikitext", file)] == ["mine/000001"]
    with pytest.raises(UsageError, match="its name does not say 'train'"):
        read_corpus("wikitext", file, split="train")


def test_a_single_file_of_another_split_is_refused(write):
    with pytest.raises(UsageError, match="does not say 'test'"):
        read_corpus("wikitext", write.plain("wiki.train.tokens", TEXT), split="test")


def test_where_both_versions_are_there_one_must_be_chosen(write):
    write.plain("wikitext-2/wiki.test.tokens", TEXT)
    write.plain("wikitext-2-raw/wiki.test.raw", RAW)
    with pytest.raises(UsageError, match="choose one with version='tokens' or 'raw'"):
        read_corpus("wikitext", write.folder, split="test")
    raw = read_corpus("wikitext", write.folder, split="test", version="raw")
    tokens = read_corpus("wikitext", write.folder, split="test", version="tokens")
    assert "Japanese" in str(list(raw))
    assert "<unk>" in str(list(tokens))


def test_two_data_sets_in_one_folder_are_not_mixed_up(write):
    write.plain("wikitext-2/wiki.test.tokens", TEXT)
    write.plain("wikitext-103/wiki.test.tokens", TEXT)
    with pytest.raises(
        UsageError, match=r"wikitext-103/wiki\.test\.tokens and wikitext-2/wiki\.test\.tokens; name one"
    ):
        read_corpus("wikitext", write.folder, split="test")


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_cut_off_zip(write, keep):
    raw = write.zip("a.zip", {"wiki.train.tokens": TEXT}).read_bytes()
    with pytest.raises(CorpusError, match=r"cut\.zip: damaged \(File is not a zip file\)"):
        read_corpus("wikitext", write.plain("cut.zip", raw[: int(len(raw) * keep)]), split="train")


def test_a_zip_with_damaged_content(write):
    file = write.zip("a.zip", {"wiki.train.tokens": TEXT * 500})
    raw = bytearray(file.read_bytes())
    raw[80:90] = bytes(10)
    file.write_bytes(raw)
    with pytest.raises(CorpusError, match=r"a\.zip: 'wiki\.train\.tokens': (damaged|cannot be read)"):
        list(read_corpus("wikitext", file, split="train"))


def test_an_encrypted_zip(write):
    file = write.zip("a.zip", {"wiki.train.tokens": TEXT})
    raw = bytearray(file.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + at] |= 1
    file.write_bytes(raw)
    with pytest.raises(CorpusError, match="encrypted; unpack it with its password first"):
        read_corpus("wikitext", file, split="train")


def test_a_zip_in_a_way_of_compression_that_is_not_known(write):
    file = write.zip("a.zip", {"wiki.train.tokens": TEXT})
    raw = bytearray(file.read_bytes())
    for magic, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        raw[raw.index(magic) + at] = 97
    file.write_bytes(raw)
    with pytest.raises(CorpusError, match=r"cannot be unpacked \(That compression method is not supported\)"):
        read_corpus("wikitext", file, split="train")


def test_the_zip_may_hold_names_that_lead_elsewhere(write):
    file = write.zip("a.zip", {"../../evil": "x", "/abs": "y", "../wiki.train.tokens": TEXT})
    assert len(list(read_corpus("wikitext", file, split="train"))) == 6
    assert {entry.name for entry in write.folder.iterdir()} == {"a.zip"}
    with zipfile.ZipFile(file) as archive:
        assert "../../evil" in archive.namelist()


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "words", "lines", "unknown"),
    [
        ("train", 2_051_910, 36_718, 54_625),
        ("valid", 213_886, 3_760, 11_718),
        ("test", 241_211, 4_358, 15_218),
    ],
)
def test_the_real_wikitext_2_has_the_published_counts(data_folder, split, words, lines, unknown):
    corpus = read_corpus("wikitext", data_folder / "wikitext-2", split=split)
    counted = found = last = 0
    for document in corpus:
        counted += len(document.words)
        found += document.words.count("<unk>")
        last = int(document.id.rpartition("/")[2])
    assert (counted, found) == (words, unknown)
    assert 0 <= lines - last <= 2  # the files end in lines without words
    assert not corpus.skipped


@pytest.mark.data
def test_the_real_wikitext_2_with_one_end_of_line_each(data_folder):
    """The usual count of 2,088,628 tokens is that of the words and of one end per line, also of empty lines."""
    import gzip

    words = sum(
        len(document.words) for document in read_corpus("wikitext", data_folder / "wikitext-2", split="train")
    )
    with gzip.open(data_folder / "wikitext-2" / "wiki.train.tokens.gz", "rt", encoding="utf-8") as lines:
        assert words + sum(1 for _ in lines) == 2_088_628


@pytest.mark.data
def test_the_real_wikitext_2_without_headings(data_folder):
    corpus = read_corpus("wikitext", data_folder / "wikitext-2", split="train", headings="skip")
    paragraphs = sum(1 for _ in corpus)
    assert (paragraphs, corpus.skipped["heading"]) == (17_556, 6_211)
