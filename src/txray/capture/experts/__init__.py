"""Experts of mixtures of experts as layers."""
