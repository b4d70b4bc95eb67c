"""A small Ray cluster for tests, and models and corpora that misbehave in its workers only."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.builders.texts import documents
from txray.corpus import Corpus, Document
from txray.errors import CorpusError

DRIVER = os.getpid()
"""Sent along with what is defined here; workers have numbers of their own."""


@contextmanager
def local_cluster() -> Iterator[Any]:
    """Two processors, little memory, no dashboard, no word sent to anybody."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=120 << 20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
    )
    try:
        yield ray
    finally:
        ray.shutdown()


class Scripted:
    """Documents that do something when a worker reaches one of them; in the driver they are just documents.

    Attributes:
        folder: where the workers tell what they do: files are all that they share with the test.
        at: number of the document.
    """

    def __init__(self, folder: Path, n: int = 60, at: int = 0, driver: int = DRIVER) -> None:
        self.folder = folder
        self.at = at
        self.driver = driver
        self.made = documents(n)

    def corpus(self) -> Corpus:
        """As a corpus."""
        return Corpus("scripted", self._documents, fingerprint=lambda: "0" * 64)

    def _documents(self, skipped: Counter[str]) -> Iterator[Document]:
        for number, document in enumerate(self.made):
            if number == self.at and os.getpid() != self.driver:
                self.act()
            yield document

    def act(self) -> None:
        """What a worker does at the document."""


class WaitsOnce(Scripted):
    """The first worker to come here tells its number and waits for its end; others pass."""

    def act(self) -> None:
        mine = self.folder / "waits"
        try:
            mine.touch(exist_ok=False)
        except FileExistsError:
            return
        (self.folder / "pid").write_text(str(os.getpid()))
        (self.folder / "pid").rename(self.folder / "here")
        time.sleep(600)


class EndsAlways(Scripted):
    """No worker survives this document."""

    def act(self) -> None:
        os._exit(1)


class Refuses(Scripted):
    """A document that is malformed."""

    def act(self) -> None:
        raise CorpusError("reviews.txt, line 7: not UTF-8; convert it")


class Stops(Scripted):
    """Raises an error of the user's own code while the file `stop` is there."""

    def act(self) -> None:
        if (self.folder / "stop").exists():
            raise ZeroDivisionError("the power is cut")
