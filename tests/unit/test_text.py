from __future__ import annotations

import pytest

from txray.text import is_text


@pytest.mark.parametrize("value", ["", "a", "é\x00", "😀", "\ud7ff\ue000"])
def test_what_utf_8_can_hold_is_text(value: str) -> None:
    assert is_text(value)


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb", "\ud83d\ude00", b"a", None, 1])
def test_half_of_a_surrogate_pair_and_other_types_are_not(value: object) -> None:
    assert not is_text(value)
