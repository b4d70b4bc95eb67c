"""IMDB: labelled movie reviews, from the `aclImdb` folder, its archive, or a CSV table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from txray.corpus.corpus import Corpus, LazyDocument
from txray.corpus.document import Document
from txray.corpus.readers.review_files import ReviewArchive, ReviewFolder, is_archive
from txray.corpus.readers.review_table import ReviewTable
from txray.corpus.readers.reviews import LABELS, Review, Reviews
from txray.corpus.readers.validate import known_split, require_split_in_name
from txray.corpus.sources import file_source, kind_of, listed, plain_name
from txray.corpus.splitting import TextSplitter
from txray.errors import CorpusError, UsageError

SPLITS = {"train": "train", "test": "test"}


def read_imdb(path: Path, split: str | None = None, *, group: str | None = None) -> Corpus:
    """Read the Large Movie Review Dataset (Maas et al. 2011), or reviews in a table of your own.

    **The classes alternate**: positive, negative, positive, negative, ..., then the rest of the larger class, so that
    the beginning of the corpus holds both. Each class keeps the order of its source: the number of the review in a
    folder, the order of the archive, the order of the rows.

    The labels are `label`, `pos` or `neg`, and `rating`, 1 to 10, if it is known. `<br />` ends a sentence, HTML
    entities become characters, then the text is tokenised. Reviews without words are skipped (reason `no words`), and
    so are other files beside them.

    Args:
        path: the folder `aclImdb` (or the one around it); its `.tar.gz` or `.tar`, read without unpacking; a
            CSV with the columns `text` and `label` (`pos`/`neg` or 1/0), optionally `id` and `rating`, plain
            or `.gz`; or a folder with one such CSV per split, named by it (`imdb_train.csv`).
        split: `train` or `test`; needed except for a single CSV.
        group: column of a CSV with the group of a review, such as its film: reviews of one group share a fold. By
            default, and if it is empty, a review depends on no other.

    Raises:
        CorpusError: nothing readable at `path`; while reading: damaged, or a broken row, with its line.
        UsageError: a split or column that does not exist, or a group of reviews that are files.
    """
    reviews, name = _find(path, split, group)
    splitter = TextSplitter(html=True)

    def document(label: str, review: Review) -> Document:
        tokens = splitter(review.text)
        labels = {"label": label} if review.rating is None else {"label": label, "rating": review.rating}
        return Document(
            id=review.id,
            words=tokens.words,
            labels=labels,
            sentence_starts=tokens.sentence_starts,
            group=review.group,
            spacing=tokens.spacing,
        )

    def lazy_documents(skipped: Counter[str]) -> Iterator[LazyDocument]:
        for label, review in _alternating(reviews, skipped):
            if splitter.has_words(review.text):
                yield partial(document, label, review)
            else:
                skipped["no words"] += 1

    return Corpus.from_lazy_documents(
        f"imdb/{name}", lazy_documents, fingerprint=lambda: reviews.fingerprint(rules=splitter.rules)
    )


def _alternating(reviews: Reviews, skipped: Counter[str]) -> Iterator[tuple[str, Review]]:
    """Yield label and review, alternating between the labels while both have reviews."""
    cursors = [(label, reviews.with_label(label, skipped)) for label in LABELS]
    while cursors:
        for label, cursor in tuple(cursors):
            review = next(cursor, None)
            if review is None:
                cursors.remove((label, cursor))
            else:
                yield label, review


def _find(path: Path, split: str | None, group: str | None) -> tuple[Reviews, str]:
    """Return the reviews, and the name of their corpus."""
    if kind_of(path) == "folder":
        wanted = known_split(path, split, SPLITS)
        if folder := ReviewFolder.find(path, wanted):
            _no_group(path, group)
            return folder, wanted
        return _table_in(path, wanted, group), wanted
    if is_archive(path):
        wanted = known_split(path, split, SPLITS)
        _no_group(path, group)
        return ReviewArchive(path, wanted).check(), wanted
    require_split_in_name(path, split, SPLITS)
    return ReviewTable(file_source(path), group).check(), plain_name(path.name)


def _no_group(path: Path, group: str | None) -> None:
    if group is not None:
        raise UsageError(
            f"{path}: group={group!r} names a column of a CSV, and these reviews are files; leave it out"
        )


def _table_in(folder: Path, split: str, group: str | None) -> ReviewTable:
    tables = [file for file in listed(folder, "*.csv", "*.csv.gz") if split in file.name.lower()]
    if not tables:
        raise CorpusError(
            f"{folder}: holds neither {split}/pos and {split}/neg, nor a table named *{split}*.csv; give the "
            "aclImdb folder, its archive, or a CSV with the columns text,label"
        )
    if len(tables) > 1:
        raise UsageError(
            f"{folder}: holds {' and '.join(file.name for file in tables)}; name one of the files"
        )
    return ReviewTable(file_source(tables[0]), group).check()
