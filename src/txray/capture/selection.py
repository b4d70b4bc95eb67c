"""Which activations count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from txray.errors import UnknownNameError

Sign = Literal["positive", "absolute", "negative"]
RULES = ("max-1", "all")
SIGNS: tuple[Sign, ...] = ("positive", "absolute", "negative")


@dataclass(frozen=True)
class Selection:
    """Which activations of a layer count as responses of its neurons.

    Attributes:
        rule: `max-1`: each word credits its strongest neuron (the paper); `all`: each word credits
            every neuron by its activation.
        sign: weights of a distribution must not be negative, so a sign is chosen: `positive`
            activations only (the default), `absolute` values, or the size of the `negative` ones.
            It is applied before the strongest is looked for.

    Raises:
        UnknownNameError: no such rule or sign.

    Source:
        Rethmeier et al. 2020, section 2.1 (max-1).
    """

    rule: str = "max-1"
    sign: Sign = "positive"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownNameError.of("selection", self.rule, RULES)
        if self.sign not in SIGNS:
            raise UnknownNameError.of("sign", self.sign, SIGNS)

    def __str__(self) -> str:
        return self.rule if self.sign == "positive" else f"{self.rule}/{self.sign}"
