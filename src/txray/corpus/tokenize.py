"""From running text to words and sentences: spaCy's English rules, which need no download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from spacy.language import Language

_END_MARKS = frozenset(".?!")
_CLOSERS = frozenset((")", "]", "''", "”", "’", "»", ".", "?", "!"))

_LONG_WORD = 250
_CHUNK = 100_000
_STAND_IN = "word"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONG_RUN = re.compile(rf"\S{{{_LONG_WORD + 1},}}")


class Tokens(NamedTuple):
    """The words of a text, and the positions at which a sentence starts: empty, or ascending from 0."""

    words: tuple[str, ...]
    sentence_starts: tuple[int, ...]


def sentence_starts(words: Sequence[str]) -> tuple[int, ...]:
    """Sentence starts of text that is already split into words.

    A sentence starts after `.`, `?` or `!` standing alone, and after the end marks and the closing brackets and
    quotes that follow it. A straight `"` may open or close: it opens here.

    Args:
        words: (n_words,), at least one.

    Returns:
        Ascending positions, the first is 0.
    """
    starts = [0]
    ends = [place for place, word in enumerate(words, 1) if word in _END_MARKS]
    for start in ends:
        while start < len(words) and words[start] in _CLOSERS:
            start += 1
        if starts[-1] < start < len(words):
            starts.append(start)
    return tuple(starts)


class Tokenizer:
    """Splits English text into words and sentences with the rules of spaCy's blank `en` and its sentencizer.

    Line breaks (as `str.splitlines` sees them) end a sentence. Spaces are never words. Control characters
    (Unicode Cc, with NUL) count as spaces, so no word holds one. More than 250 characters without a space
    stay one word as they are: the rules need time that grows with the square of such a run. A sentence of
    more than 100,000 characters is cut there.

    Keep one for all passes over a text: it is faster once it knows the words.
    """

    def __init__(self, *, most_strings: int = 250_000) -> None:
        """Start with an empty vocabulary.

        Args:
            most_strings: spaCy remembers every distinct word; above this many it is started afresh, so that
                memory does not grow with the text.
        """
        self._most_strings = most_strings
        self._language: Language | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which makes the rules anew: they are large, and the words seen so far no part of it."""
        return {"_most_strings": self._most_strings, "_language": None}

    def __call__(self, text: str) -> Tokens:
        """The words of `text`; none where it holds only spaces."""
        words: list[str] = []
        starts: list[int] = []
        for line in text.splitlines():
            if line and not line.isspace():
                for sentence in self._sentences(_CONTROL.sub(" ", line)):
                    starts.append(len(words))
                    words.extend(sentence)
        return Tokens(tuple(words), tuple(starts))

    def _sentences(self, line: str) -> Iterator[list[str]]:
        long: dict[int, str] = {}
        if len(line) > _LONG_WORD and _LONG_RUN.search(line):
            line, long = _stand_in(line)
        begin = 0
        while begin < len(line):
            end = _cut(line, begin)
            sentences = self._chunk(line[begin:end])
            if end < len(line) and len(sentences) > 1:
                # the last sentence may go on beyond the chunk: read it again with what follows
                sentences, end = sentences[:-1], begin + sentences[-1][0][0]
            for sentence in sentences:
                yield (
                    [long.get(begin + place, word) for place, word in sentence]
                    if long
                    else [word for _, word in sentence]
                )
            begin = end

    def _chunk(self, text: str) -> list[list[tuple[int, str]]]:
        """Sentences of (offset, word) pairs; none is empty."""
        sentences: list[list[tuple[int, str]]] = []
        starts = True
        for token in self._spacy()(text):
            starts = starts or bool(token.is_sent_start)
            if token.is_space:
                continue
            if starts:
                sentences.append([])
                starts = False
            sentences[-1].append((token.idx, token.text))
        return sentences

    def _spacy(self) -> Language:
        if self._language is None or len(self._language.vocab.strings) > self._most_strings:
            import spacy

            self._language = spacy.blank("en")
            self._language.add_pipe("sentencizer")
        return self._language


def has_words(text: str, *, spaces_only: bool = False) -> bool:
    """Whether a text has any words, without finding them.

    Args:
        text: that would be tokenised.
        spaces_only: it would be split at spaces instead, where control characters are words if they are no spaces.
    """
    return bool(text.strip()) and (spaces_only or not _CONTROL.sub(" ", text).isspace())


def tokenizer_name() -> str:
    """Names the rules and their version; part of the fingerprint of what they tokenised."""
    return f"spacy {version('spacy')} en"


def _stand_in(line: str) -> tuple[str, dict[int, str]]:
    """The line with every long run replaced by a plain word, and the runs by their new offset."""
    parts: list[str] = []
    runs: dict[int, str] = {}
    length = at = 0
    for match in _LONG_RUN.finditer(line):
        parts += (line[at : match.start()], _STAND_IN)
        length += match.start() - at
        runs[length] = match.group()
        length += len(_STAND_IN)
        at = match.end()
    return "".join((*parts, line[at:])), runs


def _cut(line: str, begin: int) -> int:
    """Where to end a chunk: at the last space before the limit; there is one, because runs are short."""
    end = begin + _CHUNK
    if end >= len(line):
        return len(line)
    while not line[end].isspace():
        end -= 1
    return end
