from __future__ import annotations

import itertools

import plotly.graph_objects as go
import pytest

from txray.analysis import CONFIDENT_STATES
from txray.errors import UnknownNameError
from txray.plots import stage_styles, theme
from txray.plots.theme import STATE_COLORS, styles_for

GREY, VERMILLION, GREEN, BLUE = "#444444", "#D55E00", "#009E73", "#0072B2"


@pytest.mark.parametrize(
    ("names", "colors"),
    [
        (("untrained", "unsup", "zero-shot", "sup"), (GREY, VERMILLION, GREEN, BLUE)),
        (("epoch-01", "epoch-48"), (GREY, VERMILLION)),
        (("unsupervised", "supervised"), (VERMILLION, BLUE)),
        (("pretrained", "zero_shot", "fine-tuned"), (VERMILLION, GREEN, BLUE)),
        (("sup", "unsup"), (BLUE, VERMILLION)),
        (("epoch-00", "epoch-12", "unsup"), (GREY, None, VERMILLION)),
    ],
)
def test_roles_have_their_colours(names: tuple[str, ...], colors: tuple[str | None, ...]) -> None:
    styles = stage_styles(names)
    for name, color in zip(names, colors, strict=True):
        if color is not None:
            assert styles[name].color == color


def test_roles_have_their_markers() -> None:
    styles = stage_styles(["untrained", "unsup", "zero-shot", "sup"])
    assert [style.symbol for style in styles.values()] == ["square", "triangle-up", "circle", "triangle-down"]


def test_many_stages_all_look_different() -> None:
    names = [f"epoch-{n:02d}" for n in range(15)] + ["zero-shot", "sup"]
    styles = stage_styles(names)
    assert list(styles) == names
    assert len({(style.color, style.symbol) for style in styles.values()}) >= 15
    assert len({(style.color, style.symbol) for style in itertools.islice(styles.values(), 8)}) == 8
    assert styles["epoch-00"].color == GREY
    assert styles["epoch-14"].color == VERMILLION


def test_the_same_list_gives_the_same_styles() -> None:
    names = ["epoch-00", "a", "b", "unsup", "c"]
    assert stage_styles(names) == stage_styles(list(names))
    assert stage_styles([*names, "a"]) == stage_styles(names)


def test_styles_of_the_caller_are_used_and_must_be_complete() -> None:
    styles = stage_styles(["untrained", "epoch-01", "unsup"])
    assert styles_for(["epoch-01"], styles)["epoch-01"] == styles["epoch-01"]
    with pytest.raises(UnknownNameError, match="'sup'"):
        styles_for(["sup"], styles)


def test_every_state_has_a_colour_of_its_own() -> None:
    assert set(STATE_COLORS) == set(CONFIDENT_STATES)
    assert len(set(STATE_COLORS.values())) == 6


def test_a_role_is_given_once() -> None:
    styles = stage_styles(["zero-shot wiki", "zero-shot imdb", "sup", "fine-tuned"])
    assert styles["zero-shot wiki"].color == GREEN
    assert styles["sup"].color == BLUE
    assert len(set(styles.values())) == 4


def test_a_figure_is_darkened_in_a_copy_and_what_it_tells_is_left_alone() -> None:
    figure = go.Figure(
        go.Scatter(
            x=[1],
            y=[2],
            name="#222222",
            hovertext=["white"],
            marker={"color": [theme.INK, "#D55E00"]},
            textfont={"shadow": f"1px 1px 1px {theme.PAPER}"},
        )
    )
    figure.update_layout(
        template=theme.template(), title_text=f'<span style="color:{theme.MUTED}">white</span>'
    )
    dark = theme.darkened(figure)
    assert dark.data[0].marker.color == ("#ECEDED", "#D55E00")
    assert dark.data[0].textfont.shadow == "1px 1px 1px #1B1D20"
    assert (dark.data[0].name, list(dark.data[0].hovertext)) == ("#222222", ["white"])
    assert dark.layout.title.text == '<span style="color:#A2A6AD">white</span>'
    assert dark.layout.template.layout.paper_bgcolor == "#1B1D20"
    assert figure.layout.template.layout.paper_bgcolor == theme.PAPER
