"""The text that everything is measured on, in memory, so that reading it is not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np

from txray.corpus import Corpus, Document, demo_corpus


@cache
def documents(words: int) -> tuple[Document, ...]:
    """Reviews of the embedded corpus, with tags."""
    return tuple(demo_corpus("reviews", words=words))


@cache
def corpus(words: int) -> Corpus:
    """Return the documents as a corpus."""
    return Corpus.from_documents("benchmark", documents(words))


def large_vocabulary(size: int) -> tuple[str, ...]:
    """A vocabulary of this size that knows the words of the text."""
    known = sorted({word.lower() for document in documents(20_000) for word in document.words})
    filler = (f"filler{number}" for number in range(size))
    return tuple([*known, *filler][: size - 2])


def resampled(domain: str, words: int, seed: int) -> Corpus:
    """Return a text of any size: documents are random halves of the sentences of random documents of `demo_corpus`.

    Texts with different seeds are independent samples.
    """
    originals = tuple(demo_corpus(domain, words=None))

    def documents(skipped: Counter[str]) -> Iterator[Document]:
        random = np.random.default_rng(seed)
        number = 0
        while True:
            original = originals[random.integers(len(originals))]
            ends = (*original.sentence_starts[1:], len(original.words))
            sentences = list(zip(original.sentence_starts, ends, strict=True))
            chosen = np.sort(random.permutation(len(sentences))[: (len(sentences) + 1) // 2])
            positions = [position for i in chosen for position in range(*sentences[i])]
            yield Document(
                id=f"{seed}/{number}",
                words=tuple(original.words[position] for position in positions),
                annotations={"pos": tuple(original.annotations["pos"][position] for position in positions)},
                labels=original.labels,
            )
            number += 1

    corpus = Corpus(f"resampled/{domain}", documents, fingerprint=lambda: f"resampled {domain} {seed}")
    return corpus.take_words(words)
