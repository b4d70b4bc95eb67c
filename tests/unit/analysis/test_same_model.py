"""Comparisons of one model on two texts say that only the text can explain their differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import txray
from tests.builders.texts import small_model
from txray.analysis import Comparison, Findings, compare, timeline
from txray.analysis.states import ONLY_TEXT, SAME_WEIGHTS
from txray.analysis.subjects import only_text, same_model
from txray.preferences import Stage, StageFolder

LAYER = "rnn"


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    """Two texts read by one model, and by another."""
    texts = {
        "one": txray.demo_corpus("encyclopedia", words=4_000),
        "two": txray.demo_corpus("reviews", words=4_000),
    }
    torch.manual_seed(5)
    models = {"A": small_model(), "B": small_model()}
    with torch.no_grad():
        for parameter in models["B"].parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return {
        f"{model} {text}": txray.collect(models[model], texts[text], layers=[LAYER], name=f"{model} {text}")
        for model in models
        for text in texts
    }


@pytest.fixture(scope="module")
def of_text(stages: dict[str, Stage]) -> Comparison:
    return compare(stages["A one"], stages["A two"], permutations=200)


def test_the_manifests_tell_whether_the_model_is_the_same(stages: dict[str, Stage]) -> None:
    assert same_model(stages["A one"], stages["A two"], LAYER) is True
    assert same_model(stages["A one"], stages["B one"], LAYER) is False
    assert same_model(stages["A one"].preferences(), stages["A two"], LAYER) is None
    assert same_model(replace(stages["A one"], manifest={}), stages["A two"], LAYER) is None
    assert compare(stages["A one"], stages["A two"], permutations=0).same_model is True
    assert compare(stages["A one"], stages["B two"], permutations=0).same_model is False


@pytest.mark.parametrize(
    ("change", "known"),
    [
        (lambda m: m | {"reading": {"ends": None}}, False),
        (lambda m: _layer(m, shift=1), False),
        (lambda m: _layer(m, through={"fingerprint": "of an autoencoder"}), False),
        (lambda m: _layer(m, random=True), None),
        (lambda m: _layer(m, counted=1, skipped={"long": 2}), True),
        (lambda m: m | {"reading": m["reading"] | {"activations": "folder"}}, None),
        (
            lambda m: (
                m
                | {
                    "reading": m["reading"] | {"activations": "folder"},
                    "model": {"fingerprint": "of files", "model_fingerprint": m["model"]["fingerprint"]},
                }
            ),
            True,
        ),
    ],
)
def test_the_same_weights_read_in_another_way_are_not_the_same_model(
    stages: dict[str, Stage], change: Callable[[dict[str, Any]], dict[str, Any]], known: bool | None
) -> None:
    other = replace(stages["A two"], manifest=change(dict(stages["A two"].manifest)))
    assert same_model(stages["A one"], other, LAYER) is known
    assert same_model(other, stages["A one"], LAYER) is known


def _layer(manifest: dict[str, Any], **entries: object) -> dict[str, Any]:
    return manifest | {"layers": {LAYER: manifest["layers"][LAYER] | entries}}


def test_every_text_about_such_a_comparison_names_the_text(of_text: Comparison) -> None:
    findings = of_text.findings
    assert findings.only_text
    assert findings.sentences("one", "two")[-1] == SAME_WEIGHTS
    for words in (findings.headline, findings.changes):
        assert "between the texts" in words
        assert "changed" not in words
    assert "same weights" in findings.changes
    assert "same weights" in repr(of_text)
    assert "changed" not in repr(of_text)
    assert SAME_WEIGHTS in of_text._repr_html_()
    assert of_text.summary["same_model"] is True
    neuron = of_text.neuron(int(of_text.neurons.filter(state="shared")["neuron"][0]))
    assert "weights are the same" in neuron.sentence


@pytest.mark.parametrize("figure", ["hellinger_length", "volcano", "states", "length_shift", "gained_table"])
def test_every_figure_of_such_a_comparison_names_the_text(of_text: Comparison, figure: str) -> None:
    texts = [
        str(annotation.text).replace("<br>", " ") for annotation in of_text.plot(figure).layout.annotations
    ]
    assert any(ONLY_TEXT in text for text in texts)


def test_other_comparisons_speak_of_changes(stages: dict[str, Stage]) -> None:
    of_model = compare(stages["A one"], stages["B one"], permutations=200)
    assert not of_model.only_text
    assert "changed significantly" in of_model.findings.changes
    assert SAME_WEIGHTS not in of_model.findings.sentences("one", "two")
    # The same stage twice: neither the weights nor the text differ.
    twice = compare(stages["A one"], stages["A one"], permutations=0)
    assert twice.same_model
    assert not twice.only_text
    assert SAME_WEIGHTS not in twice.findings.sentences("one", "two")


def test_saved_comparisons_and_folders_know_it(
    of_text: Comparison, stages: dict[str, Stage], tmp_path: Path
) -> None:
    loaded = Comparison.load(of_text.save(tmp_path / "comparison"))
    assert loaded.same_model is True
    assert loaded.only_text
    assert loaded.summary == of_text.summary
    folders = [StageFolder.open(stages[name].save(tmp_path / name)) for name in ("A one", "A two", "B two")]
    assert only_text(folders[0], folders[1], [LAYER])
    assert not only_text(folders[0], folders[2], [LAYER])
    assert not only_text(folders[0], folders[0], [LAYER])


def test_timelines_say_for_each_step_whether_the_model_is_the_same(stages: dict[str, Stage]) -> None:
    steps = timeline([stages[name] for name in ("A one", "A two", "B two")], permutations=0)
    previous = steps.changes.filter(reference="previous")
    assert previous["same_model"].to_list() == [True, False]
    assert steps.weights == [f"A one → A two: {SAME_WEIGHTS}"]
    assert SAME_WEIGHTS in steps._repr_html_()


def test_untested_findings_say_it_as_well(of_text: Comparison) -> None:
    untested = Findings.of(of_text.neurons.select("neuron", "state"), None, only_text=True)
    assert untested.sentences("one", "two")[-1] == SAME_WEIGHTS
