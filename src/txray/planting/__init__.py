"""Planted truth: pairs of modules whose neurons prefer, by construction, what a table says."""

from txray.planting.pair import GROUPS, Planted, planted

__all__ = ["GROUPS", "Planted", "planted"]
