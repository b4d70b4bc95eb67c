from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.builders.preferences import Events, frozen, tally_of
from txray.analysis import mass_divergence, mass_match
from txray.errors import UnknownNameError, UsageError
from txray.preferences import Stage
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.tags import tag_table

TAGS = ("DT", "NN", "VB", "JJ")


def stage(seed: int = 0, *, follows: str = "nothing", words: int = 4000) -> Stage:
    """A stage of 200 word types; activation follows the `tag`, the `word`, or `nothing`."""
    rng = np.random.default_rng(seed)
    kinds = 200
    share = 1 / (1 + np.arange(kinds))
    drawn = rng.choice(kinds, words, p=share / share.sum())
    tag_of = np.array(TAGS)[rng.integers(0, len(TAGS), kinds)]
    of_word = 0.2 + rng.random(kinds)
    of_tag = dict(zip(TAGS, (0.2, 0.5, 1.0, 2.0), strict=True))
    tokens: Events = []
    pos: Events = []
    for word in drawn.tolist():
        value = {"nothing": 1.0, "word": of_word[word], "tag": of_tag[tag_of[word]]}[follows]
        value *= float(np.exp(0.3 * rng.normal()))
        fold, neuron = int(rng.integers(4)), int(rng.integers(12))
        tokens.append((fold, neuron, f"w{word}", value))
        pos.append((fold, neuron, str(tag_of[word]), value))
    return made_of(tokens, pos)


def made_of(tokens: Events, pos: Events) -> Stage:
    """A stage of these events, word by word."""
    sides = [frozen(tally_of(events), "s", kind) for events, kind in ((tokens, "token"), (pos, "pos"))]
    tags = tag_table(Counter((token[2], tag[2]) for token, tag in zip(tokens, pos, strict=True)))
    collected = {("rnn", side.feature_type): side for side in sides}
    return Stage("s", collected, pl.DataFrame(schema=EXEMPLAR_SCHEMA), {}, tags)


def test_divergence_is_the_total_variation() -> None:
    pos = stage(follows="tag").preferences(feature_type="pos")
    mass = dict(pos.table().group_by("feature").agg(pl.col("sum").sum()).iter_rows())
    counts = dict(zip(pos.features, pos.corpus_counts.sum(axis=0), strict=True))
    total, words = sum(mass.values()), sum(counts.values())
    by_hand = sum(abs(mass.get(tag, 0) / total - count / words) for tag, count in counts.items()) / 2
    assert mass_divergence(pos) == pytest.approx(by_hand, abs=1e-12)
    assert mass_match(stage(follows="tag")).divergence == pytest.approx(mass_divergence(pos), abs=1e-12)


def test_the_divergence_is_estimated_as_the_shuffled_ones_are() -> None:
    # Each word carries any tag, and activation follows the tag of the occurrence: seen word by word, hardly at all.
    rng = np.random.default_rng(0)
    strength = dict(zip(TAGS, (0.2, 0.5, 1.0, 2.0), strict=True))
    tokens: Events = []
    pos: Events = []
    for _ in range(3000):
        tag = str(rng.choice(TAGS))
        tokens.append((0, 0, f"w{rng.integers(30)}", strength[tag]))
        pos.append((0, 0, tag, strength[tag]))
    found = mass_match(made_of(tokens, pos), draws=99)
    as_close = (found.shuffled <= found.divergence).sum()
    assert found.p_value == (1 + as_close) / 100
    assert found.divergence < 0.05 < mass_divergence(made_of(tokens, pos).preferences(feature_type="pos"))


def test_mass_that_follows_the_tags_departs_more_than_shuffled_ones() -> None:
    found = mass_match(stage(follows="tag"), draws=99)
    assert found.divergence > found.shuffled.max() > found.noise
    assert found.p_value == 1.0


def test_mass_that_follows_words_departs_as_shuffled_tags_do() -> None:
    p_values = [mass_match(stage(seed, follows="word", words=1000), draws=39).p_value for seed in range(40)]
    # Neither always closer nor always farther.
    assert 0.3 < np.mean(p_values) < 0.7


def test_mass_that_follows_tags_alone_is_closer_than_every_shuffle() -> None:
    # Each tag has weak and strong words, as many of each: its mass is just what its frequency says.
    words = [(f"w{i}", TAGS[i // 10], 0.5 + i % 2) for i in range(40)]
    tokens: Events = [(0, 0, word, value) for word, _, value in words for _ in range(5)]
    pos: Events = [(0, 0, tag, value) for _, tag, value in words for _ in range(5)]
    found = mass_match(made_of(tokens, pos), draws=19)
    assert found.divergence == pytest.approx(0, abs=1e-12)
    assert (found.shuffled > 0).all()
    assert found.p_value == 1 / 20


def test_noise_is_the_mean_over_tags_dealt_out_at_random() -> None:
    made = stage(follows="word")
    pos = made.preferences(feature_type="pos")
    rng = np.random.default_rng(1)
    values = 0.2 + rng.random(4000)
    tags = np.repeat(np.arange(4), pos.feature_counts())
    count = pos.feature_counts() / 4000
    simulated = []
    for _ in range(400):
        mass = np.bincount(rng.permutation(tags), values, 4)
        simulated.append(np.abs(mass / mass.sum() - count).sum() / 2)
    events: Events = [
        (int(rng.integers(4)), 0, TAGS[tag], value) for tag, value in zip(tags, values, strict=True)
    ]
    dealt = frozen(tally_of(events), "s", "pos")
    found = mass_match(replace(made, collected={**made.collected, ("rnn", "pos"): dealt}), draws=1)
    assert found.noise == pytest.approx(np.mean(simulated), rel=0.05)


def test_the_same_seed_gives_the_same_draws() -> None:
    made = stage(follows="word")
    first, again, other = (mass_match(made, draws=9, seed=seed).shuffled for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_cannot_be_told_is_refused() -> None:
    made = stage()
    with pytest.raises(UsageError, match="no tagged word"):
        mass_match(replace(made, tags=made.tags.clear()))
    with pytest.raises(UsageError, match="draws=0"):
        mass_match(made, draws=0)
    with pytest.raises(UnknownNameError, match="pos"):
        mass_match(replace(made, collected={("rnn", "token"): made.preferences()}))
