from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.preferences import (
    Events,
    add,
    arrays,
    frozen,
    preferences_of,
    random_events,
    tally_of,
)
from txray.errors import ShapeError, UsageError
from txray.preferences import Tally

EVENT = st.tuples(
    st.integers(0, 3),
    st.integers(0, 11),
    st.sampled_from(["the", "a", "river", "<unk>", "", "é", "the "]),
    st.integers(1, 4000).map(lambda n: n / 128),
)
EVENTS = st.lists(EVENT, max_size=60)


def brute_force(events: Events) -> dict[tuple[int, int, str], tuple[int, float, float, float]]:
    grouped: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    for fold, neuron, feature, activation in events:
        grouped[fold, neuron, feature].append(activation)
    return {
        key: (len(values), sum(values), sum(value * value for value in values), max(values))
        for key, values in grouped.items()
    }


@given(EVENTS, st.integers(1, 9))
def test_tally_equals_counting_by_hand(events: Events, batch: int) -> None:
    preferences = frozen(tally_of(events, batch=batch))
    rows = {
        (fold, neuron, preferences.features[feature]): (count, total, total_sq, largest)
        for fold, neuron, feature, count, total, total_sq, largest in zip(
            preferences.fold.tolist(),
            preferences.neuron.tolist(),
            preferences.feature_id.tolist(),
            preferences.count.tolist(),
            preferences.sum.tolist(),
            preferences.sum_sq.tolist(),
            preferences.max.tolist(),
            strict=True,
        )
    }
    expected = brute_force(events)
    assert rows.keys() == expected.keys()
    for key, values in expected.items():
        assert rows[key] == pytest.approx(values, rel=1e-12)


@given(EVENTS, st.randoms())
def test_order_of_events_leaves_no_trace(events: Events, random: np.random.Generator) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)  # type: ignore[arg-type]
    same(frozen(tally_of(events)), frozen(tally_of(shuffled)))


@given(EVENTS, st.lists(st.integers(0, 60), max_size=4))
def test_merged_shards_equal_one_pass(events: Events, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    merged = Tally(12, 4)
    for start, end in pairwise(borders):
        merged.merge(tally_of(events[start:end]))
    same(frozen(merged), frozen(tally_of(events)))


def test_merge_leaves_the_other_tally_as_it_is() -> None:
    other = tally_of(random_events(50, seed=1))
    before = arrays(frozen(other))
    tally = tally_of(random_events(50, seed=2))
    tally.merge(other)
    add(tally, random_events(20, seed=3))
    for name, column in arrays(frozen(other)).items():
        np.testing.assert_array_equal(column, before[name])


def test_many_updates_are_sorted_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.preferences.row_buffer._PENDING_ROWS", 10)
    events = random_events(2_000, n_features=300)
    same(frozen(tally_of(events)), preferences_of(events))


def test_dense_update_equals_one_event_per_positive_activation() -> None:
    rng = np.random.default_rng(3)
    activations = rng.normal(size=(80, 12)).astype(np.float32)
    fold = rng.integers(0, 4, 80)
    words = [f"w{i}" for i in rng.zipf(1.5, 80) % 9]
    dense = Tally(12, 4)
    ids = dense.feature_ids(words)
    dense.count_occurrences(fold, ids)
    dense.update_dense(fold, ids, activations)
    events = [
        (int(fold[word]), int(neuron), words[word], float(activations[word, neuron]))
        for word, neuron in np.argwhere(activations > 0)
    ]
    by_hand = frozen(tally_of(events))
    result = frozen(dense)
    for name in ("fold", "neuron", "count", "max"):
        np.testing.assert_array_equal(getattr(result, name), getattr(by_hand, name))
    np.testing.assert_allclose(result.sum, by_hand.sum, rtol=1e-12)
    np.testing.assert_allclose(result.sum_sq, by_hand.sum_sq, rtol=1e-12)
    assert result.words == 80


def test_features_beyond_the_first_thousand_are_counted() -> None:
    tally = Tally(1, 2)
    for start in range(0, 5_000, 500):
        ids = tally.feature_ids([f"w{i}" for i in range(start, start + 500)])
        tally.count_occurrences(np.ones(500, np.int64), ids)
    preferences = frozen(tally)
    assert preferences.words == 5_000
    assert preferences.corpus_counts.sum(axis=1).tolist() == [0, 5_000]


def test_features_that_no_neuron_prefers_stay_in_the_corpus_counts() -> None:
    tally = Tally(2, 1)
    ids = tally.feature_ids(["seen", "won"])
    tally.count_occurrences(np.zeros(2, np.int64), ids)
    tally.update(np.zeros(1, np.int64), np.ones(1, np.int64), ids[1:], np.array([0.5]))
    preferences = frozen(tally)
    assert preferences.features.tolist() == ["seen", "won"]
    assert preferences.feature_counts().tolist() == [1, 1]
    assert preferences.feature_mass().tolist() == [0.0, 0.5]


@pytest.mark.parametrize("neuron", [-1, 12])
def test_neuron_beyond_the_layer_is_refused(neuron: int) -> None:
    with pytest.raises(ShapeError, match="12 neurons"):
        tally_of([(0, neuron, "w", 1.0)])


def test_tallies_of_other_sizes_do_not_merge() -> None:
    with pytest.raises(ShapeError, match="8 neurons and 4 folds"):
        Tally(12, 4).merge(Tally(8, 4))
    with pytest.raises(ShapeError, match="2 folds"):
        Tally(12, 4).merge(Tally(12, 2))
    with pytest.raises(ShapeError, match=r"\(3, 5\)"):
        Tally(12, 4).update_dense(np.zeros(3, np.int64), np.zeros(3, np.int64), np.ones((3, 5)))


@pytest.mark.parametrize(("neurons", "folds"), [(0, 1), (1, 0)])
def test_empty_sizes_are_refused(neurons: int, folds: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Tally(neurons, folds)


def same(one: object, other: object) -> None:
    left, right = arrays(one), arrays(other)  # type: ignore[arg-type]
    for name in ("features", "corpus_counts", "fold", "neuron", "feature_id", "count", "max"):
        np.testing.assert_array_equal(left[name], right[name])
    for name in ("sum", "sum_sq"):
        np.testing.assert_allclose(left[name], right[name], rtol=1e-9)


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduced eight words at a time, so that groups are divided between parts."""
    monkeypatch.setattr("txray.preferences.grouped_stats._CELLS", 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1_000_000))
def test_a_dense_tally_gives_the_same(tiny_parts: None, seed: int) -> None:
    random = np.random.default_rng(seed)
    sparse, dense = Tally(5, 3, dense=False), Tally(5, 3, dense=True)
    for _ in range(int(random.integers(1, 6))):
        n = int(random.integers(0, 40))
        words = [f"w{i}" for i in random.integers(0, 7, n)]
        fold = random.integers(0, 3, n)
        activations = random.normal(size=(n, 5)).astype(np.float32)
        for tally in (sparse, dense):
            ids = tally.feature_ids(words)
            tally.count_occurrences(fold, ids)
            tally.update_dense(fold, ids, activations)
    restored = Tally(5, 3)
    restored.load_state_dict(dense.state_dict())
    merged = Tally(5, 3)
    merged.merge(dense)
    one = sparse.freeze(stage="s", layer="l", feature_type="token", selection="all")
    for tally in (dense, restored, merged):
        other = tally.freeze(stage="s", layer="l", feature_type="token", selection="all")
        for name in ("features", "corpus_counts", "fold", "neuron", "feature_id", "count", "max"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        for name in ("sum", "sum_sq"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


def test_a_dense_tally_grows_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "txray.preferences.dense_stats._BLOCK_BYTES", 28 * 4 * 3
    )  # three rows of four neurons
    tally = Tally(4, 2, dense=True)
    ids = tally.feature_ids([f"w{i}" for i in range(2_000)])
    fold = np.arange(2_000) % 2
    activations = np.arange(8_000, dtype=np.float64).reshape(2_000, 4)
    for part in (slice(0, 900), slice(600, 2_000)):
        tally.update_dense(fold[part], ids[part], activations[part])
    preferences = tally.freeze(stage="s", layer="l", feature_type="token", selection="all")
    twice = np.ones(2_000)
    twice[600:900] = 2
    np.testing.assert_allclose(preferences.mass(), (activations * twice[:, None]).sum(axis=0))
    assert preferences.wins().tolist() == [2_299, 2_300, 2_300, 2_300]


@pytest.mark.parametrize(("share", "dense"), [(0.05, False), (0.9, True)])
def test_the_first_words_decide_how_statistics_are_held(share: float, dense: bool) -> None:
    random = np.random.default_rng(0)
    tally = Tally(50, 4)

    def update(share: float) -> None:
        activations = np.where(random.random((60, 50)) < share, 1.0, 0.0)
        ids = tally.feature_ids([f"w{i}" for i in range(60)])
        tally.update_dense(np.zeros(60, np.int64), ids, activations)

    update(share)
    assert (tally._grid is not None) == dense
    update(1 - share)
    state = tally.state_dict()
    assert bool(len(state["grid.key"])) == dense
    again = Tally(50, 4)
    again.load_state_dict(state)
    for one in (tally, again):
        one.update_dense(np.zeros(1, np.int64), one.feature_ids(["w0"]), np.ones((1, 50)))
    assert (again._grid is not None) == dense
    same(frozen(tally), frozen(again))


def test_a_tally_in_use_becomes_what_it_is_restored_to() -> None:
    used, fresh = Tally(3, 2), Tally(3, 2)
    used.update_dense(np.zeros(1, np.int64), used.feature_ids(["a"]), np.ones((1, 3)))
    used.load_state_dict(fresh.state_dict())
    assert len(frozen(used).features) == 0
    assert frozen(used).wins().sum() == 0
