"""What is embedded in the page."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import plotly.graph_objects as go
import pytest

from txray.web.report.packing import figures_json, packed, packed_json, policy, script, style

HOSTILE = "</script><!-- ]]> & \" ' \u2028 \ud800 é"


def test_values_come_back() -> None:
    values = {HOSTILE: [1, None, 0.5, "ü"]}
    block = packed_json(values)
    assert json.loads(gzip.decompress(base64.b64decode(block))) == values


def test_a_block_has_no_character_that_means_something_in_html() -> None:
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", packed(HOSTILE.replace("\ud800", "")))
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", packed_json([HOSTILE]))


def test_same_values_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = packed("text")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert packed("text") == first


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        packed_json([float("nan")])


def test_webgl_scatters_become_svg_and_keep_their_data() -> None:
    figure = go.Figure([go.Scattergl(x=[1, 2], y=[3, 4], customdata=[7, 8]), go.Bar(x=["a"], y=[1])])
    (shown,) = json.loads(figures_json([figure]))
    assert [trace["type"] for trace in shown["data"]] == ["scatter", "bar"]
    again = go.Figure(shown)
    assert list(again.data[0].customdata) == [7, 8]
    assert figure.data[0].type == "scattergl"


def test_policy_allows_these_scripts_only() -> None:
    text = policy("one();", "zwei('ü');")
    directives = dict(part.strip().split(" ", 1) for part in text.split(";"))
    wanted = {
        "'sha256-" + base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() + "'"
        for each in ("one();", "zwei('ü');")
    }
    assert set(directives["script-src"].split()) == wanted
    assert directives["default-src"] == "'none'"
    assert "connect-src" not in directives


def test_own_files_do_not_break_out_of_their_elements() -> None:
    assert "</script" not in script().lower()
    assert "<!--" not in script()
    assert "</style" not in style().lower()
    assert "\r" not in script()


def test_own_scripts_insert_no_html() -> None:
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    assert [name for name in forbidden if name in script()] == []
