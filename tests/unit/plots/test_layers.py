from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Page

from tests.builders.figures import caption_of, numbers_in, strings_in, title_of
from tests.unit.plots.rendering import boxes, draw
from txray.analysis import MEASURES, LayerSimilarity
from txray.analysis.layers.result import CHANCE_MEASURES, SIMILARITY_SCHEMA
from txray.errors import UnknownNameError
from txray.plots import layer_similarity
from txray.plots.theme import MARKS


def similarity(
    first: list[str],
    second: list[str],
    value: Callable[[int, int], float | None] = lambda i, j: (i + 2 * j) / 10,
    names: tuple[str, str] = ("A", "B"),
) -> LayerSimilarity:
    rows = [
        (one, other, *(value(i, j) for _ in MEASURES), *(0.1 for _ in CHANCE_MEASURES), 3, 4)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
    ]
    table = pl.DataFrame(rows, schema=SIMILARITY_SCHEMA, orient="row")
    return LayerSimilarity(
        *names, tuple(first), tuple(second), "wikitext/valid", 9_000, {"x": 1_000}, {}, {}, table
    )


def numbered(n: int, name: str = "encoder.layer.{}.output") -> list[str]:
    return [name.format(i) for i in range(n)]


def test_cells_are_the_measure_with_its_number() -> None:
    found = similarity(numbered(3), ["rnn", "embedding"])
    cells, texts = layer_similarity(found, "one_to_one").data
    np.testing.assert_allclose(cells.z, found.matrix("one_to_one"))
    assert (cells.zmin, cells.zmax) == (0, 1)
    at = {(x, y): text for x, y, text in zip(texts.x, texts.y, texts.text, strict=True)}
    assert at == {(j, i): f"{(i + 2 * j) / 10:.2f}" for i in range(3) for j in range(2)}
    assert "encoder.layer.2.output of A and embedding of B" in cells.hovertext[2][1]
    assert "constant: 3 and 4" in cells.hovertext[2][1]


def test_the_title_names_the_pair_that_is_most_alike() -> None:
    title = title_of(layer_similarity(similarity(numbered(3), ["rnn", "embedding"])))
    assert title.startswith(
        "CKA of layers of A and B: median 0.20 of 6 pairs, highest 0.40 (debiased 0.40) for"
    )
    assert title.endswith("encoder.layer.2.output of A and embedding of B")
    single = title_of(layer_similarity(similarity(["rnn"], ["rnn"], lambda i, j: 0.75), "cka_debiased"))
    assert single == "rnn of A and rnn of B have a debiased CKA of 0.75"


def test_of_a_model_with_itself_the_title_names_the_pair_that_is_least_alike() -> None:
    found = similarity(
        numbered(4), numbered(4), lambda i, j: 1 - abs(i - j) / 5, names=("A", "A")
    )  # fmt: skip
    title = title_of(layer_similarity(found))
    assert numbers_in(title)[:3] == [0.7, 6, 0.4]
    assert title.endswith("lowest 0.40 (debiased 0.40) for encoder.layer.0.output and encoder.layer.3.output")


def test_the_caption_accounts_for_the_words() -> None:
    told = caption_of(layer_similarity(similarity(numbered(3), ["rnn"]))).replace("<br>", " ")
    assert "text wikitext/valid · 9,000 words · 3 layers of A, 1 layer of B" in told
    assert "1,000 words skipped (10%)" in told


def test_what_names_have_in_common_is_said_once() -> None:
    figure = layer_similarity(similarity(numbered(3), ["rnn", "embedding"]))
    assert figure.layout.yaxis.ticktext == ("0", "1", "2")
    assert figure.layout.yaxis.title.text == "layer of A (encoder.layer.*.output)"
    assert figure.layout.xaxis.ticktext == ("rnn", "embedding")
    assert figure.layout.xaxis.title.text == "layer of B"
    nested = layer_similarity(similarity(["a.b", "a.b.c"], ["a", "a.b"]))
    assert nested.layout.yaxis.ticktext == ("b", "b.c")
    assert nested.layout.xaxis.ticktext == ("a", "a.b")


def test_pairs_without_a_value_are_shown_as_such() -> None:
    some = layer_similarity(similarity(numbered(2), ["rnn"], lambda i, j: None if i else 0.5))
    assert list(some.data[1].text) == ["0.50", "–"]
    assert "no value" in some.data[0].hovertext[1][0]
    none = layer_similarity(similarity(numbered(2), ["rnn"], lambda i, j: None))
    assert title_of(none).startswith("No CKA of the layers of A and B: 0 of 2 pairs have a value")
    assert any("There is no CKA to draw" in note.text for note in none.layout.annotations)


def test_numbers_are_written_only_where_they_fit() -> None:
    assert len(layer_similarity(similarity(numbered(96), numbered(96))).data) == 1
    assert len(layer_similarity(similarity(numbered(20), numbered(12))).data) == 2


def test_names_are_text_and_never_markup() -> None:
    nasty = ["<b>x</b>", "$y$", "%{z}" + "w" * 100]
    figure = layer_similarity(similarity(nasty, nasty, names=("<i>A</i>", "\u202eB")))
    content = figure.to_plotly_json()
    content["layout"].pop("template")
    for string in strings_in(content):
        rest = string.replace("<b>", "").replace("</b>", "").replace("<br>", "")
        assert "<i>" not in rest
        assert "\u202e" not in rest
        assert "$" not in rest
        assert "<b>x" not in string
    for trace in figure.data:
        assert getattr(trace, "texttemplate", None) is None
        assert getattr(trace, "hovertemplate", None) is None


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cka'"):
        layer_similarity(similarity(["rnn"], ["rnn"]), "ckaa")
    with pytest.raises(UnknownNameError):
        layer_similarity(similarity(["rnn"], ["rnn"]), "constant_before")


LONG = "transformer.encoder.block_{}.with_a_very_long_name_of_a_layer.number_{}.{}"
NAMES = {
    "one": (["rnn"], ["rnn"]),
    "short": (numbered(6), numbered(6)),
    "28": (numbered(28), numbered(28)),
    "long": (
        [LONG.format(i, i, "ab"[i % 2]) for i in range(24)],
        [LONG.format(i, i, "ab"[i % 2]) for i in range(30)],
    ),
    "few and many": (numbered(2, "a.{}.b" + "c" * 60), numbered(96, "{}" + "d" * 60)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", ["cka", "best_match_before"])
def test_texts_neither_overlap_nor_leave_the_picture(name: str, column: str, page: Page) -> None:
    model = "A model with quite a long name, epoch 11"
    figure = layer_similarity(similarity(*NAMES[name], names=(model, model + "1")), column)
    draw(page, figure)
    kinds = {
        kind: boxes(page, selector)
        for kind, selector in {
            "title": ".gtitle",
            "x ticks": ".xtick text",
            "y ticks": ".ytick text",
            "axis titles": ".g-xtitle text, .g-ytitle text",
            "bar": ".colorbar text",
            "notes": ".annotation-text",
            "numbers": ".textpoint text",
        }.items()
    }
    assert all(kinds[kind] for kind in kinds if kind != "numbers")
    everything = [(kind, *box) for kind, boxes in kinds.items() for box in boxes]
    for kind, text, left, top, right, bottom in everything:
        inside = left >= 0 and top >= 0 and right <= figure.layout.width and bottom <= figure.layout.height
        assert inside, (kind, text)
    for one, other in itertools.combinations(everything, 2):
        apart = (
            min(one[4], other[4]) - max(one[2], other[2]) <= 0.5
            or min(one[5], other[5]) - max(one[3], other[3]) <= 0.5
        )
        assert apart, (one, other)
    assert len(json.dumps(figure.to_plotly_json(), default=list)) < 100 * MARKS
