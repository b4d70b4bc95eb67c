"""Significance: permutation tests, split halves, equal-size downsampling, and rarefaction."""
