"""Progress bars: one display, with work within other work on a line below."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from txray import progress as module
from txray.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=screen, force_terminal=True, width=120)
    )
    return screen


def test_work_within_work_is_a_line_below(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHOW_AFTER", -1.0)
    with progress("replaying [b]", 3, unit="checkpoints") as outer:
        outer()
        with progress("collecting", unit="words") as inner:
            inner(1_234)
            module._LIVE[0].refresh()
    shown = terminal.getvalue()
    for text in ("replaying [b]", "1 of 3 checkpoints", "collecting", "1,234 words"):
        assert text in shown, text
    assert module._LIVE == []


def test_what_is_soon_over_is_not_shown(terminal: Terminal) -> None:
    with progress("replaying", 3, unit="checkpoints"), progress("collecting") as inner:
        inner(5)
        module._LIVE[0].refresh()
    assert "replaying" in terminal.getvalue()
    assert "collecting" not in terminal.getvalue()


def test_an_error_ends_the_display(terminal: Terminal) -> None:
    with pytest.raises(ValueError, match="broken"), progress("a", 2), progress("b", 2):
        raise ValueError("broken")
    assert module._LIVE == []


def test_without_a_terminal_nothing_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("a", 2) as advance, progress("b", 2) as inner:
        advance()
        inner()
    assert capfd.readouterr() == ("", "")
