"""Synthetic pairs of modules with known truth: a table says which words each neuron prefers; and text to read."""

from txray.synthetic.changes import KINDS
from txray.synthetic.pair import GROUPS, SyntheticPair, synthetic_pair
from txray.synthetic.text import synthetic_text

__all__ = ["GROUPS", "KINDS", "SyntheticPair", "synthetic_pair", "synthetic_text"]
