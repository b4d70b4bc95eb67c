from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator

import pytest
import torch

from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_collect import same_preferences
from txray.capture import collect
from txray.capture.text.prefetch import prefetched


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "txray-prefetch"]


def test_everything_comes_in_order_from_another_thread() -> None:
    made_by = set()

    def items() -> Iterator[int]:
        for number in range(50):
            made_by.add(threading.current_thread())
            yield number

    assert list(prefetched(items())) == list(range(50))
    assert threading.current_thread() not in made_by
    assert len(made_by) == 1
    assert not workers()


def test_no_more_than_asked_for_is_made_ahead() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    for number in prefetched(items(), ahead=3):
        assert len(made) <= number + 1 + 3 + 1  # one more is in the hands of the thread


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise KeyError("third")

    received = []
    with pytest.raises(KeyError, match="third"):
        for item in prefetched(items()):
            received.append(item)  # noqa: PERF402 (what came before the error is wanted)
    assert received == [1, 2]
    assert not workers()


def test_a_reader_that_stops_stops_the_thread() -> None:
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.append(True)

    ahead = prefetched(items())
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]
    assert not workers()


def test_collections_beside_another_device_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(documents())
    expected = collect(small_model(), corpus, feature_types=["token", "pos"], name="s")
    source = importlib.import_module("txray.capture.source")
    monkeypatch.setattr(source, "input_device", lambda module: torch.device("meta"))
    threads = []
    original = source.prefetched
    monkeypatch.setattr(source, "prefetched", lambda made: threads.append(1) or original(made))
    found = collect(small_model(), corpus, feature_types=["token", "pos"], name="s")
    assert threads == [1]
    same_preferences(expected, found)
    assert found.manifest == expected.manifest
