from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from txray.training.cross_entropy import next_word_loss


def problem(rows: int, hidden: int = 6, vocabulary: int = 9) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(rows)
    inputs = torch.randn(rows, hidden, generator=random, dtype=torch.float64)
    weight = torch.randn(vocabulary, hidden, generator=random, dtype=torch.float64)
    bias = torch.randn(vocabulary, generator=random, dtype=torch.float64)
    targets = torch.randint(0, vocabulary, (rows,), generator=random)
    return [inputs.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets]


# 256 rows are computed at once.
@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_value_and_gradients_are_those_of_all_logits_at_once(rows: int) -> None:
    hidden, weight, bias, targets = problem(rows)
    expected = functional.cross_entropy(functional.linear(hidden, weight, bias), targets)
    by_expected = torch.autograd.grad(3 * expected, (hidden, weight, bias))
    loss = next_word_loss(hidden, weight, bias, targets)
    by_loss = torch.autograd.grad(3 * loss, (hidden, weight, bias))
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for got, wanted in zip(by_loss, by_expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-14)


def test_extreme_logits_stay_finite() -> None:
    hidden, weight, bias, targets = problem(4)
    loss = next_word_loss(hidden.float() * 1e4, weight.float(), bias.float(), targets)
    expected = functional.cross_entropy((hidden * 1e4) @ weight.T + bias, targets)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_without_gradients_only_the_value() -> None:
    hidden, weight, bias, targets = problem(10)
    with torch.no_grad():
        loss = next_word_loss(hidden, weight, bias, targets)
    assert not loss.requires_grad
    assert loss.item() == next_word_loss(hidden, weight, bias, targets).item()


def test_leaves_its_inputs_alone() -> None:
    given = problem(300)
    before = [each.detach().clone() for each in given]
    next_word_loss(*given).backward()
    for each, copy in zip(given, before, strict=True):
        assert torch.equal(each, copy)
