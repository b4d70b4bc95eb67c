"""Selections: which activations count."""

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
    """A rule that selects which activations of a layer count.

    >>> Selection("max-5", standardize="zscore")
    Selection(rule='max-5', sign='positive', standardize='zscore')
    >>> str(Selection.parse("all/absolute"))
    'all/absolute'

    Attributes:
        rule: `max-1`: each word credits its strongest neuron (the paper); `max-5`, or another number: its five
            strongest; `threshold=0.5`: every neuron above 0.5; `all`: every neuron, by its activation;
            `max-position`: each neuron is credited with its strongest word of each document (filters with max pooling).
        sign: which values count, because weights of a distribution must not be negative: `positive` activations
            (default), `absolute` values, or the size of `negative` ones. Applied before the strongest is selected.
        standardize: `none`, or `zscore`: subtract each neuron's mean over the corpus and divide by its standard
            deviation, before the sign is applied. For layers in which a few neurons always win because of their scale.

    Raises:
        UnknownNameError: unknown rule, sign or standardization.
        UsageError: the threshold is negative or not a number.

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
    def parse(cls, text: str | Selection) -> Selection:
        """Return the selection of a text such as `max-1`, `all/absolute` or `max-5/zscore`, in any order.

        A selection is returned unchanged.

        Raises:
            UnknownNameError, UsageError: see the class.
        """
        if isinstance(text, Selection):
            return text
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
        """Return the maximum number of neurons that a word credits; None for other rules than `max-k`."""
        match = _STRONGEST.fullmatch(self.rule)
        return int(match[1]) if match else None

    @property
    def threshold(self) -> float | None:
        """Return the value that an activation must exceed: 0 for `all`, None for other rules than `threshold`."""
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
            raise UsageError(f"selection {self.rule!r}: the threshold must be a finite number of at least 0")
        return value

    def __str__(self) -> str:
        parts = (self.rule, self.sign, self.standardize)
        return "/".join(part for part in parts if part not in ("positive", "none"))
