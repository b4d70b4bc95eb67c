from __future__ import annotations

import numpy as np
import pytest

from tests.builders.figures import Text, caption_of, mass_of, numbers_in, title_of
from txray.errors import UsageError
from txray.plots import mass_activation, stage_styles
from txray.plots.mass import half_mass


def test_masses_are_sorted_and_those_of_the_preferences(text: Text) -> None:
    stages = [text.stage("unsup", seed=0)[0], text.stage("sup", seed=1, silent=range(20, 40))[0]]
    figure = mass_activation(stages)
    for trace, preferences in zip(figure.data, stages, strict=True):
        expected = sorted((mass for mass in mass_of(preferences) if mass > 0), reverse=True)
        np.testing.assert_allclose(trace.y, expected, rtol=1e-12)
        np.testing.assert_array_equal(trace.x, np.arange(1, len(expected) + 1))
    assert figure.layout.yaxis.type == "log"
    assert figure.data[1].name == "sup (20 of 40 neurons)"
    assert "stages unsup, sup" in caption_of(figure)


def test_the_title_tells_how_few_neurons_hold_half(text: Text) -> None:
    stages = [text.stage("unsup", seed=0)[0], text.stage("sup", seed=1, silent=range(5, 40))[0]]
    halves = []
    for preferences in stages:
        masses = sorted(mass_of(preferences), reverse=True)
        halves.append(next(n for n in range(1, 41) if sum(masses[:n]) >= sum(masses) / 2))
    assert numbers_in(title_of(mass_activation(stages))) == [halves[0], 40, halves[1], 40]
    assert halves[0] > halves[1]


def test_half_mass_by_hand() -> None:
    assert half_mass(np.array([1.0, 5.0, 2.0, 2.0])) == 1
    assert half_mass(np.array([1.0, 1.0, 1.0, 1.0])) == 2
    assert half_mass(np.zeros(4)) == 0


def test_hover_tells_the_neuron_its_share_and_what_it_prefers(text: Text) -> None:
    preferences = text.stage("unsup", seed=0)[0]
    masses = mass_of(preferences)
    best = int(np.argmax(masses))
    story = mass_activation([preferences]).data[0].hovertext[0]
    assert f"neuron {best} in unsup" in story
    assert "rank 1 of 40" in story
    top = preferences.table(best)["feature"][0]
    assert f"strongest: {top}," in story


def test_stages_keep_the_styles_of_the_report(text: Text) -> None:
    styles = stage_styles(["untrained", "epoch-01", "unsup"])
    trace = mass_activation([text.stage("epoch-01", seed=0)[0]], styles=styles).data[0]
    assert trace.marker.color == trace.line.color == styles["epoch-01"].color
    assert trace.marker.symbol == styles["epoch-01"].symbol


def test_no_mass_is_said_in_words(text: Text) -> None:
    dead = text.stage("dead", seed=0, silent=range(40))[0]
    figure = mass_activation([dead])
    assert title_of(figure) == "No activation mass"
    assert any("No neuron has any activation mass" in note.text for note in figure.layout.annotations)


def test_no_stage_is_refused() -> None:
    with pytest.raises(UsageError, match="0 stages"):
        mass_activation([])
