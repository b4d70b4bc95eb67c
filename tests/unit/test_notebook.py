"""Stages, comparisons and timelines as notebooks show them: true, short, and harmless."""

from __future__ import annotations

import html
import re

import pytest

import txray
from tests.browser.served import hostile_stages
from tests.builders.hostile import IN_PAGES
from tests.builders.stages import story
from txray import notebook


def cells(shown: str) -> list[list[str]]:
    """Texts of the rows of the tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    return [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


@pytest.fixture(scope="module")
def stages() -> list[txray.Stage]:
    return story()


def test_a_stage_tells_what_was_collected(stages: list[txray.Stage]) -> None:
    stage = stages[0]
    shown = stage._repr_html_()
    assert f"Stage {stage.name}" in shown
    head, *rows = cells(shown)
    assert [(row[0], row[1]) for row in rows] == list(stage.collected)
    for row, preferences in zip(rows, stage.collected.values(), strict=True):
        told = dict(zip(head, row, strict=True))
        assert told["neurons"] == str(preferences.n_neurons)
        assert told["in use"] == str(int((preferences.lengths() > 0).sum()))


@pytest.mark.parametrize("tested", [False, True])
def test_a_comparison_tells_its_states_and_what_changed_most(stages: list[txray.Stage], tested: bool) -> None:
    change = txray.compare(stages[0], stages[-1], permutations=0)
    change = change.test(permutations=100) if tested else change
    shown = change._repr_html_()
    assert (
        f"{change.summary['shared']:,} of {change.summary['neurons']:,} neurons are in use in both" in shown
    )
    assert ("false discovery rate (FDR) of 5%" in shown) is tested
    assert ("Observed, not tested" in shown) is not tested
    head, *rows = cells(shown)
    assert head[-2:] == [f"in {stages[0].name}", f"in {stages[-1].name}"]
    shared = change.neurons.filter(change.neurons["state"] == "shared")
    if tested:
        certain = shared.filter(shared["q_value"] <= 0.05)
        shared = certain if len(certain) else shared
    keys = ["hellinger_corrected_low", "z_score"] if tested else ["hellinger"]
    most = shared.sort(keys, descending=True, nulls_last=True)["neuron"][0]
    assert rows[0][0] == str(most)
    strongest = change.after.table(int(most)).sort("lift", descending=True)["feature"][0]
    note = change.after.name_scores.notes[int(most)]
    assert rows[0][-1].split(" · ")[0] == (note or strongest)


def test_a_timeline_tells_its_stages(stages: list[txray.Stage]) -> None:
    found = txray.timeline(stages, permutations=60)
    head, *rows = cells(found._repr_html_())
    assert [row[1] for row in rows] == [stage.name for stage in stages]
    told = dict(zip(head, rows[1], strict=True))
    step = found.changes.row(0, named=True)
    size = [step[f"hellinger_corrected{end}"] for end in ("", "_low", "_high")]
    assert told["corrected Hellinger distance of the layer (95% interval)"] == (
        f"{size[0]:.2f} ({size[1]:.2f} to {size[2]:.2f})"
    )
    assert told["changed significantly"] == f"{step['changed']} of {step['tested']}"
    assert rows[0][-1] == "–"
    assert "significant (5% FDR)" in found._repr_html_()
    assert "observed, not tested" in txray.timeline(stages, permutations=0)._repr_html_()


def test_what_a_corpus_holds_is_text() -> None:
    before, after = hostile_stages()[:2]
    for shown in (
        before._repr_html_(),
        txray.compare(before, after, permutations=0)._repr_html_(),
        txray.timeline([before, after], permutations=0)._repr_html_(),
    ):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "\u202e" not in shown
        assert len(shown) < 20_000
    assert any(word in "".join(map("".join, cells(shown))) for word in IN_PAGES[:1])


def test_numbers_stand_on_the_right_and_what_is_not_known_is_a_dash() -> None:
    shown = notebook.table("t", ["a", "b"], [(1_000, None), (2.5, "x" * 100)])
    assert shown.count("text-align:right") == 3
    assert cells(shown) == [["a", "b"], ["1,000", "–"], ["2.5", "x" * 79 + "…"]]
    assert "<table" in notebook.table("none", ["a"], [])
