"""`fetch`: the public data sets, checked and ready for `read_corpus`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from txray._optional import import_extra
from txray.corpus.datasets_index import DATA_SETS, DataSet, RemoteFile
from txray.errors import DownloadError, OutputError, UnknownNameError, in_one_line
from txray.files import cache_folder, sha256_of
from txray.progress import Advance, progress

_BLOCK = 1 << 16


def fetch(
    name: str | DataSet,
    folder: str | Path | None = None,
    *,
    base_url: str | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download a data set, unless it is there already, and check it.

    Every file is checked against its known SHA-256 and appears only when it is complete. If a file has several
    addresses, they are tried in turn. An interrupted download starts over.

    Args:
        name: `wikitext-2`, `imdb` or `ud-ewt`, or a data set of your own.
        folder: where to put it, in a folder of its name; the user's cache folder by default.
        base_url: download the files from this address instead; the checksums still hold.
        timeout: seconds without an answer or a byte after which an address is given up.

    Returns:
        The path for `read_corpus`: the archive of WikiText-2 (raw version) or IMDB, which are read without unpacking,
        or the folder of the treebank.

    Raises:
        UnknownNameError: no such data set.
        UsageError: `base_url` is not an http(s) address; the extra `text` is not installed.
        DownloadError: no address gave the right bytes.
        OutputError: the folder cannot be written.

    Example:
        >>> corpus = read_corpus("wikitext", fetch("wikitext-2"), split="train")  # doctest: +SKIP
    """
    data_set = name if isinstance(name, DataSet) else _known(name)
    target = (cache_folder() if folder is None else Path(folder)) / data_set.name
    files = [
        _download(file if base_url is None else file.mirrored(base_url), target, timeout)
        for file in data_set.files
    ]
    return files[0] if len(files) == 1 else target


def _known(name: str) -> DataSet:
    if name not in DATA_SETS:
        raise UnknownNameError.of("data set", name, DATA_SETS)
    return DATA_SETS[name]


def _download(file: RemoteFile, folder: Path, timeout: float) -> Path:
    target = folder / file.name
    failures = []
    try:
        if target.is_file() and target.stat().st_size == file.size and sha256_of(target) == file.sha256:
            return target
        import_extra("downloading needs", "text", "pooch")
        folder.mkdir(parents=True, exist_ok=True)
        for address in file.addresses:
            if failure := _retrieve(file, address, folder, timeout):
                failures.append(f"{address}: {failure}")
            else:
                return target
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or in_one_line(error)}") from error
    raise DownloadError(
        f"{file.name}: not downloaded: {'; '.join(failures)}; try again, name another mirror, or put the "
        f"file at {target}"
    )


def _retrieve(file: RemoteFile, address: str, folder: Path, timeout: float) -> str:
    """Download a file from one address; return why that failed, empty if it did not."""
    import pooch
    import requests

    with _without_messages(pooch), progress(f"Downloading {file.name}", file.size, unit="bytes") as advance:
        downloader = pooch.HTTPDownloader(
            progressbar=_Received(file.size, advance),
            chunk_size=_BLOCK,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
        )
        try:
            pooch.retrieve(address, f"sha256:{file.sha256}", file.name, folder, downloader=downloader)
        except (requests.RequestException, ValueError) as error:  # ValueError: not the expected bytes
            return _reason(error)
    return ""


@contextmanager
def _without_messages(pooch: Any) -> Iterator[None]:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


class _Received:
    """Progress of one download as pooch reports it; ends a download that cannot have the expected size."""

    def __init__(self, size: int, advance: Advance) -> None:
        self.total = 0  # set by pooch to what the server announces, 0 if it does not
        self._size = size
        self._advance = advance
        self._received = 0

    def update(self, amount: int) -> None:
        if self.total not in (0, self._size):
            raise ValueError(f"announces {self.total:,} bytes, expected {self._size:,}")
        self._received += amount
        if self._received >= self._size + _BLOCK:  # pooch counts full blocks
            raise ValueError(f"sends more than the expected {self._size:,} bytes")
        self._advance(amount)

    def reset(self) -> None:
        self._received = 0

    def close(self) -> None:
        pass


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line; requests wraps what urllib3 wraps."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            return in_one_line(error, 400)
        error = inner
