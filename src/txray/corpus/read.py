"""`read_corpus`: reads every format."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from txray.corpus.columns import ColumnOptions
from txray.corpus.corpus import Corpus
from txray.corpus.readers.conllu import read_conllu
from txray.corpus.readers.hf import read_hf
from txray.corpus.readers.imdb import read_imdb
from txray.corpus.readers.jsonl import read_jsonl
from txray.corpus.readers.parquet import read_parquet
from txray.corpus.readers.text import read_text
from txray.corpus.readers.wikitext import read_wikitext
from txray.errors import CorpusError, UnknownNameError

FORMATS: Mapping[str, Callable[..., Corpus]] = {
    "wikitext": read_wikitext,
    "imdb": read_imdb,
    "conllu": read_conllu,
    "text": read_text,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "hf": read_hf,
}
"""Format -> its reader, whose docstring describes the format and the options."""


def read_corpus(format: str, path: str | Path, split: str | None = None, **options: Any) -> Corpus:  # noqa: A002
    """Return a corpus from files, which are read again in every pass: memory does not grow with its length.

    Files of text may be gzip-compressed, whatever their name. The fingerprint covers the decompressed content and the
    options, so that the compressed and the plain file have the same one; computing it takes a pass over the bytes.

    Args:
        format: `wikitext`, `imdb`, `conllu`, `text`, `jsonl`, `parquet`, or `hf` (a saved data set of Hugging Face).
        path: a file or a folder, see the readers in `txray.corpus.readers`.
        split: of the data set, e.g. `train`; None if it has only one.
        options: of the format:
            `wikitext`: `headings`, `markup`, `version`; `conllu`: `unit`, `group`; `text`: `unit`, `tokenized`,
            `html`, `group`; `jsonl`: `ignore`, `tokenized`, `html`, `group`; `imdb`: `group`; `parquet`, `hf`:
            `text`, `words`, `id`, `label`, `group`, `annotations`, `tokenized`, `html`.

    Returns:
        The corpus; path and options are checked before this returns, the content while it is read.

    Raises:
        UnknownNameError: a format, split, option or value that does not exist; the text lists those that do.
        UsageError: a split of a single text, or none of several.
        CorpusError: missing, empty, wrong encoding, damaged, malformed.

    Example:
        >>> corpus = read_corpus("wikitext", "wikitext-2/", split="train", headings="skip")  # doctest: +SKIP
    """
    if format not in FORMATS:
        raise UnknownNameError.of("format", format, FORMATS)
    reader = FORMATS[format]
    known = _option_names(reader)
    for option in options:
        if option not in known:
            raise UnknownNameError.of(f"option of format {format!r}", option, known)
    if not str(path):
        raise CorpusError("the path is empty; name a file or a folder")
    return reader(Path(path), split, **options)


def _option_names(reader: Callable[..., Corpus]) -> list[str]:
    names: list[str] = []
    for name, parameter in inspect.signature(reader).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            names.append(name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            names += ColumnOptions.__annotations__
    return names
