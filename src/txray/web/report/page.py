"""Assemble the page and write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txray.analysis import Comparison, Decomposition, compare
from txray.analysis.significance.families import Family, require_family, tested_in_one_family
from txray.analysis.significance.tests import SignificanceSettings
from txray.analysis.square import square_of
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.files import write_text
from txray.layer_patterns import matching_names
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import Stage
from txray.preferences.stage_like import StageLike, as_stages
from txray.progress import progress
from txray.web.report.explorer import FEATURES, explorer_data
from txray.web.report.headlines import headline
from txray.web.report.packing import figures_json, packed, packed_json, policy, script, style
from txray.web.report.provenance import provenance_table
from txray.web.report.sections import Section, comparison_section, decomposition_section, overview_section
from txray.web.report.story import section_html
from txray.web.templates import render

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.preferences.preferences import Weight


def report(
    stages: StageLike | Iterable[StageLike],
    path: Path | str,
    *,
    layer: str | Sequence[str] | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    fdr: float = 0.05,
    seed: int = 0,
    permutations: int = 10_000,
    min_effect: float = 0.0,
    family: Family = "step",
    title: str = "What the neurons know",
    comparisons: Sequence[Comparison] | None = None,
    sections: Sequence[Section] = (),
) -> Path:
    """Write the report: one HTML file that needs nothing else, neither files nor network.

    It contains the findings in words, the sections, an overview of all stages, and a searchable table of all neurons
    with what each prefers and where it is active.

    Args:
        stages: or their folders, in the order of the story, with distinct names; or one folder of stage folders.
        path: of the HTML file; replaced if it exists.
        layer: names or patterns of the layers to compare; all by default.
        feature_type: the feature type.
        weight: what the preference distributions normalise.
        fdr: false discovery rate of the tests.
        seed: random seed.
        permutations: maximum number per neuron; 0 disables the tests. Stages of one fold cannot be tested.
        min_effect: corrected Hellinger distance that a change must exceed to be significant.
        family: over which tests the false discovery rate is controlled: the neurons of one comparison of a layer
            (`step`), or those of all comparisons of the report together (`all`).
        title: plain text.
        comparisons: of these stages, instead of those of every two consecutive stages, layer by layer; the arguments
            from `layer` to `family` have no effect then. If the stages are two models on two texts, by default the
            models are compared on each text and the texts in each model, see `Decomposition`; with a family of `all`,
            consecutive stages are.
        sections: the story, in order; one section per comparison by default.

    Returns:
        The path.

    Raises:
        StageError: a folder that is not a stage.
        UsageError: nothing to compare, two stages of one name, or a path that does not end in .html.
        UnknownNameError: no such layer, feature type, weight or family, or a comparison of a stage that is not given.
        ShapeError: stages that cannot be compared, or comparisons of different feature types.
        OutputError: the file cannot be written.

    Example:
        ```python
        txray.report("stages", "report.html", permutations=1_000)
        ```
    """
    require_family(family)
    target, stages = checked_report_path(path), as_stages(stages)
    first: list[Section] = []
    if comparisons is None:
        options: dict[str, Any] = {"feature_type": feature_type, "weight": weight}
        tests: dict[str, Any] = {
            "permutations": permutations,
            "min_effect": min_effect,
            "fdr": fdr,
            "seed": seed,
        }
        square = _square(stages, layer, feature_type) if permutations and family == "step" else None
        if square is not None:
            effects = Decomposition.of(square, layers=layer, **tests, **options)
            comparisons = [pair for margins in effects.comparisons.values() for pair in margins.values()]
            first = [decomposition_section(effects, name) for name in effects.layers]
        else:
            comparisons = _consecutive(stages, layer, tests, options, family)
    pairs = _checked(stages, comparisons)
    styles = stage_styles([stage.name for stage in stages])
    story = list(sections) or first + [comparison_section(pair, stages, styles=styles) for pair in pairs]
    story.append(overview_section(stages, pairs, styles))
    page = _page(title, stages, pairs, story, styles)
    # An unpaired surrogate in a title or a text has no UTF-8 and would stop the whole report.
    write_text(target, page.encode("utf-8", "replace").decode("utf-8"))
    return target


def checked_report_path(path: Path | str) -> Path:
    """Return the path of a report; `UsageError` if it does not end in .html or .htm."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"report: {target} does not end in .html; a report is an HTML file")
    return target


def _square(
    stages: Sequence[Stage], layer: str | Sequence[str] | None, feature_type: str
) -> Sequence[Stage] | None:
    """Return the stages if they are two models on two texts, which can be tested; see `square_of`."""
    square = square_of(stages)
    if square is None:
        return None
    common = [name for name in square[0].layers if all(name in stage.layers for stage in square)]
    names = common if layer is None else matching_names(layer, common, "layer of all stages")
    sides = [stage.preferences(layer=name, feature_type=feature_type) for stage in square for name in names]
    shapes = {name: {stage.n_neurons[name] for stage in square} for name in names}
    testable = len({side.folds for side in sides}) == 1 and sides[0].folds > 1
    return square if testable and all(len(sizes) == 1 for sizes in shapes.values()) else None


def _consecutive(
    stages: Sequence[Stage],
    layer: str | Sequence[str] | None,
    tests: Mapping[str, Any],
    options: Mapping[str, Any],
    family: Family,
) -> list[Comparison]:
    """Compare every two consecutive stages, layer by layer; stages of one fold are not tested."""
    pairs = [
        (before, after, name)
        for before, after in pairwise(stages)
        for name in before.layers
        if name in after.layers
    ]
    if layer is not None:
        shared = list(dict.fromkeys(name for *_, name in pairs))
        names = matching_names(layer, shared, "layer of two stages")
        pairs = [pair for pair in pairs if pair[2] in names]
    together = family == "all" and tests["permutations"] > 0

    def compared(before: Stage, after: Stage, name: str) -> tuple[Comparison, bool]:
        """Return a comparison, tested unless it is to be tested together with others, and whether it can be tested."""
        folds = {
            stage.preferences(layer=name, feature_type=options["feature_type"]).folds
            for stage in (before, after)
        }
        testable = len(folds) == 1 and folds != {1}
        settings = tests if testable and not together else {"permutations": 0}
        return compare(before, after, layer=name, **settings, **options), testable

    comparisons = []
    with progress("comparing stages", len(pairs), unit="comparisons") as advance:
        for pair in pairs:
            comparisons.append(compared(*pair))
            advance()
    if not together:
        return [comparison for comparison, _ in comparisons]
    chosen = [comparison for comparison, testable in comparisons if testable]
    results = iter(tested_in_one_family(chosen, len(chosen), SignificanceSettings(**tests)))
    return [next(results) if testable else comparison for comparison, testable in comparisons]


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
        raise ShapeError(
            f"report: comparisons of the feature types {feature_types}; give comparisons of one feature type"
        )
    return comparisons


def _page(
    title: str,
    stages: Sequence[Stage],
    comparisons: Sequence[Comparison],
    sections: Sequence[Section],
    styles: Mapping[str, StageStyle],
) -> str:
    from plotly.offline import get_plotlyjs

    plotly, code = get_plotlyjs(), script()
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
        policy=policy(plotly, code),
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
        script=code,
    )
