"""CoNLL-U: treebanks, with gold part-of-speech tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.corpus.readers.validate import known_split, require_choice, require_split_in_name
from txray.corpus.sources import Source, content_fingerprint, file_source, kind_of, listed, plain_name
from txray.errors import CorpusError, UsageError

SPLITS = {"train": "train", "dev": "dev", "test": "test", "valid": "dev", "validation": "dev"}

_COLUMNS = 10
_FORM, _DEPREL, _MISC = 1, 7, 9
_ANNOTATIONS = {"lemma": 2, "upos": 3, "pos": 4, "feats": 5, "deprel": _DEPREL}
_NUMBERED = re.compile(r"(?P<series>.*[^0-9])[0-9]+")
_NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")


def read_conllu(
    path: Path, split: str | None = None, *, unit: str = "document", group: str = "newdoc"
) -> Corpus:
    """Read CoNLL-U, a file or the folder of a treebank.

    Annotations: `pos` (column XPOS, Penn tags in English treebanks), `upos`, `lemma`, `feats` (morphology, as written)
    and `deprel`; an unknown value is `_`, as in the file. Words are the syntactic words: multiword tokens (`1-2`) and
    empty nodes (`1.1`) are left out.

    Args:
        path: a `.conllu` file, plain or `.gz`, or a folder with files named like `en_ewt-ud-train.conllu`.
        split: `train`, `dev` (or `valid`, `validation`) or `test`; needed for a folder.
        unit: `document`: the sentences after each `# newdoc` are one document, named by its id; a sentence before the
            first of these (in many treebanks: every sentence) is a document of its own. `sentence`: every sentence is
            a document, named by its `sent_id`.
        group: which documents share a fold. `newdoc`: the sentences after one `# newdoc`, if `unit="sentence"` makes
            them documents of their own. `sent_id`: also sentences without a `# newdoc` before them whose `sent_id`
            differs in its last number alone, as `weblog-0001` and `weblog-0002` do; not for treebanks that number all
            of their sentences in one series.

    Raises:
        CorpusError: nothing readable at `path`; while reading: a malformed line, with its number.
        UsageError: a split or option that does not exist.
    """
    by_sentence = require_choice("unit", unit, ("document", "sentence")) == "sentence"
    by_number = require_choice("group", group, ("newdoc", "sent_id")) == "sent_id"
    source = _find(path, split).check()

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        sentences: list[_Sentence] = []
        name: str | None = None
        shared: str | None = None
        for sentence in _sentences(source):
            if sentence.new_document is not None:
                if sentences:
                    yield _document(source, name, sentences)
                sentences, name = [], sentence.new_document
                shared = name or f"{source.id_prefix}/{sentence.line:06d}"
            if not sentence.rows:
                skipped["no words"] += 1
            elif by_sentence or name is None:
                series = _series(sentence.name) if by_number else None
                yield _document(source, sentence.name, [sentence], shared or series)
            else:
                sentences.append(sentence)
        if sentences:
            yield _document(source, name, sentences)

    return Corpus(
        f"conllu/{source.id_prefix}",
        documents,
        fingerprint=lambda: content_fingerprint("conllu", [source.digest()], unit=unit, group=group),
    )


def _series(sent_id: str | None) -> str | None:
    """Return a `sent_id` without the number that ends it; None if it does not end with a number."""
    match = _NUMBERED.fullmatch(sent_id or "")
    return match["series"] if match else None


def _document(
    source: Source, name: str | None, sentences: list[_Sentence], group: str | None = None
) -> Document:
    rows = [row for sentence in sentences for row in sentence.rows]
    starts = accumulate((len(sentence.rows) for sentence in sentences[:-1]), initial=0)
    return Document(
        id=name or f"{source.id_prefix}/{sentences[0].line:06d}",
        words=tuple(row[_FORM] for row in rows),
        annotations={name: tuple(row[column] for row in rows) for name, column in _ANNOTATIONS.items()},
        sentence_starts=tuple(starts),
        group=group,
        spacing=_spacing(sentences),
    )


def _spacing(sentences: Sequence[_Sentence]) -> tuple[str, ...] | None:
    """Return the white space before each word; None if a multiword token is not written as the sequence of its words.

    A space is between two sentences, and a blank line before a paragraph.
    """
    spacing: list[str] = []
    space_before = ""
    for number, sentence in enumerate(sentences):
        before, space_after = sentence.spacing()
        if before is None:
            return None
        first = ("\n\n" if sentence.new_paragraph else space_before) if number else ""
        spacing += [first, *before[1:]]
        space_before = space_after
    return tuple(spacing)


def _sentences(source: Source) -> Iterator[_Sentence]:
    """Yield each block of lines; without rows if it holds only comments, multiword tokens or empty nodes."""
    sentence: _Sentence | None = None
    for number, text in source.lines():
        line = text.rstrip("\r\n")
        if not line.strip(" "):
            if sentence is not None:
                yield sentence
            sentence = None
            continue
        if sentence is None:
            sentence = _Sentence(number)
        if line.startswith("#"):
            sentence.comment(line)
        else:
            sentence.row(source, number, line)
    if sentence is not None:
        yield sentence


@dataclass(slots=True)
class _Sentence:
    """A block of lines while it is read.

    Attributes:
        line: number of its first line.
        rows: the columns of each word.
        name: its `sent_id`.
        new_document: the id of the document that starts with it, empty if that has none; None if no document starts.
        new_paragraph: whether a paragraph starts with it.
        text: the sentence as written; None if the file does not tell it.
        tokens: form and last column of each word or multiword token, and the number of its words.
    """

    line: int
    rows: list[list[str]] = field(default_factory=list)
    name: str | None = None
    new_document: str | None = None
    new_paragraph: bool = False
    text: str | None = None
    tokens: list[tuple[str, str, int]] = field(default_factory=list)
    _inside: int = 0

    def comment(self, line: str) -> None:
        key, _, value = line[1:].partition("=")
        match key.split():
            case ["newdoc"] | ["newdoc", "id"]:
                self.new_document = value.strip()
            case ["sent_id"]:
                self.name = value.strip()
            case ["newpar"] | ["newpar", "id"]:
                self.new_paragraph = True
            case ["text"]:
                self.text = value.strip()

    def spacing(self) -> tuple[list[str] | None, str]:
        """Return the white space before each word, None if unknown, and the white space after the sentence."""
        forms = [row[_FORM] for row in self.rows]
        before: list[str] = []
        for form, _, n_words in self.tokens:
            words = forms[len(before) : len(before) + n_words]
            if "".join(words) != form:
                return None, " "
            before += [" ", *[""] * (n_words - 1)]
        gaps = ["" if "SpaceAfter=No" in misc.split("|") else " " for _, misc, _ in self.tokens]
        written = None if self.text is None else _gaps_in(self.text, [form for form, _, _ in self.tokens])
        first = 0
        for (_, _, n_words), gap in zip(self.tokens, written or ["", *gaps], strict=False):
            before[first] = gap
            first += n_words
        return before, gaps[-1]

    def row(self, source: Source, number: int, line: str) -> None:
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            raise CorpusError(
                f"{source.location}, line {number}: {len(columns)} columns separated by tabs, CoNLL-U has "
                f"{_COLUMNS}; correct the line, or give a CoNLL-U file"
            )
        if _NO_WORD.fullmatch(columns[0]):
            if "-" in columns[0]:
                begin, end = map(int, columns[0].split("-"))
                self.tokens.append((columns[_FORM], columns[_MISC], end - begin + 1))
                self._inside = end
            return
        if columns[0] != str(len(self.rows) + 1):
            raise CorpusError(
                f"{source.location}, line {number}: id {columns[0]!r} where {len(self.rows) + 1} must follow; a "
                "line is missing, or the blank line between two sentences"
            )
        if "" in columns[_FORM : _DEPREL + 1]:
            raise CorpusError(
                f"{source.location}, line {number}: an empty column; write _ for unknown values"
            )
        self.rows.append(columns)
        if len(self.rows) > self._inside:
            self.tokens.append((columns[_FORM], columns[_MISC], 1))


def _gaps_in(text: str, forms: Sequence[str]) -> list[str] | None:
    """Return the white space before each form in a text; None if the text holds anything else."""
    gaps, end = [], 0
    for form in forms:
        start = text.find(form, end)
        if start < 0 or text[end:start].strip():
            return None
        gaps.append(text[end:start])
        end = start + len(form)
    return gaps if not text[end:].strip() else None


def _find(path: Path, split: str | None) -> Source:
    if kind_of(path) == "file":
        require_split_in_name(path, split, SPLITS)
        return file_source(path)
    files = listed(path, "*.conllu", "*.conllu.gz")
    if split is None and len(files) == 1:
        return file_source(files[0])
    wanted = known_split(path, split, SPLITS)
    matching = [file for file in files if plain_name(file.name).lower().endswith(wanted)]
    if not matching:
        raise CorpusError(
            f"{path}: holds no file like xx-ud-{wanted}.conllu or .conllu.gz; give a treebank folder or file"
        )
    if len({plain_name(file.name) for file in matching}) > 1:
        raise UsageError(
            f"{path}: holds {' and '.join(file.name for file in matching)}; name one of the files"
        )
    return file_source(matching[0])
