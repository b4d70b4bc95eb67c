"""Data of the drawing of one neuron: slots along the axis, and the tokens that get a marker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from txray.errors import ShapeError
from txray.plots import theme
from txray.plots.features import Preferred, preferred
from txray.plots.text import count, escape, fitted, sanitize

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences, Weight


@dataclass(frozen=True)
class Neuron:
    """Preferences of one neuron in every stage, ready to draw.

    Attributes:
        index: of the neuron in its layer.
        stages: names.
        tokens, tags: one entry per stage.
        token_tags: token -> tag.
    """

    index: int
    stages: tuple[str, ...]
    tokens: tuple[Preferred, ...]
    tags: tuple[Preferred, ...]
    token_tags: Mapping[str, str]

    @classmethod
    def of(
        cls,
        index: int,
        tokens: Sequence[Preferences],
        tags: Sequence[Preferences],
        token_tags: Mapping[str, str],
        weight: Weight,
    ) -> Neuron:
        """Look up one neuron in the preferences of several stages.

        Args:
            index: of the neuron.
            tokens, tags: preferences of feature types token and pos, stage by stage, aligned.
            token_tags: token -> tag.
            weight: what the distributions normalise.
        """
        check_aligned(tokens, tags)
        return cls(
            index,
            tuple(p.stage for p in tokens),
            tuple(preferred(p, index, weight) for p in tokens),
            tuple(preferred(p, index, weight) for p in tags),
            token_tags,
        )

    def tags_by_mass(self) -> list[str]:
        """Return all preferred tags, ranked by their share of the neuron's activation mass, averaged over stages.

        By mass and not by probability: under the weight `mean` a tag that was met once is as probable as
        one that was met a thousand times.
        """
        share: Counter[str] = Counter()
        for side in self.tags:
            for tag, mass in zip(side.feature, (side.mass / side.mass.sum()).tolist(), strict=True):
                share[tag] += mass
        return sorted(share, key=lambda tag: (-share[tag], tag))


def check_aligned(tokens: Sequence[Preferences], tags: Sequence[Preferences]) -> None:
    """Raise `ShapeError` unless token and tag preferences are of the same stages, layers and neurons."""
    sides = [[(p.stage, p.layer, p.n_neurons) for p in side] for side in (tokens, tags)]
    if sides[0] != sides[1]:
        raise ShapeError(
            f"tokens are of (stage, layer, neurons) {sides[0]}, tags of {sides[1]}; give the same stages in "
            "the same order"
        )


@dataclass(frozen=True, slots=True)
class PanelCapacity:
    """How many tags and tokens fit into a panel.

    Attributes:
        tags: drawn on their own; the rest is drawn together.
        strongest: tokens per stage that have a marker, whatever their tag.
        per_tag: tokens per stage and place that have a marker, however weak.
    """

    tags: int
    strongest: int
    per_tag: int


@dataclass(frozen=True)
class TagSlots:
    """Slots along the x axis: one per drawn tag, one for all other preferred tags, one for the rest.

    Attributes:
        tags: drawn on their own.
        others: preferred tags that are drawn together.
        has_rest: whether there is a slot for tokens whose usual tag the neuron never prefers.
    """

    tags: tuple[str, ...]
    others: tuple[str, ...]
    has_rest: bool

    @classmethod
    def of(cls, neuron: Neuron, room: PanelCapacity) -> TagSlots:
        """Return the slots for one neuron: the tags of most activation mass on their own."""
        ranked = neuron.tags_by_mass()
        # A slot of its own takes no more room than "1 other".
        drawn = ranked if len(ranked) <= room.tags + 1 else ranked[: room.tags]
        known = set(ranked)
        leading = [token for side in neuron.tokens for token in side.feature[: room.strongest]]
        has_rest = any(neuron.token_tags.get(token) not in known for token in leading)
        return cls(tuple(drawn), tuple(ranked[len(drawn) :]), has_rest)

    def __len__(self) -> int:
        return len(self.tags) + bool(self.others) + self.has_rest

    def of_tag(self, tag: str | None) -> int | None:
        """Return the slot of tokens of a tag; None if there is none."""
        if tag in self.tags:
            return self.tags.index(tag)
        if tag in self.others:
            return len(self.tags)
        return len(self) - 1 if self.has_rest else None

    def ticks(self, width: float) -> list[str]:
        """Return the tick label of every slot, at most `width` pixels wide."""
        names = [escape(fitted(sanitize(tag), width, theme.SIZE)) for tag in self.tags]
        if self.others:
            names.append(f"{count(len(self.others))} others<br>(mean)")
        return [*names, "other<br>tag"] if self.has_rest else names


@dataclass(frozen=True, slots=True)
class Mark:
    """A token's marker: its rank in its stage from 1, its order among the tokens of its stage and slot."""

    stage: int
    rank: int
    order: int
    x: float
    token: str


def marks_of(neuron: Neuron, room: PanelCapacity, places: TagSlots, offsets: Sequence[float]) -> list[Mark]:
    """Return the markers of all stages, the most important first: the strongest of every slot before any second."""
    marks = []
    for number, tokens in enumerate(neuron.tokens):
        seen: Counter[int] = Counter()
        for rank, token in enumerate(tokens.feature, start=1):
            at = places.of_tag(neuron.token_tags.get(token))
            if at is None:
                continue
            if rank <= room.strongest or seen[at] < room.per_tag:
                marks.append(Mark(number, rank, seen[at], at + offsets[number], token))
            seen[at] += 1
    return sorted(marks, key=lambda mark: (mark.order, mark.rank, mark.stage))
