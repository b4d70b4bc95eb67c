"""Text of an experiment: pretraining text, reviews, and their part-of-speech tags."""

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
    """Interface of the text of an experiment."""

    @property
    def description(self) -> dict[str, str]:
        """Description of the text, stored with the settings; a run with other text is refused."""

    def pretraining(self, split: str) -> Corpus:
        """Return text for the language model: `train`, `validation` or `test`."""

    def reviews(self, split: str) -> Corpus:
        """Return labelled reviews: `train`, `validation` or `test`."""

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """Return the corpus with `pos`; `folder` caches the tagger and the tags."""

    def tagger_accuracy(self, folder: Path) -> float | None:
        """Return the accuracy of the tagger on held-out text; None if the tags are gold."""


@dataclass(frozen=True)
class DemoSources:
    """The embedded corpus, with gold tags.

    Attributes:
        seed: order of the documents.
    """

    seed: int = 0

    @property
    def description(self) -> dict[str, str]:
        """Description of the text."""
        return {"pretraining": "embedded encyclopedia", "reviews": "embedded reviews", "seed": str(self.seed)}

    def pretraining(self, split: str) -> Corpus:
        """Return embedded encyclopedia articles."""
        return demo_corpus("encyclopedia", words=None, seed=self.seed, split=split)

    def reviews(self, split: str) -> Corpus:
        """Return embedded reviews."""
        return demo_corpus("reviews", words=None, seed=self.seed, split=split)

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """Return the corpus unchanged: its tags are gold."""
        return corpus

    def tagger_accuracy(self, folder: Path) -> float | None:
        """Return None: the tags are gold."""
        return None


@dataclass(frozen=True)
class RealSources:
    """WikiText-2, IMDB, and a CoNLL-U treebank to train the tagger from.

    Attributes:
        wikitext: folder, zip or file, as `read_corpus("wikitext", ...)` takes it.
        imdb: `aclImdb` folder, its archive, or a folder with one CSV file per split.
        conllu: training file, or a folder with one file per split.

    Raises:
        CorpusError: the treebank is missing.
    """

    wikitext: Path
    imdb: Path
    conllu: Path

    def __post_init__(self) -> None:
        read_corpus("conllu", self._treebank())

    @property
    def description(self) -> dict[str, str]:
        """File names of the text."""
        return {"wikitext": self.wikitext.name, "imdb": self.imdb.name, "conllu": self.conllu.name}

    def pretraining(self, split: str) -> Corpus:
        """Return WikiText-2, headings included."""
        return read_corpus("wikitext", self.wikitext, split=split)

    def reviews(self, split: str) -> Corpus:
        """Return reviews of IMDB; `validation` is a tenth of the training reviews."""
        if split == "test":
            return read_corpus("imdb", self.imdb, split="test")
        train, validation = split_off_validation(read_corpus("imdb", self.imdb, split="train"))
        return validation if split == "validation" else train

    def tagged(self, corpus: Corpus, folder: Path) -> Corpus:
        """Return the corpus with tags by a tagger trained on the treebank."""
        return corpus.annotate(self._tagger(folder), "pos", cache=folder / "tags")

    def tagger_accuracy(self, folder: Path) -> float | None:
        """Return the accuracy on the treebank's test split, with gold words; None if it has none."""
        test = _split_file(self.conllu, "test")
        if test is None:
            return None
        return float(self._tagger(folder).evaluate(read_corpus("conllu", test)).accuracy)

    def _tagger(self, folder: Path) -> Tagger:
        from txray.corpus import Tagger

        tagger_folder = folder / "tagger"
        if tagger_folder.exists():
            return Tagger.load(tagger_folder)
        tagger = Tagger.train(self._treebank())
        tagger.save(tagger_folder)
        return tagger

    def _treebank(self) -> Path:
        train = _split_file(self.conllu, "train") if self.conllu.is_dir() else self.conllu
        if train is None:
            raise CorpusError(
                f"{self.conllu}: no *train*.conllu in this folder; name the treebank's training file"
            )
        return train


def _split_file(folder: Path, split: str) -> Path | None:
    """Return the data file of a split in a folder, by its name; None if there is none."""
    if not folder.is_dir():
        return None
    suffixes = (".conllu", ".conllu.gz")
    files = (file for file in sorted(folder.iterdir()) if split in file.name and file.name.endswith(suffixes))
    return next(files, None)


def split_off_validation(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """Return training and validation documents: one in ten, by a hash of its id, is for validation."""

    def is_validation(document: Document) -> bool:
        return document_key(document.id) % _VALIDATION_FOLDS == 0

    return (
        corpus.select(lambda document: not is_validation(document), name="train"),
        corpus.select(is_validation, name="validation"),
    )
