"""Smaller models, and masks as files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.recurrent import CELLS, small
from tests.unit.pruning.test_masking import IDS, LENGTHS, NEURONS, lively
from txray import Mask, collect, demo_corpus, masked
from txray.errors import UnknownNameError, UsageError
from txray.models import classifier, load_snapshot, save_model
from txray.models.recurrent import Cell, RecurrentConfig, RecurrentStack
from txray.pruning import compact_model
from txray.training import train_language_model

MASKS = [Mask("rnn", NEURONS), Mask("rnn", NEURONS, "mean", values=np.array([0.4, -0.7]))]


@pytest.mark.parametrize(("cell", "layers", "mask"), list(itertools.product(CELLS, (1, 2), MASKS)))
def test_a_smaller_classifier_computes_what_the_masked_one_does(
    cell: Cell, layers: int, mask: Mask, tmp_path: Path
) -> None:
    for pooling in ("last", "last+avg+max"):
        model = classifier(lively(cell, layers), pooling)  # type: ignore[arg-type]
        smaller = compact_model(model, mask)
        save_model(smaller, tmp_path / pooling)
        loaded = load_snapshot(tmp_path / pooling)
        with masked(model, mask):
            wanted, states = model(IDS, LENGTHS), model.hidden_states(IDS)[0]
        kept = [n for n in range(7) if n not in NEURONS]
        for found in (smaller, loaded):
            torch.testing.assert_close(found(IDS, LENGTHS), wanted, atol=1e-6, rtol=0)
            torch.testing.assert_close(found.hidden_states(IDS)[0], states[..., kept], atol=1e-6, rtol=0)
        assert sum(p.numel() for p in loaded.rnn.parameters()) < sum(
            p.numel() for p in model.rnn.parameters()
        )
        assert loaded.config.hidden == 5


@pytest.mark.parametrize(("cell", "layers", "tied"), list(itertools.product(CELLS, (1, 2), (False, True))))
def test_a_smaller_language_model_computes_what_the_masked_one_does(
    cell: Cell, layers: int, tied: bool
) -> None:
    model = small(cell, layers=layers, tied=tied, embedding=7)
    smaller = compact_model(model, MASKS[1])
    with masked(model, MASKS[1]):
        wanted, _ = model(IDS)
    torch.testing.assert_close(smaller(IDS)[0], wanted, atol=1e-6, rtol=0)


def test_a_smaller_model_can_be_made_smaller_again_and_masked() -> None:
    model = lively("lstm", 3)
    once = compact_model(model, Mask("rnn", [6]))
    twice = compact_model(once, Mask("rnn", [1, 5]))
    assert isinstance(twice.rnn, RecurrentStack)
    with masked(model, Mask("rnn", [1, 5, 6])):
        wanted, _ = model(IDS)
    torch.testing.assert_close(twice(IDS)[0], wanted, atol=1e-6, rtol=0)
    with masked(once, Mask("rnn", [1, 5])):
        torch.testing.assert_close(once(IDS)[0], wanted, atol=1e-6, rtol=0)


def test_a_smaller_model_of_unequal_layers_is_collected_and_trained(tmp_path: Path) -> None:
    smaller = compact_model(lively("lstm", 2), Mask("rnn", NEURONS))
    corpus = demo_corpus("reviews", words=400)
    assert collect(smaller, corpus, name="smaller").preferences().n_neurons == 5
    run = train_language_model(smaller, corpus, corpus, folder=tmp_path, epochs=1, batch_size=2)
    losses = run.curves["loss"].to_list()
    assert losses[-1] < losses[0]
    assert load_snapshot(run.snapshots[1]).config.lower_sizes == (7,)


def test_models_of_equal_layers_are_described_as_before() -> None:
    assert "lower_sizes" not in small(layers=2).config.as_json()
    assert "lower_sizes" not in repr(small(layers=2).config)  # of which fingerprints are made
    with pytest.raises(UsageError, match=r"lower_sizes=\(3, 4\); pass one integer for each of the 1 layers"):
        RecurrentConfig("lstm", layers=2, lower_sizes=(3, 4))


def test_what_cannot_be_made_smaller_is_told_in_one_line() -> None:
    model = small()
    for mask, error, text in (
        (Mask("rnn", range(7)), UsageError, "all 7 neurons"),
        (Mask("rnn", [9]), UsageError, "no neuron 9"),
        (Mask("embedding", [1]), UsageError, "only neurons of the layer 'rnn'"),
        (Mask("rm", [1]), UnknownNameError, "unknown layer 'rm'"),
        (Mask("rnn", [1], scope="final-state"), UsageError, "no smaller model"),
        (Mask("rnn", [1], "resample", values=np.ones((2, 1))), UsageError, "no smaller model"),
    ):
        with pytest.raises(error) as raised:
            compact_model(model, mask)
        assert text in str(raised.value)
    with pytest.raises(UsageError, match="a Linear cannot be made smaller"):
        compact_model(torch.nn.Linear(2, 2), Mask("rnn", [1]))  # type: ignore[type-var]


def test_a_smaller_model_keeps_its_number_type() -> None:
    assert compact_model(small().double(), MASKS[1]).rnn.weight_hh_l0.dtype is torch.float64
