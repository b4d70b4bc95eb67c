from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from txray.preferences import ExemplarTally, Occurrence
from txray.preferences.exemplars import EXEMPLAR_SCHEMA

Offers = list[tuple[int, int, int, int]]
OFFER = st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 5), st.integers(0, 3))
"""(neuron, activation, document key, position): small ranges, so that ties happen."""


def offered(offers: Offers, k: int = 3, batch: int = 4, tally: ExemplarTally | None = None) -> ExemplarTally:
    tally = tally or ExemplarTally(3, k)
    for start in range(0, len(offers), batch):
        part = offers[start : start + batch]
        columns = np.array(part, dtype=np.int64).T
        tally.update(
            columns[0],
            columns[1].astype(np.float64),
            columns[2],
            columns[3],
            lambda i, part=part: Occurrence(
                f"d{part[i][2]}", part[i][3], "w", words("b", part[i][3]), words("a", part[i][2])
            ),
            lambda kept, part=part: np.array([around(part[i]) for i in kept.tolist()]),
        )
    return tally


def words(name: str, n: int) -> str:
    return " ".join(f"{name}{i}" for i in range(n))


def around(offer: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """(17,) activations that tell the offer and the place; none for every third word."""
    neuron, activation, document, position = offer
    found = np.where(np.arange(17) % 3 == 0, np.nan, 1000 * neuron + 100 * document + 10 * position)
    found += np.arange(17) / 17
    found[8] = activation
    return found


def expected_around(offer: tuple[int, int, int, int]) -> list[float | None]:
    _, _, document, position = offer
    inside = around(offer)[8 - position : 9 + document].astype(np.float32)
    return [None if np.isnan(value) else float(value) for value in inside]


def kept(tally: ExemplarTally) -> list[tuple[int, int, float, str, int, list[float | None]]]:
    columns = ["neuron", "rank", "activation", "document", "position", "activations"]
    return tally.table("rnn").select(columns).rows()


@given(st.lists(OFFER, max_size=40, unique_by=lambda offer: (offer[2], offer[3])), st.integers(1, 9))
def test_the_strongest_are_kept_whatever_the_batches(offers: Offers, batch: int) -> None:
    expected = []
    for neuron in range(3):
        mine = sorted((offer for offer in offers if offer[0] == neuron), key=lambda o: (-o[1], o[2], o[3]))
        expected += [
            (neuron, rank, float(o[1]), f"d{o[2]}", o[3], expected_around(o))
            for rank, o in enumerate(mine[:3])
        ]
    assert kept(offered(offers, batch=batch)) == expected


@given(st.lists(OFFER, max_size=40, unique_by=lambda offer: (offer[2], offer[3])), st.integers(0, 40))
def test_merged_shards_equal_one_pass(offers: Offers, cut: int) -> None:
    first, second = offered(offers[:cut]), offered(offers[cut:])
    first.merge(second)
    assert kept(first) == kept(offered(offers))


@given(st.lists(OFFER, max_size=40, unique_by=lambda offer: (offer[2], offer[3])), st.integers(0, 40))
def test_what_was_kept_and_restored_goes_on_as_if_nothing_had_been(offers: Offers, cut: int) -> None:
    restored = ExemplarTally(3, 3)
    restored.load_state_dict(offered(offers[:cut]).state_dict())
    assert kept(offered(offers[cut:], tally=restored)) == kept(offered(offers))


def test_activations_around_are_asked_for_once_and_only_where_they_are_kept() -> None:
    asked: list[list[int]] = []

    def activations(offers: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append(offers.tolist())
        return np.ones((len(offers), 17))

    tally = ExemplarTally(2, 1)
    neuron, value = np.array([0, 0, 1, 0]), np.array([1.0, 3.0, 2.0, 2.0])
    for _ in range(2):
        tally.update(neuron, value, np.arange(4), np.zeros(4, np.int64), occurrence, activations)
    assert [sorted(offers) for offers in asked] == [[1, 2]]


def occurrence(i: int) -> Occurrence:
    return Occurrence(f"d{i}", 0, "w", "", "a b")


def test_activations_around_may_be_unknown() -> None:
    tally = ExemplarTally(1, 2)
    column = np.zeros(1, np.int64)
    tally.update(column, np.array([2.0]), column, column, occurrence, lambda kept: np.full((1, 17), 2.0))
    tally.update(column, np.array([1.0]), column + 1, column, occurrence)
    assert tally.table("rnn")["activations"].to_list() == [[2.0, 2.0, 2.0], None]
    assert tally.table("rnn").schema == pl.Schema(EXEMPLAR_SCHEMA)


def test_none_are_kept_when_none_are_asked_for() -> None:
    assert offered([(0, 1, 1, 1)], k=0).table("rnn").is_empty()


def test_table_has_its_columns_even_when_empty() -> None:
    table = ExemplarTally(3).table("rnn")
    assert table.schema["activation"] == pl.Float64
    assert table.columns[:4] == ["layer", "neuron", "rank", "activation"]
