"""Synthetic text with topics: its words, topics, lengths and dependent documents are settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from txray.arrays import Floats
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import UsageError

_WORDS = 1_500
"""Number of different words of the language."""

_TOPICS = 12
"""Number of topics: half of them are those of a text with shift 0, the others those with shift 1."""

_SPREAD = 1.0
"""Standard deviation of the logarithm of what a topic multiplies the frequency of a word by."""

_MIXTURE = 0.5
"""Concentration of the topics of a group of documents; the smaller, the fewer topics it has."""

_OWN_WORDS = 20
"""Number of words of a group of documents that occur more often in it than elsewhere."""


def synthetic_text(
    words: int,
    *,
    shift: float = 0.0,
    document_words: int = 200,
    documents_per_group: int = 1,
    burst: float = 0.2,
    seed: int = 0,
) -> Corpus:
    """Return a text from a fixed language with topics, to test what a change of the text does to statistics.

    Words follow Zipf's law, each of 12 topics multiplies their frequencies by factors of its own, and each group of
    documents mixes topics and repeats words of its own. The language is always the same; texts with different seeds
    are independent samples.

    >>> one, other = (txray.synthetic.synthetic_text(20_000, shift=shift, seed=7) for shift in (0.0, 1.0))
    >>> pair = txray.synthetic_pair(40, corpus=one.concat(other))

    Args:
        words: number of words, rounded up to whole groups of documents.
        shift: share of the text that is about the other half of the topics, from 0 to 1.
        document_words: number of words of a document.
        documents_per_group: number of documents that share topics, own words and fold, like the chapters of a book.
        burst: share of the words of a group that are drawn from its own twenty words, from 0 to 1.
        seed: random seed; the global random state is neither used nor changed.

    Raises:
        UsageError: a number is out of range.
    """
    for name, count in (
        ("words", words),
        ("document_words", document_words),
        ("documents_per_group", documents_per_group),
    ):
        if type(count) is not int or count < 1:
            raise UsageError(f"synthetic_text: {name}={count!r}; pass an integer of at least 1")
    for name, part in (("shift", shift), ("burst", burst)):
        if not 0 <= part <= 1:
            raise UsageError(f"synthetic_text: {name}={part}; pass a share from 0 to 1")
    if type(seed) is not int or seed < 0:
        raise UsageError(f"synthetic_text: seed={seed!r}; pass an integer of at least 0")
    names, topics = _language()
    concentration = np.repeat([1 - shift, shift], _TOPICS // 2) * _MIXTURE
    groups = -(-words // (document_words * documents_per_group))

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        random = np.random.default_rng(seed)
        for group in range(groups):
            mixture = random.gamma(concentration)
            # The smallest concentrations may give nothing but zeros.
            mixture = concentration if mixture.sum() == 0 else mixture
            probability = mixture / mixture.sum() @ topics
            own = random.choice(len(names), _OWN_WORDS, replace=False, p=probability)
            probability = (1 - burst) * probability
            probability[own] += burst / _OWN_WORDS
            drawn = random.choice(names, (documents_per_group, document_words), p=probability)
            for number, text in enumerate(drawn.tolist()):
                yield Document(f"{seed}/{group}/{number}", tuple(text), group=f"{seed}/{group}")

    settings = (words, shift, document_words, documents_per_group, burst, seed)
    return Corpus("synthetic text", documents, fingerprint=lambda: f"synthetic text {settings}")


def _language() -> tuple[Floats, Floats]:
    """Return (n_words,) names, and (n_topics, n_words) probabilities of words in each topic."""
    random = np.random.default_rng(20_262)
    frequency = 1 / np.arange(1.0, _WORDS + 1)
    topics = frequency * random.lognormal(0, _SPREAD, (_TOPICS, _WORDS))
    names = np.array([f"word{number}" for number in range(_WORDS)])
    return names, topics / topics.sum(axis=1, keepdims=True)
