"""JSONL: one document per line, as words or running text, with any annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from txray.corpus.corpus import Corpus, LazyDocument
from txray.corpus.document import RESERVED_NAMES, Document
from txray.corpus.readers.validate import require_no_split
from txray.corpus.sources import Source, content_fingerprint, file_source
from txray.corpus.splitting import TextSplitter
from txray.corpus.tokenize import Tokens, sentence_starts
from txray.corpus.values import BadValueError, id_text, label_text
from txray.errors import CorpusError, UsageError, in_one_line
from txray.text import is_text

_RESERVED = ("id", "words", "text", "labels", "sentence_starts", "spacing")


def read_jsonl(
    path: Path,
    split: str | None = None,
    *,
    ignore: Collection[str] = (),
    tokenized: bool = False,
    html: bool = False,
    group: str = "group",
) -> Corpus:
    """Read JSON Lines: `{"words": ["A", "word"], "pos": ["DT", "NN"], "id": "1", "labels": {"label": "pos"}}`.

    Keys of a line:
        words: list of strings; or `text`: a string, which is tokenised.
        id: a string or a whole number, unique in the file (not checked); by default the file and line number.
        labels: object of strings, numbers (whole ones are written without a fraction), true or false; a label of null
            is ignored.
        sentence_starts: ascending positions from 0; by default after end marks, or by the tokenizer.
        spacing: beside `words`: the white space before each word as written, a list of strings, or null.
        group: a string or a whole number: lines of one group, such as chapters of a book, share a fold; null or
            missing for a document that depends on no other.
        anything else: an annotation: a list of strings, one per word.

    Blank lines are not counted; documents without words are skipped (reason `no words`).

    Args:
        path: the file, plain or `.gz`.
        split: must be None: the format has no splits.
        ignore: keys to leave out, e.g. `["url", "date"]`; any other key that is not an annotation is an error, so that
            nothing is dropped silently.
        tokenized, html: of running text (`text`), see `txray.corpus.from_dataset`.
        group: the key that holds the group, e.g. `book_id`.

    Raises:
        CorpusError: nothing readable at `path`; while reading: a malformed line, with its number.
        UsageError: a split, or an option that does not exist.
    """
    require_no_split(path, split, "jsonl")
    if isinstance(ignore, str) or not all(isinstance(key, str) for key in ignore):
        raise UsageError(f"option 'ignore' is {ignore!r}; give a list of keys")
    if not isinstance(group, str) or group in _RESERVED:
        raise UsageError(f"option 'group' is {group!r}; give a key that has no other meaning")
    ignored = frozenset(ignore)
    source = file_source(path).check()
    split_text = TextSplitter(tokenized=tokenized, html=html)

    def document(number: int, entry: Mapping[str, object]) -> Document:
        with _location_in_errors(source, number):
            return _document(entry, f"{source.id_prefix}/{number:06d}", ignored, group, split_text)

    def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
        for number, line in source.lines():
            if not line.strip():
                continue
            with _location_in_errors(source, number):
                entry = _parsed(line)
                empty = not _has_words(entry, split_text)
            if empty:
                skipped["no words"] += 1
            else:
                yield partial(document, number, entry)

    return Corpus.from_lazy_documents(
        f"jsonl/{source.id_prefix}",
        lazy_documents,
        fingerprint=lambda: content_fingerprint(
            "jsonl", [source.digest()], ignore=sorted(ignored), group=group, rules=split_text.rules
        ),
    )


@contextmanager
def _location_in_errors(source: Source, number: int) -> Iterator[None]:
    """Prepend the location of a line to errors."""
    try:
        yield
    except (BadValueError, CorpusError) as error:
        raise CorpusError(f"{source.location}, line {number}: {error}") from error


def _document(
    entry: Mapping[str, object], name: str, ignored: Collection[str], group: str, splitter: TextSplitter
) -> Document:
    tokens = _tokens(entry, splitter)
    return Document(
        id=id_text("id", entry.get("id", name)),
        words=tokens.words,
        annotations=_annotations(entry, {*ignored, group}),
        labels=_labels(entry.get("labels", {})),
        sentence_starts=_starts(entry["sentence_starts"])
        if "sentence_starts" in entry
        else tokens.sentence_starts,
        group=None if entry.get(group) is None else id_text(group, entry[group]),
        spacing=tokens.spacing,
    )


def _parsed(line: str) -> Mapping[str, object]:
    try:
        entry = json.loads(line.rstrip("\r\n"))
    except json.JSONDecodeError as error:
        raise BadValueError(
            f"not JSON ({error.msg} at column {error.colno}); write one JSON object per line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadValueError(
            f"unusable JSON ({in_one_line(error)}); write one flat JSON object per line"
        ) from error
    if not isinstance(entry, dict):
        raise BadValueError(
            f'a JSON {type(entry).__name__}, not an object; write one like {{"words": ["A", "word"]}}'
        )
    if "\\u" in line and not is_text(json.dumps(entry, ensure_ascii=False)):
        raise BadValueError(
            "half of a surrogate pair (\\ud800 to \\udfff), which is not a character; repair it"
        )
    return entry


def _has_words(entry: Mapping[str, object], splitter: TextSplitter) -> bool:
    """Return whether there are any words; True for a malformed entry, which is an error when its document is built."""
    match entry:
        case {"words": _, "text": _}:
            return True
        case {"words": []}:
            return False
        case {"text": str(text)}:
            return splitter.has_words(text)
    return True


def _tokens(entry: Mapping[str, object], splitter: TextSplitter) -> Tokens:
    match entry:
        case {"words": _, "text": _}:
            raise BadValueError("both 'words' and 'text'; give one of them")
        case {"words": values}:
            words = _strings("words", values)
            if "" in words:
                raise BadValueError(f"word {words.index('')} is empty; leave it out, and its annotations")
            spacing = None if entry.get("spacing") is None else _strings("spacing", entry["spacing"])
            return Tokens(words, sentence_starts(words) if words else (), spacing)
        case {"text": _, "spacing": _}:
            raise BadValueError("'spacing' beside 'text', which holds its own white space; leave it out")
        case {"text": str(text)}:
            return splitter(text)
        case {"text": value}:
            raise BadValueError(f"'text' is {_short(value)}; give a string")
    raise BadValueError(
        f"neither 'words' nor 'text' among its keys ({', '.join(map(repr, entry)) or 'none'}); add one"
    )


def _annotations(entry: Mapping[str, object], ignored: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return everything that has no other meaning, as annotations."""
    annotations = {}
    for key, value in entry.items():
        if key in _RESERVED or key in ignored:
            continue
        if key in RESERVED_NAMES:
            raise BadValueError(
                f"{key!r} is a feature type of its own and would be hidden; rename it, or leave it out with "
                f"ignore=[{key!r}]"
            )
        annotations[key] = _strings(key, value)
    return annotations


def _strings(key: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise BadValueError(
            f"{key!r} is {_short(values)}; give a list of strings, one per word (for the whole document: put "
            f"it under 'labels', or leave it out with ignore=[{key!r}])"
        )
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise BadValueError(f"{key!r} holds {_short(value)} at position {position}; give strings only")
    return tuple(values)


def _labels(labels: object) -> dict[str, str]:
    if not isinstance(labels, dict):
        raise BadValueError(f"'labels' is {_short(labels)}; give an object of strings")
    texts = {key: label_text(f"labels: {key}", value) for key, value in labels.items()}
    return {key: text for key, text in texts.items() if text is not None}


def _starts(values: object) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise BadValueError(f"'sentence_starts' is {_short(values)}; give a list of positions")
    return tuple(values)


def _short(value: object) -> str:
    """Return a value as JSON, shortened for errors."""
    shown = json.dumps(value, ensure_ascii=True)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
