from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from txray.preferences import ExemplarTally, Occurrence

Offers = list[tuple[int, int, int, int]]
OFFER = st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 5), st.integers(0, 3))
"""(neuron, activation, document key, position): small ranges, so that ties happen."""


def offered(offers: Offers, k: int = 3, batch: int = 4) -> ExemplarTally:
    tally = ExemplarTally(3, k)
    for start in range(0, len(offers), batch):
        part = offers[start : start + batch]
        columns = np.array(part, dtype=np.int64).T
        tally.update(
            columns[0],
            columns[1].astype(np.float64),
            columns[2],
            columns[3],
            lambda i, part=part: Occurrence(f"d{part[i][2]}", part[i][3], "w", "", ""),
        )
    return tally


def kept(tally: ExemplarTally) -> list[tuple[int, int, float, str, int]]:
    return tally.table("rnn").select("neuron", "rank", "activation", "document", "position").rows()


@given(st.lists(OFFER, max_size=40, unique_by=lambda offer: (offer[2], offer[3])), st.integers(1, 9))
def test_the_strongest_are_kept_whatever_the_batches(offers: Offers, batch: int) -> None:
    expected = []
    for neuron in range(3):
        mine = sorted((offer for offer in offers if offer[0] == neuron), key=lambda o: (-o[1], o[2], o[3]))
        expected += [(neuron, rank, float(o[1]), f"d{o[2]}", o[3]) for rank, o in enumerate(mine[:3])]
    assert kept(offered(offers, batch=batch)) == expected


@given(st.lists(OFFER, max_size=40, unique_by=lambda offer: (offer[2], offer[3])), st.integers(0, 40))
def test_merged_shards_equal_one_pass(offers: Offers, cut: int) -> None:
    first, second = offered(offers[:cut]), offered(offers[cut:])
    first.merge(second)
    assert kept(first) == kept(offered(offers))


def test_none_are_kept_when_none_are_asked_for() -> None:
    assert offered([(0, 1, 1, 1)], k=0).table("rnn").is_empty()


def test_table_has_its_columns_even_when_empty() -> None:
    table = ExemplarTally(3).table("rnn")
    assert table.schema["activation"] == pl.Float64
    assert table.columns[:4] == ["layer", "neuron", "rank", "activation"]
