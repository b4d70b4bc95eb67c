"""Small texts in every container that readers meet."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest


class Containers:
    """Writes the same content in several ways below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plain(self, name: str, content: str | bytes) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def gz(self, name: str, content: str | bytes) -> Path:
        return self.plain(name, gzip.compress(content.encode() if isinstance(content, str) else content))

    def zip(self, name: str, members: Mapping[str, str | bytes]) -> Path:
        file = self.folder / name
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return file

    def tar(self, name: str, members: Mapping[str, str | bytes]) -> Path:
        file = self.folder / name
        with tarfile.open(file, "w:gz" if name.endswith("gz") else "w") as archive:
            for member, content in members.items():
                raw = content.encode() if isinstance(content, str) else content
                entry = tarfile.TarInfo(member)
                entry.size = len(raw)
                archive.addfile(entry, io.BytesIO(raw))
        return file


@pytest.fixture
def write(tmp_path: Path) -> Containers:
    return Containers(tmp_path)
