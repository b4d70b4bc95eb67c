"""Text in: documents, corpora, readers, annotators, the tagger, downloads, and the embedded demo corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.corpus import annotators as annotators
    from txray.corpus.annotators.annotator import Annotator as Annotator
    from txray.corpus.corpus import Corpus as Corpus
    from txray.corpus.datasets import from_dataset as from_dataset
    from txray.corpus.demo import demo_corpus as demo_corpus
    from txray.corpus.document import Document as Document
    from txray.corpus.download import fetch as fetch
    from txray.corpus.read import read_corpus as read_corpus
    from txray.corpus.tagger import Tagger as Tagger

# Imported on first use: the tokenizer and the tagger bring in large libraries.
__getattr__, __dir__, __all__ = attach(__name__)
