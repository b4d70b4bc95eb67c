"""The embedded corpus: plausible English from a grammar."""

from txray.corpus.demo.corpus import demo_corpus

__all__ = ["demo_corpus"]
