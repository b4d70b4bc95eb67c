"""Downloads from a real server on this machine, one that behaves and several that do not."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from txray.corpus import fetch, read_corpus
from txray.corpus.datasets_index import DATA_SETS, DataSet, RemoteFile
from txray.errors import DownloadError, OutputError, UnknownNameError, UsageError

CONTENT = os.urandom(300_000)


@dataclass
class Served:
    """One address.

    Attributes:
        content: what is sent.
        cut: after how many bytes of a body the connection breaks, for each request in turn; None: not at all.
        status: answered instead of content, for each request in turn; None: content.
        length: whether the length is announced.
    """

    content: bytes = CONTENT
    cut: list[int | None] = field(default_factory=list)
    status: list[int | None] = field(default_factory=list)
    length: bool = True


class Server:
    """Files by name, and the names that were requested."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[str] = []
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
        self.requests.append(name)
        served = self.files.get(name)
        if served is None:
            handler.send_error(404)
            return
        if served.status and (status := served.status.pop(0)) is not None:
            handler.send_error(status)
            return
        handler.send_response(200)
        if served.length:
            handler.send_header("Content-Length", str(len(served.content)))
        handler.end_headers()
        handler.wfile.write(served.content[: served.cut.pop(0) if served.cut else None])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def _remote(server: Server, name: str = "data.bin", content: bytes = CONTENT, *more: str) -> RemoteFile:
    return RemoteFile(name, (server.url + name, *more), len(content), hashlib.sha256(content).hexdigest())


def _set(*files: RemoteFile) -> DataSet:
    return DataSet("some-set", files)


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def fetched(*files: RemoteFile, **options: object) -> Path:
        return fetch(_set(*(files or (_remote(server),))), tmp_path, timeout=5, **options)

    return fetched


def _left(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "some-set").iterdir())


def test_a_file_is_downloaded_once_and_checked(server, get, tmp_path):
    server.files["data.bin"] = Served()
    assert get() == get() == tmp_path / "some-set" / "data.bin"
    assert get().read_bytes() == CONTENT
    assert server.requests == ["data.bin"]
    assert _left(tmp_path) == ["data.bin"]


def test_several_files_are_in_one_folder(server, get, tmp_path):
    server.files = {"a": Served(b"a"), "b": Served(b"b", length=False)}
    path = get(_remote(server, "a", b"a"), _remote(server, "b", b"b"))
    assert path == tmp_path / "some-set"
    assert _left(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("former", [b"short", CONTENT[:-1] + b"?"])
def test_a_file_with_another_content_is_replaced(server, get, tmp_path, former):
    server.files["data.bin"] = Served()
    (tmp_path / "some-set").mkdir()
    (tmp_path / "some-set" / "data.bin").write_bytes(former)
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False])
def test_a_broken_transfer_leaves_nothing_and_the_next_call_starts_over(server, get, tmp_path, length):
    server.files["data.bin"] = Served(cut=[100_000], length=length)
    with pytest.raises(DownloadError, match=r"data\.bin: .*try again"):
        get()
    assert _left(tmp_path) == []
    assert get().read_bytes() == CONTENT
    assert server.requests == ["data.bin", "data.bin"]


def test_a_failed_replacement_leaves_the_former_file(server, get, tmp_path):
    server.files["data.bin"] = Served(cut=[100_000])
    (tmp_path / "some-set").mkdir()
    (tmp_path / "some-set" / "data.bin").write_bytes(b"mine")
    with pytest.raises(DownloadError):
        get()
    assert (tmp_path / "some-set" / "data.bin").read_bytes() == b"mine"
    assert _left(tmp_path) == ["data.bin"]


def test_a_wrong_checksum_names_both_and_leaves_nothing(server, get, tmp_path):
    wrong = bytes(len(CONTENT))
    server.files["data.bin"] = Served(content=wrong)
    with pytest.raises(DownloadError) as caught:
        get()
    text = str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in text
    assert hashlib.sha256(CONTENT).hexdigest() in text
    assert "\n" not in text
    assert len(server.requests) == 1
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


@pytest.mark.parametrize("status", [403, 404, 410, 503])
def test_a_refusal_is_named(server, get, status):
    server.files["data.bin"] = Served(status=[status] * 9)
    with pytest.raises(DownloadError, match=rf"data\.bin: {status} "):
        get()
    assert len(server.requests) == 1


def test_mirrors_are_tried_in_turn(server, get):
    server.files["data.bin"] = Served(cut=[50_000])
    server.files["mirror.bin"] = Served()
    file = _remote(server, "data.bin", CONTENT, server.url + "gone.bin", server.url + "mirror.bin")
    assert get(file).read_bytes() == CONTENT
    assert server.requests == ["data.bin", "gone.bin", "mirror.bin"]


def test_when_every_mirror_fails_each_one_is_named(server, get):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        file = _remote(server, "data.bin", CONTENT, dead)
        with pytest.raises(DownloadError) as caught:
            get(file)
    text = str(caught.value)
    assert re.search(r"data\.bin: 404 .*; http://127\.0\.0\.1:\d+/x: .*Connection refused", text)
    assert "\n" not in text


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(server, "answer", lambda handler: released.wait(10))
    try:
        with pytest.raises(DownloadError, match="timed out"):
            fetch(_set(_remote(server)), tmp_path, timeout=0.2)
    finally:
        released.set()


_IN_A_PROCESS = """
import resource, signal, sys, requests, pooch
from txray.corpus import fetch
from txray.corpus.datasets_index import DataSet, RemoteFile
from txray.errors import OutputError
address, sha256, folder, largest_file = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file),) * 2)
try:
    fetch(DataSet("some-set", (RemoteFile("data.bin", (address,), 300_000, sha256),)), folder)
except OutputError as error:
    print(error)
"""


def _in_a_process(server: Server, folder: Path, largest_file: int) -> str:
    """What a download prints in a process of its own, which may not write larger files."""
    server.files["data.bin"] = Served()
    digest = hashlib.sha256(CONTENT).hexdigest()
    arguments = [server.url + "data.bin", digest, str(folder), str(largest_file)]
    command = [sys.executable, "-B", "-c", _IN_A_PROCESS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_nothing_is_printed(server, tmp_path):
    assert _in_a_process(server, tmp_path, 1_000_000) == ""
    assert _left(tmp_path) == ["data.bin"]


def test_a_disk_that_is_full(server, tmp_path):
    """A file that may not grow raises the same kind of error as a full disk."""
    assert "cannot be written: File too large" in _in_a_process(server, tmp_path, 100_000)
    assert _left(tmp_path) == []


def test_a_mirror_of_the_user_replaces_all_addresses_but_not_the_checksum(server, get):
    server.files["pub/data.bin"] = Served()
    file = RemoteFile(
        "data.bin", ("http://127.0.0.1:1/never",), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
    )
    assert get(file, base_url=server.url + "pub/").read_bytes() == CONTENT
    assert server.requests == ["pub/data.bin"]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", ""])
def test_addresses_other_than_http_are_refused(get, address):
    with pytest.raises(UsageError, match="give http:// or https://"):
        get(base_url=address)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    server.files["data.bin"] = Served()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        fetch(_set(_remote(server)), tmp_path / "file")


def test_the_index_serves_its_own_readers(server, write, tmp_path):
    """The data sets as they are described, with small content behind the addresses."""
    treebank = b"1\tA\ta\tX\tDT\t_\t0\troot\t_\t_\n\n"
    contents = {
        "wikitext-2-raw-v1.zip": write.zip("w", {"wikitext-2-raw/wiki.train.raw": " a \n"}).read_bytes(),
        "aclImdb_v1.tar.gz": write.tar(
            "i.gz", {"aclImdb/train/pos/0_9.txt": "good", "aclImdb/train/neg/0_1.txt": "bad"}
        ).read_bytes(),
        **{f"en_ewt-ud-{part}.conllu": treebank for part in ("train", "dev", "test")},
    }
    assert {file.name for entry in DATA_SETS.values() for file in entry.files} == set(contents)
    server.files = {name: Served(content=content) for name, content in contents.items()}
    for name, format_, words in (("wikitext-2", "wikitext", 1), ("imdb", "imdb", 2), ("ud-ewt", "conllu", 1)):
        small = DataSet(
            name, tuple(_remote(server, file.name, contents[file.name]) for file in DATA_SETS[name].files)
        )
        path = fetch(small, tmp_path / "cache")
        assert sum(len(document.words) for document in read_corpus(format_, path, split="train")) == words


def test_the_cache_folder_is_used_without_a_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.files["data.bin"] = Served()
    path = fetch(_set(_remote(server)))
    assert path == tmp_path / "cache" / "txray" / "some-set" / "data.bin"


def test_without_pooch_the_extra_is_named(get, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UsageError, match=r"extra 'text' \(pooch is missing\): pip install 'txray\[text\]'"):
        get()


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


def test_a_data_set_needs_files():
    with pytest.raises(UsageError, match="data set 'd'"):
        DataSet("d", ())


@pytest.mark.data
def test_the_checksums_of_the_treebank_are_those_of_the_prepared_files(data_folder):
    import gzip

    for file in DATA_SETS["ud-ewt"].files:
        content = gzip.decompress((data_folder / "ud-ewt" / f"{file.name}.gz").read_bytes())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
