from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from txray.corpus.unpack import MARK, UnpackLimits, unpack
from txray.errors import DownloadError, OutputError

FILES = {"data/a.txt": "first", "data/deep/b.txt": "second", "c.txt": ""}


def _tree(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MARK
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder to unpack into, with nothing beside it."""
    return tmp_path / "place" / "target"


def _refused(archive: Path, target: Path, why: str, limits: UnpackLimits | None = None) -> None:
    with pytest.raises(DownloadError, match=why) as caught:
        unpack(archive, target, limits)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_and_folders_are_unpacked(write, target, kind):
    pack = write.zip if kind == "zip" else write.tar
    unpack(pack(f"a.{kind}", FILES), target)
    assert _tree(target) == FILES
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_existing_folder_is_replaced_as_a_whole(write, target, kind):
    target.mkdir(parents=True)
    (target / "old.txt").write_text("old")
    (target / MARK).write_text("")
    pack = write.zip if kind == "zip" else write.tar
    unpack(pack(f"a.{kind}", FILES), target)
    assert _tree(target) == FILES


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/tmp/evil",
        "//host/evil",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "a\\..\\..\\evil",
        "data/..",
    ],
)
def test_names_that_lead_out_of_the_folder_are_refused(write, target, kind, name):
    pack = write.zip if kind == "zip" else write.tar
    _refused(pack(f"a.{kind}", {"good.txt": "x", name: "evil"}), target, "leads out of the folder; refused")
    assert not list(write.folder.rglob("*evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(write, target, kind):
    file = write.folder / "a.tar"
    with tarfile.open(file, "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
        entry = tarfile.TarInfo("link/x")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    _refused(file, target, "'link' is a link or a device")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(write, target, mode):
    file = write.folder / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (mode | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    _refused(file, target, "'link' is a link or a device")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_bomb_is_stopped_by_the_bytes_that_come_out(write, target, kind):
    pack = write.zip if kind == "zip" else write.tar
    file = pack(f"a.{kind}", {"a": "x" * 3_000_000, "b": "x" * 3_000_000})
    _refused(file, target, "more than 5,000,000 bytes unpacked", UnpackLimits(size=5_000_000))
    unpack(file, target, UnpackLimits(size=6_000_000))


def test_a_zip_that_lies_about_its_size_writes_no_more_than_the_limit(write, target):
    raw = bytearray(write.zip("a.zip", {"a": "x" * 3_000_000}).read_bytes())
    for magic, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = raw.index(magic) + at
        raw[place : place + 4] = (10).to_bytes(4, "little")
    file = write.plain("lie.zip", bytes(raw))
    _refused(file, target, "damaged|more than", UnpackLimits(size=1_000_000))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_too_many_members_are_refused(write, target, kind):
    pack = write.zip if kind == "zip" else write.tar
    file = pack(f"a.{kind}", {f"f{number}": "" for number in range(11)})
    _refused(file, target, "more than 10 members", UnpackLimits(members=10))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a")])
def test_a_name_that_comes_twice_is_refused(write, target, names):
    for kind in ("zip", "tar"):
        file = write.folder / f"a.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(file, "w") as archive:
                for name in names:
                    archive.writestr(name, "x")
        else:
            with tarfile.open(file, "w") as packed:
                for name in names:
                    packed.addfile(tarfile.TarInfo(name))
        _refused(file, target, "twice")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_off_archive_leaves_nothing(write, target, kind, keep):
    pack = write.zip if kind == "zip" else write.tar
    raw = pack(f"a.{kind}", {f"f{n}": os.urandom(5000) for n in range(20)}).read_bytes()
    _refused(write.plain(f"cut.{kind}", raw[: int(len(raw) * keep)]), target, "damaged|ends early")


def test_an_encrypted_zip_is_refused(write, target):
    file = write.zip("a.zip", FILES)
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    _refused(file, target, "'data/a.txt' is encrypted")


def test_something_that_is_no_archive(write, target):
    _refused(write.plain("a.zip", "text"), target, r"a\.zip: damaged")


def test_a_place_that_cannot_be_written(write):
    write.plain("file", "x")
    with pytest.raises(OutputError, match="cannot be written"):
        unpack(write.zip("a.zip", FILES), write.folder / "file" / "target")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_a_name_that_unpacks_to_gigabytes_is_refused(write, target, kind):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        entry = tarfile.TarInfo("././@LongLink")
        entry.type, entry.size = kind, 64 << 20
        tar.addfile(entry, io.BytesIO(bytes(64 << 20)))
    file = write.plain("long.tar.gz", gzip.compress(content.getvalue(), 1))
    tracemalloc.start()
    _refused(file, target, "a name or description of 67,108,864 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
