from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from tests.builders.figures import Text, plain_words, rows_of, title_of
from txray.errors import ShapeError, UsageError
from txray.plots import pos_frequency
from txray.plots.text import escape_word
from txray.preferences import Preferences


def mass_shares(preferences: Preferences) -> dict[str, float]:
    mass: Counter[str] = Counter()
    for _, feature, _, total in rows_of(preferences):
        mass[feature] += total
    return {feature: value / sum(mass.values()) for feature, value in mass.items()}


def test_bars_are_the_corpus_and_markers_the_mass(text: Text) -> None:
    early, late = text.stage("epoch-01", seed=0)[1], text.stage("unsup", seed=1)[1]
    figure = pos_frequency(early, late)
    corpus = Counter(text.tags)
    ordered = [tag for tag, _ in corpus.most_common()]
    assert sorted(corpus.values(), reverse=True) == [corpus[tag] for tag in ordered]
    assert list(figure.layout.xaxis.ticktext) == [escape_word(tag) for tag in ordered]
    bars, *markers = figure.data
    np.testing.assert_allclose(bars.y, [100 * corpus[tag] / len(text.tags) for tag in ordered], rtol=1e-12)
    for trace, preferences in zip(markers, (early, late), strict=True):
        shares = mass_shares(preferences)
        np.testing.assert_allclose(trace.y, [100 * shares[tag] for tag in ordered], rtol=1e-12)


def test_the_title_tells_the_total_variation_distance(text: Text) -> None:
    early, late = text.stage("epoch-01", seed=0)[1], text.stage("unsup", seed=1)[1]
    corpus = Counter(text.tags)
    expected = []
    for preferences in (early, late):
        shares = mass_shares(preferences)
        expected.append(sum(abs(shares[tag] - corpus[tag] / len(text.tags)) for tag in corpus) / 2)
    told = re.findall(r"\d\.\d{3}", title_of(pos_frequency(early, late)))
    assert told[::2] == [f"{value:.3f}" for value in expected]
    # Winners and activations of this text are drawn at random: mass departs as far as it does by chance.
    rng = np.random.default_rng(0)
    counts = np.array(list(corpus.values())) / len(text.tags)
    dealt = []
    for _ in range(200):
        mass = np.bincount(
            rng.permutation(np.repeat(np.arange(len(counts)), list(corpus.values()))),
            rng.uniform(0.05, 1.0, len(text.tags)),
        )
        dealt.append(np.abs(mass / mass.sum() - counts).sum() / 2)
    assert [float(value) for value in told[1::2]] == pytest.approx([np.mean(dealt)] * 2, abs=0.001)


def test_rare_features_are_drawn_together_and_nothing_is_lost(text: Text) -> None:
    early, late = text.stage("a", seed=0)[0], text.stage("b", seed=1)[0]
    figure = pos_frequency(early, late, top=10)
    others = len(early.features) - 10
    assert figure.layout.xaxis.ticktext[-1] == f"{others} others"
    for trace in figure.data:
        assert len(trace.y) == 11
        assert sum(trace.y) == pytest.approx(100)


def test_two_corpora_have_two_rows_of_bars(text: Text) -> None:
    other = Text(plain_words(300), n_words=2000, seed=9)
    figure = pos_frequency(text.stage("unsup", seed=0)[1], other.stage("zero-shot", seed=0)[1])
    assert [trace.name for trace in figure.data if trace.type == "bar"] == [
        "share of the corpus of unsup",
        "share of the corpus of zero-shot",
    ]


def test_a_stage_without_mass_keeps_its_corpus(text: Text) -> None:
    dead = text.stage("dead", seed=0, silent=range(40))[1]
    figure = pos_frequency(dead, dead)
    assert sum(figure.data[0].y) == pytest.approx(100)
    assert "no mass" in title_of(figure)


def test_two_kinds_are_refused(text: Text) -> None:
    tokens, tags = text.stage("s", seed=0)
    with pytest.raises(ShapeError, match="feature type"):
        pos_frequency(tokens, tags)
    with pytest.raises(UsageError, match="top=0"):
        pos_frequency(tags, tags, top=0)
