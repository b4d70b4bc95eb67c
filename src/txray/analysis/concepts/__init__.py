"""Ranking of neurons by concepts, from histograms of activations."""
