"""Similarity of whole layers: CKA, moments of activations, and affinity."""
