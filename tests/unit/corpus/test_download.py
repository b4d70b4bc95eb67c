"""Downloads from a real server on this machine, one that behaves and several that do not."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from txray.corpus import fetch, read_corpus
from txray.corpus.catalogue import CATALOGUE, DataSet, RemoteFile
from txray.corpus.remote import Patience
from txray.errors import DownloadError, OutputError, UnknownNameError, UsageError

CONTENT = os.urandom(300_000)
TAG = '"v1"'
QUICK = Patience(attempts=3, pause=0, timeout=5)


@dataclass
class Served:
    """One address.

    Attributes:
        content: what is sent.
        cut: after how many bytes of a body the connection breaks, for each request in turn; None: not at all.
        ranges: whether Range is understood.
        status: answered instead of content, for each request in turn; None: content.
        tag: strong entity tag; None: none is sent.
        length: whether the length is announced.
        announced: the length to announce, where that is a lie.
    """

    content: bytes = CONTENT
    cut: list[int | None] = field(default_factory=list)
    ranges: bool = True
    status: list[int | None] = field(default_factory=list)
    tag: str | None = TAG
    length: bool = True
    announced: int | None = None
    shift: int = 0


class Server:
    """Files by name, and the requests that came, as (name, Range, If-Range)."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.lstrip("/")
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        self.requests.append((name, asked, condition))
        served = self.files.get(name)
        if served is None:
            handler.send_error(404)
            return
        if served.status and (status := served.status.pop(0)) is not None:
            handler.send_error(status)
            return
        first = 0
        if asked and served.ranges and condition in (None, served.tag):
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(served.content):
                handler.send_error(416)
                return
            handler.send_response(206)
            total = len(served.content)
            handler.send_header("Content-Range", f"bytes {first + served.shift}-{total - 1}/{total}")
        else:
            handler.send_response(200)
        body = served.content[first:]
        if served.length:
            handler.send_header("Content-Length", str(served.announced or len(body)))
        if served.tag:
            handler.send_header("ETag", served.tag)
        handler.end_headers()
        cut = served.cut.pop(0) if served.cut else None
        handler.wfile.write(body[:cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def _remote(server: Server, name: str = "data.bin", content: bytes = CONTENT, *more: str) -> RemoteFile:
    return RemoteFile(name, (server.url + name, *more), len(content), hashlib.sha256(content).hexdigest())


def _set(*files: RemoteFile, unpack: bool = False) -> DataSet:
    return DataSet("some-set", files, unpack=unpack)


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def fetched(*files: RemoteFile, **options: object) -> Path:
        return fetch(_set(*(files or (_remote(server),))), tmp_path, patience=QUICK, **options)

    return fetched


def _left(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "some-set").iterdir())


def test_a_file_is_downloaded_once_and_checked(server, get, tmp_path):
    server.files["data.bin"] = Served()
    assert get() == get() == tmp_path / "some-set" / "data.bin"
    assert get().read_bytes() == CONTENT
    assert server.requests == [("data.bin", None, None)]
    assert _left(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("there", [b"short", CONTENT[:-1] + b"?"])
def test_a_file_with_another_content_is_replaced(server, get, tmp_path, there):
    server.files["data.bin"] = Served()
    (tmp_path / "some-set").mkdir()
    (tmp_path / "some-set" / "data.bin").write_bytes(there)
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False])
def test_a_broken_transfer_goes_on_where_it_stopped(server, get, tmp_path, length):
    server.files["data.bin"] = Served(cut=[100_000, 150_000], length=length)
    assert get().read_bytes() == CONTENT
    assert server.requests == [
        ("data.bin", None, None),
        ("data.bin", "bytes=100000-", TAG),
        ("data.bin", "bytes=250000-", TAG),
    ]
    assert _left(tmp_path) == ["data.bin"]


def test_breaks_do_not_count_while_there_is_progress(server, get):
    server.files["data.bin"] = Served(cut=[20_000] * 10)
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 11


def test_a_server_that_ignores_range_is_read_from_the_start(server, get):
    server.files["data.bin"] = Served(cut=[200_000], ranges=False)
    assert get().read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, "bytes=200000-"]


def test_a_weak_tag_is_not_used_as_condition(server, get):
    server.files["data.bin"] = Served(cut=[200_000], tag='W/"v1"')
    assert get().read_bytes() == CONTENT
    assert server.requests[1] == ("data.bin", "bytes=200000-", None)


def test_a_file_that_changes_between_two_requests_is_read_from_the_start(server, get, monkeypatch):
    served = server.files["data.bin"] = Served(content=bytes(len(CONTENT)), cut=[200_000])
    answer = server.answer

    def changing(handler: BaseHTTPRequestHandler) -> None:
        answer(handler)
        served.content, served.tag = CONTENT, '"v2"'

    monkeypatch.setattr(server, "answer", changing)
    assert get().read_bytes() == CONTENT
    assert server.requests[1] == ("data.bin", "bytes=200000-", TAG)
    assert len(server.requests) == 2


def test_what_a_failed_call_left_is_used_by_the_next(server, get, tmp_path):
    served = server.files["data.bin"] = Served(cut=[100_000, 0, 0, 0])
    with pytest.raises(DownloadError, match="3 times without getting further"):
        get()
    assert [file for file in _left(tmp_path) if not file.endswith(".part")] == []
    del server.requests[:]
    served.cut = []
    assert get().read_bytes() == CONTENT
    assert server.requests == [("data.bin", "bytes=100000-", None)]
    assert _left(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_wrong_leftover_is_found_by_the_checksum_and_the_download_starts_afresh(
    server, get, tmp_path, size
):
    server.files["data.bin"] = Served()
    partial = tmp_path / "some-set" / f".data.bin.{hashlib.sha256(CONTENT).hexdigest()[:12]}.part"
    partial.parent.mkdir()
    partial.write_bytes(b"?" * size)
    assert get().read_bytes() == CONTENT
    assert server.requests[-1] == ("data.bin", None, None)
    assert _left(tmp_path) == ["data.bin"]


def test_a_leftover_beyond_the_end_of_what_the_server_has_is_dropped(server, get, tmp_path):
    server.files["data.bin"] = Served(content=bytes(10))
    partial = tmp_path / "some-set" / f".data.bin.{hashlib.sha256(CONTENT).hexdigest()[:12]}.part"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="announces 10 bytes"):
        get()
    assert [asked for _, asked, _ in server.requests] == ["bytes=1000-", None]
    assert _left(tmp_path) == []


def test_a_complete_leftover_needs_no_request(server, get, tmp_path):
    partial = tmp_path / "some-set" / f".data.bin.{hashlib.sha256(CONTENT).hexdigest()[:12]}.part"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.requests == []


def test_a_wrong_checksum_names_both_and_leaves_nothing(server, get, tmp_path):
    lie = bytes(len(CONTENT))
    server.files["data.bin"] = Served(content=lie)
    with pytest.raises(DownloadError) as caught:
        get()
    text = str(caught.value)
    assert (
        f"SHA-256 is {hashlib.sha256(lie).hexdigest()}, expected {hashlib.sha256(CONTENT).hexdigest()}"
        in text
    )
    assert "\n" not in text
    assert len(server.requests) == 1
    assert _left(tmp_path) == []


def test_a_wrong_checksum_after_a_break_too(server, get, tmp_path):
    server.files["data.bin"] = Served(content=bytes(len(CONTENT)), cut=[100_000])
    with pytest.raises(DownloadError, match="SHA-256 is"):
        get()
    assert _left(tmp_path) == []


@pytest.mark.parametrize("size", [10, 900_000])
def test_another_size_is_refused_before_it_is_downloaded(server, get, tmp_path, size):
    server.files["data.bin"] = Served(content=bytes(size))
    with pytest.raises(DownloadError, match=f"announces {size:,} bytes, expected 300,000"):
        get()
    assert _left(tmp_path) == []


def test_a_stream_without_end_is_cut(server, get, tmp_path):
    server.files["data.bin"] = Served(content=CONTENT + bytes(10_000_000), length=False)
    with pytest.raises(DownloadError, match="sends more than the expected 300,000 bytes"):
        get()
    assert _left(tmp_path) == []


def test_a_server_that_always_breaks_off_is_given_up(server, get):
    server.files["data.bin"] = Served(cut=[0] * 100)
    with pytest.raises(
        DownloadError, match=r"data\.bin: .*3 times without getting further; try again, name another"
    ):
        get()
    assert len(server.requests) == 3


def test_a_server_that_sends_another_part_than_asked_for(server, get):
    server.files["data.bin"] = Served(cut=[100_000], shift=7)
    assert get().read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, "bytes=100000-", None]


def test_a_server_that_is_busy_is_asked_again(server, get):
    server.files["data.bin"] = Served(status=[503, 429])
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_missing_file_is_not_asked_for_again(server, get, status):
    server.files["data.bin"] = Served(status=[status] * 9)
    with pytest.raises(DownloadError, match=rf"data\.bin: HTTP {status} "):
        get()
    assert len(server.requests) == 1


def test_mirrors_are_tried_in_turn_and_go_on_with_what_is_there(server, get):
    server.files["data.bin"] = Served(cut=[50_000, 0, 0, 0])
    server.files["mirror.bin"] = Served()
    file = _remote(server, "data.bin", CONTENT, server.url + "gone.bin", server.url + "mirror.bin")
    assert get(file).read_bytes() == CONTENT
    assert [name for name, *_ in server.requests] == ["data.bin"] * 4 + ["gone.bin", "mirror.bin"]
    assert server.requests[-1] == ("mirror.bin", "bytes=50000-", None)


def test_when_every_mirror_fails_each_one_is_named(server, get):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        file = _remote(server, "data.bin", CONTENT, dead)
        with pytest.raises(DownloadError) as caught:
            get(file)
    text = str(caught.value)
    assert re.search(r"data\.bin: HTTP 404 Not Found; http://127\.0\.0\.1:\d+/x: .*Connection refused", text)
    assert "\n" not in text


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(server, "answer", lambda handler: released.wait(10))
    patience = Patience(attempts=2, pause=0, timeout=0.2)
    try:
        with pytest.raises(DownloadError, match="2 times without getting further"):
            fetch(_set(_remote(server)), tmp_path, patience=patience)
    finally:
        released.set()


def test_a_mirror_of_the_user_replaces_all_addresses_but_not_the_checksum(server, get):
    server.files["pub/data.bin"] = Served()
    file = RemoteFile(
        "data.bin", ("http://127.0.0.1:1/never",), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
    )
    assert get(file, base_url=server.url + "pub/").read_bytes() == CONTENT
    assert [name for name, *_ in server.requests] == ["pub/data.bin"]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", ""])
def test_addresses_other_than_http_are_refused(get, address):
    with pytest.raises(UsageError, match="give http:// or https://"):
        get(base_url=address)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    server.files["data.bin"] = Served()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        fetch(_set(_remote(server)), tmp_path / "file", patience=QUICK)


def test_a_full_disk(server, get, tmp_path):
    server.files["data.bin"] = Served()
    partial = tmp_path / "some-set" / f".data.bin.{hashlib.sha256(CONTENT).hexdigest()[:12]}.part"
    partial.parent.mkdir()
    partial.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        get()


def test_an_archive_is_unpacked_once(server, write, tmp_path):
    packed = write.zip("w.zip", {"wikitext-2-raw/wiki.test.raw": " a b . \n"}).read_bytes()
    server.files["w-v1.zip"] = Served(content=packed)
    data_set = _set(_remote(server, "w-v1.zip", packed), unpack=True)
    path = fetch(data_set, tmp_path, patience=QUICK)
    assert path == tmp_path / "some-set" / "w-v1"
    assert [document.words for document in read_corpus("wikitext", path, split="test")] == [("a", "b", ".")]
    before = (path / "wikitext-2-raw").stat().st_ino
    assert fetch(data_set, tmp_path, patience=QUICK) == path
    assert (path / "wikitext-2-raw").stat().st_ino == before
    assert len(server.requests) == 1


def test_a_new_version_of_an_archive_is_unpacked_again(server, write, tmp_path):
    for text in ("old", "new"):
        packed = write.tar("w.tar.gz", {"a.txt": text}).read_bytes()
        server.files["w.tar.gz"] = Served(content=packed)
        path = fetch(_set(_remote(server, "w.tar.gz", packed), unpack=True), tmp_path, patience=QUICK)
        assert path.name == "w"
        assert (path / "a.txt").read_text() == text


@pytest.mark.parametrize("name", ["w.zip", "w.tar.gz"])
def test_an_archive_that_writes_elsewhere_is_refused(server, write, tmp_path, name):
    pack = write.zip if name.endswith("zip") else write.tar
    packed = pack(name, {"good.txt": "x", "../../evil.txt": "x"}).read_bytes()
    server.files[name] = Served(content=packed)
    with pytest.raises(DownloadError, match=r"'\.\./\.\./evil\.txt' leads out of the folder"):
        fetch(_set(_remote(server, name, packed), unpack=True), tmp_path / "to", patience=QUICK)
    assert [file.name for file in (tmp_path / "to").rglob("*")] == ["some-set", name]


def test_the_catalogue_serves_its_own_readers(server, write, tmp_path, monkeypatch):
    """The data sets as they are described, with small content behind the addresses."""
    treebank = b"1\tA\ta\tX\tDT\t_\t0\troot\t_\t_\n\n"
    contents = {
        "wikitext-2-raw-v1.zip": write.zip("w", {"wikitext-2-raw/wiki.train.raw": " a \n"}).read_bytes(),
        "aclImdb_v1.tar.gz": write.tar(
            "i.gz", {"aclImdb/train/pos/0_9.txt": "good", "aclImdb/train/neg/0_1.txt": "bad"}
        ).read_bytes(),
        **{f"en_ewt-ud-{part}.conllu": treebank for part in ("train", "dev", "test")},
    }
    assert {file.name for entry in CATALOGUE.values() for file in entry.files} == set(contents)
    server.files = {name: Served(content=content) for name, content in contents.items()}
    for name, format_, words in (("wikitext-2", "wikitext", 1), ("imdb", "imdb", 2), ("ud-ewt", "conllu", 1)):
        entry = CATALOGUE[name]
        small = DataSet(
            name, tuple(_remote(server, file.name, contents[file.name]) for file in entry.files), entry.unpack
        )
        path = fetch(small, tmp_path / "cache", patience=QUICK)
        assert sum(len(document.words) for document in read_corpus(format_, path, split="train")) == words


def test_the_cache_folder_is_used_without_a_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.files["data.bin"] = Served()
    path = fetch(_set(_remote(server)), patience=QUICK)
    assert path == tmp_path / "cache" / "txray" / "some-set" / "data.bin"


def test_an_unknown_data_set_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match="'wikitext'.*there are: wikitext-2, imdb, ud-ewt"):
        fetch("wikitext")


@pytest.mark.parametrize(
    ("name", "addresses", "size", "sha256"),
    [
        ("../x", ("http://h/x",), 1, "0" * 64),
        ("a\\b", ("http://h/x",), 1, "0" * 64),
        ("x", (), 1, "0" * 64),
        ("x", ("gopher://h/x",), 1, "0" * 64),
        ("x", ("http://h/x",), 0, "0" * 64),
        ("x", ("http://h/x",), 1, "md5"),
    ],
)
def test_a_remote_file_checks_itself(name, addresses, size, sha256):
    with pytest.raises(UsageError, match="remote file"):
        RemoteFile(name, addresses, size, sha256)


def test_a_data_set_checks_itself():
    file = RemoteFile("x.zip", ("http://h/x",), 1, "0" * 64)
    other = RemoteFile("x.bin", ("http://h/x",), 1, "0" * 64)
    for files in ((), (file, file), (other,)):
        with pytest.raises(UsageError, match="data set 'd'"):
            DataSet("d", files, unpack=True)


@pytest.mark.data
def test_the_checksums_of_the_treebank_are_those_of_the_prepared_files(data_folder):
    import gzip

    for file in CATALOGUE["ud-ewt"].files:
        content = gzip.decompress((data_folder / "ud-ewt" / f"{file.name}.gz").read_bytes())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
