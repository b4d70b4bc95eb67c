"""Names that options accept. This module imports nothing, so that `txray --help` stays fast."""

from __future__ import annotations

from typing import Literal

Ablation = Literal["zero", "mean", "resample"]
Scope = Literal["every-step", "final-state"]
Ranking = Literal[
    "mass", "length", "wins", "hellinger", "signal", "magnitude", "activation", "wanda", "taylor"
]
