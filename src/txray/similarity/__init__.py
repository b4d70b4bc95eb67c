"""Layers as wholes: two models read the same words, and their activations are held against each other.

The measures themselves need neither a model nor torch, and stand in `txray.transfer`.
"""

from txray.similarity.layers import layer_similarity

__all__ = ["layer_similarity"]
