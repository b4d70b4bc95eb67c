"""Where nothing changed and documents depend on each other: how often something is said to have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.evidence.tables import Table, fewer_wins, percent, ratio
from benchmarks.texts import resampled
from txray import Corpus, Document, TextModel, collect, compare, synthetic_pair
from txray.corpus import read_corpus

RUNS = 20
NEURONS = 100

_SEED = 20_261
"""Of all drawing here; other tables begin with 0."""

_OFTEN = 20
_COPIES = 4
_BOOKS, _CHAPTERS, _CHAPTER_WORDS = 48, 8, 500
_VOCABULARY, _TOPIC_WORDS, _TOPIC_SHARE = 400, 20, 0.5
_ARTICLE_WORDS = 400

Half = Sequence[Document]


@dataclass
class Counted:
    """The p-values of neurons that did not change, over all runs of one condition."""

    documents: int = 0
    units: int = 0
    often: list[bool] = field(default_factory=list)
    every: list[bool] = field(default_factory=list)
    discovered: list[int] = field(default_factory=list)

    def add(self, model: TextModel, layer: str, halves: Sequence[Half], seed: int) -> None:
        """Read both halves with one model, and compare."""
        before, after = (
            collect(model, Corpus.from_documents("half", half), layers=[layer], name="half")
            for half in halves
        )
        neurons = compare(before, after, seed=seed).neurons
        tested = neurons.filter(pl.col("p_value").is_not_null())
        small = pl.col("p_value") < 0.05
        self.often += tested.filter(fewer_wins() >= _OFTEN).select(small).to_series().to_list()
        self.every += tested.select(small).to_series().to_list()
        self.discovered.append(int((tested["q_value"] <= 0.05).sum()))
        self.documents += sum(map(len, halves))
        self.units += sum(len({document.fold_key for document in half}) for half in halves)

    def row(self, text: str, folds: str) -> list[str]:
        """Return the row of the table."""
        return [
            text,
            folds,
            f"{self.documents / (2 * RUNS):,.0f}",
            f"{self.units / (2 * RUNS):,.0f}",
            percent(float(np.mean(self.often))),
            percent(float(np.mean(self.every))),
            f"{sum(n > 0 for n in self.discovered)} of {len(self.discovered)}",
            percent(ratio(sum(self.discovered), len(self.every))),
        ]


def measured() -> Table:
    """Compare disjoint random halves with folds by document and with folds by what belongs together."""
    rows = []
    for text, right, pairs in (
        ("every document four times, under different ids", "words", _copies()),
        ("chapters of books", "book", _chapters()),
        ("paragraphs of WikiText articles", "article", _paragraphs()),
    ):
        by_id, by_group = Counted(), Counted()
        for seed, (model, layer, halves) in enumerate(pairs):
            by_id.add(model, layer, [_alone(half) for half in halves], seed)
            by_group.add(model, layer, halves, seed)
        rows += [by_id.row(text, "id"), by_group.row(text, right)]
        print(*rows[-2:], sep="\n", flush=True)
    return Table(
        [
            "text",
            "folds drawn by",
            "documents per side",
            "treated as independent",
            f"p < 0.05, at least {_OFTEN} wins",
            "p < 0.05, all tested",
            "runs with a false discovery",
            "neurons falsely called changed",
        ],
        rows,
    )


Pair = tuple[TextModel, str, Sequence[Half]]
"""A model, a layer of it, and two halves of a text."""


def _alone(half: Half) -> list[Document]:
    """Each document as a group of its own: its fold follows from its id alone."""
    return [replace(document, group=document.id) for document in half]


def _halves(units: Sequence[Half], seed: int) -> list[list[Document]]:
    """Two disjoint random halves of books, articles, or documents and their copies."""
    order = np.random.default_rng([_SEED, seed]).permutation(len(units))
    return [[document for unit in half for document in units[unit]] for half in (order[::2], order[1::2])]


def _unchanged(units: Sequence[Half], seed: int) -> TextModel:
    """A module whose neurons prefer words of this text; both halves are read with it."""
    text = Corpus.from_documents("text", [document for unit in units for document in unit])
    pair = synthetic_pair(NEURONS, corpus=text, changed=0, vanished=0, appeared=0, rarer=0, seed=_SEED + seed)
    return pair.before


def _pairs(units_of: Callable[[int], list[list[Document]]]) -> Iterator[Pair]:
    for seed in range(RUNS):
        units = units_of(seed)
        yield _unchanged(units, seed), "neurons", _halves(units, seed)


def _copies() -> Iterator[Pair]:
    """Documents of the embedded corpus, each four times."""

    def units(seed: int) -> list[list[Document]]:
        documents = resampled("encyclopedia", 25_000, seed=_SEED + seed)
        return [
            [replace(document, id=f"{document.id}/copy-{copy}") for copy in range(_COPIES)]
            for document in documents
        ]

    return _pairs(units)


def _chapters() -> Iterator[Pair]:
    """Books whose topics are their own: half of the words in all chapters of a book are of the same twenty."""

    def units(seed: int) -> list[list[Document]]:
        random = np.random.default_rng([_SEED, seed, 1])
        words = np.array([f"word{number}" for number in range(_VOCABULARY)])
        common = 1 / np.arange(1, _VOCABULARY + 1)
        common /= common.sum()
        books = []
        for book in range(_BOOKS):
            topic = np.zeros(_VOCABULARY)
            topic[random.choice(_VOCABULARY, _TOPIC_WORDS, replace=False)] = 1 / _TOPIC_WORDS
            probability = (1 - _TOPIC_SHARE) * common + _TOPIC_SHARE * topic
            drawn = random.choice(words, (_CHAPTERS, _CHAPTER_WORDS), p=probability)
            books.append(
                [
                    Document(f"{seed}/{book}/{chapter}", tuple(text), group=f"{seed}/{book}")
                    for chapter, text in enumerate(drawn.tolist())
                ]
            )
        return books

    return _pairs(units)


def _paragraphs() -> Iterator[Pair]:
    """The beginnings of real articles."""
    if "TXRAY_DATA" not in os.environ:
        raise SystemExit("set 'TXRAY_DATA' to the folder of the text")
    corpus = read_corpus("wikitext", Path(os.environ["TXRAY_DATA"]) / "wikitext-2", "train", headings="skip")
    articles = []
    for _, paragraphs in groupby(corpus, key=lambda document: document.group):
        beginning: list[Document] = []
        for paragraph in paragraphs:
            beginning.append(paragraph)
            if sum(len(document.words) for document in beginning) >= _ARTICLE_WORDS:
                break
        articles.append(beginning)
    return _pairs(lambda seed: articles)
