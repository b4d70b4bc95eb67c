"""Activations that are saved to files, or read from files in place of a model."""
