from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from tests.builders.preferences import Events, frozen, preferences_of, random_events, tally_of
from txray.errors import UsageError
from txray.preferences import Preferences
from txray.preferences.names import NO_STABLE_PREFERENCE, RANDOM_NAMES, TOO_FEW_WINS, _alike, name_scores

FOLDS, NEURONS, WORDS = 16, 20, 60


def text(n: int, seed: int, *, preferring: int = 0, strength: float = 0.0) -> Events:
    """Words of a Zipf-like text; the first neurons win their own three words more often, the others by chance."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(2, WORDS + 2)
    word = rng.choice(WORDS, n, p=share / share.sum())
    neuron = rng.integers(0, NEURONS, n)
    owner = word // 3
    owned = (owner < preferring) & (rng.random(n) < strength)
    neuron[owned] = owner[owned]
    fold = rng.integers(0, FOLDS, n)
    return [
        (f, i, f"w{w:02}", float(np.float32(a)))
        for f, i, w, a in zip(
            fold.tolist(), neuron.tolist(), word.tolist(), (rng.random(n) + 0.5).tolist(), strict=True
        )
    ]


def preferences(events: Events) -> Preferences:
    return preferences_of(events, n_neurons=NEURONS, folds=FOLDS)


def test_scores_are_those_of_sklearn_on_single_words() -> None:
    events = text(3_000, 0, preferring=4, strength=0.5)
    scores = name_scores(preferences(events), words=2)
    naming, scored = ([event for event in events if event[0] % 2 == odd] for odd in (0, 1))
    table = preferences(naming).table()
    for neuron in (0, 1, 3, 7):
        lifts = table.filter(neuron=neuron).sort(["lift", "feature"], descending=[True, False])
        name = lifts.filter(lifts["lift"] > 1)["feature"].head(2).to_list()
        won, predicted = [event[1] == neuron for event in scored], [event[2] in name for event in scored]
        assert scores.auroc[neuron] == pytest.approx(roc_auc_score(won, predicted))
        assert scores.f1[neuron] == pytest.approx(f1_score(won, predicted))
        assert scores.precision[neuron] == pytest.approx(precision_score(won, predicted))
        assert scores.recall[neuron] == pytest.approx(recall_score(won, predicted))


def test_neurons_without_a_preference_have_a_stable_name_as_rarely_as_chance_allows() -> None:
    scores = [name_scores(preferences(text(3_000, seed))) for seed in range(40)]
    p_values = np.concatenate([score.p_value for score in scores])
    assert 0.02 <= (p_values <= 0.05).mean() <= 0.07
    assert 0.4 <= np.median(p_values) <= 0.65
    assert np.mean([score.auroc for score in scores]) == pytest.approx(0.5, abs=0.01)
    notes = [note for score in scores for note in score.notes]
    assert notes.count(NO_STABLE_PREFERENCE) >= 0.9 * len(notes)


def test_neurons_with_a_preference_are_named_and_the_others_are_not() -> None:
    named, unnamed = [], []
    for seed in range(5):
        scores = name_scores(preferences(text(4_000, seed, preferring=8, strength=0.4)))
        named += scores.stable[:8].tolist()
        unnamed += scores.stable[8:].tolist()
    assert np.mean(named) == 1
    assert np.mean(unnamed) <= 0.12


def test_random_words_are_about_as_frequent_as_those_of_the_name() -> None:
    rng = np.random.default_rng(0)
    counts = np.sort(rng.zipf(1.3, 3_000).clip(max=5_000))[::-1]
    order, rank, low, size = _alike(counts)
    assert np.array_equal(order[rank], np.arange(3_000))
    for feature in range(0, 3_000, 7):
        alike = order[low[feature] : low[feature] + size[feature]]
        assert feature in alike
        assert len(alike) >= 11
        ratio = counts[alike] / counts[feature]
        assert ((ratio > 1.5) | (ratio < 1 / 1.5)).sum() <= 20


def test_scores_do_not_depend_on_the_neurons_scored_together_or_the_order_of_the_text() -> None:
    events = text(2_000, 3, preferring=5, strength=0.3)
    of_text = preferences(events)
    whole = name_scores(of_text, seed=4)
    some = name_scores(of_text, [11, 2], seed=4)
    turned = name_scores(preferences(events[::-1]), seed=4)
    for name in ("auroc", "f1", "p_value", "random_auroc"):
        assert np.array_equal(getattr(whole, name)[[11, 2]], getattr(some, name))
        assert np.allclose(getattr(whole, name), getattr(turned, name))
    assert not np.array_equal(whole.random_auroc, name_scores(of_text, seed=5).random_auroc)


def test_a_neuron_that_prefers_one_of_a_few_tags_has_a_stable_name() -> None:
    rng = np.random.default_rng(0)
    tags = rng.integers(0, 9, 2_000)
    neuron = np.where(tags == 4, 0, rng.integers(1, NEURONS, 2_000))
    events = [
        (int(f), int(i), f"T{t}", 1.0)
        for f, i, t in zip(rng.integers(0, FOLDS, 2_000), neuron, tags, strict=True)
    ]
    table = preferences(events).names()
    assert table["name"][0].to_list() == ["T4"]
    assert table["p_value"][0] == pytest.approx(1 / (RANDOM_NAMES + 1))


def test_few_wins_are_not_called_a_lack_of_preference() -> None:
    events = text(3_000, 2)
    scores = name_scores(preferences([event for event in events if event[1] != 5 or event[0] == 0]))
    assert scores.wins[5] < 20
    assert scores.notes[5] == TOO_FEW_WINS


def test_what_cannot_be_scored_keeps_its_name() -> None:
    unused = preferences([event for event in text(500, 0) if event[1] != 3])
    table = unused.names()
    assert table["verdict"][3] is None
    assert table["auroc"][3] is None
    assert unused.name_scores.notes[3] == ""
    single = preferences_of([(0, 0, "a", 1.0)] * 30, folds=1)
    assert single.names()["verdict"].to_list() == [None] * 12
    assert set(single.name_scores.notes) == {""}
    empty = frozen(tally_of([]))
    assert empty.names()["name"].to_list() == [[]] * 12


def test_the_table_names_every_neuron_by_its_most_distinctive_features() -> None:
    of_text = preferences(text(4_000, 0, preferring=6, strength=0.6))
    table = of_text.names(words=3)
    assert table["neuron"].to_list() == list(range(NEURONS))
    for neuron in range(6):
        own = of_text.table(neuron).sort(["lift", "feature"], descending=[True, False])
        assert table["name"][neuron].to_list() == own["feature"].head(3).to_list()
        assert set(table["name"][neuron]) == {f"w{3 * neuron + i:02}" for i in range(3)}
        assert table["verdict"][neuron] == "stable"
    assert table["p_value"].min() == pytest.approx(1 / (RANDOM_NAMES + 1))
    assert (table["q_value"] >= table["p_value"]).all()


@pytest.mark.parametrize("wrong", [{"words": 0}, {"random_names": 0}, {"seed": -1}, {"words": 1.5}])
def test_numbers_that_are_not_positive_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        preferences(text(100, 0)).names(**wrong)


def test_the_activations_are_what_ranks_the_features() -> None:
    of_text = preferences_of(random_events(400))
    louder = replace(of_text, sum=of_text.sum * 3, sum_sq=of_text.sum_sq * 9, max=of_text.max * 3)
    assert louder.names().equals(of_text.names())
