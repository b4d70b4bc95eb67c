"""Stages, corpora, models and hostile words that tests of several packages build."""
