from __future__ import annotations

import csv
import gzip
import io
import os
import tarfile
import tracemalloc

import pytest

from txray.corpus import read_corpus, sources
from txray.corpus.archives import tar_members
from txray.corpus.readers import review_files
from txray.errors import CorpusError, UsageError

REVIEWS = {
    "train/pos/0_9.txt": "Great!<br /><br />I loved it &amp; them.",
    "train/pos/2_10.txt": "Fine film.",
    "train/pos/10_7.txt": "Not bad",
    "train/neg/0_1.txt": "Awful.",
    "train/neg/1_4.txt": "<br />",
    "train/unsup/0_0.txt": "Nobody knows.",
    "test/pos/0_8.txt": "Test good.",
    "test/neg/0_2.txt": "Test bad.",
    "README": "read me",
}
TRAIN = [
    ("imdb/train/pos/0_9", "pos", "9", ["Great !", "I loved it & them ."]),
    ("imdb/train/neg/0_1", "neg", "1", ["Awful ."]),
    ("imdb/train/pos/2_10", "pos", "10", ["Fine film ."]),
    ("imdb/train/pos/10_7", "pos", "7", ["Not bad"]),
]


def _read(corpus):
    return [
        (
            document.id,
            document.labels["label"],
            document.labels.get("rating"),
            [" ".join(sentence) for sentence in document.sentences()],
        )
        for document in corpus
    ]


def _below(base, reviews=REVIEWS):
    return {f"{base}{name}": text for name, text in reviews.items()}


def _folder(write, base=""):
    for name, text in _below(base).items():
        write.plain(name, text)
    return write.folder


CONTAINERS = {
    "folder": _folder,
    "folder around it": lambda write: _folder(write, "aclImdb/"),
    "tar.gz": lambda write: write.tar("acl.tar.gz", _below("aclImdb/")),
    "tar": lambda write: write.tar("acl.tar", _below("aclImdb/")),
    "tar at its top": lambda write: write.tar("acl.tgz", REVIEWS),
    "tar with dots": lambda write: write.tar("acl.tar.gz", _below("./aclImdb/")),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_reviews_with_alternating_classes(write, container):
    path = CONTAINERS[container](write)
    corpus = read_corpus("imdb", path, split="train")
    assert corpus.name == "imdb/train"
    assert _read(corpus) == _read(corpus) == TRAIN
    assert corpus.skipped == {"no words": 1}
    assert [text for *_, text in _read(read_corpus("imdb", path, split="test"))] == [
        ["Test good ."],
        ["Test bad ."],
    ]


def test_folder_and_archives_in_the_same_order_have_the_same_fingerprint(write):
    archive = read_corpus("imdb", write.tar("acl.tar.gz", REVIEWS), split="train")
    folder = read_corpus("imdb", _folder(write), split="train")
    assert archive.fingerprint == folder.fingerprint


def test_the_order_of_an_archive_is_part_of_its_fingerprint(write):
    one = read_corpus("imdb", write.tar("one.tar.gz", REVIEWS), split="train")
    other = read_corpus("imdb", write.tar("two.tar.gz", dict(reversed(REVIEWS.items()))), split="train")
    assert _read(one) != _read(other)
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("container", ["folder", "tar.gz"])
def test_the_split_and_the_words_are_part_of_the_fingerprint(write, container):
    path = CONTAINERS[container](write)
    prints = {read_corpus("imdb", path, split=split).fingerprint for split in ("train", "test")}
    assert len(prints) == 2


def test_a_folder_or_an_archive_needs_a_split_that_exists(write):
    for path in (_folder(write), write.tar("acl.tar.gz", REVIEWS)):
        with pytest.raises(UsageError, match="needs a split, one of train, test"):
            read_corpus("imdb", path)
        with pytest.raises(UsageError, match="unknown split 'unsup'; there are: train, test"):
            read_corpus("imdb", path, split="unsup")


def test_an_archive_of_something_else(write):
    with pytest.raises(
        CorpusError, match=r"holds no train/pos/\*\.txt or train/neg/\*\.txt; give the archive of aclImdb"
    ):
        read_corpus("imdb", write.tar("other.tar.gz", {"a/b.txt": "x"}), split="train")


def test_one_class_missing(write):
    only = {name: text for name, text in REVIEWS.items() if "/neg/" not in name}
    corpus = read_corpus("imdb", write.tar("acl.tar.gz", only), split="train")
    with pytest.raises(CorpusError, match=r"holds no train/neg/\*\.txt"):
        list(corpus)
    for name, text in only.items():
        write.plain(name, text)
    with pytest.raises(CorpusError, match=r"train/neg: no \.txt files"):
        read_corpus("imdb", write.folder, split="train")


def test_members_that_are_hostile_are_not_even_looked_at(write):
    file = write.folder / "acl.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, kind, target in (
            ("../../evil", tarfile.REGTYPE, ""),
            ("/etc/evil", tarfile.REGTYPE, ""),
            ("train/pos/99_9.txt", tarfile.SYMTYPE, "/etc/passwd"),
            ("train/pos/98_9.txt", tarfile.LNKTYPE, "../../x"),
            ("train/pos/97_9.txt", tarfile.FIFOTYPE, ""),
            ("train/pos/96_9.txt", tarfile.CHRTYPE, ""),
            ("train/pos/", tarfile.DIRTYPE, ""),
            ("train/pos/../neg/9_9.txt", tarfile.REGTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
        for name, text in REVIEWS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    assert _read(read_corpus("imdb", file, split="train")) == TRAIN
    assert [entry.name for entry in write.folder.iterdir()] == ["acl.tar.gz"]


@pytest.mark.parametrize("container", ["folder", "tar.gz"])
def test_a_review_above_the_limit_is_refused(write, container, monkeypatch):
    for module in (sources, review_files):
        monkeypatch.setattr(module, "MAX_LINE", 30)
    with pytest.raises(
        CorpusError, match=r"0_9\.txt'?: (more than 30 bytes|40 bytes are too many for a review)"
    ):
        list(read_corpus("imdb", CONTAINERS[container](write), split="train"))


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("name", ["acl.tar", "acl.tar.gz"])
def test_a_cut_off_archive_ends_in_an_error_not_in_a_short_corpus(write, name, keep):
    many = {
        f"train/{label}/{n}_5.txt": f"Text {n * 7919 % 1000} of it. " * 50
        for label in ("pos", "neg")
        for n in range(60)
    }
    raw = write.tar(name, many).read_bytes()
    corpus = read_corpus("imdb", write.plain(f"cut.{name}", raw[: int(len(raw) * keep)]), split="train")
    with pytest.raises(CorpusError, match=rf"cut\.{name}: (ends early|damaged)"):
        list(corpus)


def test_a_header_that_is_none_does_not_silently_end_the_archive(write):
    raw = bytearray(
        write.tar(
            "acl.tar", {f"train/{label}/{n}_5.txt": "x" for n in range(9) for label in ("pos", "neg")}
        ).read_bytes()
    )
    raw[10 * 1024 + 100] ^= 0xFF
    corpus = read_corpus("imdb", write.plain("bad.tar", bytes(raw)), split="train")
    with pytest.raises(
        CorpusError, match=r"bad\.tar: damaged \(bad checksum, before the mark at the end of the archive\)"
    ):
        list(corpus)


def test_a_flipped_byte_in_the_checksum_of_an_archive_is_found(write):
    packed = write.tar("acl.tar", {**REVIEWS, "end.bin": os.urandom(200_000)}).read_bytes()
    raw = bytearray(gzip.compress(packed + bytes(200_000)))  # padding, so that the last member is not the end
    raw[-6] ^= 1
    corpus = read_corpus("imdb", write.plain("bad.tar.gz", bytes(raw)), split="train")
    with pytest.raises(CorpusError, match=r"bad\.tar\.gz: damaged \(CRC check failed"):
        list(corpus)


def test_memory_does_not_grow_with_the_number_of_members(write):
    peaks = []
    for count in (200, 4_000):
        file = write.tar(f"{count}.tar", {f"train/pos/{number}_9.txt": "good" for number in range(count)})
        tracemalloc.start()
        for _ in tar_members(file):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize("container", ["folder", "tar.gz"])
def test_a_review_in_another_encoding_is_named(write, container, monkeypatch):
    monkeypatch.setitem(REVIEWS, "train/neg/0_1.txt", "Bl\u00f6d")
    path = CONTAINERS[container](write)
    raw = "Bl\u00f6d".encode("latin-1")
    if container == "folder":
        write.plain("train/neg/0_1.txt", raw)
    else:
        path = write.tar("acl.tar.gz", {**REVIEWS, "train/neg/0_1.txt": raw})
    with pytest.raises(CorpusError, match=r"0_1\.txt'?, line 1: not UTF-8 \(byte 0xF6 at offset 2\)"):
        list(read_corpus("imdb", path, split="train"))


# ---------------------------------------------------------------------------------------------- tables


def _csv(rows, **options):
    out = io.StringIO()
    csv.writer(out, **options).writerows(rows)
    return out.getvalue()


def test_a_table_with_any_order_of_columns_and_ids_that_stay_unique(write):
    text = _csv(
        [
            ("rating", "label", "more", "text", "id"),
            ("1", "neg", "", 'Bad, "very"\nbad.', "0"),
            ("2", "0", "", "Worse.", "0"),
            ("", "1", "", "Good.", ""),
            ("9", "pos", "", " ", "7"),
        ]
    )
    corpus = read_corpus("imdb", write.gz("reviews.csv.gz", text))
    assert _read(corpus) == [
        ("reviews/000003", "pos", None, ["Good ."]),
        ("reviews/000001/0", "neg", "1", ['Bad , " very "', "bad ."]),
        ("reviews/000002/0", "neg", "2", ["Worse ."]),
    ]
    assert corpus.skipped == {"no words": 1}


def test_a_table_with_only_the_needed_columns(write):
    corpus = read_corpus("imdb", write.plain("r.csv", "text,label\na,pos\nb,pos\nc,neg\n"))
    assert [(name, label) for name, label, *_ in _read(corpus)] == [
        ("r/000001", "pos"),
        ("r/000003", "neg"),
        ("r/000002", "pos"),
    ]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("review,sentiment", "'review', 'sentiment'"),
        ("text;label", "'text;label'"),
        ("text", "'text'"),
        ("", "none"),
        ("Text,Label", "'Text', 'Label'"),
    ],
)
def test_a_table_without_the_columns_says_which_it_has(write, header, found):
    with pytest.raises(CorpusError, match=rf"r\.csv: columns {found}; needs 'text' and 'label'"):
        read_corpus("imdb", write.plain("r.csv", f"{header}\nx,y\n"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,maybe", "line 4: label 'maybe'; give pos or neg, or 1 or 0"),
        ("a", "line 4: 1 values for 2 columns"),
        ("a, b,pos", "line 4: 3 values for 2 columns"),
        ('"a"b,pos', r"line 4: broken CSV \(.*\); check the quotes"),
        ('"a,pos', r"line 4: broken CSV \(unexpected end of data\); check the quotes"),
    ],
)
def test_a_broken_row_is_named_by_its_line(write, row, message):
    corpus = read_corpus("imdb", write.plain("r.csv", f'text,label\n"two\nlines",pos\n{row}'))
    with pytest.raises(CorpusError, match=rf"r\.csv, {message}"):
        list(corpus)


def test_a_field_of_a_million_characters_and_the_limit_of_others_stays(write):
    before = csv.field_size_limit()
    text = "word " * 200_000
    corpus = iter(read_corpus("imdb", write.plain("r.csv", f'text,label\n"{text}",pos\nshort,neg\n')))
    assert len(next(corpus).words) == 200_000
    assert csv.field_size_limit() == before


def test_nul_and_html_in_a_table(write):
    (document,) = read_corpus(
        "imdb", write.plain("r.csv", "text,label\nA\x00b &lt;br /&gt; &#169; <BR>x,pos\n")
    )
    assert [" ".join(words) for words in document.sentences()] == ["A b < br / > ©", "x"]


def test_a_folder_with_one_table_per_split(write):
    write.gz("imdb_train.csv.gz", "text,label\na,pos\n")
    write.plain("imdb_test.csv", "text,label\nb,neg\n")
    assert _read(read_corpus("imdb", write.folder, split="train")) == [
        ("imdb_train/000001", "pos", None, ["a"])
    ]
    assert _read(read_corpus("imdb", write.folder, split="test")) == [
        ("imdb_test/000001", "neg", None, ["b"])
    ]
    write.plain("other_test.csv", "text,label\nb,neg\n")
    with pytest.raises(UsageError, match=r"holds imdb_test\.csv and other_test\.csv; name one"):
        read_corpus("imdb", write.folder, split="test")


def test_a_single_table_and_its_split(write):
    file = write.plain("imdb_train.csv", "text,label\na,pos\n")
    assert len(list(read_corpus("imdb", file, split="train"))) == 1
    with pytest.raises(UsageError, match="does not say 'test'"):
        read_corpus("imdb", file, split="test")


def test_the_classes_alternate_while_both_last(write):
    rows = [("text", "label"), *[(f"n{n}", "neg") for n in range(5)], *[(f"p{n}", "pos") for n in range(3)]]
    documents = list(read_corpus("imdb", write.plain("r.csv", _csv(rows))))
    assert [document.words[0] for document in documents] == ["p0", "n0", "p1", "n1", "p2", "n2", "n3", "n4"]


@pytest.mark.data
def test_the_real_archive_alternates_and_holds_what_it_should(data_folder):
    corpus = read_corpus("imdb", data_folder / "imdb" / "aclImdb_subset.tar.gz", split="test")
    documents = list(corpus.head(400))
    assert [document.labels["label"] for document in documents] == ["pos", "neg"] * 200
    assert all(
        (int(document.labels["rating"]) > 5) == (document.labels["label"] == "pos") for document in documents
    )
    assert len({document.id for document in documents}) == 400


@pytest.mark.data
def test_every_real_review_is_there_once(data_folder):
    with gzip.open(
        data_folder / "imdb" / "imdb_train_25k.csv.gz", "rt", encoding="utf-8", newline=""
    ) as table:
        rows = [(row["label"], row["rating"]) for row in csv.DictReader(table)]
    positive, negative = ([row for row in rows if row[0] == label] for label in ("pos", "neg"))
    alternating = [row for pair in zip(positive, negative, strict=True) for row in pair]
    assert len(alternating) == 25_000
    # All are read, and every seventh is tokenised, which is what takes its time.
    reviews = list(read_corpus("imdb", data_folder / "imdb", split="train").shard(3, 7))
    assert [(review.labels["label"], review.labels["rating"]) for review in reviews] == alternating[2::7]
    assert len({review.id for review in reviews}) == len(reviews)
