"""What holds for every format: the door, containers, encodings, damage, memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from tests.unit.corpus.conftest import Containers
from txray.corpus import read_corpus
from txray.errors import CorpusError, UnknownNameError, UsageError

TEXTS = {
    "wikitext": " = A title = \n \n A café is here . \n",
    "imdb": "text,label\nA café is here.,pos\nNo.,neg\n",
    "conllu": "1\tcafé\tcafé\tNOUN\tNN\t_\t0\troot\t_\t_\n\n",
    "text": "A café is here.\n\nAnother one.\n",
    "jsonl": '{"words": ["A", "café"]}\n{"text": "Another one."}\n',
}
ENDINGS = {"imdb": "csv", "conllu": "conllu", "jsonl": "jsonl"}

each_format = pytest.mark.parametrize("format", TEXTS)


def _name(format: str) -> str:  # noqa: A002
    return f"some.{ENDINGS.get(format, 'txt')}"


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'wikitex' \(did you mean 'wikitext'\?\).*conllu.*jsonl"):
        read_corpus("wikitex", tmp_path)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("wikitext", "headings, markup, version"),
        ("imdb", "group"),
        ("conllu", "unit, group"),
        ("text", "unit, tokenized, html, group"),
        ("jsonl", "ignore, tokenized, html, group"),
    ],
)
def test_an_unknown_option_is_refused_with_those_there_are(write, format, options):  # noqa: A002
    file = write.plain(_name(format), TEXTS[format])
    with pytest.raises(UsageError, match=f"option of format '{format}' 'color'; there are: {options}$"):
        read_corpus(format, file, color="red")


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("wikitext", {"headings": "drop"}, "'headings' 'drop'; there are: keep, skip"),
        ("wikitext", {"markup": True}, "'markup' 'True'; there are: keep, restore"),
        ("wikitext", {"version": "v1"}, "'version' 'v1'; there are: tokens, raw"),
        ("conllu", {"unit": "paragraph"}, "there are: document, sentence"),
        ("text", {"unit": "sentence"}, "there are: paragraph, line, file"),
        ("text", {"tokenized": "yes"}, "'tokenized' is 'yes'; give True or False"),
        ("jsonl", {"ignore": "url"}, r"'ignore' is 'url'; give a list of keys"),
    ],
)
def test_an_unknown_value_is_refused_at_the_call(write, format, options, message):  # noqa: A002
    with pytest.raises(UsageError, match=message):
        read_corpus(format, write.plain(_name(format), TEXTS[format]), **options)


@each_format
def test_plain_and_compressed_text_give_the_same_corpus(write, format):  # noqa: A002
    plain = read_corpus(format, write.plain(_name(format), TEXTS[format]))
    packed = read_corpus(format, write.gz(f"{_name(format)}.gz", TEXTS[format]))
    hidden = read_corpus(format, write.gz(f"gz/{_name(format)}", TEXTS[format]))
    assert list(plain) == list(packed) == list(hidden)
    assert plain.fingerprint == packed.fingerprint == hidden.fingerprint
    assert "café" in [word for document in plain for word in document.words]


@each_format
def test_the_fingerprint_follows_content_and_file_name(write, format):  # noqa: A002
    text = TEXTS[format]
    corpora = [
        read_corpus(format, write.plain(_name(format), text)),
        read_corpus(format, write.plain(f"x{_name(format)}", text)),
        read_corpus(format, write.plain(f"changed/{_name(format)}", text.replace("café", "cafe"))),
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 3


@each_format
def test_a_byte_order_mark_and_windows_line_ends_change_no_word(write, format):  # noqa: A002
    plain = read_corpus(format, write.plain(_name(format), TEXTS[format]))
    windows = "\ufeff" + TEXTS[format].replace("\n", "\r\n")
    other = read_corpus(format, write.plain(f"windows/{_name(format)}", windows))
    assert list(plain) == list(other)


@each_format
def test_a_missing_path(tmp_path, format):  # noqa: A002
    with pytest.raises(CorpusError, match=r"nowhere\.txt: no such file or folder; check the path$"):
        read_corpus(format, tmp_path / "nowhere.txt")


@each_format
@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_a_path_that_is_none(format, path):  # noqa: A002
    with pytest.raises(CorpusError):
        read_corpus(format, path)


@each_format
@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_file(write, format, packed):  # noqa: A002
    file = write.gz("some.gz", "") if packed else write.plain("some", "")
    with pytest.raises(CorpusError, match=f"{file.name}: empty"):
        read_corpus(format, file)


@each_format
def test_an_empty_folder(tmp_path, format):  # noqa: A002
    with pytest.raises((CorpusError, UsageError), match=str(tmp_path)):
        read_corpus(format, tmp_path, split=None if format in ("text", "jsonl") else "train")


@each_format
def test_a_pipe_cannot_be_read_twice(tmp_path, format):  # noqa: A002
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="pipe: neither a file nor a folder"):
        read_corpus(format, tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@each_format
def test_a_file_that_may_not_be_read(write, format):  # noqa: A002
    file = write.plain("some", TEXTS[format])
    file.chmod(0)
    with pytest.raises(CorpusError, match="cannot be read: Permission denied"):
        read_corpus(format, file)


@each_format
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named_with_the_way_to_convert_it(write, format, encoding):  # noqa: A002
    file = write.plain(_name(format), TEXTS[format].encode(encoding))
    with pytest.raises(CorpusError, match=r"some\.\w+.*iconv -f UTF-16 -t UTF-8"):
        read_corpus(format, file)


@each_format
def test_latin_1_in_the_first_bytes_is_found_at_the_call_with_line_and_offset(write, format):  # noqa: A002
    raw = TEXTS[format].encode("latin-1")
    at = raw.index(b"\xe9")
    line = raw.count(b"\n", 0, at) + 1
    file = write.plain(_name(format), raw)
    with pytest.raises(
        CorpusError,
        match=rf"line {line}: not UTF-8 \(byte 0xE9 at offset {at}\); if it is text, convert it to UTF-8",
    ):
        read_corpus(format, file)


@each_format
def test_latin_1_further_on_is_found_while_reading_with_line_and_offset(write, format):  # noqa: A002
    start, once = _repeatable(format)
    good = start + once.encode() * 500
    raw = good + once.encode("latin-1")
    at = raw.index(b"\xe9", len(good))
    line = raw.count(b"\n", 0, at) + 1
    corpus = read_corpus(format, write.gz(f"{_name(format)}.gz", raw))
    with pytest.raises(
        CorpusError,
        match=rf"line {line}: not UTF-8 \(byte 0xE9 at offset {at}\); if it is text, convert it to UTF-8",
    ):
        list(corpus)


@each_format
def test_a_binary_file(write, format):  # noqa: A002
    with pytest.raises(CorpusError, match="picture"):
        read_corpus(format, write.plain("picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20))


@each_format
def test_a_zip_archive_with_something_else(write, format):  # noqa: A002
    file = write.zip("other.zip", {"readme": "text"})
    with pytest.raises(CorpusError, match=r"other\.zip: (a zip archive|holds no)"):
        read_corpus(format, file, split="train" if format == "wikitext" else None)


@each_format
def test_named_gz_but_not_compressed(write, format):  # noqa: A002
    file = write.plain(f"{_name(format)}.gz", TEXTS[format])
    with pytest.raises(CorpusError, match="named .gz but not gzip-compressed"):
        read_corpus(format, file)


@each_format
def test_a_cut_off_gzip_file_ends_in_an_error_not_in_a_short_corpus(write, format):  # noqa: A002
    start, once = _repeatable(format)
    packed = gzip.compress(start + b"".join(_varied(once, number) for number in range(5000)))
    corpus = read_corpus(format, write.plain(f"{_name(format)}.gz", packed[: len(packed) // 2]))
    with pytest.raises(
        CorpusError, match=r"ends early, the compressed data are cut off; copy or download it again"
    ):
        list(corpus)


@each_format
def test_a_flipped_byte_in_a_gzip_file_is_found(write, format):  # noqa: A002
    start, once = _repeatable(format)
    packed = bytearray(gzip.compress(start + b"".join(_varied(once, number) for number in range(5000))))
    packed[-6] ^= 1  # in the checksum, so that every byte of text arrives
    corpus = read_corpus(format, write.plain(f"{_name(format)}.gz", bytes(packed)))
    with pytest.raises(CorpusError, match=r"damaged \(CRC check failed.*\); copy or download it again"):
        list(corpus)


@each_format
def test_errors_are_one_line(write, format):  # noqa: A002
    with pytest.raises(CorpusError) as caught:
        read_corpus(format, write.plain(_name(format), b"\xff\n\xff"))
    assert "\n" not in str(caught.value)


@each_format
def test_a_document_of_100_000_words(write, format):  # noqa: A002
    words = [f"w{number % 1000}" for number in range(100_000)]
    line = " ".join(words)
    text = {
        "wikitext": f" {line} \n",
        "imdb": f"text,label\n{line},pos\n",
        "conllu": "# newdoc id = long\n"
        + "\n".join(f"{n}\t{word}\t_\tX\tNN\t_\t0\tdep\t_\t_" for n, word in enumerate(words, 1))
        + "\n\n",
        "text": f"{line}\n",
        "jsonl": json.dumps({"words": words, "pos": ["NN"] * len(words)}) + "\n",
    }[format]
    (document,) = read_corpus(format, write.plain(_name(format), text))
    assert list(document.words) == words


@pytest.mark.parametrize("format", ["wikitext", "conllu", "jsonl", "text"])
def test_memory_does_not_grow_with_the_length(write, format):  # noqa: A002
    start, once = _repeatable(format)
    options = {"tokenized": True} if format == "text" else {}
    peaks = []
    once = once.partition('{"text"')[0]  # the tokenizer's vocabulary has a test of its own
    for times in (2_000, 20_000):
        corpus = read_corpus(format, write.gz(f"{times}.gz", start + once.encode() * times), **options)
        assert sum(1 for _ in corpus.head(1)) == 1  # what is loaded once
        tracemalloc.start()
        for _ in corpus:
            pass
        assert corpus.fingerprint
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # the text grows by more than 700 kB, its documents by ten times that; read buffers fill up first
    assert peaks[1] < peaks[0] + 200_000


def test_a_line_above_the_limit_is_refused(write: Containers, monkeypatch: pytest.MonkeyPatch):
    from txray.corpus import sources

    monkeypatch.setattr(sources, "MAX_LINE", 1000)
    corpus = read_corpus("text", write.gz("bomb.gz", "short\n" + "x" * 1000))
    with pytest.raises(CorpusError, match=r"line 2: longer than 1,000 bytes"):
        list(corpus)


def test_the_readers_are_there_without_the_large_libraries():
    """The tokenizer takes seconds to load; a corpus that is split already, or the command line, must not wait."""
    program = (
        "import sys, txray; txray.read_corpus; from txray.corpus import fetch; "
        "print([name for name in ('spacy', 'torch', 'plotly', 'requests', 'pooch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_path_may_be_a_string(write):
    file: Path = write.plain("some.txt", "A word.")
    assert [document.words for document in read_corpus("text", str(file))] == [("A", "word", ".")]


def _repeatable(format: str) -> tuple[bytes, str]:  # noqa: A002
    """What begins a file of the format, and a piece that may follow any number of times."""
    if format == "imdb":
        return b"text,label\n", "A café is here.,pos\n"
    return b"", TEXTS[format]


def _varied(once: str, number: int) -> bytes:
    """The piece with its word changed, so that it does not compress to nothing."""
    return once.replace("café", f"café{number * 2654435761 % 2**32:x}").encode()
