"""Split English text at more than spaces: contractions, abbreviations, numbers, addresses, emoticons, punctuation.

One regular expression takes a run of characters from left to right. Its last alternative is any character, so that each
character belongs to one word. Repetitions are possessive or bounded: the time grows linearly with the run.
"""

from __future__ import annotations

import re

_WORD = r"(?:[^\W_]|[\xad\u0300-\u036f\u200b-\u200d\ufeff])"  # letters, digits, accents, invisible joiners
_END = rf"(?!{_WORD})"
_APOSTROPHE = "['\u2019`\xb4]"


def _any(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


# Abbreviations that keep their full stop. Those that are also words (no, art, sun, miss), or that often end a sentence
# (etc, al), are missing. The first group is accepted in capitals and in small letters, too.
_ABBREVIATIONS = (
    "(?:(?i:"
    + _any("Mr Mrs Ms Dr Drs Prof Rev Jr Sr St Lt Sgt Capt Inc Corp Ltd Dept Blvd vs viz cf approx esp ie eg")
    + ")|"
    + _any(
        "Mx Hon Messrs Mme Mlle Gen Col Maj Cpt Cmdr Cpl Pvt Adm Sen Rep Gov Pres Supt Insp Det Atty "
        "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Tue Tues Wed Thu Thur Thurs Fri Sat "
        "Co Bros Assn Univ Ave Rd Mt Ft Vol Vols Fig Figs Eq Ed Eds pp ed eds ext tel "
        "Ala Ariz Ark Calif Colo Conn Fla Ky Md Mich Minn Neb Nev Okla Penn Tenn Tex Va Vt Wis Wyo"
    )
    + ")"
)
_UNITS = _any(
    "[ap]\\.m [kcmn]?m [kmc]?g lbs? oz ft yds? mi mph kmh kph [kMGT]?[Hh]z [kKMGT][Bb] [kmM]?W [kKm]?V [km]?J kcal "
    "ml cl hrs? mins? secs? [ap]m [AP]M Km"
)
_DOMAINS = "com|org|net|edu|gov|mil|info|biz|tv|(?:co|ac|org)\\.uk|de|fr|ca"
_FILES = "html?|php|aspx?|pdf|docx?|xlsx?|pptx?|txt|csv|zip|exe|jpe?g|gif|png|mp3|mp4|avi|mpe?g"
# Words that begin or end with an apostrophe. The clitics are words of their own in text that is already split.
_CLIPPED_FRONT = _any("s m d re ve ll em til tis twas cause cuz coz bout round nuff n \\d0s")
_CLIPPED_END = _any(
    "(?:go|do|be|hav|gett|mak|com|look|talk|say|see|try|think|runn|liv|lov|kill|noth|someth|anyth|everyth)in "
    "o ol lil"
)

_TOKEN = re.compile(
    rf"""
    # web address; mail address; host or file; news group; name of a user
    (?i:https?://|ftp://|www\.)\S*[^\s.,;:!?…'"’”)\]}}>]
  | (?:mailto:)?[\w.+%-]{{1,64}}+@\w[\w-]{{0,62}}+(?:\.\w[\w-]{{0,62}}+){{0,8}}
  | (?:\w[\w-]{{0,62}}\.){{1,8}}(?i:{_DOMAINS}|{_FILES})(?![\w-]|\.\w)(?:/\S*[^\s.,;:!?'")\]])?
  | (?:[a-z][a-z-]{{1,20}}\.){{2,8}}[a-z]{{2,20}}(?![\w-]|\.\w) | @[A-Za-z]\w*+
    # emoticons
  | (?<!\w)>?[:;=]['^o-]?(?:\)+|\(+|\]+|\[+|[DPp]|(?<!=)[OoSsXx3*/\\|@])(?![\w/])
  | (?<!\w)(?:8-\)|[xX]D+|<3+|</3+|[oO0][_.][oO0]|\^_*\^|-_+-|\(-?[:;])(?!\w)
  | (?<=[^\W\d])[:;]-?\)+$
    # repeated marks, dashes, double quotes, WikiText's @-@
  | \.{{2,}} | -{{2,}} | [–—]+ | '' | `` | ’’ | ‘‘ | ‘’ | @[-.,]@ | ([=_*~+\#])\1+
    # currencies; dates and telephone numbers; numbers, with any letters after them that are not a unit (2nd, 3D, 5 km)
  | (?:US|AU?|CA?|NZ|HK)\$
  | (?:\d{{4}}-\d\d-\d\d|\d{{3}}-\d{{3}}-\d{{4}})(?![\w-])
  | (?:(?<![\w.)\]%°])[+-]?\.?)?\d+(?:[.,:/]\d+)*+(?:(?={_UNITS}{_END})|{_WORD}*+)
  | °[CFK]{_END}
    # U.S.A. U.S J. Ph.D. Mr.
  | (?:[^\W\d_]\.){{2,}}+(?:[^\W\d_]{_END})? | [^\W\d_]\.[^\W\d_]{_END} | (?<!\d)(?![Ii])[A-Za-z]\.(?!\.|{_WORD})
  | (?i:Ph|[BM]\.?Sc|Ed)\.D?\.?{_END} | {_ABBREVIATIONS}\.(?!\.)
    # 'em '90s goin'; w/ b/c; the mark A+
  | {_APOSTROPHE}(?i:{_CLIPPED_FRONT})(?!\.?{_WORD}) | (?i:{_CLIPPED_END}){_APOSTROPHE}{_END}
  | [A-Za-z]/[A-Za-z]?{_END} | [A-F][+-](?![\w+-])
    # words: O'Brien AT&T snake_case sh*t
  | (?P<word>{_WORD}++(?:(?:[&_]|{_APOSTROPHE}|\*++){_WORD}++)*+)
    # emoji with its variants; any other character
  | [\u2600-\u27bf\U0001f000-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*+
  | .
    """,
    re.VERBOSE | re.DOTALL,
)
_CLITIC = rf"({_APOSTROPHE}(?:s|m|d|re|ve|ll))?"
# The word, n't, and one or two clitics: could n't 've.
_CLITICS = re.compile(rf"(.+?)(n{_APOSTROPHE}t)?{_CLITIC}{_CLITIC}", re.IGNORECASE)
# Contractions without an apostrophe. Those that are also other words (its, well, were, id, lets) are missing.
_JOINED = re.compile(
    r"(can)(not)|(gon|wan)(na)|(got)(ta)|(gim|lem)(me)"
    r"|(do|does|did|is|are|was|were|has|have|had|could|would|should|ca|wo|ai)(nt)"
    r"|(i)(m)|(i|you|we|they)(ve)|(you|they)(re)|(you|they|it|that)(ll)|(you|they)(d)"
    r"|(that|what|there|here|where|who|how|he|she)(s)",
    re.IGNORECASE,
)


def split_run(run: str) -> tuple[str, ...]:
    """Return the words of a run of characters without spaces; joined, they are the run."""
    words: list[str] = []
    for match in _TOKEN.finditer(run):
        words += _split_contraction(match[0]) if match.lastgroup == "word" else (match[0],)
    return tuple(words)


def _split_contraction(word: str) -> tuple[str, ...]:
    match = _JOINED.fullmatch(word)
    if match is None and not word.isalnum():
        match = _CLITICS.fullmatch(word)
    return tuple(part for part in match.groups() if part) if match else (word,)
