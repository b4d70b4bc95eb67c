"""Addresses: what they say comes back as it was, and what they say wrongly is left out."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray.analysis import CONFIDENT_STATES
from txray.web.dashboard.url_state import PAGES, RANGES, SORTS, Range, UrlState, with_defaults

texts = st.text(st.characters(codec="utf-8"), max_size=12)
bounds = st.none() | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.6g}"))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[Range, ...]:
    found = []
    for column in RANGES:
        low, high = draw(st.tuples(bounds, bounds)) if draw(st.booleans()) else (None, None)
        if (low, high) != (None, None):
            found.append(Range(column, low, high))
    return tuple(found)


views = st.builds(
    UrlState,
    page=st.sampled_from(list(PAGES)),
    **dict.fromkeys(
        ("before", "after", "feature_type", "layer", "layer_after", "prefers", "top", "word"), texts
    ),
    states=st.sets(st.sampled_from(CONFIDENT_STATES)).map(
        lambda chosen: tuple(state for state in CONFIDENT_STATES if state in chosen)
    ),
    ranges=ranges(),
    sort=st.sampled_from(SORTS),
    descending=st.booleans(),
    neuron=st.none() | st.integers(0, 999_999_999),
)


@given(views)
def test_an_address_reads_back_as_the_view_it_was_made_of(view: UrlState) -> None:
    assert UrlState.parse(view.path, view.search) == view
    assert view.address == view.path + view.search
    assert UrlState.parse(view.path, view.search.removeprefix("?")) == view


def test_the_usual_view_has_the_shortest_address() -> None:
    assert UrlState().address == "/"
    assert UrlState(page="feature", word="a b&c=d#é").address == "/feature?word=a%20b%26c%3Dd%23%C3%A9"
    assert UrlState(sort="layer", descending=False).address == "/?sort=layer"
    assert UrlState(sort="change", descending=False).address == "/?sort=change"


@given(
    st.none() | st.text(max_size=20),
    st.none()
    | st.text(max_size=60)
    | st.lists(
        st.tuples(
            st.sampled_from(["before", "state", "sort", "neuron", "word", "q_value", "mass_after", "x"]),
            st.text(max_size=8)
            | st.sampled_from(["nan..inf", "1e999..", "..", "-", "9" * 5000, "-0..0", "²"]),
        )
    ).map(lambda said: "?" + urlencode(said, quote_via=quote, errors="replace")),
)
def test_no_address_is_too_malformed_to_read(path: str | None, search: str | None) -> None:
    view = UrlState.parse(path, search)
    assert UrlState.parse(view.path, view.search).page == view.page
    assert view.page in PAGES
    assert view.sort in SORTS
    assert set(view.states) <= set(CONFIDENT_STATES)
    assert view.neuron is None or 0 <= view.neuron < 10**9
    for each in view.ranges:
        assert each.column in RANGES
        assert all(end is None or abs(end) < float("inf") for end in (each.low, each.high))


@pytest.mark.parametrize(
    "search",
    [
        "?q_value=nan..inf",
        "?q_value=1e999..",
        "?q_value=..-1e999",
        "?q_value=..",
        "?q_value=0.05",
        "?q_value=a..b",
        "?q_value=",
        "?neuron=99999999999999999999",
        "?neuron=-1",
        "?neuron=1.0",
        "?neuron=%C2%B2",
        "?sort=-nothing",
        "?sort=--layer",
        "?sort=",
        "?state=changed,,x",
        "?place=1..2",
        "?page=neuron",
        "?%ff=%fe",
        "?&&==&",
    ],
)
def test_what_an_address_says_wrongly_is_left_out(search: str) -> None:
    assert UrlState.parse("/", search) == UrlState()


def test_unknown_pages_are_the_overview() -> None:
    assert UrlState.parse("/nowhere", "").page == "overview"
    assert UrlState.parse("//evil.example/neuron/", "").page == "neuron"
    assert UrlState.parse(None, None) == UrlState()


def test_of_a_repeated_word_the_last_counts() -> None:
    assert UrlState.parse("/", "?before=a&before=b&neuron=1&neuron=2") == UrlState(before="b", neuron=2)


def test_surrogates_become_something_that_can_be_sent() -> None:
    view = UrlState.parse("/feature", "?word=\ud800")
    assert UrlState.parse(view.path, view.search).word.isascii() or "\ufffd" in view.word
    assert UrlState(word="\udfff").search == "?word=%3F"


def test_half_of_a_range_is_kept() -> None:
    view = UrlState.parse("/", "?q_value=..0.05&mass_after=10..&length_after=2..3")
    assert view.ranges == (
        Range("q_value", None, 0.05),
        Range("length_after", 2, 3),
        Range("mass_after", 10, None),
    )


def test_states_are_read_in_their_own_order() -> None:
    assert UrlState.parse("/", "?state=gained,shared,gained").states == ("shared", "gained")


@pytest.mark.parametrize(
    "change",
    [{"states": ("shared",)}, {"ranges": (Range("hellinger", 0, 1),)}, {"prefers": "the"}, {"top": "NN"}],
)
def test_unfiltered_takes_every_filter_off_and_nothing_else(change: dict[str, Any]) -> None:
    view = UrlState(layer="rnn", before="a", sort="layer", neuron=3, word="w")
    assert not view.is_filtered
    assert view.replace(**change).is_filtered
    assert view.replace(**change).unfiltered() == view


def test_completed_fills_in_what_an_address_leaves_out() -> None:
    assert with_defaults(UrlState(), ["a", "b", "c"], ["pos", "token"]) == (
        UrlState(before="b", after="c", feature_type="token"),
        [],
    )
    assert with_defaults(UrlState(), ["a"], ["pos"]) == (
        UrlState(before="a", after="a", feature_type="pos"),
        [],
    )
    named = UrlState(before="c", after="a", feature_type="pos", layer="x")
    assert with_defaults(named, ["a", "b", "c"], ["pos", "token"]) == (named, [])


def test_completed_remarks_on_what_is_not_there() -> None:
    asked = UrlState(before="gone", after="b", feature_type="smell")
    view, remarks = with_defaults(asked, ["a", "b", "c"], ["token", "pos"])
    assert (view.before, view.after, view.feature_type) == ("b", "b", "token")
    assert len(remarks) == 2
    assert "no stage “gone”" in remarks[0]
    assert "“b” is shown instead" in remarks[0]
    assert "no feature type “smell”" in remarks[1]


def test_an_address_holds_each_field_once() -> None:
    view = UrlState(before="a", after="b", states=("shared", "gained"), ranges=(Range("hellinger", 0, 1),))
    assert all(len(values) == 1 for values in parse_qs(view.search.removeprefix("?")).values())
    assert dict(parse_qsl(view.search.removeprefix("?")))["state"] == "shared,gained"
