"""Matching of neurons between stages, architectures and trainings."""
