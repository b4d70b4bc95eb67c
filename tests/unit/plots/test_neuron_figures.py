from __future__ import annotations

import html
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest

from tests.builders.figures import Text, distribution, numbers_in, plain_words, rows_of, title_of
from txray.analysis import Comparison, compare
from txray.errors import ShapeError, UsageError
from txray.plots import least_changed_neurons, most_changed_neurons, neuron_detail
from txray.preferences import Preferences

Pair = tuple[Preferences, Preferences]


@pytest.fixture(scope="module")
def stages(text: Text) -> tuple[Pair, Pair]:
    return text.stage("unsup", seed=0, silent=[2]), text.stage("sup", seed=1, silent=[3])


@pytest.fixture(scope="module")
def pair(stages: tuple[Pair, Pair]) -> tuple[Comparison, Comparison]:
    (a, a_tags), (b, b_tags) = stages
    return compare(a, b, permutations=0), compare(a_tags, b_tags, permutations=0)


def detail(text: Text, stages: tuple[Pair, ...], neuron: int, **options: object) -> object:
    return neuron_detail(
        [tokens for tokens, _ in stages],
        neuron,
        pos=[tags for _, tags in stages],
        token_tags=text.tag_of,
        **options,  # type: ignore[arg-type]
    )


def test_bars_are_the_pos_distribution(text: Text, stages: tuple[Pair, Pair]) -> None:
    figure = detail(text, stages, 7)
    places = [html.unescape(tick) for tick in figure.layout.xaxis.ticktext]
    bars = [trace for trace in figure.data if trace.type == "bar"]
    for bar, (_, tags) in zip(bars, stages, strict=True):
        expected = distribution(tags, 7)
        assert set(places) == set(expected)
        np.testing.assert_allclose(bar.y, [expected[tag] for tag in places], rtol=1e-12)
        assert len({round(x - place, 9) for place, x in enumerate(bar.x)}) == 1
    assert bars[0].x[0] < 0 < bars[1].x[0]
    assert bars[1].x[0] - bars[0].x[0] >= bars[0].width


def test_tags_stand_by_falling_mass(text: Text, stages: tuple[Pair, Pair]) -> None:
    figure = detail(text, stages, 7)
    share: Counter[str] = Counter()
    for _, tags in stages:
        mass = {tag: total for neuron, tag, _, total in rows_of(tags) if neuron == 7}
        for tag, total in mass.items():
            share[tag] += total / sum(mass.values())
    assert [html.unescape(tick) for tick in figure.layout.xaxis.ticktext] == [
        tag for tag, _ in share.most_common()
    ]


def test_tokens_stand_over_their_tag_at_their_rank(text: Text, stages: tuple[Pair, Pair]) -> None:
    figure = detail(text, stages, 7)
    places = [html.unescape(tick) for tick in figure.layout.xaxis.ticktext]
    for number, (trace, (tokens, _)) in enumerate(
        zip((trace for trace in figure.data if trace.type == "scatter"), stages, strict=True)
    ):
        ranked = tokens.table(7)["feature"].to_list()
        labelled = [(x, y, text) for x, y, text in zip(trace.x, trace.y, trace.text, strict=True) if text]
        assert len(labelled) > 5
        for x, rank, token in labelled:
            assert ranked[rank - 1] == token
            assert places[round(x)] == text.tag_of[token]
            assert (x < round(x)) == (number == 0)
        assert set(range(1, 11)) <= set(trace.y)


def test_few_places_and_the_rest_together() -> None:
    tags = [f"T{i}" for i in range(30)]
    many = Text(plain_words(400), n_words=6000, n_neurons=2)
    many.tags = [tags[int(word.removeprefix("word")) % 30] for word in many.words]
    many.tag_of = dict(zip(many.words, many.tags, strict=True))
    stage = many.stage("s", seed=0)
    figure = detail(many, (stage,), 0)
    ticks = list(figure.layout.xaxis.ticktext)
    assert len(ticks) == 11
    others = int(re.match(r"\d+", ticks[-1])[0])
    expected = distribution(stage[1], 0)
    assert others == len(expected) - 10
    rest = [p for tag, p in expected.items() if tag not in ticks]
    (bar,) = (trace for trace in figure.data if trace.type == "bar")
    assert bar.y[-1] == pytest.approx(sum(rest) / len(rest))
    assert bar.y[:-1].sum() + sum(rest) == pytest.approx(1)


def test_a_token_without_a_known_tag_has_a_place_of_its_own(text: Text, stages: tuple[Pair, Pair]) -> None:
    tokens, tags = stages[0]
    figure = neuron_detail([tokens], 7, pos=[tags], token_tags={})
    assert figure.layout.xaxis.ticktext[-1] == "other<br>tag"
    (marks,) = (trace for trace in figure.data if trace.type == "scatter")
    assert set(marks.x) == {len(figure.layout.xaxis.ticktext) - 1}


def test_the_title_tells_lengths_and_distance(text: Text, stages: tuple[Pair, Pair]) -> None:
    p, q = (distribution(tokens, 7) for tokens, _ in stages)
    bhattacharyya = sum((p[f] * q[f]) ** 0.5 for f in set(p) & set(q))
    expected = (1 - bhattacharyya) ** 0.5
    wins = [int(tokens.table(7)["count"].sum()) for tokens, _ in stages]
    assert numbers_in(title_of(detail(text, stages, 7))) == [
        7,
        len(p),
        len(q),
        pytest.approx(expected, abs=0.005),
        *wins,
    ]


def test_an_unpreferred_stage_and_an_unpreferred_neuron(text: Text, stages: tuple[Pair, Pair]) -> None:
    figure = detail(text, stages, 2)
    assert "nothing in unsup" in title_of(figure)
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert names[0] == "unsup (not in use)"
    assert len(names) == 2
    alone = detail(text, stages[:1], 2)
    assert title_of(alone) == "Neuron 2 is not in use"
    assert any("never won a word" in note.text for note in alone.layout.annotations)


def test_weight_mass_draws_other_bars(text: Text, stages: tuple[Pair, Pair]) -> None:
    figure = detail(text, stages[:1], 7, weight="mass")
    bar = next(trace for trace in figure.data if trace.type == "bar")
    assert list(bar.y) == sorted(bar.y, reverse=True)
    assert bar.y.sum() == pytest.approx(1)


def test_wrong_requests(text: Text, stages: tuple[Pair, Pair]) -> None:
    (a, a_tags), (b, b_tags) = stages
    with pytest.raises(UsageError, match="no neuron 40; there are 0 to 39"):
        neuron_detail([a], 40, pos=[a_tags], token_tags={})
    with pytest.raises(ShapeError, match="same order"):
        neuron_detail([a, b], 0, pos=[b_tags, a_tags], token_tags={})
    with pytest.raises(UsageError, match="0 stages"):
        neuron_detail([], 0, pos=[], token_tags={})
    with pytest.raises(UsageError, match="once"):
        neuron_detail([a, a], 0, pos=[a_tags, a_tags], token_tags={})


@pytest.mark.parametrize(("draw", "most"), [(most_changed_neurons, True), (least_changed_neurons, False)])
def test_ranked_neurons(text: Text, pair: tuple[Comparison, Comparison], draw: object, most: bool) -> None:
    tokens, tags = pair
    wins = tokens.neurons.filter(pl.col("state") == "shared").select("wins_before", "wins_after").rows()
    enough = sorted(min(pair) for pair in wins)[len(wins) // 2]
    assert sum(max(pair) >= enough for pair in wins) > sum(min(pair) >= enough for pair in wins)
    figure = draw(tokens, pos=tags, token_tags=text.tag_of, k=4, min_wins=enough)
    able = [
        (row["hellinger"], row["neuron"])
        for row in tokens.neurons.iter_rows(named=True)
        if row["state"] == "shared" and min(row["wins_before"], row["wins_after"]) >= enough
    ]
    assert len(able) > 8
    expected = sorted(able, reverse=most)[:4]
    heads = [
        note.text for note in figure.layout.annotations if "neuron" in note.text and "distance" in note.text
    ]
    assert [int(re.search(r"neuron (\d+)", head)[1]) for head in heads] == [neuron for _, neuron in expected]
    low, high = min(expected)[0], max(expected)[0]
    assert numbers_in(title_of(figure))[:3] == [4, round(low, 2), round(high, 2)]
    assert len([trace for trace in figure.data if trace.type == "bar"]) == 8
    assert [trace.name for trace in figure.data if trace.showlegend] == ["unsup", "sup"]


def test_neurons_of_few_wins_are_left_out_and_that_is_said(
    text: Text, pair: tuple[Comparison, Comparison]
) -> None:
    figure = most_changed_neurons(pair[0], pos=pair[1], token_tags=text.tag_of, min_wins=10**6)
    assert any("won at least 1,000,000 words" in note.text for note in figure.layout.annotations)
    assert len(figure.data) == 0
    with pytest.raises(UsageError, match="k=0"):
        most_changed_neurons(pair[0], pos=pair[1], token_tags={}, k=0)
