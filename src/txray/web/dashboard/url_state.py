"""Everything that an address says: which page, stages, neurons; and the address that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from txray.analysis import SHOWN_STATES
from txray.plots.text import sanitize

PAGES: Mapping[str, str] = {
    "overview": "Overview",
    "neuron": "Neuron",
    "feature": "Feature",
    "matching": "Matching",
    "sources": "Sources",
}
"""Path -> its name in the navigation."""

RANGES: Mapping[str, str] = {
    "hellinger_length": "Hellinger length",
    "hellinger": "Hellinger distance",
    "distance": "distance drawn",
    "hellinger_corrected": "corrected Hellinger distance",
    "z_score": "z-score",
    "q_value": "q-value",
    "length_before": "length before",
    "length_after": "length after",
    "mass_before": "mass before",
    "mass_after": "mass after",
    "wins_before": "wins before",
    "wins_after": "wins after",
}
"""Columns that can be kept within bounds -> what they are called."""

SORTS = ("layer", "neuron", "shown", "change", *RANGES, "beyond_before", "beyond_after")
"""What the table of neurons can be sorted by."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a column; neurons without a value lie outside.

    Attributes:
        column: one of `RANGES`.
        low, high: None for no bound.
    """

    column: str
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return "..".join("" if end is None else f"{end:.12g}" for end in (self.low, self.high))

    @classmethod
    def read(cls, column: str, text: str) -> Range | None:
        """Bounds from `low..high`, either of which may be missing; None where the text is none, or says nothing."""
        first, dots, second = text.partition("..")
        try:
            low, high = (float(end) if end.strip() else None for end in (first, second))
        except ValueError:
            return None
        if not dots or any(end is not None and not isfinite(end) for end in (low, high)):
            return None
        return None if low is None and high is None else cls(column, low, high)


@dataclass(frozen=True)
class UrlState:
    """What is looked at.

    Attributes:
        page: one of `PAGES`.
        before, after: names of stages.
        feature: the feature type.
        layer: only neurons of this layer; empty for all.
        layer_after: of the stage after, for matching; empty for the same.
        states: only neurons in these; empty for all.
        ranges: only neurons within these.
        prefers: only neurons that prefer this feature before or after.
        top: only neurons whose activation mass falls mostly on this tag, after (before where it fires no more).
        sort, falling: of the table.
        neuron: number in the layer, for the page of a neuron.
        word: for the page of a feature.
    """

    page: str = "overview"
    before: str = ""
    after: str = ""
    feature: str = ""
    layer: str = ""
    layer_after: str = ""
    states: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    prefers: str = ""
    top: str = ""
    sort: str = "change"
    falling: bool = True
    neuron: int | None = None
    word: str = ""

    @classmethod
    def read(cls, path: str | None, search: str | None) -> UrlState:
        """The view that an address names; what it says wrongly is left out.

        Args:
            path: below the address of the dashboard.
            search: of the address, with or without its question mark.
        """
        page = (path or "/").strip("/").rpartition("/")[2] or "overview"
        said = dict(parse_qsl((search or "").removeprefix("?"), keep_blank_values=True))
        sort = said.get("sort", "-change")
        number = said.get("neuron", "")
        return cls(
            page=page if page in PAGES else "overview",
            **{name: said.get(name, "") for name in _TEXTS},
            states=tuple(state for state in SHOWN_STATES if state in said.get("state", "").split(",")),
            ranges=tuple(
                found
                for name in RANGES
                if name in said and (found := Range.read(name, said[name])) is not None
            ),
            sort=sort.removeprefix("-") if sort.removeprefix("-") in SORTS else "change",
            falling=sort.startswith("-") or sort.removeprefix("-") not in SORTS,
            neuron=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None,
        )

    @property
    def path(self) -> str:
        """Of the address."""
        return "/" if self.page == "overview" else f"/{self.page}"

    @property
    def search(self) -> str:
        """Of the address; what is as usual is left out, so that the same view has one address."""
        said: list[tuple[str, Any]] = [(name, getattr(self, name)) for name in _TEXTS if getattr(self, name)]
        if self.states:
            said.append(("state", ",".join(self.states)))
        said += [(each.column, str(each)) for each in self.ranges]
        if (self.sort, self.falling) != ("change", True):
            said.append(("sort", f"{'-' if self.falling else ''}{self.sort}"))
        if self.neuron is not None:
            said.append(("neuron", self.neuron))
        return f"?{urlencode(said, quote_via=quote, errors='replace')}" if said else ""

    @property
    def address(self) -> str:
        """Path and search."""
        return self.path + self.search

    def but(self, **changes: Any) -> UrlState:
        """The same view with some fields changed."""
        return replace(self, **changes)

    def unfiltered(self) -> UrlState:
        """The same view of all neurons of the same layers."""
        return replace(self, states=(), ranges=(), prefers="", top="")

    @property
    def filtered(self) -> bool:
        """Whether some neurons are left out, beside those of other layers."""
        return bool(self.states or self.ranges or self.prefers or self.top)


_TEXTS = ("before", "after", "feature", "layer", "layer_after", "prefers", "top", "word")


def completed(view: UrlState, stages: Sequence[str], features: Sequence[str]) -> tuple[UrlState, list[str]]:
    """The view with everything named that an address may leave out, and what it named that is not there.

    Args:
        view: as read.
        stages: names of the stages, in order.
        features: the feature types.

    Returns:
        The view, whose stages and feature type exist, and remarks on what was replaced.
    """
    usual = {
        "before": stages[-2] if len(stages) > 1 else stages[0],
        "after": stages[-1],
        "feature": "token" if "token" in features else features[0],
    }
    known = {"before": stages, "after": stages, "feature": features}
    changes: dict[str, Any] = {}
    remarks = []
    for name, value in usual.items():
        asked = getattr(view, name)
        if asked in known[name]:
            continue
        changes[name] = value
        if asked:
            what = "feature type" if name == "feature" else "stage"
            remarks.append(f"There is no {what} “{asked}” here; “{value}” is shown instead.")
    return replace(view, **changes), remarks


def misread(search: str | None) -> list[str]:
    """Remarks on bounds in an address that are none.

    Args:
        search: of the address, with or without its question mark.
    """
    said = dict(parse_qsl((search or "").removeprefix("?"), keep_blank_values=True))
    return [
        f"{name}={sanitize(said[name])} are no bounds of the {told}; write {name}=0.2..0.8, or one end only."
        for name, told in RANGES.items()
        if said.get(name) and Range.read(name, said[name]) is None
    ]
