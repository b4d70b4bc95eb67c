"""Planted truth: pairs of modules whose neurons prefer, by construction, what a table says."""

from txray.synthetic.pair import GROUPS, SyntheticPair, synthetic_pair

__all__ = ["GROUPS", "SyntheticPair", "synthetic_pair"]
