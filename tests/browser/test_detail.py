"""What is told about one neuron, from one plain record, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.parts import RECORD, small_page

BARE = {name: [] if isinstance(value, list) else None for name, value in RECORD.items()}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with small_page(browser) as opened:
        yield opened


def show(page: Page, **changes: Any) -> None:
    page.evaluate("(record) => detail.show(record)", {**RECORD, **changes})


def exemplar(**changes: Any) -> list[dict[str, Any]]:
    (stage,) = RECORD["exemplars"]
    return [{**stage, "items": [{**stage["items"][0], **changes}]}]


def shades(page: Page) -> list[float]:
    """How opaque the shade of each neighbour is."""
    colors = page.locator(".context span").evaluate_all(
        "(words) => words.map((word) => getComputedStyle(word).backgroundColor)"
    )
    # Either rgba(0, 0, 0, 0) or color(srgb 0 0.4 0.7 / 0.45).
    return [float(re.split("[/,]", color.rstrip(")"))[-1]) for color in colors]


def test_tells_everything_of_a_record(page: Page) -> None:
    show(page)
    assert page.inner_text("#detail h3") == "Neuron 12 shared #"
    assert page.get_attribute("#detail h3 a", "href") == "#neuron=12"
    assert page.inner_text("#detail .lead") == "Prefers 3 tokens."
    assert page.inner_text("#detail .beyond:not(.writes) p") == "one, two"
    assert page.locator("#detail .writes p").all_inner_texts() == [
        "promotes <b>up</b> · more",
        "suppresses less",
        "Where it wins, the model predicts one of its tokens 20% of the time.",
    ]
    assert page.locator("#detail .features td:not(.bars)").all_inner_texts() == ["50%", "25%", "–", "25%"]
    assert "2 strongest of 3" in page.inner_text("#detail .features h4")
    facts = page.inner_text("#detail .facts")
    for fact in ("0.812", "predicts next", "p(pos) 0.25", "label pos", "d/1, word 3"):
        assert fact in facts
    cells = page.locator("#detail .over td").all_inner_texts()
    assert cells == ["3", "1,200", "7.12", "50%", "0", "0", "0", "–"]


def test_any_list_may_be_empty(page: Page) -> None:
    page.evaluate("(record) => detail.show(record)", {**BARE, "title": "Neuron 1", "sentence": "Nothing."})
    assert page.inner_text("#detail h3").strip() == "Neuron 1"
    assert page.locator("#detail > *").count() == 1
    assert page.locator("#detail .pill, #detail a").count() == 0
    empty = [{"name": "a", "color": "#000", "words": [], "items": [], "promoted": [], "suppressed": []}]
    table = {**RECORD["tables"][0], "rows": []}
    show(page, beyond=empty, writes=empty, exemplars=empty, tables=[table], stages=[])
    assert page.locator("#detail > *").count() == 1


def test_one_stage_alone_has_one_value(page: Page) -> None:
    table = {**RECORD["tables"][0], "rows": [[f"word{i}", 0.5 / (i + 1)] for i in range(12)]}
    show(page, sides=RECORD["sides"][1:], tables=[table])
    assert page.locator("#detail .key .dot").count() == 1
    assert page.locator("#detail .features .bar").count() == 12
    assert page.locator("#detail .features tbody tr").first.locator("td").all_inner_texts()[1:] == ["50%"]
    assert page.inner_text("#detail summary") == "2 more"


def test_lift_is_told_in_times_on_a_scale_of_doublings(page: Page) -> None:
    rows = [["one", 15, 1234.5], ["two", 1.4142, 3], ["three", None, 0]]
    show(page, tables=[{**RECORD["tables"][0], "unit": "times", "rows": rows}])
    told = page.locator("#detail .features td:not(.bars)").all_inner_texts()
    assert told == ["15 ×", "1,230 ×", "1.41 ×", "3 ×", "–", "–"]
    widths = page.locator("#detail .bar").evaluate_all("(bars) => bars.map((bar) => bar.style.width)")
    lengths = [float(width.removesuffix("%")) for width in widths]
    assert lengths[0] == pytest.approx(2 * lengths[3], abs=0.1)
    assert lengths[1] == 100
    assert lengths[4:] == [0, 0]


def test_words_are_shaded_by_how_strongly_the_neuron_fires(page: Page) -> None:
    show(page)
    assert page.inner_text("#detail .context") == "not much here but there"
    assert page.inner_text("#detail .context mark") == "here"
    weak, negative, half, full = shades(page)
    assert weak == negative == 0
    assert half == pytest.approx(full / 2, abs=0.01)
    assert 0.2 < full < 0.6
    titles = page.locator(".context span, .context mark").evaluate_all(
        "(words) => words.map((word) => word.title)"
    )
    assert titles == ["", "activation -0.200", "activation 0.812", "activation 0.500", "activation 1.00"]


@pytest.mark.parametrize("activations", [None, [0.1, 0.2], [0.1] * 6])
def test_without_an_activation_for_every_word_nothing_is_shaded(page: Page, activations: Any) -> None:
    show(page, exemplars=exemplar(activations=activations))
    assert page.inner_text("#detail .context") == "not much here but there"
    assert page.locator(".context span, .context [title]").count() == 0


def test_nothing_is_shaded_where_the_neuron_never_fires(page: Page) -> None:
    show(page, exemplars=exemplar(activations=[-1, 0, None, -2, -3]))
    assert shades(page) == [0, 0, 0, 0]


def test_the_first_and_the_last_word_have_one_side_only(page: Page) -> None:
    show(page, exemplars=exemplar(before="", activations=[0.5, 1, 0]))
    assert page.inner_text("#detail .context").strip() == "here but there"
    assert shades(page)[0] > 0.2
    show(page, exemplars=exemplar(before="", after="", activations=[0.5]))
    assert page.inner_text("#detail .context").strip() == "here"


def test_words_are_only_text(page: Page) -> None:
    evil = "<img/src=x/onerror=hacked=1>"
    item = dict.fromkeys(("output", "label", "document", "before", "word", "after"), evil)
    side = {"name": evil, "color": "#000"}
    show(
        page,
        title=evil,
        sentence=evil,
        sides=[side, side],
        beyond=[{**side, "words": [evil]}],
        tables=[{**RECORD["tables"][0], "title": evil, "note": evil, "rows": [[evil, 0.1, 0.2]]}],
        exemplars=[{**exemplar(**item, activations=[1, 1, 1])[0], "name": evil}],
        stages=[{**RECORD["stages"][0], "name": evil}],
    )
    assert (page.text_content("#detail") or "").count(evil) == 16
    assert page.locator("#detail img").count() == 0
    page.evaluate("(text) => detail.say(text)", evil)
    assert page.inner_text("#detail") == evil
    assert not page.evaluate("'hacked' in window")


def test_the_place_may_change(page: Page) -> None:
    page.evaluate("detail.say('nothing yet')")
    page.evaluate("detail.element = document.getElementById('other')")
    show(page)
    assert page.inner_text("#detail") == "nothing yet"
    assert page.inner_text("#other .lead") == "Prefers 3 tokens."
