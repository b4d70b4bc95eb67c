"""Sets of neurons to prune: by state, by rank, at random, or as listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis.comparison import Comparison
from txray.analysis.findings import STATES
from txray.errors import UnknownNameError, UsageError

CONFIDENT = ("confident-avoided", "confident-gained", "undecided")
"""States that need significance: beyond chance, or not."""

SET_STATES = (*STATES, *CONFIDENT)


@dataclass(frozen=True)
class NeuronSet:
    """Neurons of one layer, under a name.

    Attributes:
        name: for tables and figures.
        layer: of the neurons.
        neurons: indices, each once; may be empty where a rule finds none.
        ranking: by which they were chosen; empty where by none.
    """

    name: str
    layer: str
    neurons: tuple[int, ...]
    ranking: str = ""

    def __len__(self) -> int:
        return len(self.neurons)

    def require_size(self, n_neurons: int) -> None:
        """Refuse a set that leaves nothing of a layer.

        Raises:
            UsageError: it is larger than the layer, or as large.
        """
        if len(self) >= n_neurons:
            raise UsageError(
                f"set {self.name!r}: {len(self)} neurons of layer {self.layer!r}, which has {n_neurons}; "
                f"prune at most {n_neurons - 1}"
            )


def in_state(comparison: Comparison, state: str, *, name: str | None = None) -> NeuronSet:
    """The neurons in a state between two stages.

    Args:
        comparison: of the stages.
        state: `shared`, `avoided`, `gained`, `unpreferred`; of tested comparisons also `confident-avoided`,
            `confident-gained` and `undecided`.
        name: of the set; that of the state by default.

    Raises:
        UnknownNameError: no such state.
        UsageError: a state that needs significance, and the comparison was not tested.
    """
    if state not in SET_STATES:
        raise UnknownNameError.of("state", state, SET_STATES)
    column, value = (
        ("confident_state", state.removeprefix("confident-")) if state in CONFIDENT else ("state", state)
    )
    if column not in comparison.neurons.columns:
        raise UsageError(
            f"state {state!r} needs to know what is significant: give a tested comparison, such as comparison.test()"
        )
    found = comparison.neurons.filter(pl.col(column) == value)["neuron"].to_list()
    return NeuronSet(name or state, comparison.after.layer, tuple(found))


def ranked(
    scores: NDArray[np.floating], layer: str, k: int, *, most: bool, ranking: str, name: str | None = None
) -> NeuronSet:
    """The `k` neurons of the smallest or the largest score.

    Neurons without a score (no number) are not chosen. Of equal ones the smaller index is.

    Args:
        scores: (n_neurons,).
        layer: of the neurons.
        k: how many.
        most: whether the largest.
        ranking: name of the scores.
        name: of the set, by default such as `top-20:mass`.

    Raises:
        UsageError: fewer than `k` neurons have a score.
    """
    known = int(np.isfinite(scores).sum())
    name = name or f"{'top' if most else 'bottom'}-{k}:{ranking}"
    if k < 1:
        raise UsageError(f"set {name!r}: k={k}; ask for at least 1 neuron")
    if k > known:
        raise UsageError(
            f"set {name!r}: {known} of {len(scores)} neurons of layer {layer!r} have a score {ranking!r}; ask for no "
            "more"
        )
    order = pruning_order(scores, most=most)
    return NeuronSet(name, layer, tuple(sorted(order[:k].tolist())), ranking)


def pruning_order(scores: NDArray[np.floating], *, most: bool = False) -> NDArray[np.int64]:
    """(n_neurons,) neurons from the smallest to the largest score, or the other way; those without a score last.

    Args:
        scores: (n_neurons,).
        most: whether the largest come first.
    """
    key = np.where(np.isfinite(scores), -scores if most else scores, np.inf)
    return np.argsort(key, kind="stable")


def random_orders(n_neurons: int, draws: int, seed: int) -> NDArray[np.int64]:
    """(draws, n_neurons) random orders of pruning: the first k of a row are a random set of size k.

    Args:
        n_neurons: of the layer.
        draws: how many.
        seed: of the orders.
    """
    return np.stack([np.random.default_rng([seed, draw]).permutation(n_neurons) for draw in range(draws)])


def listed(text: str) -> tuple[int, ...]:
    """Numbers as a user lists them: `3,17,20-29`.

    Raises:
        UsageError: something else.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        digits = part.isascii() and max(len(first), len(last)) < 10
        if (
            not digits
            or not first.isdecimal()
            or (dash and not last.isdecimal())
            or (dash and int(last) < int(first))
        ):
            raise UsageError(
                f"neurons {text[:80]!r}: {part.strip()[:40]!r} is neither a number nor a range; "
                "list them as in 3,17,20-29"
            )
        end = int(last) if dash else int(first)
        if end - int(first) > 10**7:
            raise UsageError(f"neurons {text[:80]!r}: {part.strip()[:40]!r} is no layer's worth of neurons")
        found.extend(range(int(first), end + 1))
    return tuple(found)


_RANKED = re.compile(r"(top|bottom)-([0-9]{1,9}):(.+)")


def parsed(
    text: str,
    layer: str,
    comparison: Comparison | None,
    scores: Callable[[str], NDArray[np.floating]],
) -> NeuronSet:
    """A set as a user writes it: a state, `top-20:mass`, `bottom-5:taylor`, or numbers such as `3,17,20-29`.

    Args:
        text: as written; the name of the set.
        layer: of the neurons.
        comparison: that states are looked up in; None where there is none.
        scores: ranking -> (n_neurons,).

    Raises:
        UsageError: something else, a state without two stages, or more neurons than have a score.
        UnknownNameError: no such ranking.
    """
    if text in SET_STATES:
        if comparison is None:
            raise UsageError(
                f"set {text!r}: is a state between two stages; give both, the earlier and the later"
            )
        return in_state(comparison, text)
    match = _RANKED.fullmatch(text)
    if match:
        return ranked(
            scores(match[3]), layer, int(match[2]), most=match[1] == "top", ranking=match[3], name=text
        )
    if not (text[:1].isascii() and text[:1].isdecimal()):
        raise UnknownNameError.of("set (or numbers such as 3,17,20-29, or top-20:mass)", text, SET_STATES)
    return NeuronSet(text, layer, listed(text))
