"""Put the page together and write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from txray.analysis import Comparison, compare
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.files import write_text
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import Stage
from txray.progress import Advance, progress
from txray.web.report.explorer import FEATURES, explorer_data
from txray.web.report.headlines import headline
from txray.web.report.packing import figures_json, packed, packed_json, policy, script, style
from txray.web.report.provenance import provenance_table
from txray.web.report.sections import Section, comparison_section, overview_section
from txray.web.report.story import section_html
from txray.web.report.templates import render

if TYPE_CHECKING:
    import plotly.graph_objects as go


def report(
    stages: Sequence[Stage],
    path: Path | str,
    *,
    title: str = "What the neurons know",
    comparisons: Sequence[Comparison] | None = None,
    sections: Sequence[Section] = (),
    feature_type: str = "token",
    permutations: int = 10_000,
) -> Path:
    """Write the report: one HTML file that needs nothing else, neither files nor network.

    It holds the findings in words, the sections, an overview over all stages, and a searchable table of all
    neurons with what each prefers and where it fires.

    Args:
        stages: in the order of the story, with distinct names.
        path: of the HTML file; replaced if it exists.
        title: plain text.
        comparisons: what is compared; every two stages in a row, layer by layer, by default.
        sections: the story, in order; one section per comparison by default.
        feature: the feature type of the default comparisons.
        permutations: of a neuron at most, in the tests of the default comparisons; 0 leaves them out. Stages of one
            fold cannot be tested.

    Returns:
        The path.

    Raises:
        UsageError: nothing to compare, two stages of one name, or comparisons of different feature types.
        UnknownNameError: no such feature, or a comparison of a stage that is not given.
        ShapeError: stages that cannot be compared.
        OutputError: the place cannot be written.
    """
    pairs = _checked(
        stages, comparisons if comparisons is not None else _consecutive(stages, feature_type, permutations)
    )
    styles = stage_styles([stage.name for stage in stages])
    story = list(sections) or [comparison_section(pair, stages, styles=styles) for pair in pairs]
    story.append(overview_section(stages, pairs, styles))
    target = Path(path)
    page = _page(title, stages, pairs, story, styles)
    # An unpaired surrogate in a title or a text has no UTF-8 and would stop the whole report.
    write_text(target, page.encode("utf-8", "replace").decode("utf-8"))
    return target


def _consecutive(stages: Sequence[Stage], feature_type: str, permutations: int) -> list[Comparison]:
    pairs = [
        compare(before, after, layer=layer, feature_type=feature_type, permutations=0)
        for before, after in pairwise(stages)
        for layer in before.layers
        if layer in after.layers
    ]
    if not permutations:
        return pairs
    with progress("testing comparisons", len(pairs), unit="comparisons") as advance:
        return [_tested(pair, permutations, advance) for pair in pairs]


def _tested(pair: Comparison, permutations: int, advance: Advance) -> Comparison:
    testable = pair.before.folds == pair.after.folds > 1
    comparison = pair.test(permutations=permutations) if testable else pair
    advance()
    return comparison


def _checked(stages: Sequence[Stage], comparisons: Sequence[Comparison]) -> Sequence[Comparison]:
    names = [stage.name for stage in stages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"report: several stages are named {twice[0]!r}; give each its own name")
    if not comparisons:
        raise UsageError(
            f"report: nothing to compare among the stages {names}; give at least two that share a layer"
        )
    for comparison in comparisons:
        for side in (comparison.before, comparison.after):
            if side.stage not in names:
                raise UnknownNameError.of("stage of a comparison", side.stage, names)
    feature_types = list(dict.fromkeys(comparison.before.feature_type for comparison in comparisons))
    if len(feature_types) > 1:
        raise ShapeError(f"report: comparisons of the features {feature_types}; give comparisons of one kind")
    return comparisons


def _page(
    title: str,
    stages: Sequence[Stage],
    comparisons: Sequence[Comparison],
    sections: Sequence[Section],
    styles: Mapping[str, StageStyle],
) -> str:
    from plotly.offline import get_plotlyjs

    plotly, own = get_plotlyjs(), script()
    figures: list[go.Figure] = []
    written = [section_html(index, section, comparisons, figures) for index, section in enumerate(sections)]
    links = [
        ("in-short", "In short"),
        *((f"section-{index}", section.title.partition(":")[0]) for index, section in enumerate(sections)),
        ("explorer", "Every neuron"),
        ("provenance", "Sources"),
    ]
    data = explorer_data(stages, comparisons, styles)
    return render(
        "page.html",
        title=title,
        version=version("txray"),
        policy=policy(plotly, own),
        css=style(),
        links=links,
        stages=[(stage.name, styles[stage.name].color) for stage in stages],
        cards=[headline(comparison) for comparison in comparisons],
        sections=written,
        noun=data["nouns"][data["feature"]],
        features=FEATURES,
        provenance=provenance_table(stages, styles),
        plotly=packed(plotly),
        figures=packed(figures_json(figures)),
        neurons=packed_json(data),
        script=own,
    )
