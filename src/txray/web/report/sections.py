"""Sections of the report: text with figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from txray import plots
from txray.analysis import Comparison, Decomposition, compare
from txray.errors import UsageError
from txray.plots.text import sanitize
from txray.plots.theme import StageStyle
from txray.preferences import Preferences, Stage, token_tags
from txray.sampling import even_sample

_MOST_STAGES = 8
"""Lines that a figure of activation mass can hold and still be read."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of the report.

    Attributes:
        figure: plotly.
        caption: what to see in it, plain text; the figure itself says where its data come from.
        comparison: the one that it draws neurons of, if any: a click on a neuron then opens its details.
    """

    figure: go.Figure
    caption: str = ""
    comparison: Comparison | None = None


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report's story.

    Attributes:
        title: plain text; the navigation shows it up to a colon.
        text: plain text; blank lines separate paragraphs.
        figures: shown below the text, in order.

    Raises:
        UsageError: no title.
    """

    title: str
    text: str = ""
    figures: Sequence[Picture] = ()

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise UsageError(f"section {self.text[:40]!r}: no title; the navigation needs one")


def comparison_section(
    comparison: Comparison,
    stages: Sequence[Stage],
    *,
    styles: Mapping[str, StageStyle] | None = None,
    title: str | None = None,
    text: str = "",
) -> Section:
    """Return the section of a comparison, as in a report without sections of its own.

    Args:
        comparison: of two stages.
        stages: that include the two; if both have POS tags, these are drawn too.
        styles: of all stages of the report (`txray.plots.stage_styles`).
        title: `before → after` by default, with the layer where stages have several.
        text: plain text; blank lines separate paragraphs.
    """
    pictures = [
        Picture(
            plots.hellinger_length(comparison),
            "Use it to find neurons: distances at very different lengths are not comparable. "
            "Click a neuron to see what it prefers.",
            comparison,
        ),
        *volcano_picture(comparison),
        Picture(
            plots.length_shift(comparison, styles=styles),
            "A neuron that wins fewer words also has fewer features to show; compare its wins before calling it "
            "specialised.",
        ),
    ]
    tags = _tags(comparison, stages)
    if tags is not None:
        pictures.append(Picture(plots.length_shift(tags, styles=styles)))
        tag_of = token_tags(stage for stage in stages if stage.name in (tags.before.stage, tags.after.stage))
        if tag_of and comparison.before.feature_type == "token":
            pictures += [
                Picture(draw(comparison, pos=tags, token_tags=tag_of, styles=styles))
                for draw in (plots.most_changed_neurons, plots.least_changed_neurons)
            ]
    pictures.append(
        Picture(
            plots.gained_table(comparison),
            "Neurons that won no word in the earlier stage but some in the later one. They may have been active "
            "before without being the strongest.",
        )
    )
    name = f"{sanitize(comparison.before.stage)} → {sanitize(comparison.after.stage)}"
    if any(len(stage.layers) > 1 for stage in stages):
        name += f" ({sanitize(comparison.after.layer)})"
    return Section(title or name, text, pictures)


def decomposition_section(decomposition: Decomposition, layer: str) -> Section:
    """Return the section of two models on two texts: what each changes, and whether one depends on the other."""
    title = "The neuron or the text: two models read two texts"
    if len(decomposition.layers) > 1:
        title += f" ({sanitize(layer)})"
    return Section(
        title,
        " ".join(decomposition.sentences(layer)[1:]),
        [
            Picture(
                plots.decomposition(decomposition, layer),
                "Rows of the model compare two models on one text, rows of the text one model on two texts, at equal "
                "text. "
                "The interaction is half the difference between what the model changes on the two texts.",
            ),
            Picture(
                plots.model_and_text(decomposition, layer),
                "Above the diagonal, the model moves a neuron farther than the text does; what is not significant may "
                "be chance.",
            ),
        ],
    )


def volcano_picture(comparison: Comparison) -> list[Picture]:
    """Return the figure of what is significant, if the comparison is tested."""
    if not comparison.tested:
        return []
    return [Picture(plots.volcano(comparison), "Click a neuron to see what it prefers.", comparison)]


def overview_section(
    stages: Sequence[Stage], comparisons: Sequence[Comparison], styles: Mapping[str, StageStyle]
) -> Section:
    """Return a section over all stages: states, activation mass, and POS tags against their frequency."""
    pictures = [Picture(plots.states(*comparisons))]
    for layer in dict.fromkeys(comparison.after.layer for comparison in comparisons):
        feature_type = comparisons[0].after.feature_type
        of_layer = [
            stage.collected[layer, feature_type]
            for stage in stages
            if (layer, feature_type) in stage.collected
        ]
        pictures.append(Picture(plots.mass_activation(_few(of_layer), styles=styles)))
        tagged = [stage.collected[layer, "pos"] for stage in stages if (layer, "pos") in stage.collected]
        if len(tagged) > 1:
            pictures.append(
                Picture(
                    plots.pos_frequency(tagged[0], _late(tagged), styles=styles),
                    "Corpus frequency is the null model: mass that merely follows it is not informative.",
                )
            )
    return Section("Overview", "", pictures)


def _few(preferences: Sequence[Preferences]) -> Sequence[Preferences]:
    """Return at most as many stages as a figure of activation mass can hold, including the first and the last."""
    return [preferences[index] for index in even_sample(len(preferences), _MOST_STAGES)]


def _late(preferences: Sequence[Preferences]) -> Preferences:
    """Return the last stage that read the same text as the first; the last of all if none did."""
    first = preferences[0]
    same = [
        p
        for p in preferences[1:]
        if np.array_equal(p.features, first.features) and np.array_equal(p.corpus_counts, first.corpus_counts)
    ]
    return (same or preferences)[-1]


def _tags(comparison: Comparison, stages: Sequence[Stage]) -> Comparison | None:
    """Return the same two stages compared by POS tag, if both have tags."""
    collected = {stage.name: stage.collected for stage in stages}
    sides = [
        collected.get(side.stage, {}).get((side.layer, "pos"))
        for side in (comparison.before, comparison.after)
    ]
    before, after = sides
    if comparison.before.feature_type == "pos" or before is None or after is None:
        return None
    return compare(before, after, weight=comparison.weight, permutations=0)
