"""Downloading one file: resumed after a break, from several addresses in turn, checked at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from txray.corpus.catalogue import RemoteFile
from txray.errors import DownloadError, OutputError, in_one_line
from txray.files import sha256_of
from txray.progress import Advance, progress

if TYPE_CHECKING:
    from requests import Response, Session

_BLOCK = 1 << 16
_MOST_REQUESTS = 50
_LONGEST_PAUSE = 20.0
_CONTENT_RANGE = re.compile(r"bytes (?P<first>[0-9]+)-[0-9]+/(?P<size>[0-9]+|\*)")
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying one address.

    Attributes:
        attempts: requests in a row that bring nothing new, at least 1.
        pause: seconds after a break, twice as many after each further one in a row, at most 20.
        timeout: seconds without an answer or without a byte.
    """

    attempts: int = 4
    pause: float = 1.0
    timeout: float = 30.0


def download(file: RemoteFile, folder: Path, patience: Patience | None = None) -> Path:
    """The file in `folder`, downloaded unless it is there already with the right checksum.

    What arrived before a break is kept beside it, in a `.part` file named by the checksum, and a later call
    goes on from there. It becomes the file only when its checksum is right. A file of that name with another
    content is replaced.

    Raises:
        DownloadError: no address gave the right bytes; the text says what each one did.
        OutputError: the folder cannot be written.
    """
    target = folder / file.name
    try:
        if target.is_file() and target.stat().st_size == file.size and sha256_of(target) == file.sha256:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        failures = []
        for address in file.addresses:
            try:
                partial = _from_address(file, address, folder, patience or Patience())
            except _FailedError as failure:
                failures.append(f"{address}: {failure}")
            else:
                return partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    raise DownloadError(
        f"{file.name}: not downloaded: {'; '.join(failures)}; try again, name another mirror, or put the "
        f"file at {target}"
    )


class _BrokenError(Exception):
    """The transfer broke off; the same address may do better next time."""


class _FailedError(Exception):
    """The address is of no use."""


def _from_address(file: RemoteFile, address: str, folder: Path, patience: Patience) -> Path:
    """The complete partial file, with the right checksum."""
    import requests

    with (
        requests.Session() as session,
        progress(f"Downloading {file.name}", total=file.size, unit="bytes") as advance,
    ):
        transfer = _Transfer(
            file, address, folder / f".{file.name}.{file.sha256[:12]}.part", session, patience, advance
        )
        stalled = most = 0
        for _ in range(_MOST_REQUESTS):
            try:
                transfer.go_on()
                return transfer.partial
            except _BrokenError as broken:
                arrived = transfer.arrived()
                stalled = 0 if arrived > most else stalled + 1
                most = max(most, arrived)
                if stalled == patience.attempts:
                    raise _FailedError(f"{broken}, {stalled} times without getting further") from broken
                time.sleep(min(patience.pause * 2 ** max(stalled - 1, 0), _LONGEST_PAUSE))
    raise _FailedError(f"broke off {_MOST_REQUESTS} times")


class _Transfer:
    """One file from one address.

    What a partial file of an earlier call holds is asked to be continued without `If-Range`, because no
    validator of this server is known for it: the checksum at the end decides, and a wrong one means to start
    afresh once.
    """

    def __init__(
        self,
        file: RemoteFile,
        address: str,
        partial: Path,
        session: Session,
        patience: Patience,
        advance: Advance,
    ) -> None:
        self.partial = partial
        self._file = file
        self._address = address
        self._session = session
        self._timeout = patience.timeout
        self._advance = advance
        self._shown = 0
        self._validator: str | None = None
        self._continued = False

    def arrived(self) -> int:
        """Bytes on disk."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def go_on(self) -> None:
        """Fetch what is missing; returns when the file is complete and right.

        Raises:
            _BrokenError: it is not complete.
            _FailedError: it is not right, or will not come.
        """
        offset = self.arrived()
        self._continued = self._continued or offset > 0
        if offset < self._file.size:
            self._request(offset)
        actual = sha256_of(self.partial)
        if actual == self._file.sha256:
            return
        self.partial.unlink()
        wrong = f"SHA-256 is {actual}, expected {self._file.sha256}, so it was removed"
        if self._continued:  # until a whole body comes
            raise _BrokenError(wrong)
        raise _FailedError(wrong)

    def _request(self, offset: int) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        try:
            with self._session.get(
                self._address, headers=self._headers(offset), stream=True, timeout=self._timeout
            ) as response:
                self._store(response, self._start(response, offset))
        except (requests.exceptions.SSLError, requests.TooManyRedirects, ValueError) as error:
            # ValueError: requests derives from it what is wrong with an address
            raise _FailedError(_reason(error)) from error
        except (requests.RequestException, HTTPError) as error:
            raise _BrokenError(_reason(error)) from error

    def _headers(self, offset: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator:
                headers["If-Range"] = self._validator
        return headers

    def _start(self, response: Response, offset: int) -> int:
        """Where in the file the body of the response begins."""
        status = f"HTTP {response.status_code} {response.reason}"
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match["first"]) != offset:
                self.partial.unlink(missing_ok=True)
                raise _BrokenError(f"{status} with another part than the one asked for")
            announced = match["size"]
        elif response.status_code == 200:
            offset, self._continued = 0, False
            announced = response.headers.get("Content-Length", "*")
        elif response.status_code == 416 and offset:
            self.partial.unlink()
            raise _BrokenError(f"{status} from byte {offset} on")
        elif response.status_code in _BUSY:
            raise _BrokenError(status)
        else:
            raise _FailedError(status)
        if announced.isdigit() and int(announced) != self._file.size:
            raise _FailedError(f"announces {int(announced):,} bytes, expected {self._file.size:,}")
        self._validator = _validator(response.headers)
        return offset

    def _store(self, response: Response, offset: int) -> None:
        with self.partial.open("ab" if offset else "wb") as stream:
            self._show(offset)
            for block in response.raw.stream(_BLOCK, decode_content=False):
                offset += len(block)
                if offset > self._file.size:
                    self.partial.unlink()
                    raise _FailedError(f"sends more than the expected {self._file.size:,} bytes")
                stream.write(block)
                self._show(offset)
        if offset < self._file.size:
            raise _BrokenError(f"ended after {offset:,} of {self._file.size:,} bytes")

    def _show(self, offset: int) -> None:
        self._advance(offset - self._shown)
        self._shown = offset


def _validator(headers: Mapping[str, str]) -> str | None:
    """What `If-Range` may carry: a strong entity tag, or else the date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; requests wraps what urllib3 wraps."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            return in_one_line(error)
        error = inner
