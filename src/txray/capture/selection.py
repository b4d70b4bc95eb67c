"""Which activations count."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from txray.errors import UnknownNameError, UsageError

Sign = Literal["positive", "absolute", "negative"]
Standardize = Literal["none", "zscore"]
RULES = ("max-1", "max-k (such as max-5)", "threshold=X (such as threshold=0.5)", "all", "max-position")
SIGNS: tuple[Sign, ...] = ("positive", "absolute", "negative")
STANDARDIZE: tuple[Standardize, ...] = ("none", "zscore")

_STRONGEST = re.compile(r"max-([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Selection:
    """Which activations of a layer count as responses of its neurons.

    Attributes:
        rule: `max-1`: each word credits its strongest neuron (the paper); `max-5`, or another number: its five
            strongest; `threshold=0.5`: every neuron above 0.5; `all`: every neuron, by its activation;
            `max-position`: each neuron credits its strongest word of each document (filters with max pooling).
        sign: weights of a distribution must not be negative, so a sign is chosen: `positive`
            activations only (the default), `absolute` values, or the size of the `negative` ones.
            It is applied before the strongest is looked for.
        standardize: `none`, or `zscore`: each neuron's activations less their mean, divided by their standard
            deviation over the corpus; before the sign. For layers in which a few neurons are always the
            strongest because of their scale.

    Raises:
        UnknownNameError: no such rule, sign or way to standardize.
        UsageError: a threshold that is negative or no number.

    Source:
        Rethmeier et al. 2020, section 2.1 (max-1).
    """

    rule: str = "max-1"
    sign: Sign = "positive"
    standardize: Standardize = "none"

    def __post_init__(self) -> None:
        if self.threshold is None and self.k is None and self.rule not in ("all", "max-position"):
            raise UnknownNameError.of("selection", self.rule, RULES)
        if self.sign not in SIGNS:
            raise UnknownNameError.of("sign", self.sign, SIGNS)
        if self.standardize not in STANDARDIZE:
            raise UnknownNameError.of("standardize", self.standardize, STANDARDIZE)

    @classmethod
    def parse(cls, text: str) -> Selection:
        """What `str` of a selection gives, parts in any order: `max-1`, `all/absolute`, `max-5/zscore`.

        Raises:
            UnknownNameError, UsageError: see the class.
        """
        rule, *others = text.split("/")
        sign: Sign = "positive"
        standardize: Standardize = "none"
        for part in others:
            if part in SIGNS:
                sign = part
            elif part in STANDARDIZE:
                standardize = part
            else:
                raise UnknownNameError.of(f"part of selection {text!r}", part, [*SIGNS, *STANDARDIZE])
        return cls(rule, sign, standardize)

    @property
    def k(self) -> int | None:
        """How many neurons a word credits at most; None where the rule does not say."""
        match = _STRONGEST.fullmatch(self.rule)
        return int(match[1]) if match else None

    @property
    def threshold(self) -> float | None:
        """What an activation must exceed; None for other rules, 0 for `all`."""
        if self.rule == "all":
            return 0.0
        name, equals, number = self.rule.partition("=")
        if name != "threshold" or not equals:
            return None
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"selection {self.rule!r}: the threshold must be a number of at least 0")
        return value

    def __str__(self) -> str:
        parts = [self.rule]
        if self.sign != "positive":
            parts.append(self.sign)
        if self.standardize != "none":
            parts.append(self.standardize)
        return "/".join(parts)
