"""Synthetic pairs of modules with known truth: a table says which words each neuron prefers."""

from txray.synthetic.pair import GROUPS, SyntheticPair, synthetic_pair

__all__ = ["GROUPS", "SyntheticPair", "synthetic_pair"]
