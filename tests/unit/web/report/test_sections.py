"""Sections that a report builds by itself."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tests.builders.stages import stage_of, story, vocabulary
from txray.analysis import compare
from txray.errors import UsageError
from txray.plots import stage_styles
from txray.preferences import Stage
from txray.web.report import Picture, Section, comparison_section
from txray.web.report.sections import overview_section
from txray.web.report.story import section_html


def titles(section: Section) -> list[str]:
    return [picture.figure.layout.title.text for picture in section.figures]


def test_a_comparison_is_drawn_in_full() -> None:
    words = vocabulary(400)
    stages = [
        stage_of(name, words, n_words=8_000, silent=silent, seed=seed)
        for seed, (name, silent) in enumerate((("epoch-01", range(9)), ("epoch-48", range(4, 12))))
    ]
    comparison = compare(*stages, permutations=0)
    section = comparison_section(comparison, stages)
    told = titles(section)
    assert section.title == "epoch-01 → epoch-48"
    assert len(told) == 6
    for words in (
        "median Hellinger distance",
        "tokens in",
        "POS tags in",
        "changed most",
        "changed least",
        "gained",
    ):
        assert sum(words in title for title in told) >= 1, words
    assert [picture.comparison is comparison for picture in section.figures].count(True) == 1


def test_without_tags_only_tokens_are_drawn() -> None:
    words = vocabulary(50)
    stages = [
        Stage(stage.name, {("rnn", "token"): stage.preferences()}, stage.exemplars)
        for stage in (stage_of("a", words, seed=1), stage_of("b", words, seed=2))
    ]
    section = comparison_section(compare(*stages, permutations=0), stages)
    assert len(section.figures) == 3
    assert not any("POS" in title for title in titles(section))


def test_the_overview_compares_tags_on_the_same_text() -> None:
    words = vocabulary(50)
    first = stage_of("early", words, seed=1)
    late = stage_of("late", words, seed=1, silent=(0, 1))
    other = stage_of("elsewhere", words, seed=2)
    stages = [first, late, other]
    section = overview_section(
        stages,
        [compare(first, late, permutations=0), compare(late, other, permutations=0)],
        stage_styles([stage.name for stage in stages]),
    )
    (tags,) = [picture.figure for picture in section.figures if "POS tag" in picture.figure.layout.title.text]
    drawn = " ".join(trace.name for trace in tags.data)
    assert "late" in drawn
    assert "elsewhere" not in drawn


def test_every_layer_has_its_own_mass_figure() -> None:
    words = vocabulary(50)
    stages = [two_layers(name, words, seed) for seed, name in enumerate("ab")]
    pairs = [compare(*stages, layer=layer, permutations=0) for layer in ("one", "two")]
    section = overview_section(stages, pairs, stage_styles(list("ab")))
    captions = [
        annotation.text
        for picture in section.figures
        for annotation in picture.figure.layout.annotations
        if "layer" in annotation.text
    ]
    assert sum("layer one " in text for text in captions) == 2
    assert sum("layer two " in text for text in captions) == 2


def two_layers(name: str, words: list[str], seed: int) -> Stage:
    one, two = (stage_of(name, words, layer=layer, seed=seed) for layer in ("one", "two"))
    return Stage(name, {**one.collected, **two.collected}, one.exemplars.vstack(two.exemplars))


def test_a_section_needs_a_title() -> None:
    with pytest.raises(UsageError, match="navigation"):
        Section("  ", "text")


def test_title_and_subtitle_of_a_figure_become_its_heading() -> None:
    stages = story()[:2]
    comparison = compare(*stages, permutations=0)
    figures: list[go.Figure] = []
    html = section_html(3, comparison_section(comparison, stages), [comparison], figures)
    assert len(figures) == html.count("<figure ") == 6
    assert "<b>" not in html
    assert "&lt;b&gt;" not in html
    assert "&lt;span" not in html
    assert "<small>Each mark is a neuron" in html
    # Every figure keeps room for its legend once its title is gone.
    for figure, piece in zip(figures, html.split("data-heading=")[1:], strict=True):
        heading = int(piece.split('"')[1])
        assert 0 < heading <= figure.layout.margin.t
        assert f"height:{figure.layout.height - heading}px" in piece


def test_a_users_own_figure_keeps_its_title() -> None:
    figure = go.Figure(go.Bar(x=["a"], y=[1]), layout={"title": {"text": "Mine & <i>yours</i>"}})
    html = section_html(0, Section("S", "", [Picture(figure, "A < B")]), [], [])
    assert "Mine &amp; yours" in html
    assert 'data-heading="0"' in html
    assert "A &lt; B" in html


def test_blank_lines_part_paragraphs_and_text_is_escaped() -> None:
    html = section_html(0, Section("<S>", "one\ntwo\n\n \n<script>three</script>"), [], [])
    assert html.count('<p class="text">') == 2
    assert "<script>" not in html
    assert "&lt;S&gt;" in html


def test_pictures_of_comparisons_that_the_report_does_not_hold_cannot_be_clicked() -> None:
    words = vocabulary(50)
    stages = [stage_of("a", words, seed=1), stage_of("b", words, seed=2)]
    shown, other = compare(*stages, permutations=0), compare(*stages, permutations=0)
    section = Section("S", "", [Picture(go.Figure(), "", shown), Picture(go.Figure(), "", other)])
    html = section_html(0, section, [other], [])
    assert html.count("data-pair=") == 1
    assert np.array_equal(shown.neurons["neuron"], other.neurons["neuron"])
