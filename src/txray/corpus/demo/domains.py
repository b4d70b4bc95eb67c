"""The two domains of the embedded corpus: their grammar files, and how a document is drawn."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import accumulate
from random import Random

from txray.corpus.demo.draw import Draw
from txray.corpus.demo.lexicon import WordClass, read_word_classes
from txray.corpus.demo.topics import GrammarFile, Topic
from txray.corpus.document import Document
from txray.errors import CorpusError

# Raised by hand whenever the code changes what is drawn; changes of the grammar files count by themselves.
_CODE_VERSION = 1
# Share of reviews whose label is not what their words say.
_FLIPPED = 0.08
# Opinion of the words -> label. The encyclopedia has neither.
_OPINIONS = {"encyclopedia": {"": ""}, "reviews": {"+": "pos", "-": "neg"}}
DOMAINS = tuple(_OPINIONS)


@dataclass(frozen=True, slots=True)
class Domain:
    """A compiled domain.

    Attributes:
        name: `encyclopedia` or `reviews`.
        labels: label of each opinion, empty where the domain has none.
        topics: per opinion, the topics a document can have.
        cumulative: (n_topics,) their probabilities summed up.
    """

    name: str
    labels: tuple[str, ...]
    topics: tuple[tuple[Topic, ...], ...]
    cumulative: tuple[float, ...]

    def document(self, seed: int, split: str, index: int) -> Document:
        """Document number `index`; it depends on nothing but the domain and these three."""
        name = f"demo/{self.name}/{split}/{index}"
        random = Random(f"{name}/{seed}").random
        opinion = int(len(self.labels) * random())
        topic = self.topics[opinion][bisect(self.cumulative, random())]
        first, last = topic.clock
        draw = Draw(random, first + int((last - first + 1) * random()))
        words, tags, starts = topic.draw(draw)
        label = self.labels[opinion if random() >= _FLIPPED else opinion - 1]
        return Document(
            id=name,
            words=tuple(words),
            annotations={"pos": tuple(tags)},
            labels={"label": label} if label else {},
            sentence_starts=tuple(starts),
        )


@cache
def domain(name: str) -> Domain:
    """The compiled domain of this name; compiled on first use."""
    texts = dict(_texts())
    classes: dict[str, WordClass] = {}
    for source, text in texts.items():
        if source.startswith("words/"):
            for words in read_word_classes(source, text):
                if words.name in classes:
                    raise CorpusError(f"{source}: class {words.name!r} exists twice")
                classes[words.name] = words
    literals = _literals(texts["literals.txt"])
    parsed = {
        source.removesuffix(".txt"): GrammarFile.parse(source, text)
        for source, text in texts.items()
        if source.startswith((f"{name}/", "common.txt"))
    }
    shared, own = parsed.pop("common"), parsed.pop(f"{name}/common")
    common = GrammarFile(shared.settings + own.settings, (), {**shared.rules, **own.rules})
    opinions = _OPINIONS[name]
    topics = tuple(
        tuple(
            Topic.compile(source.partition("/")[2], file, common, classes, literals, opinion)
            for source, file in parsed.items()
        )
        for opinion in opinions
    )
    sums = list(accumulate(topic.weight for topic in topics[0]))
    return Domain(name, tuple(opinions.values()), topics, tuple(value / sums[-1] for value in sums))


@cache
def grammar_version() -> str:
    """Hash of everything that decides what is drawn."""
    digest = sha256(str(_CODE_VERSION).encode())
    for source, text in _texts():
        digest.update(f"\n{source}\n{text}".encode())
    return digest.hexdigest()


def _texts() -> Iterator[tuple[str, str]]:
    """(name, content) of every grammar file, in order of name."""
    data = files("txray.corpus.demo") / "data"
    for folder in ("", *DOMAINS, "words"):
        entries = (data / folder).iterdir() if folder else data.iterdir()
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.endswith(".txt"):
                yield f"{folder}/{entry.name}".lstrip("/"), entry.read_text(encoding="utf-8")


def _literals(text: str) -> dict[str, str]:
    """Word -> tag, from lines such as `IN of in for`."""
    tags: dict[str, str] = {}
    for line in text.splitlines():
        tag, *words = line.split("#")[0].split() or [""]
        for word in words:
            if tags.setdefault(word, tag) != tag:
                raise CorpusError(f"literals.txt: {word!r} is {tags[word]} and {tag}; keep one of them")
    return tags
