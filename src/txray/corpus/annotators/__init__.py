"""Annotators: functions, lexicons, and the pipelines of spaCy, Flair and Stanza, which give every word a value.

Pass one to `Corpus.annotate`; the annotation is then a feature type for `txray.collect`.
"""

from txray.corpus.annotators.by_flair import flair
from txray.corpus.annotators.by_lexicon import lexicon
from txray.corpus.annotators.by_spacy import spacy
from txray.corpus.annotators.by_stanza import stanza
from txray.corpus.annotators.by_word import words

__all__ = ["flair", "lexicon", "spacy", "stanza", "words"]
