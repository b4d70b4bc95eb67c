"""The data sets that `fetch` knows: addresses, sizes and checksums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from txray.errors import UsageError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that can be downloaded, with its size and checksum.

    Attributes:
        name: of the file, also on mirrors.
        addresses: http(s) addresses of the same bytes, in the order in which they are tried.
        size: bytes.
        sha256: hexadecimal digits of the bytes.

    Raises:
        UsageError: a name with a folder, no address, or not a SHA-256.
    """

    name: str
    addresses: tuple[str, ...]
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name or "\\" in self.name:
            raise UsageError(f"remote file {self.name!r}: give a plain file name, without a folder")
        for address in self.addresses:
            if not address.startswith(("http://", "https://")):
                raise UsageError(f"remote file {self.name!r}: address {address!r}; give http:// or https://")
        if not self.addresses or self.size < 1:
            raise UsageError(f"remote file {self.name!r}: needs an address and a size of at least 1 byte")
        if not _SHA256.fullmatch(self.sha256):
            raise UsageError(
                f"remote file {self.name!r}: {self.sha256!r} is not a SHA-256; give 64 lower-case digits"
            )

    def mirrored(self, base: str) -> RemoteFile:
        """Return the file with one address only, below another base address."""
        return RemoteFile(self.name, (f"{base.rstrip('/')}/{self.name}",), self.size, self.sha256)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files that belong together.

    Attributes:
        name: of the data set and of the folder it is put in.
        files: one or more.

    Raises:
        UsageError: no files.
    """

    name: str
    files: tuple[RemoteFile, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError(f"data set {self.name!r}: has no files; name at least one")


_UD_EWT = "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.16/"


def _treebank(part: str, size: int, sha256: str) -> RemoteFile:
    name = f"en_ewt-ud-{part}.conllu"
    return RemoteFile(name, (_UD_EWT + name,), size, sha256)


DATA_SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "wikitext-2": DataSet(
            "wikitext-2",
            (
                RemoteFile(
                    "wikitext-2-raw-v1.zip",
                    (
                        "https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
                        "https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip",
                    ),
                    4_721_645,
                    "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
                ),
            ),
        ),
        "imdb": DataSet(
            "imdb",
            (
                RemoteFile(
                    "aclImdb_v1.tar.gz",
                    ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
                    84_125_825,
                    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                ),
            ),
        ),
        "ud-ewt": DataSet(
            "ud-ewt",
            (
                _treebank(
                    "train", 14_203_025, "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b"
                ),
                _treebank(
                    "dev", 1_805_545, "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6"
                ),
                _treebank(
                    "test", 1_804_515, "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd"
                ),
            ),
        ),
    }
)
"""Name -> data set. Licences: WikiText-2 CC BY-SA; IMDB none stated, cite Maas et al. 2011; UD EWT CC BY-SA
4.0."""
