"""What two layers' activations of the same words have in common, summed up word by word: nothing else is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from txray.errors import ShapeError

Floats = NDArray[np.float64]


class CrossMoments:
    """Moments of two layers about their means, over the words seen so far, in double precision.

    Every block of words is centred on its own means and then joined to the others, so that a large offset that all
    activations have in common costs no digits. The moments of a layer with itself are those of `update(x, x)`.
    Below, `x` and `y` are the deviations of a word's activations from the means over all words.

    Attributes:
        words: seen so far.
        mean_first, mean_second: (n_first,) and (n_second,) means of the neurons.
        products: (n_first, n_second) sum over words of `x_i y_j`.
        squares_first, squares_second: (n_first,) and (n_second,) sums of `x_i^2` and of `y_j^2`.
        sizes: sum over words of `|x|^2 |y|^2`, for the estimates without bias.
        sized_first, sized_second: (n_first,) sum of `|y|^2 x_i` and (n_second,) sum of `|x|^2 y_j`, which let `sizes`
            follow the means.

    Source:
        Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance (joining blocks).
    """

    def __init__(self, n_first: int, n_second: int) -> None:
        """Start empty.

        Args:
            n_first, n_second: neurons of the two layers.
        """
        self.words = 0
        self.mean_first: Floats = np.zeros(n_first)
        self.mean_second: Floats = np.zeros(n_second)
        self.products: Floats = np.zeros((n_first, n_second))
        self.squares_first: Floats = np.zeros(n_first)
        self.squares_second: Floats = np.zeros(n_second)
        self.sizes = 0.0
        self.sized_first: Floats = np.zeros(n_first)
        self.sized_second: Floats = np.zeros(n_second)

    def __repr__(self) -> str:
        n_first, n_second = self.products.shape
        return f"CrossMoments({n_first} x {n_second} neurons, {self.words} words)"

    def update(self, first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> None:
        """Add a block of words.

        Args:
            first: (n_words, n_first) activations.
            second: (n_words, n_second) activations of the same words, in the same order.

        Raises:
            ShapeError: other numbers of neurons than before, or of words on the two sides.
        """
        if (
            first.ndim != 2
            or second.ndim != 2
            or len(first) != len(second)
            or (first.shape[1], second.shape[1]) != self.products.shape
        ):
            raise ShapeError(
                f"moments of {self.products.shape[0]} x {self.products.shape[1]} neurons: got blocks of shape "
                f"{first.shape} and {second.shape}; give (words, neurons) of the same words"
            )
        if len(first) == 0:
            return
        block = CrossMoments(*self.products.shape)
        block.words = len(first)
        block.mean_first, x = _centred(first)
        block.mean_second, y = (block.mean_first, x) if second is first else _centred(second)
        size_x, size_y = (np.einsum("ij,ij->i", each, each) for each in (x, y))
        block.products = x.T @ y
        block.squares_first, block.squares_second = (np.einsum("ij,ij->j", each, each) for each in (x, y))
        block.sizes = float(size_x @ size_y)
        block.sized_first, block.sized_second = size_y @ x, size_x @ y
        self.merge(block)

    def merge(self, other: CrossMoments) -> None:
        """Add what another one has seen of other words; the other is left as it is.

        Raises:
            ShapeError: of other numbers of neurons.
        """
        if other.products.shape != self.products.shape:
            raise ShapeError(f"{self!r} and {other!r} cannot be merged; give moments of the same two layers")
        words = self.words + other.words
        if other.words == 0:
            return
        gap_first, gap_second = other.mean_first - self.mean_first, other.mean_second - self.mean_second
        # Both sides are moved to the common mean: this one by `share` of the gap, the other by the rest, backwards.
        share = other.words / words
        moved = [
            self._about(gap_first * share, gap_second * share),
            other._about(gap_first * (share - 1), gap_second * (share - 1)),
        ]
        self.sizes = sum(sizes for sizes, _, _ in moved)
        self.sized_first = moved[0][1] + moved[1][1]
        self.sized_second = moved[0][2] + moved[1][2]
        weight = self.words * share
        self.products += other.products
        self.products += np.outer(gap_first * weight, gap_second)
        self.squares_first = self.squares_first + other.squares_first + weight * gap_first**2
        self.squares_second = self.squares_second + other.squares_second + weight * gap_second**2
        self.mean_first = self.mean_first + gap_first * share
        self.mean_second = self.mean_second + gap_second * share
        self.words = words

    def transposed(self) -> CrossMoments:
        """The same of the second layer with the first: a view, to be read only."""
        turned = CrossMoments(0, 0)
        turned.words, turned.sizes = self.words, self.sizes
        turned.products = self.products.T
        turned.mean_first, turned.mean_second = self.mean_second, self.mean_first
        turned.squares_first, turned.squares_second = self.squares_second, self.squares_first
        turned.sized_first, turned.sized_second = self.sized_second, self.sized_first
        return turned

    @property
    def constant_first(self) -> NDArray[np.bool_]:
        """(n_first,) which neurons of the first layer gave one and the same number at every word."""
        constant: NDArray[np.bool_] = self.squares_first == 0
        return constant

    @property
    def constant_second(self) -> NDArray[np.bool_]:
        """(n_second,) the same of the second layer."""
        constant: NDArray[np.bool_] = self.squares_second == 0
        return constant

    def correlation(self) -> Floats:
        """(n_first, n_second) Pearson correlation of each pair of neurons, in [-1, 1]; NaN where one never moves."""
        deviation_first = np.where(self.constant_first, np.nan, np.sqrt(self.squares_first))
        deviation_second = np.where(self.constant_second, np.nan, np.sqrt(self.squares_second))
        correlation: Floats = self.products / deviation_first[:, None] / deviation_second
        return np.clip(correlation, -1.0, 1.0, out=correlation)

    def _about(self, by_first: Floats, by_second: Floats) -> tuple[float, Floats, Floats]:
        """`sizes`, `sized_first` and `sized_second` about points that lie so far from the means.

        With x' = x - a and y' = y - b these follow from |x'|^2 = |x|^2 - 2 a x + |a|^2, because x and y sum up to 0.
        """
        length_first, length_second = float(by_first @ by_first), float(by_second @ by_second)
        trace_first, trace_second = float(self.squares_first.sum()), float(self.squares_second.sum())
        across, back = self.products @ by_second, self.products.T @ by_first
        sizes = (
            self.sizes
            - 2 * float(by_second @ self.sized_second)
            - 2 * float(by_first @ self.sized_first)
            + length_second * trace_first
            + length_first * trace_second
            + 4 * float(by_first @ across)
            + self.words * length_first * length_second
        )
        sized_first = self.sized_first - 2 * across - (trace_second + self.words * length_second) * by_first
        sized_second = self.sized_second - 2 * back - (trace_first + self.words * length_first) * by_second
        return sizes, sized_first, sized_second


def _centred(activations: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """(n_neurons,) means, and (n_words, n_neurons) deviations from them."""
    exact = activations.astype(np.float64)
    mean = exact.mean(axis=0)
    exact -= mean
    # Of numbers far from 0 the first mean has lost digits: what it missed is the mean of what is left. That also
    # makes the deviations of a constant exactly 0, whatever rounding did to its mean.
    missed = exact.mean(axis=0)
    exact -= missed
    return mean + missed, exact
