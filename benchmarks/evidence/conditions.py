"""Conditions under which the tests of change are measured.

They were fixed, and committed, before any statistic was tried on them, and are not to be tuned to a statistic: add
conditions, but do not remove those that look bad.
"""

from __future__ import annotations

from dataclasses import dataclass

NEURONS = 120
SEEDS = (1, 2, 3)
KINDS = ("changed", "lost", "merged", "drifted", "reranked", "sharpened")
"""Groups of planted changes; a condition with changes has a share of 0.08 of the neurons in each."""

SHARE = 0.08


@dataclass(frozen=True)
class Condition:
    """How two stages differ, other than by planted changes. Pairs are of the stages before and after.

    Attributes:
        name: unique.
        words: of each text.
        shift: share of the text after that is about other topics.
        document_words: words of a document.
        group: documents that depend on each other.
        burst: share of the words of such a group that are its own.
        competition: share of all wins of one neuron that grows, and takes a random sample of the words of each other.
        displacement: the same, but it takes more of some words than of others.
        lengths: minimum and maximum number of words that a neuron prefers.
        selection: of activations.
        same: whether both stages read the same documents.
    """

    name: str
    words: tuple[int, int] = (60_000, 60_000)
    shift: float = 0.0
    document_words: tuple[int, int] = (200, 200)
    group: tuple[int, int] = (1, 1)
    burst: float = 0.2
    competition: float = 0.0
    displacement: float = 0.0
    lengths: tuple[int, int] = (3, 300)
    selection: str = "max-1"
    same: bool = False


UNCHANGED = (
    Condition("same documents", same=True),
    Condition("different documents"),
    Condition("short texts", words=(15_000, 15_000)),
    Condition("long texts", words=(200_000, 200_000)),
    Condition("neurons of 3 to 10 words", lengths=(3, 10)),
    Condition("neurons of 100 to 600 words", lengths=(100, 600)),
    Condition("a quarter other topics", shift=0.25),
    Condition("half other topics", shift=0.5),
    Condition("other topics", shift=1.0),
    Condition("other topics, short texts", words=(15_000, 15_000), shift=1.0),
    Condition("other topics, long texts", words=(200_000, 200_000), shift=1.0),
    Condition("other topics, neurons of 3 to 10 words", shift=1.0, lengths=(3, 10)),
    Condition("groups of 8 documents", group=(8, 8)),
    Condition("groups of 8 documents, other topics", group=(8, 8), shift=1.0),
    Condition("groups of 8 bursty documents", group=(8, 8), burst=0.5),
    Condition("groups of 8 against single documents", group=(8, 1)),
    Condition("sizes 3:1", words=(90_000, 30_000)),
    Condition("sizes 20:1", words=(200_000, 10_000)),
    Condition("sizes 1:20", words=(10_000, 200_000)),
    Condition("sizes 20:1, half other topics", words=(200_000, 10_000), shift=0.5),
    Condition("documents 3:1 as long", document_words=(300, 100)),
    Condition("documents 14:1 as long", document_words=(1_400, 100)),
    Condition("documents 1:14 as long", document_words=(100, 1_400)),
    Condition("documents 14:1 as long, half other topics", document_words=(1_400, 100), shift=0.5),
    Condition("documents 14:1 as long, sizes 3:1", document_words=(1_400, 100), words=(90_000, 30_000)),
    Condition("competition", competition=0.3),
    Condition("competition, same documents", competition=0.3, same=True),
    Condition("competition, other topics", competition=0.3, shift=1.0),
    Condition("competition, sizes 20:1", competition=0.3, words=(200_000, 10_000)),
    Condition("all activations", selection="all"),
    Condition("all activations, other topics", selection="all", shift=1.0),
    Condition("max-3, other topics", selection="max-3", shift=1.0),
)
"""Nothing changes, except for one neuron that grows where there is competition."""

CHANGED = (
    Condition("same documents", same=True),
    Condition("different documents"),
    Condition("short texts", words=(15_000, 15_000)),
    Condition("long texts", words=(200_000, 200_000)),
    Condition("half other topics", shift=0.5),
    Condition("other topics", shift=1.0),
    Condition("groups of 8 documents", group=(8, 8)),
    Condition("sizes 20:1", words=(200_000, 10_000)),
    Condition("documents 14:1 as long", document_words=(1_400, 100)),
    Condition("competition", competition=0.3),
)
"""About half of the neurons change, in one of six ways."""

DISPLACED = (
    Condition("same documents", displacement=0.3, same=True),
    Condition("different documents", displacement=0.3),
    Condition("other topics", displacement=0.3, shift=1.0),
    Condition("sizes 20:1", displacement=0.3, words=(200_000, 10_000)),
    Condition("max-3", displacement=0.3, selection="max-3"),
    Condition("random sample of words taken", competition=0.3),
    Condition("no neuron grows"),
)
"""One neuron grows to 30% of the wins, with the other neurons as they were, or with changes in about half of them."""
