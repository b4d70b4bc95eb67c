"""The embedded corpus: what its text promises."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from txray.corpus.corpus import document_digest
from txray.corpus.demo import demo_corpus, domains
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError

DOMAINS = ("encyclopedia", "reviews")
WORDS = 60_000
# The Penn Treebank tag set: 36 word tags and its punctuation tags.
PENN = {
    "CC", "CD", "DT", "EX", "FW", "IN", "JJ", "JJR", "JJS", "LS", "MD", "NN", "NNS", "NNP", "NNPS", "PDT", "POS",
    "PRP", "PRP$", "RB", "RBR", "RBS", "RP", "SYM", "TO", "UH", "VB", "VBD", "VBG", "VBN", "VBP", "VBZ", "WDT",
    "WP", "WP$", "WRB", "#", "$", ".", ",", ":", "-LRB-", "-RRB-", "``", "''",
}  # fmt: skip
ALWAYS = {
    "the": "DT", "a": "DT", "an": "DT", "of": "IN", "from": "IN", "and": "CC", "or": "CC", "to": "TO",
    "was": "VBD", "were": "VBD", "is": "VBZ", "are": "VBP", "be": "VB", "been": "VBN", "it": "PRP", "he": "PRP",
    "she": "PRP", "they": "PRP", "its": "PRP$", "his": "PRP$", "their": "PRP$", "my": "PRP$", "i": "PRP",
    "which": "WDT", "who": "WP", "whose": "WP$", "where": "WRB", "could": "MD", "will": "MD", "n't": "RB",
    ".": ".", "!": ".", "?": ".", ",": ",", ";": ":", "(": "-LRB-", ")": "-RRB-",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Document]]:
    return {domain: list(demo_corpus(domain, WORDS)) for domain in DOMAINS}


@pytest.fixture(scope="module")
def counted() -> list[Counter[str]]:
    return [counts(list(demo_corpus(domain, 100_000))) for domain in DOMAINS]


def words_and_tags(documents: list[Document]) -> list[tuple[str, str]]:
    return [
        pair for doc in documents for pair in zip(doc.words, doc.annotations["pos"], strict=True)
    ]  # fmt: skip


def counts(documents: list[Document]) -> Counter[str]:
    return Counter(word.lower() for document in documents for word in document.words)


class TestTags:
    @pytest.mark.parametrize("domain", DOMAINS)
    def test_every_tag_is_a_penn_tag(self, drawn: dict[str, list[Document]], domain: str) -> None:
        tags = {tag for _, tag in words_and_tags(drawn[domain])}
        assert tags <= PENN
        assert len(tags) >= 30

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_words_with_one_reading_always_have_it(
        self, drawn: dict[str, list[Document]], domain: str
    ) -> None:
        seen = {word: set() for word in ALWAYS}
        for word, tag in words_and_tags(drawn[domain]):
            if word.lower() in seen:
                seen[word.lower()].add(tag)
        for word, tags in seen.items():
            assert tags <= {ALWAYS[word]}, word
        assert sum(bool(tags) for tags in seen.values()) > 30

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_verb_forms_fit_what_is_before_them(self, drawn: dict[str, list[Document]], domain: str) -> None:
        be_or_have = {"is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "'ve", "'m"}
        pairs = set(itertools.pairwise(words_and_tags(drawn[domain])))
        for (before, before_tag), (word, tag) in pairs:
            where = f"{before}/{before_tag} {word}/{tag}"
            if before_tag == "MD":
                assert tag in {"VB", "RB"} or before == "can", where  # "someone he can trust"
            if before.lower() in be_or_have:
                assert tag not in {"VBD", "VB", "VBP", "VBZ"}, where
            if before_tag in {"DT", "PRP$", "JJ"} and tag in {"VB", "VBP"}:
                raise AssertionError(where)

    def test_the_domains_differ_in_their_parts_of_speech(self, drawn: dict[str, list[Document]]) -> None:
        share = {}
        for domain in DOMAINS:
            tags = Counter(tag for _, tag in words_and_tags(drawn[domain]))
            share[domain] = {tag: tags[tag] / tags.total() for tag in PENN}
        for tag in ("VBD", "VBN", "CD", "NNS", "TO"):
            assert share["encyclopedia"][tag] > 1.5 * share["reviews"][tag], tag
        for tag in ("PRP", "JJ", "RB", "VBZ", "VBP", "MD", "UH"):
            assert share["reviews"][tag] > 1.5 * share["encyclopedia"][tag], tag


class TestSentences:
    @pytest.mark.parametrize("domain", DOMAINS)
    def test_sentences_begin_and_end_as_sentences_do(
        self, drawn: dict[str, list[Document]], domain: str
    ) -> None:
        for document in drawn[domain][:-1]:
            sentences = document.sentences()
            assert len(sentences) >= 3
            for sentence in sentences:
                assert sentence[-1] in {".", "!", "?"}, sentence
                assert not {".", "!", "?"} & set(sentence[:-1]), sentence
                assert sentence[0][0].isupper() or sentence[0][0].isdigit(), sentence

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_documents_have_40_to_200_words(self, drawn: dict[str, list[Document]], domain: str) -> None:
        lengths = [len(document.words) for document in drawn[domain][:-1]]
        assert 40 <= min(lengths) < 90 < 150 < max(lengths) <= 200

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_a_and_an_follow_the_sound(self, drawn: dict[str, list[Document]], domain: str) -> None:
        checked = Counter()
        for (article, _), (word, _) in itertools.pairwise(words_and_tags(drawn[domain])):
            if article.lower() not in {"a", "an"}:
                continue
            starts_with_vowel = word[0].lower() in "aeiou" and not re.match(
                r"(uni[^mn]|one|eu)", word.lower()
            )
            starts_with_vowel |= (
                word.lower() in {"honest", "hour"} or word.startswith("8") or word in {"11", "18"}
            )
            starts_with_vowel |= bool(re.fullmatch(r"1[18],\d{3}", word))
            assert (article.lower() == "an") == starts_with_vowel, f"{article} {word}"
            checked[article.lower()] += 1
        assert checked["a"] > 1000
        assert checked["an"] > 100

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_no_word_stands_twice_in_a_row(self, drawn: dict[str, list[Document]], domain: str) -> None:
        for document in drawn[domain]:
            for one, other in itertools.pairwise(document.words):
                assert one.lower() != other.lower(), document.words

    def test_a_person_keeps_one_pronoun(self, drawn: dict[str, list[Document]]) -> None:
        people = [d for d in drawn["encyclopedia"] if {"painter", "composer"} & set(d.sentences()[0])]
        pronouns = [{"he", "she"} & {word.lower() for word in document.words} for document in people]
        assert len(people) > 30
        assert all(len(used) <= 1 for used in pronouns)
        assert {frozenset(used) for used in pronouns} >= {frozenset({"he"}), frozenset({"she"})}

    def test_the_years_of_a_ship_move_forward(self, drawn: dict[str, list[Document]]) -> None:
        ships = [d for d in drawn["encyclopedia"][:-1] if {"launched", "navy"} & set(d.sentences()[0])]
        assert len(ships) > 20
        for ship in ships:
            years = [int(word) for word in ship.words if re.fullmatch(r"1[89]\d\d", word)]
            assert years == sorted(years), ship.words

    def test_a_review_keeps_to_one_hero(self, drawn: dict[str, list[Document]]) -> None:
        names = (files("txray.corpus.demo") / "data" / "words" / "names.txt").read_text()
        heroes = set(re.findall(r"\w+", names.split("[nickname name]")[1].split("[")[0]))
        found = [len(heroes & set(review.words)) for review in drawn["reviews"]]
        assert max(found) == 1
        assert sum(found) > 0.7 * len(found)


class TestVocabulary:
    def test_there_are_thousands_of_words(self, counted: list[Counter[str]]) -> None:
        both = counted[0] + counted[1]
        assert both.total() == 200_000
        assert len(both) >= 3000

    def test_frequencies_follow_zipf(self, counted: list[Counter[str]]) -> None:
        frequencies = np.array(sorted((counted[0] + counted[1]).values(), reverse=True)[:2000], dtype=float)
        ranks = np.arange(1, len(frequencies) + 1)
        slope, _ = np.polyfit(np.log(ranks), np.log(frequencies), 1)
        fit = np.corrcoef(np.log(ranks), np.log(frequencies))[0, 1]
        assert -1.2 < slope < -0.8
        assert fit < -0.97

    def test_the_domains_share_a_part_of_their_words(self, counted: list[Counter[str]]) -> None:
        one, other = (set(counter) for counter in counted)
        assert 0.15 < len(one & other) / len(one | other) < 0.70


class TestLabels:
    def test_only_reviews_have_labels_and_both_are_frequent(self, drawn: dict[str, list[Document]]) -> None:
        assert not any(document.labels for document in drawn["encyclopedia"])
        labels = Counter(document.labels["label"] for document in drawn["reviews"])
        assert set(labels) == {"pos", "neg"}
        assert 0.45 < labels["pos"] / labels.total() < 0.55

    def test_words_decide_but_for_the_flipped_labels(self, drawn: dict[str, list[Document]]) -> None:
        """The sign of (praising sentences - blaming sentences), by the signed word lists, against the label."""
        lists: dict[str, set[str]] = {"+": set(), "-": set()}
        for text in ("adjectives.txt", "others.txt"):
            content = (files("txray.corpus.demo") / "data" / "words" / text).read_text()
            for sign, entries in re.findall(r"^\[\w+([+-]) \w+\]\n((?:[^\[\n].*\n)+)", content, re.MULTILINE):
                lists[sign] |= {entry.split("(")[0].strip() for entry in re.split(r"[,\n]", entries)} - {""}
        praise, blame = lists["+"] - lists["-"], lists["-"] - lists["+"]
        right = Counter[bool]()
        for review in drawn["reviews"][:-1]:
            score = sum((word in praise) - (word in blame) for word in review.words)
            if abs(score) > 2:
                right[(score > 0) == (review.labels["label"] == "pos")] += 1
        assert right.total() > 300
        assert 0.88 < right[True] / right.total() < 0.95

    def test_a_bag_of_words_learns_the_labels_but_not_perfectly(self) -> None:
        train = list(demo_corpus("reviews", 150_000))
        test = list(demo_corpus("reviews", 60_000, split="test"))
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


class TestDeterminism:
    def test_same_seed_same_documents_in_another_process(self) -> None:
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
        here = hashlib.sha256(repr(list(demo_corpus("encyclopedia", 3000, seed=5))).encode()).hexdigest()
        assert hashes == {here + "\n"}

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_a_longer_corpus_begins_with_the_shorter_one(self, domain: str) -> None:
        short, long = (list(demo_corpus(domain, words, seed=3)) for words in (5_000, 20_000))
        assert long[: len(short) - 1] == short[:-1]
        assert long[len(short) - 1].words[: len(short[-1].words)] == short[-1].words

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_the_number_of_words_is_exact(self, domain: str) -> None:
        for words in (1, 777, 5_000):
            assert sum(len(document.words) for document in demo_corpus(domain, words)) == words

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_seeds_and_splits_share_no_documents(self, domain: str) -> None:
        corpora = [
            demo_corpus(domain, 30_000, seed=seed, split=split)
            for seed in (0, 1)
            for split in ("train", "validation", "test")
        ]
        texts = [{document.words for document in corpus} for corpus in corpora]
        assert len(set.union(*texts)) == sum(map(len, texts))

    def test_ids_are_unique_and_the_name_says_what_it_is(self) -> None:
        corpus = demo_corpus("reviews", 20_000, split="validation")
        ids = [document.id for document in corpus]
        assert len(set(ids)) == len(ids)
        assert corpus.name == "demo/reviews/validation"

    def test_the_text_is_the_recorded_one(self) -> None:
        """Fails when the text changes: raise `_CODE_VERSION` if code changed it, then record the new hash."""
        digest = hashlib.sha256()
        for domain in DOMAINS:
            for document in demo_corpus(domain, 5_000):
                digest.update(document_digest(document))
        assert digest.hexdigest() == RECORDED


class TestFingerprint:
    def test_it_costs_no_generation_and_depends_on_every_parameter(self) -> None:
        base = {"domain": "reviews", "words": 10**12, "seed": 0, "split": "train"}
        others = [{"domain": "encyclopedia"}, {"words": 10**12 + 1}, {"seed": 1}, {"split": "test"}]
        fingerprints = [demo_corpus(**{**base, **other}).fingerprint for other in [{}, *others]]  # type: ignore[arg-type]
        assert len(set(fingerprints)) == 5
        assert demo_corpus(**base).fingerprint == fingerprints[0]  # type: ignore[arg-type]

    def test_it_follows_the_grammar_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = demo_corpus("reviews").fingerprint
        texts = list(domains._texts())
        monkeypatch.setattr(domains, "_texts", lambda: iter([*texts, ("reviews/new.txt", "weight 1")]))
        domains.grammar_version.cache_clear()
        try:
            assert demo_corpus("reviews").fingerprint != before
        finally:
            monkeypatch.undo()
            domains.grammar_version.cache_clear()
        assert demo_corpus("reviews").fingerprint == before


def test_memory_does_not_grow_with_the_corpus() -> None:
    def peak(words: int) -> int:
        tracemalloc.start()
        for _ in demo_corpus("reviews", words):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)  # compiles the grammar
    assert peak(200_000) < 1.3 * peak(20_000) + 20_000


def test_wrong_requests_name_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'reviews'"):
        demo_corpus("review")
    with pytest.raises(UnknownNameError, match="unknown split 'dev'"):
        demo_corpus("reviews", split="dev")
    with pytest.raises(UsageError, match="at least 1"):
        demo_corpus("reviews", words=0)


RECORDED = "52298af12c9b9cc27abd9b11077ebdeed1e4df7f5d0472dc3ddc55c6f246fc25"
