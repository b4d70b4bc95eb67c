"""Values of options. This module imports nothing, so that `txray --help` stays fast."""

from __future__ import annotations

from typing import Literal

Ablation = Literal["zero", "mean", "resample"]
Scope = Literal["every-step", "final-state"]
Ranking = Literal[
    "mass", "length", "wins", "hellinger", "signal", "magnitude", "activation", "wanda", "taylor"
]

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Shares of a layer that sparsity curves prune."""
