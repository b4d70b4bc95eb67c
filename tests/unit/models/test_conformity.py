"""Architectures of transformers against plain transformers and NumPy; `make conformity` checks all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.conformity.architectures import Architecture, architectures
from benchmarks.conformity.check import Conformity, check
from benchmarks.conformity.page import page
from benchmarks.conformity.reference import credited

SAMPLE = (
    "Albert",
    "Flaubert",
    "FSMT",
    "Gemma3Text",
    "GptOss",
    "Mamba",
    "OlmoHybrid",
    "ProphetNet",
    "Qwen3Moe",
    "Reformer",
    "RoFormer",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_layer_of_an_architecture_credits_the_right_words(name: str) -> None:
    result = check(Architecture(name))
    assert result.refused == ""
    assert result.wrong == {}
    assert result.ran >= 10
    assert result.checked >= 0.6 * result.ran
    assert result.exact


def test_the_reference_credits_by_hand() -> None:
    pairs = [("b", np.array([1.0, 3.0])), ("a", np.array([-2.0, -1.0])), ("b", np.array([4.0, 4.0]))]
    strongest, every = (credited(pairs, selection) for selection in ("max-1", "all"))
    assert strongest.words == ["a", "b"]
    # The two equal activations leave open which neuron wins; a word without positive activation credits none.
    assert strongest.least.tolist() == [[0, 0], [0, 1]]
    assert strongest.most.tolist() == [[0, 1], [0, 2]]
    assert every.least.tolist() == every.most.tolist() == [[0, 2], [0, 2]]
    assert every.total.tolist() == [[0, 5], [0, 7]]


def test_a_wrong_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from txray.capture.hook_point import HookPoint

    flat = HookPoint.flat

    def shifted(self: HookPoint, *arguments: object) -> object:
        values, steps = flat(self, *arguments)  # type: ignore[arg-type]
        return values.roll(1, 0), steps

    monkeypatch.setattr(HookPoint, "flat", shifted)
    result = check(Architecture("GPT2"))
    assert not result.exact
    assert len(result.wrong) > 20


def test_the_page_says_what_was_right_wrong_and_refused() -> None:
    right = Conformity(
        "Right", ran=5, checked=4, pairs=1_234, refusals={"pooler": "no activation per position: (2, 3)"}
    )
    wrong = dataclasses.replace(right, name="Wrong", wrong={"layer (all)": 7})
    text = page([right, wrong, Conformity("Refused", refused="a | b")], "5.0")
    assert "Of 3 architectures, 2 can be built" in text
    assert "1 of these 2 are exact" in text
    assert "(not: Wrong): 8 layers, 2,468 pairs, 7 of them wrong" in text
    assert "| Wrong | 5 | 4 | 1,234 | 7 |" in text
    assert "| Refused | a \\| b |" in text
    assert "| no activation per position | 2 |" in text


def test_the_architectures_are_many_and_distinct() -> None:
    names = [architecture.name for architecture in architectures()]
    assert len(names) == len(set(names)) > 180
    assert set(SAMPLE) < set(names)
