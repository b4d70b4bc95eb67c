"""Sets of neurons in the notation of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from txray.analysis.comparison import Comparison
from txray.errors import UnknownNameError, UsageError
from txray.pruning.neuron_sets import SET_STATES, NeuronSet, in_state, ranked

_RANKED = re.compile(r"(top|bottom)-([0-9]{1,9}):(.+)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_MAX_RANGE = 10**7


def parse_set(
    text: str,
    layer: str,
    comparison: Comparison | None,
    importance: Callable[[str], NDArray[np.floating]],
) -> NeuronSet:
    """Parse a set: a state, `top-20:mass`, `bottom-5:taylor`, or numbers such as `3,17,20-29`.

    Args:
        text: the notation, which becomes the name of the set.
        layer: name of the layer.
        comparison: comparison with the states; None if there is none.
        importance: ranking -> (n_neurons,) importance of each neuron.

    Raises:
        UsageError: invalid notation, a state without two stages, or more neurons than a ranking applies to.
        UnknownNameError: unknown ranking or state.
    """
    if text in SET_STATES:
        if comparison is None:
            raise UsageError(
                f"set {text!r}: is a state between two stages; pass both, the earlier and the later"
            )
        return in_state(comparison, text)
    match = _RANKED.fullmatch(text)
    if match:
        end, k, ranking = match.groups()
        return ranked(importance(ranking), layer, int(k), largest=end == "top", ranking=ranking, name=text)
    if not (text[:1].isascii() and text[:1].isdecimal()):
        raise UnknownNameError.of("set (or numbers such as 3,17,20-29, or top-20:mass)", text, SET_STATES)
    return NeuronSet(text, layer, parse_indices(text))


def parse_indices(text: str) -> tuple[int, ...]:
    """Parse a list of numbers and ranges such as `3,17,20-29`.

    Raises:
        UsageError: a part is neither a number nor a range.
    """
    indices: list[int] = []
    for part in map(str.strip, text.split(",")):
        span = _RANGE.fullmatch(part)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (0, -1)
        if last < first:
            raise UsageError(
                f"neurons {text[:80]!r}: {part[:40]!r} is neither a number nor a range; list them as in 3,17,20-29"
            )
        if last - first > _MAX_RANGE:
            raise UsageError(f"neurons {text[:80]!r}: {part[:40]!r} is more neurons than a layer has")
        indices.extend(range(first, last + 1))
    return tuple(indices)
