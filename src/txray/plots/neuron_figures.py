"""Single neurons over stages: one in detail, or the most and the least changed ones side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl

from txray.analysis.distances import hellinger
from txray.analysis.rules import changed_least_first, changed_most_first, is_significant
from txray.analysis.shown_distance import CORRECTED, PLAIN, corrected_words
from txray.analysis.states import NOT_SIGNIFICANT, ONLY_TEXT, test_label
from txray.errors import UsageError
from txray.plots import theme
from txray.plots.frame import add_frame, caption, caption_of, empty_figure
from txray.plots.neuron_data import Neuron, PanelCapacity, check_aligned
from txray.plots.neuron_panel import draw_neuron
from txray.plots.panels import Panel, tiled
from txray.plots.subjects import checked_subjects
from txray.plots.text import count, escape, escape_word, join_words, plural, sanitize
from txray.plots.theme import StageStyle, styles_for

if TYPE_CHECKING:
    from txray.analysis.comparison import Comparison
    from txray.preferences.preferences import Preferences, Weight

_DETAIL = PanelCapacity(tags=10, strongest=20, per_tag=5)
_SMALL = PanelCapacity(tags=6, strongest=6, per_tag=2)
_TOKENS_HEIGHT, _BARS_HEIGHT, _BETWEEN = 286, 120, 14
_SMALL_TOKENS, _SMALL_BARS, _SMALL_BETWEEN, _SMALL_HEAD = 96, 50, 8, 42
_SMALL_ACROSS, _SMALL_DOWN = 66, 42
_MAX_STAGES = 6
_INTERVALS = "; distances are corrected Hellinger distances with 95% intervals"
_SUBTITLE = (
    "Bars: probability of each POS tag, most of the activation mass to the left. "
    "Markers: tokens above their usual tag, the most probable at the top"
)


@checked_subjects
def neuron_detail(
    tokens: Sequence[Preferences],
    neuron: int,
    *,
    pos: Sequence[Preferences],
    token_tags: Mapping[str, str],
    weight: Weight = "mean",
    styles: Mapping[str, StageStyle] | None = None,
) -> go.Figure:
    """Draw one neuron over stages: POS probability as bars, its tokens as labelled markers over their tag.

    Labels never overlap: the most probable tokens are labelled first; hover texts name the others.

    Args:
        tokens: preferences of feature type `token`, one per stage, in order.
        neuron: its index.
        pos: preferences of feature type `pos` of the same stages, in the same order.
        token_tags: token -> the tag it carries most often (`txray.preferences.token_tags`).
        weight: what the distributions normalise; the paper: `mean`.
        styles: of all stages of a report (`stage_styles`).

    Raises:
        UsageError: no stage, too many stages, or no such neuron.
        ShapeError: `tokens` and `pos` do not hold the same stages.
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (figures of single neurons).
    """
    if not 1 <= len(tokens) <= _MAX_STAGES:
        raise UsageError(f"neuron detail: {len(tokens)} stages; give 1 to {_MAX_STAGES}")
    check_aligned(tokens, pos)
    for p in tokens:
        if not 0 <= neuron < p.n_neurons:
            raise UsageError(
                f"stage {p.stage!r}: layer {p.layer!r} has no neuron {neuron}; there are 0 to {p.n_neurons - 1}"
            )
    if len({p.stage for p in tokens}) < len(tokens):
        raise UsageError(f"neuron detail: stages {[p.stage for p in tokens]}; give each stage once")
    styles = styles_for([p.stage for p in tokens], styles)
    drawn = Neuron.of(neuron, tokens, pos, token_tags, weight)
    plot_height = _TOKENS_HEIGHT + _BETWEEN + _BARS_HEIGHT
    figure = go.Figure()
    draw_neuron(
        figure,
        drawn,
        above=Panel(0, 0, theme.PLOT_WIDTH, _TOKENS_HEIGHT),
        below=Panel(0, _TOKENS_HEIGHT + _BETWEEN, theme.PLOT_WIDTH, _BARS_HEIGHT),
        plot_height=plot_height,
        axis=1,
        room=_DETAIL,
        styles=styles,
        legend={
            stage: f"{escape_word(stage)} ({escape(plural(len(side), 'token') if len(side) else 'not in use')})"
            for stage, side in zip(drawn.stages, drawn.tokens, strict=True)
        },
    )
    if not any(len(side) for side in drawn.tokens):
        figure = empty_figure(
            go.Figure(),
            f"Neuron {neuron} is not in use in {join_words(drawn.stages)}: it never won a word.",
        )
    return add_frame(
        figure,
        title=_detail_finding(drawn, tokens, weight),
        subtitle=_SUBTITLE,
        caption=caption(*tokens, note=f"weight {weight} · neuron {neuron}, with POS tags"),
        plot_height=plot_height,
    )


@checked_subjects
def most_changed_neurons(
    comparison: Comparison,
    *,
    pos: Comparison,
    token_tags: Mapping[str, str],
    k: int = 10,
    min_wins: int = 100,
    styles: Mapping[str, StageStyle] | None = None,
) -> go.Figure:
    """Draw the k neurons in use in both stages that changed most, each as in `neuron_detail`.

    If the comparison is tested (`Comparison.test`), significant neurons come first, ranked by z-score;
    otherwise neurons are ranked by Hellinger distance. Neurons that won only a few words in either
    stage have large distances by chance; `min_wins` excludes them, and the caption says so.

    Args:
        comparison: of two stages, feature type `token`; its distances rank the neurons.
        pos: of the same stages, feature type `pos`.
        token_tags: token -> the tag it carries most often (`txray.preferences.token_tags`).
        k: neurons drawn.
        min_wins: words that a neuron must have won in each of the two stages.
        styles: of all stages of a report (`stage_styles`).

    Raises:
        UsageError: `k` not from 1 to 20.
        ShapeError: the comparisons are not of the same stages.
        UnknownNameError: `styles` lacks a stage.

    Source:
        Rethmeier et al. 2020, section 3 (top Hellinger neurons).
    """
    return _ranked(comparison, pos, token_tags, k, min_wins, styles, most=True)


@checked_subjects
def least_changed_neurons(
    comparison: Comparison,
    *,
    pos: Comparison,
    token_tags: Mapping[str, str],
    k: int = 10,
    min_wins: int = 100,
    styles: Mapping[str, StageStyle] | None = None,
) -> go.Figure:
    """Draw the k neurons in use in both stages that changed least; arguments and errors as `most_changed_neurons`.

    Source:
        Rethmeier et al. 2020, section 3 (least Hellinger neurons).
    """
    return _ranked(comparison, pos, token_tags, k, min_wins, styles, most=False)


def _ranked(
    comparison: Comparison,
    pos: Comparison,
    token_tags: Mapping[str, str],
    k: int,
    min_wins: int,
    styles: Mapping[str, StageStyle] | None,
    *,
    most: bool,
) -> go.Figure:
    if not 1 <= k <= 20:
        raise UsageError(f"changed neurons: k={k}; draw 1 to 20")
    tokens, tags = (comparison.before, comparison.after), (pos.before, pos.after)
    check_aligned(tokens, tags)
    styles = styles_for([p.stage for p in tokens], styles)
    shared = comparison.neurons.filter(pl.col("state") == "shared")
    frequent = shared.filter(pl.min_horizontal("wins_before", "wins_after") >= min_wins)
    order = changed_most_first if most else changed_least_first
    ranked = frequent[order(frequent, comparison.fdr)].head(k)
    if comparison.fdr is not None:
        ranked = ranked.with_columns(significant=is_significant(comparison.fdr))
    heights = _SMALL_HEAD + _SMALL_TOKENS + _SMALL_BETWEEN + _SMALL_BARS
    panels = tiled(max(len(ranked), 1), 2, height=heights, gap_across=_SMALL_ACROSS, gap_down=_SMALL_DOWN)
    plot_height = round(max(panel.top + panel.height for panel in panels))
    figure = go.Figure()
    for number, (row, panel) in enumerate(zip(ranked.iter_rows(named=True), panels, strict=False)):
        above = Panel(panel.left, panel.top + _SMALL_HEAD, panel.width, _SMALL_TOKENS)
        draw_neuron(
            figure,
            Neuron.of(row["neuron"], tokens, tags, token_tags, comparison.weight),
            above=above,
            below=Panel(panel.left, above.top + _SMALL_TOKENS + _SMALL_BETWEEN, panel.width, _SMALL_BARS),
            plot_height=plot_height,
            axis=2 * number + 1,
            room=_SMALL,
            styles=styles,
            legend={p.stage: escape_word(p.stage) for p in tokens} if number == 0 else None,
        )
        across, over = panel.domains(plot_height)
        figure.add_annotation(
            text=_head(comparison, row),
            x=across[0],
            y=over[1],
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="top",
            align="left",
            showarrow=False,
        )
    extreme = "most" if most else "least"
    verb, weights = ("differ", f" ({ONLY_TEXT})") if comparison.only_text else ("changed", "")
    if len(ranked) == 0:
        empty_figure(
            figure,
            f"None of the {count(len(shared))} neurons in use in both stages won at least {count(min_wins)} words "
            "in each."
            if len(shared)
            else "No neuron is in use in both stages, so none can be compared.",
        )
        title = f"No neuron to show: {extreme} changed from {sanitize(tokens[0].stage)} to {sanitize(tokens[1].stage)}"
    else:
        title = (
            f"The {plural(len(ranked), 'neuron')} that {verb} {extreme} from {sanitize(tokens[0].stage)} to "
            f"{sanitize(tokens[1].stage)}{weights}: {_range(comparison, ranked)}"
        )
    overlap = (
        "; these are so few that the most and the least changed overlap" if 0 < len(frequent) < 2 * k else ""
    )
    return add_frame(
        figure,
        title=title,
        subtitle=_SUBTITLE + (_INTERVALS if comparison.tested else ""),
        caption=caption_of(
            comparison,
            f"{count(len(frequent))} of {plural(len(shared), 'neuron')} in use in both stages won at least "
            f"{count(min_wins)} words in each; ranked among these{overlap}",
        ),
        plot_height=plot_height,
    )


def _head(comparison: Comparison, row: Mapping[str, Any]) -> str:
    """Return the heading of a neuron, escaped: its number and lengths, and below these how far it moved."""
    name = (
        f"<b>neuron {row['neuron']}</b>   "
        f"{count(row['length_before'])} → {plural(row['length_after'], 'token')}"
    )
    if not comparison.tested or row["q_value"] is None:
        return f"{name}<br>{PLAIN.name} {row['hellinger']:.2f}"
    head = f"{name}<br>distance {corrected_words(row)}"
    if row["significant"]:
        return head
    return f'<span style="color:{theme.FAINT}">{head}, {NOT_SIGNIFICANT}</span>'


def _range(comparison: Comparison, ranked: pl.DataFrame) -> str:
    """Return how far the drawn neurons moved, in words."""
    if comparison.fdr is None:
        distances = ranked["hellinger"].to_numpy()
        return f"{PLAIN.name} {distances.min():.2f} to {distances.max():.2f} (observed, not tested)"
    significant = int(ranked["significant"].sum())
    label = test_label(comparison.fdr, text_matched=comparison.text_matched)
    verdict = f"{count(significant) if significant else 'none'} of them significant ({label})"
    known = ranked["hellinger_corrected"].drop_nulls().to_numpy()
    if not len(known):
        return f"{verdict}; {CORRECTED} not known"
    return f"{CORRECTED} {known.min():.2f} to {known.max():.2f}, {verdict}"


def _detail_finding(neuron: Neuron, tokens: Sequence[Preferences], weight: Weight) -> str:
    if not any(len(side) for side in neuron.tokens):
        return f"Neuron {neuron.index} is not in use"
    lengths = [
        f"{plural(len(side), 'token') if len(side) else 'nothing'} in {sanitize(stage)}"
        for stage, side in zip(neuron.stages, neuron.tokens, strict=True)
    ]
    text = f"Neuron {neuron.index} prefers " + ", ".join(lengths)
    if len(tokens) > 1 and len(neuron.tokens[0]) and len(neuron.tokens[-1]):
        first, last = tokens[0].distributions(weight), tokens[-1].distributions(weight)
        distance = hellinger(first, last)[neuron.index]
        wins = [int(side.wins()[neuron.index]) for side in (tokens[0], tokens[-1])]
        text += (
            f"; {PLAIN.name} {distance:.2f} from {sanitize(neuron.stages[0])} to {sanitize(neuron.stages[-1])} "
            f"({count(wins[0])} and {plural(wins[1], 'win')}, not tested)"
        )
    return text
