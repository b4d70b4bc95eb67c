"""A dashboard without tests: what was observed is never called significant."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import txray
from tests.browser.served import Visit, layered_stages

STATES = ("in both stages", "only before, observed", "only after, observed", "in neither")


def test_states_are_called_observed(browser: Browser, tmp_path: Path) -> None:
    stages = layered_stages()[:2]
    with txray.serve(*stages, wait=False, permutations=0, cache=tmp_path) as dashboard:
        visit = Visit.to(browser, dashboard.url)
        page = visit.page
        expect(page.locator("#summary")).to_contain_text("Observed, not tested: ")
        chips = page.locator(".chip span:not(:empty)").all_inner_texts()
        assert [chip.rpartition(" ")[0] for chip in chips] == list(STATES)
        page.locator(".chip.avoided").click()
        pills = page.locator("#neurons-body .pill")
        expect(pills.first).to_have_text("only before, not tested")
        assert set(pills.all_inner_texts()) == {"only before, not tested"}
        assert page.locator("#neurons-body tr.faint").count() == 0
        visit.close()


@pytest.mark.parametrize("state", ["untested", "undecided"])
def test_a_state_that_no_neuron_is_in_can_be_taken_off(browser: Browser, tmp_path: Path, state: str) -> None:
    stages = layered_stages()[:2]
    with txray.serve(*stages, wait=False, permutations=0, cache=tmp_path) as dashboard:
        visit = Visit.to(browser, dashboard.url, f"?state={state}")
        page = visit.page
        expect(page.locator(f".chip.{state} b")).to_have_text("0")
        page.locator(f".chip.{state}").click()
        expect(page.locator(f".chip.{state}")).to_have_count(0)
        visit.close()
