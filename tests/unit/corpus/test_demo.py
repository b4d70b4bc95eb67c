"""The embedded corpus: what its text promises."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from txray.corpus import demo
from txray.corpus.corpus import document_digest
from txray.corpus.demo import demo_corpus
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError

DOMAINS = ("encyclopedia", "reviews")
SPLITS = ("train", "validation", "test")
# The Penn Treebank tag set: 36 word tags and its punctuation tags.
PENN = {
    "CC", "CD", "DT", "EX", "FW", "IN", "JJ", "JJR", "JJS", "LS", "MD", "NN", "NNS", "NNP", "NNPS", "PDT", "POS",
    "PRP", "PRP$", "RB", "RBR", "RBS", "RP", "SYM", "TO", "UH", "VB", "VBD", "VBG", "VBN", "VBP", "VBZ", "WDT",
    "WP", "WP$", "WRB", "#", "$", ".", ",", ":", "-LRB-", "-RRB-", "``", "''",
}  # fmt: skip
# (documents, words, SHA-256 of everything they hold), as drawn from the grammar that the text comes from.
RECORDED = {
    ("encyclopedia", "train"): (1511, 200048, "f9e52753c3a41b43da32b6dc8ea492ff80fae440f61ec839b369f059c5d41e74"),
    ("encyclopedia", "validation"): (376, 50148, "c2d6f1190f6f124d3d4a63f0c30f8aaef18a2af0e071e5870c089c163c8fbb97"),
    ("encyclopedia", "test"): (379, 50069, "f039d74d97dbb233ae8f200bd5c5c711f4e647a0f467860c0e5187472c86ecde"),
    ("reviews", "train"): (1547, 200096, "82d3bb85cc42f86130800d709c501a36a58c87e2e64fde50ba77bf114f184856"),
    ("reviews", "validation"): (389, 50022, "a2accb00d88668518a402ec2ce900d9a8dcddd07f872cb15ebd190cb3b690f2e"),
    ("reviews", "test"): (470, 60179, "0426a2ebe137cbc96d3f6b2c1ed9c8a33c6041b047e01d3cd8f6cb93f9c70cdd"),
}  # fmt: skip
# The first 5,000 words of both domains: this is what short examples and tests read.
BEGINNING = "52298af12c9b9cc27abd9b11077ebdeed1e4df7f5d0472dc3ddc55c6f246fc25"


@pytest.fixture(scope="module")
def documents() -> dict[tuple[str, str], list[Document]]:
    return {part: list(demo_corpus(part[0], None, split=part[1])) for part in RECORDED}


def digest(documents: Iterable[Document]) -> str:
    summed = hashlib.sha256()
    for document in documents:
        summed.update(document_digest(document))
    return summed.hexdigest()


def counts(documents: Iterable[Document]) -> Counter[str]:
    return Counter(word.lower() for document in documents for word in document.words)


@pytest.mark.parametrize("part", RECORDED)
def test_the_text_is_the_recorded_one(
    documents: dict[tuple[str, str], list[Document]], part: tuple[str, str]
) -> None:
    text = documents[part]
    assert (len(text), sum(len(document.words) for document in text), digest(text)) == RECORDED[part]


def test_the_beginning_is_the_recorded_one() -> None:
    text = itertools.chain.from_iterable(demo_corpus(domain, 5_000) for domain in DOMAINS)
    assert digest(text) == BEGINNING


def test_every_tag_is_a_penn_tag(documents: dict[tuple[str, str], list[Document]]) -> None:
    tags = {tag for text in documents.values() for document in text for tag in document.annotations["pos"]}
    assert tags <= PENN


def test_sentences_begin_and_end_as_sentences_do(documents: dict[tuple[str, str], list[Document]]) -> None:
    for document in itertools.chain.from_iterable(documents.values()):
        assert 40 <= len(document.words) <= 200
        for sentence in document.sentences():
            assert sentence[-1] in {".", "!", "?"}, sentence
            assert sentence[0][0].isupper() or sentence[0][0].isdigit(), sentence


def test_only_reviews_have_labels_and_both_are_frequent(
    documents: dict[tuple[str, str], list[Document]],
) -> None:
    for split in SPLITS:
        assert not any(document.labels for document in documents["encyclopedia", split])
        labels = Counter(document.labels["label"] for document in documents["reviews", split])
        assert set(labels) == {"pos", "neg"}
        assert 0.45 < labels["pos"] / labels.total() < 0.55


def test_a_bag_of_words_learns_the_labels_but_not_perfectly(
    documents: dict[tuple[str, str], list[Document]],
) -> None:
    train, test = documents["reviews", "train"], documents["reviews", "test"]
    column = {word: i for i, (word, _) in enumerate(counts(train).most_common(2000))}

    def bags(reviews: list[Document]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.zeros((len(reviews), len(column) + 1))
        rows[:, -1] = 1
        for row, review in zip(rows, reviews, strict=True):
            row[[column[word.lower()] for word in review.words if word.lower() in column]] = 1
        return rows, np.array([review.labels["label"] == "pos" for review in reviews], dtype=float)

    rows, labels = bags(train)
    weights = np.zeros(rows.shape[1])
    for _ in range(150):
        probability = 1 / (1 + np.exp(-rows @ weights))
        weights -= 0.5 * (rows.T @ (probability - labels) / len(labels) + 0.002 * weights)
    rows, labels = bags(test)
    accuracy = float(np.mean((rows @ weights > 0) == labels))
    assert 0.80 <= accuracy < 0.97


def test_splits_share_no_documents_and_ids_are_unique(
    documents: dict[tuple[str, str], list[Document]],
) -> None:
    texts = [document.words for text in documents.values() for document in text]
    ids = [document.id for text in documents.values() for document in text]
    assert len(set(texts)) == len(texts) == len(set(ids))
    assert demo_corpus("reviews", split="validation").name == "demo/reviews/validation"


def test_a_seed_changes_the_order_and_no_document(
    documents: dict[tuple[str, str], list[Document]],
) -> None:
    text = documents["reviews", "validation"]
    by_id = {document.id: document for document in text}
    orders = [list(demo_corpus("reviews", None, seed, "validation")) for seed in (0, 1, 2)]
    assert orders[0] == text
    for order in orders[1:]:
        assert len(order) == len(by_id)
        assert all(by_id[document.id] == document for document in order)
    assert len({tuple(document.id for document in order) for order in orders}) == 3


def test_same_seed_same_documents_in_another_process() -> None:
    script = (
        "import hashlib; from txray.corpus.demo import demo_corpus; "
        "print(hashlib.sha256(repr(list(demo_corpus('encyclopedia', 3000, seed=5))).encode()).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    expected = hashlib.sha256(repr(list(demo_corpus("encyclopedia", 3000, seed=5))).encode()).hexdigest()
    assert hashes == {expected + "\n"}


@pytest.mark.parametrize("seed", [0, 3])
def test_a_longer_corpus_begins_with_the_shorter_one(seed: int) -> None:
    short, long = (list(demo_corpus("reviews", words, seed=seed)) for words in (5_000, 20_000))
    assert long[: len(short) - 1] == short[:-1]
    assert long[len(short) - 1].words[: len(short[-1].words)] == short[-1].words


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_number_of_words_is_exact(domain: str) -> None:
    for words in (1, 777, 5_000, RECORDED[domain, "train"][1]):
        assert sum(len(document.words) for document in demo_corpus(domain, words)) == words


def test_shards_make_up_the_whole() -> None:
    corpus = demo_corpus("reviews", None, split="validation")
    ids = [document.id for number in (1, 2, 3) for document in corpus.shard(number, 3)]
    assert sorted(ids) == sorted(document.id for document in corpus)


def test_the_fingerprint_depends_on_every_argument_and_on_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"domain": "reviews", "words": 10_000, "seed": 0, "split": "train"}
    others = [{"domain": "encyclopedia"}, {"words": 10_001}, {"seed": 1}, {"split": "test"}, {"words": None}]
    fingerprints = [demo_corpus(**{**base, **other}).fingerprint for other in [{}, *others]]  # type: ignore[arg-type]
    assert len(set(fingerprints)) == 6
    assert demo_corpus(**base).fingerprint == fingerprints[0]  # type: ignore[arg-type]
    text = demo._demo_text()
    monkeypatch.setattr(demo, "_demo_text", lambda: demo._DemoText(text.usual_tags, text.lines, "0" * 64))
    assert demo_corpus(**base).fingerprint != fingerprints[0]  # type: ignore[arg-type]


def test_wrong_requests_name_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'reviews'"):
        demo_corpus("review")
    with pytest.raises(UnknownNameError, match="unknown split 'dev'"):
        demo_corpus("reviews", split="dev")
    for words in (0, 1.5, "100"):
        with pytest.raises(UsageError, match="words=.*; give a whole number, at least 1"):
            demo_corpus("reviews", words=words)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"words=50,023; reviews/validation has 50,022 words"):
        demo_corpus("reviews", words=50023, split="validation")
    for seed in (-1, 1.5, True, "0"):
        with pytest.raises(UsageError, match="seed="):
            demo_corpus("reviews", seed=seed)  # type: ignore[arg-type]
