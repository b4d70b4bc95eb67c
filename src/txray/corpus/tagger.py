"""Part-of-speech tagger: a linear-chain CRF, trained from any CoNLL-U file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray.corpus.annotators.annotator import UNKNOWN
from txray.corpus.corpus import Corpus
from txray.corpus.crf import Crf
from txray.corpus.document import Document
from txray.corpus.read import read_corpus
from txray.corpus.tagger_features import VERSION, FeatureMaker, lexicon_of
from txray.corpus.tagger_training import gold_sentences, gold_tags, train_crf, with_hidden_words
from txray.errors import CorpusError, SnapshotError, UsageError, in_one_line
from txray.files import atomic_folder
from txray.identity import derived
from txray.progress import progress

if TYPE_CHECKING:
    import polars

_FORMAT = "txray tagger 1"
SAVED, _MODEL, _WORDS = "tagger.json", "model.crfsuite", "words.json"
# The decoder's memory grows with the sentence; text without sentence ends is tagged in pieces.
_MAX_SENTENCE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class TaggerScore:
    """Comparison of a tagger with gold tags.

    Attributes:
        confusion: (gold tag, predicted tag) -> number of words.
        unknown_words: number of words that the training text did not contain, in this spelling.
        unknown_correct: number of these with the right tag.
    """

    confusion: Mapping[tuple[str, str], int]
    unknown_words: int
    unknown_correct: int

    @property
    def words(self) -> int:
        """Number of words with a gold tag."""
        return sum(self.confusion.values())

    @property
    def correct(self) -> int:
        """Number of words with the right tag."""
        return sum(count for (gold, predicted), count in self.confusion.items() if gold == predicted)

    @property
    def accuracy(self) -> float:
        """Share of words with the right tag, in [0, 1]."""
        return self.correct / self.words

    @property
    def unknown_accuracy(self) -> float | None:
        """Share of the words unknown to the training text with the right tag; None if there are none."""
        return self.unknown_correct / self.unknown_words if self.unknown_words else None

    def by_tag(self) -> polars.DataFrame:
        """Return one row per gold tag, most frequent first: tag, words, correct, recall, predicted, precision.

        `predicted` counts the words that got this tag; `precision` is null if that is 0.
        """
        import polars

        gold, predicted, correct = Counter[str](), Counter[str](), Counter[str]()
        for (gold_tag, predicted_tag), count in self.confusion.items():
            gold[gold_tag] += count
            predicted[predicted_tag] += count
            correct[gold_tag] += count * (gold_tag == predicted_tag)
        tags = sorted(gold, key=lambda tag: (-gold[tag], tag))
        return polars.DataFrame(
            {
                "tag": tags,
                "words": [gold[tag] for tag in tags],
                "correct": [correct[tag] for tag in tags],
                "recall": [correct[tag] / gold[tag] for tag in tags],
                "predicted": [predicted[tag] for tag in tags],
                "precision": [correct[tag] / predicted[tag] if predicted[tag] else None for tag in tags],
            },
            schema_overrides={"precision": polars.Float64},
        )


class Tagger:
    """Annotator that gives every word a tag of the treebank that it was trained from.

    Train one with `Tagger.train`, or read one that was saved with `Tagger.load`. Calling it on a document returns the
    document's tags.

    Attributes:
        column: annotation that was learned, e.g. `pos`.
        facts: about the training: corpus, its fingerprint, words, options, library versions.
    """

    def __init__(
        self, model: bytes, lexicon: Mapping[str, str], known: Sequence[str], facts: Mapping[str, Any]
    ) -> None:
        """Combine the parts; users call `train` or `load`.

        Args:
            model: content of a file as crfsuite writes it.
            lexicon: see `tagger_features`.
            known: words of the training text.
            facts: about the training, with `column`.

        Raises:
            ValueError: the model is damaged.
        """
        self.column: str = facts["column"]
        self.facts = dict(facts)
        self._model = model
        self._lexicon = dict(lexicon)
        self._known = frozenset(known)
        self._features = FeatureMaker(self._lexicon)
        self._crf = Crf.read(model)

    def __repr__(self) -> str:
        return f"Tagger({self.column!r}, trained on {self.facts['corpus']!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts that another process needs, without what is derived from them."""
        return Tagger, (self._model, self._lexicon, sorted(self._known), self.facts)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the tags: equal taggers have equal fingerprints."""
        return derived(sha256(self._model).hexdigest(), VERSION, sorted(self._lexicon.items()))

    @classmethod
    def train(
        cls,
        conllu_path: str | Path,
        *,
        column: str = "pos",
        split: str | None = None,
        iterations: int = 8,
        seed: int = 0,
    ) -> Tagger:
        """Train from the gold tags of a CoNLL-U file, about half a minute for 200,000 words.

        Sentences in which a word has no tag (`_`) are left out and counted in `facts`. Half of the sentences are used a
        second time with their rare words hidden, so that `<unk>` is tagged by its context.

        Args:
            conllu_path: file, plain or `.gz`, or folder of a treebank.
            column: annotation to learn: `pos` (XPOS) or `upos`.
            split: which file of a folder, e.g. `train`.
            iterations: passes over the training text, at least 1.
            seed: of the order of the sentences in each pass; the same seed gives the same tagger.

        Raises:
            CorpusError: the file cannot be read, or holds no tags.
            UnknownNameError: there is no such column.
            UsageError: `iterations` is below 1 or `seed` below 0; the extra `text` is not installed.
        """
        if iterations < 1 or seed < 0:
            raise UsageError(f"tagger: iterations={iterations}, seed={seed}; give at least 1 and at least 0")
        corpus = read_corpus("conllu", conllu_path, split)
        sentences, skipped = gold_sentences(corpus, column)
        lexicon = lexicon_of(sentences)
        known = sorted({word for words, _ in sentences for word in words})
        model = train_crf(
            [*sentences, *with_hidden_words(sentences)], FeatureMaker(lexicon), iterations, seed
        )
        facts = {
            "column": column,
            "corpus": corpus.name,
            "corpus_fingerprint": corpus.fingerprint,
            "words": sum(len(words) for words, _ in sentences),
            "sentences": len(sentences),
            "skipped_sentences": skipped,
            "tags": sorted({tag for _, tags in sentences for tag in tags}),
            "iterations": iterations,
            "seed": seed,
            "versions": {name: version(name) for name in ("txray", "python-crfsuite")},
        }
        return cls(model, lexicon, known, facts)

    def tag(self, words: Sequence[str]) -> list[str]:
        """Return the tags of one sentence, one per word.

        WikiText's `@-@`, `@,@` and `@.@` are read as `-`, `,` and `.`; `<unk>` is tagged by its context.
        """
        if len(words) > _MAX_SENTENCE_LENGTH:
            pieces = range(0, len(words), _MAX_SENTENCE_LENGTH)
            return [tag for start in pieces for tag in self.tag(words[start : start + _MAX_SENTENCE_LENGTH])]
        return self._crf.tag(self._features(words))

    def __call__(self, document: Document) -> tuple[str, ...]:
        """Return the tags of a document, one per word, sentence by sentence."""
        return tuple(tag for sentence in document.sentences() for tag in self.tag(sentence))

    def evaluate(self, corpus: Corpus) -> TaggerScore:
        """Compare with gold tags, the annotation `column` of a corpus; words without one (`_`) are ignored.

        Raises:
            UnknownNameError: the documents have no such annotation.
            CorpusError: no word has a gold tag.
        """
        confusion = Counter[tuple[str, str]]()
        unknown_words = unknown_correct = 0
        with progress(f"evaluate tagger on {corpus.name}") as advance:
            for document in corpus:
                for word, gold, predicted in zip(
                    document.words, gold_tags(document, self.column), self(document), strict=True
                ):
                    if gold != UNKNOWN:
                        confusion[gold, predicted] += 1
                        if word not in self._known:
                            unknown_words += 1
                            unknown_correct += gold == predicted
                advance(len(document.words))
        if not confusion:
            raise CorpusError(
                f"corpus {corpus.name!r}: every {self.column!r} is {UNKNOWN!r}; nothing to compare"
            )
        return TaggerScore(dict(confusion), unknown_words, unknown_correct)

    def save(self, path: str | Path) -> None:
        """Write the tagger as a folder, which replaces an existing tagger.

        Raises:
            OutputError: the folder cannot be written.
        """
        words = json.dumps({"lexicon": self._lexicon, "known": sorted(self._known)}).encode()
        saved = {
            "format": _FORMAT,
            "features": VERSION,
            "facts": self.facts,
            "sha256": _checksum(self.facts, self._model, words),
        }
        with atomic_folder(Path(path), markers=(SAVED,)) as folder:
            (folder / _MODEL).write_bytes(self._model)
            (folder / _WORDS).write_bytes(words)
            (folder / SAVED).write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Tagger:
        """Read a tagger that `save` wrote.

        Raises:
            SnapshotError: missing, damaged, or not a tagger of this version.
        """
        folder = Path(path)
        try:
            saved = json.loads((folder / SAVED).read_text(encoding="utf-8"))
            model, words = (folder / _MODEL).read_bytes(), (folder / _WORDS).read_bytes()
        except OSError as error:
            raise SnapshotError(
                f"{folder}: no tagger can be read: {error.strerror}; train one first"
            ) from error
        except (ValueError, RecursionError) as error:
            raise SnapshotError(
                f"{folder / SAVED}: is damaged ({in_one_line(error)}); train the tagger again"
            ) from error
        if not isinstance(saved, dict) or (saved.get("format"), saved.get("features")) != (_FORMAT, VERSION):
            raise SnapshotError(f"{folder}: is not a tagger of this version of txray; train it again")
        facts = saved.get("facts")
        # The checksum detects damage; a forged file may have a matching one.
        if saved.get("sha256") != _checksum(facts, model, words):
            raise SnapshotError(f"{folder}: is damaged, its checksum differs; train the tagger again")
        try:
            lexicon, known = _checked_words(json.loads(words))
            tagger = cls(model, lexicon, known, _checked_facts(facts))
            _require_tags(tagger.facts, tagger._crf.labels)
        except (ValueError, RecursionError) as error:
            raise SnapshotError(
                f"{folder}: is not a tagger that txray saved ({in_one_line(error)}); train it again"
            ) from error
        return tagger


def _checked_words(saved: object) -> tuple[dict[str, str], list[str]]:
    """Return the lexicon and the known words of a file of words.

    Raises:
        ValueError: it holds something else.
    """
    if isinstance(saved, dict) and saved.keys() == {"lexicon", "known"}:
        lexicon, known = saved["lexicon"], saved["known"]
        if (
            isinstance(lexicon, dict)
            and isinstance(known, list)
            and all(isinstance(text, str) for text in (*lexicon.values(), *known))
        ):
            return lexicon, known
    raise ValueError(f"{_WORDS} holds no lexicon and no words")


def _checked_facts(facts: object) -> dict[str, Any]:
    """Return the facts about a tagger.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(facts, dict) or not all(
        isinstance(facts.get(key), str) for key in ("column", "corpus")
    ):
        raise ValueError(f"{SAVED} names no column and no corpus")
    return facts


def _require_tags(facts: Mapping[str, Any], labels: Sequence[str]) -> None:
    if facts.get("tags") != sorted(labels):
        raise ValueError(f"{_MODEL} has the labels {', '.join(sorted(labels))[:80]}, which are not its tags")


def _checksum(facts: object, model: bytes, words: bytes) -> str:
    parts = (json.dumps(facts, sort_keys=True).encode(), model, words)
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()
