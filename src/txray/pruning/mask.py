"""Which neurons of a layer are silenced, and what stands in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from txray.errors import ShapeError, UnknownNameError, UsageError

Ablation = Literal["zero", "mean", "resample"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

When = Literal["every-step", "final-state"]
WHENS: tuple[When, ...] = get_args(When)


@dataclass(frozen=True, eq=False)
class Mask:
    """Neurons of one layer that say nothing of what they would have said.

    Attributes:
        layer: name of the module.
        neurons: (k,) distinct indices, kept in ascending order; none: the model as it is.
        ablation: what the neurons give instead. `zero`: 0. `mean`: their mean over a text, always the same.
            `resample`: what they gave at some other word, all of them at the same one, drawn anew for each position of
            each document.
        when: of a recurrent layer. `every-step`: the layer itself does not see the neurons either, at any step.
            `final-state`: it does, and only the state that the head of a classifier reads at the end lacks them; so
            did the published code.
        values: for `mean` (k,), for `resample` (n, k) what to draw from; in the order of `neurons` as given.
        seed: of what is drawn.

    Raises:
        UnknownNameError: no such ablation, no such time.
        UsageError: a neuron twice or below 0, or no values for an ablation that needs them.
        ShapeError: values of another shape.

    Source:
        Rethmeier et al. 2020, section 3.4; `final-state` is what their code does.
    """

    layer: str
    neurons: Sequence[int]
    ablation: Ablation = "zero"
    when: When = "every-step"
    values: NDArray[np.floating] | None = field(default=None, repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ablation not in ABLATIONS:
            raise UnknownNameError.of("ablation", self.ablation, ABLATIONS)
        if self.when not in WHENS:
            raise UnknownNameError.of("time of a mask", self.when, WHENS)
        if not isinstance(self.layer, str):
            raise UsageError(f"mask: layer {self.layer!r}; give its name")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 63:
            raise UsageError(
                f"mask of layer {self.layer!r}: seed={self.seed}; give a whole number from 0 to 2^63 - 1"
            )
        neurons = _indices(self.layer, self.neurons)
        order = sorted(range(len(neurons)), key=neurons.__getitem__)
        object.__setattr__(self, "neurons", tuple(neurons[i] for i in order))
        if self.ablation != "zero":
            object.__setattr__(self, "values", self._checked()[..., order])

    def _checked(self) -> NDArray[np.floating]:
        k = len(self.neurons)
        if self.values is None:
            raise UsageError(
                f"mask of layer {self.layer!r}: ablation {self.ablation!r} needs values; "
                "'Activity.mask' makes such a mask from a text"
            )
        values = np.array(self.values, dtype=np.float32)
        fits = values.shape == (k,) if self.ablation == "mean" else values.ndim == 2 and values.shape[1] == k
        if not fits or not np.isfinite(values).all() or (k and not values.size):
            wanted = f"({k},)" if self.ablation == "mean" else f"(n, {k})"
            raise ShapeError(
                f"mask of layer {self.layer!r}: values of shape {values.shape}; ablation {self.ablation!r} of {k} "
                f"neurons needs {wanted} finite numbers"
            )
        values.flags.writeable = False
        return values

    def __len__(self) -> int:
        return len(self.neurons)

    def require_within(self, n_neurons: int) -> None:
        """Refuse what a layer of this size has not, and to silence all of it.

        Raises:
            UsageError: a neuron that does not exist, or nothing left.
        """
        if self.neurons and self.neurons[-1] >= n_neurons:
            beyond = [neuron for neuron in self.neurons if neuron >= n_neurons]
            raise UsageError(
                f"layer {self.layer!r} has no neuron {beyond[0]}"
                f"{f' ({len(beyond)} of the {len(self)} asked for do not exist)' if len(beyond) > 1 else ''}; "
                f"there are 0 to {n_neurons - 1}"
            )
        if len(self) == n_neurons:
            raise UsageError(
                f"layer {self.layer!r}: all {n_neurons} neurons would be silent, and nothing left of it; leave some"
            )


def _indices(layer: str, neurons: Iterable[object]) -> list[int]:
    """The neurons as numbers, each once."""
    found = []
    for neuron in neurons:
        if isinstance(neuron, bool) or not isinstance(neuron, int | np.integer) or neuron < 0:
            raise UsageError(
                f"mask of layer {layer!r}: neuron {neuron!r}; give whole numbers of at least 0, not a mask of booleans"
            )
        found.append(int(neuron))
    if len(set(found)) < len(found):
        twice = next(neuron for i, neuron in enumerate(found) if neuron in found[:i])
        raise UsageError(f"mask of layer {layer!r}: neuron {twice} is named twice; name each once")
    return found
