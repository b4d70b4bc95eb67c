"""Second places: leaving a neuron out of a stage gives the stage of a pass without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import SIZE, letter_pieces, seeded, word_ids
from tests.builders.texts import corpus_of, documents
from txray import Preferences, TextModel, collect
from txray.errors import ShapeError, UsageError

NEURONS = 9


class Responses(nn.Module):
    """Activations of words by their id, and of their neighbours to a smaller degree; some neurons may be absent."""

    def __init__(self, absent: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, NEURONS)
        self.out = nn.Identity()
        self.absent = list(absent)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        values = self.embedding(ids) + 0.3 * torch.roll(self.embedding(ids), 1, dims=1)
        values[..., self.absent] = -100.0
        return self.out(values * mask[..., None])


def model(*absent: int, encode: Any = word_ids, pooling: Any = "max") -> TextModel:
    module = seeded(lambda: Responses(absent))
    return TextModel(module, encode, lambda module, ids, mask: module(ids, mask), pooling=pooling)


def preferences(source: TextModel, selection: str = "max-1", **settings: Any) -> Preferences:
    corpus = corpus_of(documents(25, seed=3))
    stage = collect(source, corpus, layers="out", name="s", selection=selection, folds=4, **settings)
    return stage.preferences()


def same(one: Preferences, other: Preferences) -> None:
    for name in ("fold", "neuron", "feature_id", "count", "max", "corpus_counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("sum", "sum_sq"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("selection", ["max-1", "max-1/negative", "max-3", "max-4"])
@pytest.mark.parametrize(
    ("encode", "pooling"),
    [(word_ids, "max"), (letter_pieces, "max"), (letter_pieces, "mean"), (letter_pieces, "last")],
)
def test_leaving_a_neuron_out_gives_the_pass_without_it(selection: str, encode: Any, pooling: Any) -> None:
    sign = -1 if selection.endswith("negative") else 1
    whole = preferences(model(encode=encode, pooling=pooling), selection)
    assert whole.runner_ups is not None
    assert len(whole.runner_ups) > 20
    for neuron in (0, 5, NEURONS - 1):
        source = model(neuron, encode=encode, pooling=pooling)
        if sign < 0:
            # An activation of -100 would win every word of this sign.
            source = replace(source, module=_Positive(source.module, neuron))
        same(whole.without(neuron), preferences(source, selection))


class _Positive(nn.Module):
    """A module in which the absent neuron is positive, so that it is absent among negative activations."""

    def __init__(self, inner: nn.Module, neuron: int) -> None:
        super().__init__()
        self.inner, self.neuron, self.out = inner, neuron, nn.Identity()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        values = self.inner(ids, mask).clone()
        values[..., self.neuron] = 1.0
        return self.out(values)


def test_runner_ups_do_not_depend_on_the_size_of_a_batch() -> None:
    one, other = (
        preferences(model(encode=letter_pieces), "max-2", batch_positions=size).runner_ups
        for size in (40, 4_000)
    )
    assert one is not None
    assert other is not None
    for name, column in vars(one).items():
        if name in ("sum", "sum_sq"):
            np.testing.assert_allclose(column, getattr(other, name), rtol=1e-9)
        else:
            np.testing.assert_array_equal(column, getattr(other, name))


def test_blocks_of_words_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = preferences(model(encode=letter_pieces)).runner_ups
    monkeypatch.setattr("txray.capture.runner_ups._CELLS", 3 * NEURONS)
    blocks = preferences(model(encode=letter_pieces)).runner_ups
    assert whole is not None
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(column, getattr(blocks, name))


@pytest.mark.parametrize("selection", ["all", "threshold=0.5", "max-position"])
def test_selections_without_competition_have_no_runner_ups(selection: str) -> None:
    collected = preferences(model(), selection)
    assert collected.runner_ups is None
    with pytest.raises(UsageError, match="no runner-ups"):
        collected.without(0)


def test_a_selection_of_all_neurons_has_no_second_places() -> None:
    collected = preferences(model(), f"max-{NEURONS}")
    assert collected.runner_ups is not None
    assert len(collected.runner_ups) == 0


def test_pieces_have_runner_ups_of_their_own() -> None:
    corpus = corpus_of(documents(20, seed=3))
    types = ["token", "subword"]
    whole, without = (
        collect(source, corpus, layers="out", name="s", feature_types=types, folds=4)["out", "subword"]
        for source in (model(encode=letter_pieces), model(4, encode=letter_pieces))
    )
    same(whole.without(4), without)


def test_rows_that_do_not_fit_are_refused() -> None:
    collected = preferences(model())
    assert collected.runner_ups is not None
    with pytest.raises(ShapeError, match="winner"):
        replace(
            collected, runner_ups=replace(collected.runner_ups, winner=collected.runner_ups.winner + NEURONS)
        )
    with pytest.raises(ShapeError, match="lengths"):
        replace(collected.runner_ups, winner=collected.runner_ups.winner[1:])
