"""The text of an experiment: pretraining text, reviews, and their part-of-speech tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from txray.corpus import Corpus, demo_corpus, read_corpus
from txray.corpus.document import Document
from txray.errors import CorpusError
from txray.preferences import document_key

if TYPE_CHECKING:
    from txray.corpus import Tagger

_VALIDATION_FOLDS = 10


class Sources(Protocol):
    """Where the text of an experiment comes from."""

    @property
    def description(self) -> dict[str, str]:
        """What the text is, for the record; a restart with other text is refused."""

    def pretraining(self, split: str) -> Corpus:
        """Text for the language model: `train`, `validation` or `test`."""

    def reviews(self, split: str) -> Corpus:
        """Labelled reviews: `train`, `validation` or `test`."""

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """The corpus with `pos`; `folder` holds what that needs and caches the tags."""

    def tagger_accuracy(self, folder: Path) -> float | None:
        """Share of words tagged right on held-out gold tags; None where tags are gold themselves."""


@dataclass(frozen=True)
class DemoSources:
    """The embedded corpus, with gold tags.

    Attributes:
        seed: order of the documents.
    """

    seed: int = 0

    @property
    def description(self) -> dict[str, str]:
        """What the text is."""
        return {"pretraining": "embedded encyclopedia", "reviews": "embedded reviews", "seed": str(self.seed)}

    def pretraining(self, split: str) -> Corpus:
        """Embedded encyclopedia articles."""
        return demo_corpus("encyclopedia", words=None, seed=self.seed, split=split)

    def reviews(self, split: str) -> Corpus:
        """Embedded reviews."""
        return demo_corpus("reviews", words=None, seed=self.seed, split=split)

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """The corpus as it is: its tags are gold."""
        return corpus

    def tagger_accuracy(self, folder: Path) -> float | None:
        """None: the tags are gold."""
        return None


@dataclass(frozen=True)
class RealSources:
    """WikiText-2, IMDB, and a CoNLL-U treebank to train the tagger from.

    Attributes:
        wikitext: folder, zip or file, as `read_corpus("wikitext", ...)` takes it.
        imdb: `aclImdb` folder, its archive, or a folder with one CSV file per split.
        conllu: training file, or a folder with one file per split.

    Raises:
        CorpusError: there is no treebank.
    """

    wikitext: Path
    imdb: Path
    conllu: Path

    def __post_init__(self) -> None:
        read_corpus("conllu", self._treebank())

    @property
    def description(self) -> dict[str, str]:
        """What the text is, by the file names."""
        return {"wikitext": self.wikitext.name, "imdb": self.imdb.name, "conllu": self.conllu.name}

    def pretraining(self, split: str) -> Corpus:
        """WikiText-2, headings included."""
        return read_corpus("wikitext", self.wikitext, split=split)

    def reviews(self, split: str) -> Corpus:
        """IMDB; `validation` is a tenth of the training reviews."""
        if split == "test":
            return read_corpus("imdb", self.imdb, split="test")
        train, validation = held_out(read_corpus("imdb", self.imdb, split="train"))
        return validation if split == "validation" else train

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """The corpus with tags by a tagger trained from the treebank."""
        return corpus.annotate(self._tagger(folder), "pos", cache=folder / "tags")

    def tagger_accuracy(self, folder: Path) -> float | None:
        """Accuracy on the treebank's test part, gold words; None where there is none."""
        test = _part_of(self.conllu, "test")
        if test is None:
            return None
        return float(self._tagger(folder).evaluate(read_corpus("conllu", test)).accuracy)

    def _tagger(self, folder: Path) -> Tagger:
        from txray.corpus import Tagger

        place = folder / "tagger"
        if place.exists():
            return Tagger.load(place)
        tagger = Tagger.train(self._treebank())
        tagger.save(place)
        return tagger

    def _treebank(self) -> Path:
        train = _part_of(self.conllu, "train") if self.conllu.is_dir() else self.conllu
        if train is None:
            raise CorpusError(
                f"{self.conllu}: no *train*.conllu in this folder; name the treebank's training file"
            )
        return train


def _part_of(folder: Path, split: str) -> Path | None:
    """The one data file of a split in a folder, by its name."""
    if not folder.is_dir():
        return None
    suffixes = (".conllu", ".conllu.gz")
    found = [file for file in sorted(folder.iterdir()) if split in file.name and file.name.endswith(suffixes)]
    return found[0] if found else None


def held_out(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """Training and validation documents: one in ten, by a hash of its id, is kept for validation."""

    def kept(document: Document) -> bool:
        return document_key(document.id) % _VALIDATION_FOLDS == 0

    return (
        corpus.select(lambda document: not kept(document), name="train"),
        corpus.select(kept, name="validation"),
    )
