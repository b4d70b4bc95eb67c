"""Features of the tagger: of each word and of its neighbours.

Building features costs as much as tagging, so all features of a word, as itself and as a neighbour, are cached.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

VERSION = 1
"""Incremented when the features change: a saved tagger needs the features it was trained with."""

# WikiText writes these three between spaces; "<unk>" hides a word, so that only its context is known.
_MARKUP = {"@-@": "-", "@,@": ",", "@.@": "."}
HIDDEN = "<unk>"
_MAX_WORD_LENGTH = 48
_CACHED_WORDS = 1 << 16
_SUFFIXES, _PREFIXES = range(1, 5), range(1, 4)
# A word is ambiguous between the tags that it has in at least this share of its occurrences. Words with fewer
# occurrences are not in the lexicon, so that training learns from unknown words.
_SHARE, _OCCURRENCES = 0.05, 5

Features = list[bytes]


class _Word(NamedTuple):
    """Features of a word itself, and what it adds to its neighbours at distance 1 and 2 and to pairs."""

    own: Features
    as_previous: Features
    as_next: Features
    as_second_previous: Features
    as_second_next: Features
    form: bytes


_OUTSIDE = _Word([], [b"-1"], [b"+1"], [b"-2"], [b"+2"], b"")
_HIDDEN = _Word([b"bias"], [b"-1?"], [b"+1?"], [b"-2?"], [b"+2?"], b"")


class FeatureMaker:
    """Turns sentences into features.

    Args:
        lexicon: lower-cased frequent word -> the tags it has, joined by `|`.
    """

    def __init__(self, lexicon: Mapping[str, str]) -> None:
        # crfsuite needs short C strings, and a word may be a megabyte long or contain NUL.
        self._word = lru_cache(_CACHED_WORDS)(partial(_features_of_word, lexicon))

    def __call__(self, words: Sequence[str]) -> list[Features]:
        """Return the features of every word of one sentence."""
        word = self._word
        seen = [word(text if len(text) <= _MAX_WORD_LENGTH else text[:_MAX_WORD_LENGTH]) for text in words]
        padded = [_OUTSIDE, _OUTSIDE, *seen, _OUTSIDE, _OUTSIDE]
        features = []
        for position, one in enumerate(seen, start=2):
            before, after = padded[position - 1], padded[position + 1]
            around = [
                *one.own,
                *before.as_previous,
                *after.as_next,
                *padded[position - 2].as_second_previous,
                *padded[position + 2].as_second_next,
                b"<" + before.form + b"|" + one.form,
                b">" + one.form + b"|" + after.form,
            ]
            # the context of a hidden word must decide alone, so it has weights of its own
            features.append([b"?" + feature for feature in around] if one is _HIDDEN else around)
        return features


def lexicon_of(sentences: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, str]:
    """Return lower-cased frequent word -> its tags, joined by `|`, from tagged sentences."""
    tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, sentence_tags in sentences:
        for word, tag in zip(words, sentence_tags, strict=True):
            tags[word.lower()][tag] += 1
    return {
        word: "|".join(sorted(tag for tag, count in counts.items() if count >= _SHARE * counts.total()))
        for word, counts in sorted(tags.items())
        if counts.total() >= _OCCURRENCES
    }


def _features_of_word(lexicon: Mapping[str, str], text: str) -> _Word:
    if text == HIDDEN:
        return _HIDDEN
    text = _MARKUP.get(text, text)
    lower = text.lower()
    shape = _shape(text)
    tags = lexicon.get(lower)
    length = len(lower)
    own = [f"w={text}", f"l={lower}", f"sh={shape}", f"t={tags or '?'}", "bias"]
    own += [f"s{n}={lower[-n:]}" for n in _SUFFIXES if length > n]
    own += [f"p{n}={lower[:n]}" for n in _PREFIXES if length > n]
    if "@" in text[1:] or "://" in text or "www." in lower or ".com" in lower:
        own.append("address")
    if length > 1 and not any(map(str.isalnum, text)):
        own.append("symbols")
    near = [f"l={lower}", f"s={lower[-3:]}", f"sh={shape}", f"t={tags or '?' + lower[-2:]}"]
    far = [f"l={lower}", f"t={tags or '?'}"]
    sides = (_encoded("-1", near), _encoded("+1", near), _encoded("-2", far), _encoded("+2", far))
    return _Word(_encoded("", own), *sides, _encoded("", [lower])[0])


def _shape(text: str) -> str:
    """Return the classes of characters, without repetitions: `McDonald-2` -> `XxXx-d`."""
    classes: list[str] = []
    for character in text:
        if character.isupper():
            character_class = "X"
        elif character.islower():
            character_class = "x"
        else:
            character_class = "d" if character.isdigit() else character
        if not classes or classes[-1] != character_class:
            classes.append(character_class)
    return "".join(classes[:8])


def _encoded(prefix: str, features: list[str]) -> Features:
    return [(prefix + feature).replace("\0", "\ufffd").encode("utf-8", "replace") for feature in features]
