from __future__ import annotations

from dataclasses import replace

import pytest

from txray.errors import UnknownNameError, UsageError
from txray.experiment import PRESETS, preset


def test_presets_have_the_sizes_that_the_docs_state() -> None:
    assert set(PRESETS) == {"demo", "small", "paper"}
    paper = preset("paper")
    assert (paper.cell, paper.hidden, paper.epochs, paper.collection_words) == ("lstm", 1500, 50, 400_000)
    assert paper.pooling == "last"
    assert preset("small").collection_words == 400_000


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="'smal'.*did you mean 'small'.*demo, small, paper"):
        preset("smal")


@pytest.mark.parametrize(
    "name", ["epochs", "hidden", "pretraining_words", "collection_words", "learning_rate"]
)
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}=0; it must be positive"):
        replace(preset("demo"), **{name: 0})
