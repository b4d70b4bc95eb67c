"""The state of a page as kept in its URL: page, stages, filters, sorting, neuron."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
"""Path -> name in the navigation."""

RANGES: Mapping[str, str] = {
    "hellinger_length": "Hellinger length",
    "hellinger": "Hellinger distance",
    "distance": "distance shown",
    "hellinger_corrected": "corrected Hellinger distance",
    "hellinger_corrected_low": "corrected distance, lower bound",
    "z_score": "z-score",
    "q_value": "q-value",
    "length_before": "length before",
    "length_after": "length after",
    "mass_before": "mass before",
    "mass_after": "mass after",
    "wins_before": "wins before",
    "wins_after": "wins after",
}
"""Columns that can be filtered by a range -> their names for people."""

SORTS = ("layer", "neuron", "shown", "change", *RANGES, "beyond_before", "beyond_after")
"""Columns by which the table of neurons can be sorted."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range of a column; neurons without a value lie outside.

    Attributes:
        column: one of `RANGES`.
        low, high: inclusive bounds; None for no bound.
    """

    column: str
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return "..".join("" if end is None else f"{end:.12g}" for end in (self.low, self.high))

    @classmethod
    def parse(cls, column: str, text: str) -> Range | None:
        """Return the range `low..high`, in which either end may be missing; None if the text is no range."""
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
    """State of a page, as its URL holds it.

    Attributes:
        page: one of `PAGES`.
        before, after: names of stages.
        feature_type: the feature type.
        layer: only neurons of this layer; empty for all.
        layer_after: of the stage after, for matching; empty for the same.
        states: only neurons in these states; empty for all.
        ranges: only neurons within these ranges.
        prefers: only neurons that prefer this feature before or after.
        top: only neurons whose activation mass falls mostly on this tag, after (before if they are unused after).
        sort, descending: order of the table.
        neuron: number in the layer, for the page of a neuron.
        word: for the page of a feature.
    """

    page: str = "overview"
    before: str = ""
    after: str = ""
    feature_type: str = ""
    layer: str = ""
    layer_after: str = ""
    states: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    prefers: str = ""
    top: str = ""
    sort: str = "change"
    descending: bool = True
    neuron: int | None = None
    word: str = ""

    @classmethod
    def parse(cls, path: str | None, search: str | None) -> UrlState:
        """Return the state that path and query string of a URL describe; invalid values are left out."""
        page = (path or "/").strip("/").rpartition("/")[2] or "overview"
        query = dict(parse_qsl((search or "").removeprefix("?"), keep_blank_values=True))
        sort = query.get("sort", "-change")
        number = query.get("neuron", "")
        return cls(
            page=page if page in PAGES else "overview",
            **{name: query.get(name, "") for name in _TEXTS},
            states=tuple(state for state in SHOWN_STATES if state in query.get("state", "").split(",")),
            ranges=tuple(
                bounds
                for name in RANGES
                if name in query and (bounds := Range.parse(name, query[name])) is not None
            ),
            sort=sort.removeprefix("-") if sort.removeprefix("-") in SORTS else "change",
            descending=sort.startswith("-") or sort.removeprefix("-") not in SORTS,
            neuron=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None,
        )

    @property
    def path(self) -> str:
        """Path of the URL."""
        return "/" if self.page == "overview" else f"/{self.page}"

    @property
    def search(self) -> str:
        """Query string of the URL; defaults are left out, so that each state has one URL."""
        query: list[tuple[str, Any]] = [(name, getattr(self, name)) for name in _TEXTS if getattr(self, name)]
        if self.states:
            query.append(("state", ",".join(self.states)))
        query += [(bounds.column, str(bounds)) for bounds in self.ranges]
        if (self.sort, self.descending) != ("change", True):
            query.append(("sort", f"{'-' if self.descending else ''}{self.sort}"))
        if self.neuron is not None:
            query.append(("neuron", self.neuron))
        return f"?{urlencode(query, quote_via=quote, errors='replace')}" if query else ""

    @property
    def address(self) -> str:
        """Path and query string."""
        return self.path + self.search

    def replace(self, **changes: Any) -> UrlState:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def unfiltered(self) -> UrlState:
        """Return a copy without filters; the layer stays."""
        return dataclasses.replace(self, states=(), ranges=(), prefers="", top="")

    @property
    def is_filtered(self) -> bool:
        """Return whether a filter excludes some neurons of the layers."""
        return bool(self.states or self.ranges or self.prefers or self.top)


_TEXTS = ("before", "after", "feature_type", "layer", "layer_after", "prefers", "top", "word")


def with_defaults(
    view: UrlState, stages: Sequence[str], feature_types: Sequence[str]
) -> tuple[UrlState, list[str]]:
    """Fill in stages and feature type where a URL leaves them out or names one that does not exist.

    Returns:
        The state, and a warning for each name that was replaced.
    """
    defaults = {
        "before": stages[-2] if len(stages) > 1 else stages[0],
        "after": stages[-1],
        "feature_type": "token" if "token" in feature_types else feature_types[0],
    }
    known = {"before": stages, "after": stages, "feature_type": feature_types}
    changes: dict[str, Any] = {}
    warnings = []
    for name, default in defaults.items():
        requested = getattr(view, name)
        if requested in known[name]:
            continue
        changes[name] = default
        if requested:
            noun = "feature type" if name == "feature_type" else "stage"
            warnings.append(f"There is no {noun} “{requested}”; “{default}” is shown instead.")
    return dataclasses.replace(view, **changes), warnings


def parse_warnings(search: str | None) -> list[str]:
    """Return a warning for each invalid range in the query string of a URL."""
    query = dict(parse_qsl((search or "").removeprefix("?"), keep_blank_values=True))
    return [
        f"{name}={sanitize(query[name])} is not a range of the {title}; write {name}=0.2..0.8, or one end only."
        for name, title in RANGES.items()
        if query.get(name) and Range.parse(name, query[name]) is None
    ]
