"""Activations of experts, which see only some positions, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn


@dataclass(frozen=True, eq=False, slots=True)
class RoutedRows:
    """Activations at the positions that were routed to an expert.

    Attributes:
        values: (n_routed, neurons) activations.
        positions: (n_routed,) position of each row among all (documents * time) positions.
        total: number of all positions.
        ambiguous: (n,) positions of which it is unknown whether the expert saw them.
    """

    values: Tensor
    positions: Tensor
    total: int
    ambiguous: Tensor | None = None


class Route(Protocol):
    """A way to read the activations of one expert."""

    @property
    def expert(self) -> int | str:
        """Return the number of the expert, or the name of its module."""

    def attached(
        self,
        modules: Mapping[str, nn.Module],
        layer: str,
        side: Literal["output", "input"],
        put: Callable[[RoutedRows], None],
    ) -> AbstractContextManager[Any]:
        """Call `put` with the rows of every call of the module that routes, inside a `with` block.

        Args:
            modules: modules of the model by name; the model itself is ''.
            layer, side: name of the module that is read, and which of its tensors.
            put: receives the rows.
        """
