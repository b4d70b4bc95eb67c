"""A share of the time of training is not exceeded, and always leaves room for the last look."""

from __future__ import annotations

import pytest

from txray.errors import UsageError
from txray.tracking.budget import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trained(share: float | None, steps: int, cost: float) -> tuple[int, Budget]:
    """Looks between the first and the last of a training of one second per step, and the budget in the end.

    As in life they grow longer: the first compares with nothing, the second with one stage.
    """
    clock = Clock()
    budget = Budget(share, clock=clock)
    costs = [cost, 2 * cost]

    def look() -> None:
        with budget.spending():
            clock.now += costs.pop(0) if costs else 3 * cost

    look()
    between = 0
    for _ in range(steps):
        clock.now += 1
        if budget.allows():
            look()
            between += 1
    look()
    assert budget.trained == pytest.approx(steps)
    return between, budget


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("cost", [0.003, 0.1, 1.3])
def test_all_looks_together_stay_within_the_share(share: float, cost: float) -> None:
    between, budget = trained(share, 1_000, cost)
    assert not budget.exceeded
    assert budget.spent <= share * 1_000 + 1e-6
    # And little of it is left lying: less than three looks, or all but the first steps have one.
    assert between >= 990 or budget.spent > share * 1_000 - 3.1 * 3 * cost


def test_a_look_between_is_taken_only_where_the_last_can_be_paid_for() -> None:
    for steps in range(1, 200):
        between, budget = trained(0.1, steps, 1.0)
        assert between == 0 or not budget.exceeded, steps


def test_without_a_share_every_look_is_taken() -> None:
    between, budget = trained(None, 50, 10.0)
    assert between == 50
    assert not budget.exceeded


def test_first_and_last_look_may_be_too_much() -> None:
    between, budget = trained(0.1, 10, 1.0)
    assert between == 0
    assert budget.exceeded


def test_a_look_that_fails_costs_what_it_took() -> None:
    clock = Clock()
    budget = Budget(0.5, clock=clock)
    with pytest.raises(ValueError, match="broken"), budget.spending():
        clock.now += 3
        raise ValueError("broken")
    assert budget.spent == 3


@pytest.mark.parametrize("share", [0, -0.1, float("nan"), float("inf")])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="budget="):
        Budget(share)
