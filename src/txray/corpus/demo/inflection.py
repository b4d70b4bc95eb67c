"""Regular English inflection, and the choice between `a` and `an`.

Irregular forms are written beside the word in the word lists; these are only the rules for the rest.
"""

from __future__ import annotations

import re

_VOWELS = "aeiou"
_HISSING = ("s", "x", "z", "ch", "sh")
# The sound decides, not the letter: a unit, a European, a one-off; an hour, an 18th-century mill.
_CONSONANT_SOUND = re.compile(r"(uni(?!m|n)|us[eu]|ut[ei]|eu|ewe|one|once|ura)", re.IGNORECASE)
_SILENT_H = re.compile(r"(hour|honest|honou?r|heir)", re.IGNORECASE)
_VOWEL_NUMBER = re.compile(r"8|1[18](?!\d)|1[18],\d{3}")


def plural(noun: str) -> str:
    """Plural of a regular noun: `church` -> `churches`."""
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(_HISSING) else "s")


def third_person(verb: str) -> str:
    """Third person singular, present tense: `carry` -> `carries`."""
    return verb + "es" if verb.endswith("o") else plural(verb)


def past(verb: str) -> str:
    """Past tense and past participle of a regular verb: `stop` -> `stopped`."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def gerund(verb: str) -> str:
    """The `-ing` form: `make` -> `making`."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return _doubled(verb) + "ing"


def comparative(adjective: str) -> str | None:
    """`large` -> `larger`; None where English says `more` with the adjective."""
    stem = _graded(adjective)
    return None if stem is None else stem + "er"


def superlative(adjective: str) -> str | None:
    """`large` -> `largest`; None where English says `most` with the adjective."""
    stem = _graded(adjective)
    return None if stem is None else stem + "est"


def takes_an(word: str) -> bool:
    """Whether the article before this word is `an`."""
    first = word[0].lower()
    if first.isdigit():
        return _VOWEL_NUMBER.match(word) is not None
    if first == "h":
        return _SILENT_H.match(word) is not None
    return first in _VOWELS and _CONSONANT_SOUND.match(word) is None


def _graded(adjective: str) -> str | None:
    """What `-er` and `-est` are added to; None where they cannot be."""
    syllables = _syllables(adjective)
    if "-" in adjective or syllables > 2:
        return None
    if re.search(r"[^aeiou]y$", adjective):
        return adjective[:-1] + "i"
    if adjective.endswith("e") and (syllables == 1 or adjective.endswith("le")):
        return adjective[:-1]
    return _doubled(adjective) if syllables == 1 else None


def _doubled(word: str) -> str:
    """The word with its last consonant doubled where a one-syllable word asks for it."""
    closed = re.search(r"[^aeiou][aeiou][bdgklmnprtvz]$", word) or re.fullmatch(r"[aeiou][bdgmnprt]", word)
    return word + word[-1] if closed and _syllables(word) == 1 else word


def _syllables(word: str) -> int:
    groups = re.findall(r"[aeiouy]+", word)
    silent = word.endswith("e") and len(groups) > 1 and not word.endswith("le")
    return len(groups) - silent
