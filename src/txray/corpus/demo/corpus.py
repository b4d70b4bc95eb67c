"""The embedded corpus: plausible English from a grammar, to try things out without any download."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

from txray.corpus.corpus import Corpus
from txray.corpus.demo import domains
from txray.corpus.document import Document
from txray.errors import UnknownNameError
from txray.identity import derived

_SPLITS = ("train", "validation", "test")


def demo_corpus(domain: str, words: int = 50_000, seed: int = 0, split: str = "train") -> Corpus:
    """English text from a probabilistic grammar, with gold part-of-speech tags.

    Two domains share a part of their words. `encyclopedia` holds articles about rivers, ships, composers
    and the like: third person, past tense, names, numbers. `reviews` holds opinions on films: first
    person, present tense, adjectives, contractions; the label of a review follows from its words, except
    for 8 % of labels that are flipped. Documents have 40 to 200 words.

    Document i depends only on domain, seed, split and i: a longer corpus begins with the shorter one, and
    nothing is held in memory. The last document is cut where `words` is reached.

    Args:
        domain: `encyclopedia` or `reviews`.
        words: of the whole corpus, at least 1.
        seed: another seed gives other documents.
        split: `train`, `validation` or `test`; they share no documents.

    Returns:
        a corpus named e.g. `demo/reviews/train`; annotation `pos` holds Penn Treebank tags, and
        `document.labels["label"]` of a review is `pos` or `neg`.

    Raises:
        UnknownNameError: no such domain or split.
        UsageError: `words` is less than 1.
    """
    if domain not in domains.DOMAINS:
        raise UnknownNameError.of("demo domain", domain, domains.DOMAINS)
    if split not in _SPLITS:
        raise UnknownNameError.of("split", split, _SPLITS)
    name = f"demo/{domain}/{split}"

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        draw = domains.domain(domain).document
        return (draw(seed, split, index) for index in count())

    def fingerprint() -> str:
        return derived(domains.grammar_version(), "demo", domain, seed, split)

    return Corpus(name, documents, fingerprint=fingerprint).take(words)
