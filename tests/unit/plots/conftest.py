"""Text to draw figures of."""

from __future__ import annotations

import pytest

from tests.unit.plots.builders import HOSTILE, Text, plain_words


@pytest.fixture(scope="session")
def text() -> Text:
    """Ordinary words, 40 neurons."""
    return Text(plain_words(300))


@pytest.fixture(scope="session")
def hostile() -> Text:
    """Words that try to be more than words; 12 neurons."""
    return Text([*HOSTILE, *plain_words(40)], n_words=3000, n_neurons=12)
