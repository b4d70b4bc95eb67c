from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.training.run import annealed_rate, best_epoch, is_exhausted

LOSSES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=9)


@given(losses=LOSSES)
def test_the_best_epoch_is_the_first_of_the_lowest(losses: list[float]) -> None:
    best = best_epoch(losses)
    assert all(loss > losses[best] for loss in losses[:best])
    assert all(loss >= losses[best] for loss in losses)


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [
        ([5.0], 1, False),
        ([5.0, 4.0, 3.0], 1, False),
        ([5.0, 4.0, 4.0], 1, True),
        ([5.0, 4.0, 4.5], 2, False),
        ([5.0, 4.0, 4.5, 4.2], 2, True),
        ([5.0, 4.0, 4.5, 3.9], 2, False),
        ([5.0, 6.0, 7.0, 8.0, 9.0], None, False),
    ],
)
def test_patience_counts_epochs_since_the_best(
    losses: list[float], patience: int | None, stops: bool
) -> None:
    assert is_exhausted(losses, patience) is stops


@pytest.mark.parametrize(
    ("losses", "divisions"),
    [
        ([5.0], 0),
        ([5.0, 4.0, 3.0], 0),
        ([5.0, 4.0, 4.0], 1),
        ([5.0, 4.0, 4.1, 3.9], 1),
        ([5.0, 4.0, 4.1, 4.05, 3.9, 3.95], 3),
    ],
)
def test_the_rate_falls_with_each_epoch_without_a_new_best(losses: list[float], divisions: int) -> None:
    assert annealed_rate(0.8, losses, 4.0) == pytest.approx(0.8 / 4**divisions)
