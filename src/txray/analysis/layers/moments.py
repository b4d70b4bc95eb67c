"""Joint moments of the activations of two layers, accumulated word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.arrays import Bools, Floats
from txray.errors import ShapeError


class CrossMoments:
    """Moments of two layers x and y about their means, over the words seen so far, in double precision.

    Each block of words is centred on its own means before it is joined to the others, so that a large common offset
    costs no digits. `update(x, x)` gives the moments of a layer with itself. Below, `x` and `y` are the deviations of a
    word's activations from the means over all words.

    Attributes:
        words: number of words so far.
        mean_x, mean_y: (n_x,) and (n_y,) means of the neurons.
        products: (n_x, n_y) sum over words of `x_i y_j`.
        squares_x, squares_y: (n_x,) and (n_y,) sums of `x_i^2` and of `y_j^2`.
        sizes: sum over words of `|x|^2 |y|^2`, for unbiased estimates.
        sized_x, sized_y: (n_x,) sum of `|y|^2 x_i` and (n_y,) sum of `|x|^2 y_j`, by which
            `sizes` follows the means.

    Source:
        Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance (joining blocks).
    """

    def __init__(self, n_x: int, n_y: int) -> None:
        """Start without words.

        Args:
            n_x, n_y: numbers of neurons of the two layers.
        """
        self.words = 0
        self.mean_x: Floats = np.zeros(n_x)
        self.mean_y: Floats = np.zeros(n_y)
        self.products: Floats = np.zeros((n_x, n_y))
        self.squares_x: Floats = np.zeros(n_x)
        self.squares_y: Floats = np.zeros(n_y)
        self.sizes = 0.0
        self.sized_x: Floats = np.zeros(n_x)
        self.sized_y: Floats = np.zeros(n_y)

    def __repr__(self) -> str:
        n_x, n_y = self.products.shape
        return f"CrossMoments({n_x} x {n_y} neurons, {self.words} words)"

    def update(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> None:
        """Add a block of words.

        Args:
            x: (n_words, n_x) activations.
            y: (n_words, n_y) activations of the same words, in the same order.

        Raises:
            ShapeError: other numbers of neurons, or different numbers of words.
        """
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or (x.shape[1], y.shape[1]) != self.products.shape:
            raise ShapeError(
                f"moments of {self.products.shape[0]} x {self.products.shape[1]} neurons: got blocks of shape "
                f"{x.shape} and {y.shape}; pass (words, neurons) of the same words"
            )
        if len(x) == 0:
            return
        block = CrossMoments(*self.products.shape)
        block.words = len(x)
        block.mean_x, dx = _centred(x)
        block.mean_y, dy = (block.mean_x, dx) if y is x else _centred(y)
        size_x, size_y = (np.einsum("ij,ij->i", deviations, deviations) for deviations in (dx, dy))
        block.products = dx.T @ dy
        block.squares_x, block.squares_y = (np.einsum("ij,ij->j", part, part) for part in (dx, dy))
        block.sizes = float(size_x @ size_y)
        block.sized_x, block.sized_y = size_y @ dx, size_x @ dy
        self.merge(block)

    def merge(self, other: CrossMoments) -> None:
        """Add the moments of other words; `other` is unchanged.

        Raises:
            ShapeError: different numbers of neurons.
        """
        if other.products.shape != self.products.shape:
            raise ShapeError(f"{self!r} and {other!r} cannot be merged; pass moments of the same two layers")
        words = self.words + other.words
        if other.words == 0:
            return
        gap_x, gap_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        # Both sides are moved to the common mean: this one by `share` of the gap, the other by the rest, backwards.
        share = other.words / words
        moved = [
            self._about(gap_x * share, gap_y * share),
            other._about(gap_x * (share - 1), gap_y * (share - 1)),
        ]
        self.sizes = sum(sizes for sizes, _, _ in moved)
        self.sized_x = moved[0][1] + moved[1][1]
        self.sized_y = moved[0][2] + moved[1][2]
        weight = self.words * share
        self.products += other.products
        self.products += np.outer(gap_x * weight, gap_y)
        self.squares_x = self.squares_x + other.squares_x + weight * gap_x**2
        self.squares_y = self.squares_y + other.squares_y + weight * gap_y**2
        self.mean_x = self.mean_x + gap_x * share
        self.mean_y = self.mean_y + gap_y * share
        self.words = words

    def transposed(self) -> CrossMoments:
        """Return the moments of y with x, as a read-only view."""
        turned = CrossMoments(0, 0)
        turned.words, turned.sizes = self.words, self.sizes
        turned.products = self.products.T
        turned.mean_x, turned.mean_y = self.mean_y, self.mean_x
        turned.squares_x, turned.squares_y = self.squares_y, self.squares_x
        turned.sized_x, turned.sized_y = self.sized_y, self.sized_x
        return turned

    @property
    def constant_x(self) -> Bools:
        """Return (n_x,) which neurons of x have the same activation at every word."""
        return np.asarray(self.squares_x == 0)

    @property
    def constant_y(self) -> Bools:
        """Return (n_y,) which neurons of y have the same activation at every word."""
        return np.asarray(self.squares_y == 0)

    def correlation(self) -> Floats:
        """Return (n_x, n_y) Pearson correlations of pairs of neurons, in [-1, 1]; NaN if one is constant."""
        deviation_x = np.where(self.constant_x, np.nan, np.sqrt(self.squares_x))
        deviation_y = np.where(self.constant_y, np.nan, np.sqrt(self.squares_y))
        correlation: Floats = self.products / deviation_x[:, None] / deviation_y
        return np.clip(correlation, -1.0, 1.0, out=correlation)

    def _about(self, by_x: Floats, by_y: Floats) -> tuple[float, Floats, Floats]:
        """Return `sizes`, `sized_x` and `sized_y` about points at these offsets from the means.

        With x' = x - a and y' = y - b these follow from |x'|^2 = |x|^2 - 2 a x + |a|^2, because x and y sum up to 0.
        """
        length_x, length_y = float(by_x @ by_x), float(by_y @ by_y)
        trace_x, trace_y = float(self.squares_x.sum()), float(self.squares_y.sum())
        across, back = self.products @ by_y, self.products.T @ by_x
        sizes = (
            self.sizes
            - 2 * float(by_y @ self.sized_y)
            - 2 * float(by_x @ self.sized_x)
            + length_y * trace_x
            + length_x * trace_y
            + 4 * float(by_x @ across)
            + self.words * length_x * length_y
        )
        sized_x = self.sized_x - 2 * across - (trace_y + self.words * length_y) * by_x
        sized_y = self.sized_y - 2 * back - (trace_x + self.words * length_x) * by_y
        return sizes, sized_x, sized_y


def _centred(activations: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Return (n_neurons,) means, and (n_words, n_neurons) deviations from them."""
    exact = activations.astype(np.float64)
    mean = exact.mean(axis=0)
    exact -= mean
    # The mean of numbers far from 0 loses digits; the mean of the remainder restores them, and makes the deviations of
    # a constant exactly 0.
    remainder = exact.mean(axis=0)
    exact -= remainder
    return mean + remainder, exact
