"""Reviews of IMDB with their labels, from TXRAY_DATA."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels: 1 is positive."""

    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, first: int, last: int) -> Reviews:
        """Return the reviews from `first` to `last`, without the last."""
        return Reviews(self.texts[first:last], self.labels[first:last])

    def sample(self, number: int, generator: np.random.Generator) -> Reviews:
        """Return so many different reviews in random order."""
        rows = generator.choice(len(self), number, replace=False).tolist()
        return Reviews([self.texts[row] for row in rows], [self.labels[row] for row in rows])


def reviews(split: Literal["train", "test"]) -> Reviews:
    """Return all reviews of a split, without the line breaks of their HTML."""
    table = pl.read_csv(Path(os.environ["TXRAY_DATA"]) / "imdb" / f"imdb_{split}_25k.csv.gz")
    texts = table["text"].str.replace_all("<br />", " ", literal=True)
    return Reviews(texts.to_list(), (table["label"] == "pos").cast(pl.Int64).to_list())
