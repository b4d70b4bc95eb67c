"""`fetch`: the public data sets, checked and ready for `read_corpus`."""

from __future__ import annotations

from pathlib import Path

from txray.corpus.catalogue import CATALOGUE, DataSet
from txray.corpus.remote import Patience, download
from txray.corpus.unpack import MARK, unpack
from txray.errors import OutputError, UnknownNameError
from txray.files import cache_folder


def fetch(
    name: str | DataSet,
    folder: str | Path | None = None,
    *,
    base_url: str | None = None,
    patience: Patience | None = None,
) -> Path:
    """Download a data set, unless it is there already, and check it.

    Every file is checked against its known SHA-256. A broken transfer is taken up where it stopped, also by
    the next call; several addresses are tried in turn. Of the library pooch only the choice of the cache
    folder is used: it begins every download in a new temporary file, so it cannot go on with a broken one.

    Args:
        name: `wikitext-2`, `imdb` or `ud-ewt`, or a data set of your own.
        folder: where to put it, in a folder of its name; the user's cache folder by default.
        base_url: take the files from below this address instead; the checksums still hold.
        patience: how long to keep trying.

    Returns:
        What `read_corpus` takes as `path`: the folder of WikiText-2 (raw version) or of the treebank, the
        archive of IMDB (read without unpacking; it would become a hundred thousand small files).

    Raises:
        UnknownNameError: a data set that does not exist.
        UsageError: an address that is none.
        DownloadError: no address gave the right bytes, or the archive must not be unpacked.
        OutputError: the folder cannot be written.

    Example:
        >>> corpus = read_corpus("wikitext", fetch("wikitext-2"), split="train")  # doctest: +SKIP
    """
    data_set = name if isinstance(name, DataSet) else _known(name)
    place = (cache_folder() if folder is None else Path(folder)) / data_set.name
    files = [
        download(file.mirrored(base_url) if base_url is not None else file, place, patience)
        for file in data_set.files
    ]
    if not data_set.unpack:
        return files[0] if len(files) == 1 else place
    return _unpacked(files[0], data_set.files[0].sha256)


def _known(name: str) -> DataSet:
    if name not in CATALOGUE:
        raise UnknownNameError.of("data set", name, CATALOGUE)
    return CATALOGUE[name]


def _unpacked(archive: Path, sha256: str) -> Path:
    """The folder beside the archive with its content, unpacked unless this very archive was before."""
    target = archive.with_name(archive.name.removesuffix(".gz").rpartition(".")[0])
    mark = target / MARK
    try:
        done = mark.is_file() and mark.read_text(encoding="utf-8") == sha256
    except OSError as error:
        raise OutputError(f"{mark}: cannot be read: {error.strerror or error}") from error
    if not done:
        unpack(archive, target, sha256=sha256)
    return target
