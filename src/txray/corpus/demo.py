"""The embedded corpus: made-up English with gold part-of-speech tags, to try things out without any download.

All of its text is in `demo.txt.gz`. The first line is JSON: the most frequent tag of every word, and the number of
documents of each part. Every further line is a document: its label, then its sentences, separated by tabs. The words of
a sentence are separated by spaces; a word with another tag than its most frequent one carries it, as in `set/VBD`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from importlib.resources import files

from txray.checks import is_integer
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError
from txray.identity import derived

_DOMAINS = ("encyclopedia", "reviews")
_SPLITS = ("train", "validation", "test")


def demo_corpus(domain: str, words: int | None = 50_000, seed: int = 0, split: str = "train") -> Corpus:
    """Return English sentences from a probabilistic grammar, with gold part-of-speech tags.

    Two domains share a part of their words. `encyclopedia` holds articles about rivers, ships, composers and the like:
    third person, past tense, names, numbers. `reviews` holds opinions on films: first person, present tense,
    adjectives, contractions; the label of a review follows from its words, except for 8% of labels that are flipped.
    Documents have 40 to 200 words.

    A longer corpus begins with the documents of a shorter one. The last document is cut where `words` is reached.

    Args:
        domain: `encyclopedia` or `reviews`.
        words: size of the corpus, at least 1; None for all. Each domain has 200,000 words for training, and
            50,000 for validation and for test.
        seed: order of the documents, 0 or larger; corpora with different seeds hold the same documents if they hold
            all of them.
        split: `train`, `validation` or `test`; they share no documents.

    Returns:
        A corpus named e.g. `demo/reviews/train`; annotation `pos` holds Penn Treebank tags, and
        `document.labels["label"]` of a review is `pos` or `neg`.

    Raises:
        UnknownNameError: no such domain or split.
        UsageError: `words` is less than 1 or more than the part has; `seed` is negative or not a whole number.
    """
    if domain not in _DOMAINS:
        raise UnknownNameError.of("demo domain", domain, _DOMAINS)
    if split not in _SPLITS:
        raise UnknownNameError.of("split", split, _SPLITS)
    if not is_integer(seed) or seed < 0:
        raise UsageError(f"demo_corpus: seed={seed!r}; give a whole number, 0 or larger")
    part = f"{domain}/{split}"
    text = _demo_text()
    lines = text.lines[part]
    n_words = sum(map(_count_words, lines))
    if words is not None and is_integer(words) and words > n_words:
        raise UsageError(
            f"demo_corpus: words={words:,}; {part} has {n_words:,} words; give at most that, or None for all"
        )

    def lazy_documents(skipped: Counter[str]) -> Iterator[Callable[[], Document]]:
        return (
            partial(_document, f"demo/{part}/{index}", lines[index], text.usual_tags)
            for index in _order(part, len(lines), seed)
        )

    corpus = Corpus.from_lazy_documents(
        f"demo/{part}", lazy_documents, fingerprint=lambda: derived(text.sha256, "demo", part, int(seed))
    )
    return corpus if words is None else corpus.take_words(words)


@dataclass(frozen=True, slots=True)
class _DemoText:
    """Documents and usual tags of the embedded corpus, as read from its file.

    Attributes:
        usual_tags: word -> its most frequent tag.
        lines: e.g. `reviews/train` -> one line per document.
        sha256: of the content.
    """

    usual_tags: Mapping[str, str]
    lines: Mapping[str, tuple[str, ...]]
    sha256: str


@cache
def _demo_text() -> _DemoText:
    content = gzip.decompress((files("txray.corpus") / "demo.txt.gz").read_bytes())
    first, *lines = content.decode().splitlines()
    head = json.loads(first)
    parts = {}
    start = 0
    for part, n_documents in head["documents"].items():
        parts[part] = tuple(lines[start : start + n_documents])
        start += n_documents
    usual_tags = {word: tag for tag, words in head["usual_tags"].items() for word in words.split(" ")}
    return _DemoText(usual_tags, parts, sha256(content).hexdigest())


def _order(part: str, n_documents: int, seed: int) -> list[int]:
    """Return the positions of the documents in the order of a seed."""
    positions = list(range(n_documents))
    if seed:  # by hash, which no version of Python or NumPy changes
        positions.sort(key=lambda position: sha256(f"{part}/{position}/{int(seed)}".encode()).digest())
    return positions


def _count_words(line: str) -> int:
    # A tab before the first word of each sentence, a space before every other word.
    return line.count("\t") + line.count(" ")


def _document(name: str, line: str, usual_tags: Mapping[str, str]) -> Document:
    label, *sentences = line.split("\t")
    words: list[str] = []
    tags: list[str] = []
    starts: list[int] = []
    for sentence in sentences:
        starts.append(len(words))
        for entry in sentence.split(" "):
            word, _, tag = entry.partition("/")
            words.append(word)
            tags.append(tag or usual_tags[word])
    return Document(
        id=name,
        words=tuple(words),
        annotations={"pos": tuple(tags)},
        labels={"label": label} if label else {},
        sentence_starts=tuple(starts),
    )
