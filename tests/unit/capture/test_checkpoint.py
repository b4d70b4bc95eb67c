"""Interrupted collections go on to the same bytes; what does not fit is refused."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import torch

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from txray.capture import collect
from txray.capture.checkpoint import FolderCheckpoints
from txray.corpus import Corpus, Document
from txray.errors import OutputError, StageError, UsageError
from txray.models import TextModel, Vocabulary, save_model
from txray.preferences import Stage
from txray.preferences.manifest import CHECKPOINT

LINEAR = "encoder.layers.0.linear1"


class StopError(Exception):
    """A stand-in for the power cut."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pools, so that batches are made while documents are still read, and rows that are sorted in early."""
    monkeypatch.setattr("txray.capture.text.batching._POOL_BATCHES", 2)
    monkeypatch.setattr("txray.preferences.row_buffer._PENDING_ROWS", 50)


def stopping_after(n: int, made: list[Document], *, passes: int = 0) -> Corpus:
    """The same corpus, but reading it breaks off after n documents, once so many passes went well."""
    whole = corpus_of(made)
    left = passes

    def documents(skipped: Any) -> Iterator[Document]:
        nonlocal left
        left -= 1
        for number, document in enumerate(made):
            if number == n and left < 0:
                raise StopError
            yield document

    return Corpus(whole.name, documents, fingerprint=lambda: whole.fingerprint)


@pytest.mark.parametrize("selection", ["max-1", "all", "max-position", "max-2/zscore"])
def test_an_interrupted_collection_goes_on_to_the_same_bytes(selection: str, tmp_path: Path) -> None:
    made = documents(60)
    model = transformer(max_length=30)
    kinds = ["token", "pos"] if selection == "max-position" else ["token", "pos", "subword"]
    asked: dict[str, Any] = {
        "layers": [LINEAR, "embedding"],
        "feature_types": kinds,
        "selection": selection,
        "name": "s",
        "batch_positions": 100,
        "checkpoint_seconds": 0,
    }
    collect(model, corpus_of(made), **asked).save(tmp_path / "whole")
    for n in (9, 25, 41, 59):
        with pytest.raises(StopError):
            # The dry run takes a few words, another pass counts them; with `all`, one more estimates the memory.
            corpus = stopping_after(n, made, passes=2 + int(selection == "all"))
            collect(model, corpus, **asked, checkpoint=tmp_path / "cut")
        assert [file.name for file in (tmp_path / "cut").iterdir()] == [CHECKPOINT]
        with pytest.raises(StageError, match="holds an unfinished collection"):
            Stage.load(tmp_path / "cut")
    forwards = 0

    def count(module: Any, arguments: Any) -> None:
        nonlocal forwards
        ids = arguments[0]
        forwards += len(ids) if ids.shape[1] > 17 else 0

    model.module.register_forward_pre_hook(count)
    collect(model, corpus_of(made), **asked, checkpoint=tmp_path / "cut").save(tmp_path / "cut")
    if "zscore" not in selection:  # there the interruptions were in the first of two passes
        assert forwards <= 12 + 7, "the model reads again what was read before"  # 7: to try out padding
    assert_same_files(tmp_path / "whole", tmp_path / "cut")


def assert_same_files(one: Path, other: Path) -> None:
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in other.iterdir())
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_checkpoints_are_made_when_they_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("txray.capture.checkpoint.time.monotonic", lambda: clock[0])
    checkpoints = FolderCheckpoints(tmp_path / "s", {}, seconds=10)
    checkpoint = checkpoints.for_pass("tallies", [])
    assert checkpoint.restore() == 0
    for clock[0], batches, stored in ((9.9, 99, 0), (10.0, 2, 2), (19.9, 99, 2), (20.1, 4, 4)):
        checkpoint.offer(batches)
        assert checkpoints.state("tallies") == (stored, {})
    assert FolderCheckpoints(tmp_path / "s", {}, seconds=10).for_pass("tallies", []).restore() == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"selection": "all"}, "with layers="),
        ({"feature_types": ["token"]}, r"with feature_types=\['token', 'pos'\] \(requested: \['token'\]\)"),
        ({"exemplars": 3}, r"with exemplars=8 \(requested: 3\)"),
        ({"folds": 4}, "with folds=16"),
        ({"batch_positions": 50}, "with batch_positions=100"),
        ({"name": "other"}, "with name='s'"),
        ({"model": small_model("gru")}, "that differs in model"),
        ({"corpus": corpus_of(documents(59))}, "that differs in corpus"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else None,
)
def test_another_request_is_refused_with_the_difference(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    made = documents(60)
    asked: dict[str, Any] = {
        "model": small_model(),
        "feature_types": ["token", "pos"],
        "name": "s",
        "batch_positions": 100,
        "checkpoint": tmp_path / "s",
        "checkpoint_seconds": 0,
    }
    with pytest.raises(StopError):
        collect(corpus=stopping_after(59, made), **asked)
    before = (tmp_path / "s" / CHECKPOINT).read_bytes()
    with pytest.raises(UsageError, match=says):
        collect(**{"corpus": corpus_of(made), **asked, **change})
    assert (tmp_path / "s" / CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    made = documents(60)
    asked: dict[str, Any] = {"name": "s", "batch_positions": 100, "checkpoint_seconds": 0}
    with pytest.raises(StopError):
        collect(small_model(), stopping_after(59, made), **asked, checkpoint=tmp_path / "s")
    file = tmp_path / "s" / CHECKPOINT
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", b"garbage", content[:100], content[:-5], bytes(flipped)):
        file.write_bytes(damaged)
        with pytest.raises(StageError, match=r"checkpoint\.safetensors: damaged") as caught:
            collect(small_model(), corpus_of(made), **asked, checkpoint=tmp_path / "s")
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == damaged


MOMENTS = int(os.environ.get("TXRAY_KILLS", "3"))
"""How often the process is killed; set it higher for a thorough run."""


@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(selection: str, tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "model")

    def command(out: Path) -> list[str]:
        arguments = ("collect", tmp_path / "model", "-f", "demo", "-t", "reviews", "--max-words", 80_000)
        kinds = (
            "--feature-type",
            "token",
            "--feature-type",
            "pos",
            "--selection",
            selection,
            "--checkpoint",
            "0.05",
            "--name",
            "s",
            "--out",
            out,
        )
        return [sys.executable, "-m", "txray", *map(str, (*arguments, *kinds))]

    started = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    took = time.monotonic() - started
    chance = random.Random(4)
    for moment in range(MOMENTS):
        out = tmp_path / f"killed-{moment}"
        while not (out / "manifest.json").exists():
            process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                _, said = process.communicate(timeout=chance.uniform(0.3, 1.1) * took)
                assert process.returncode == 0, said
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                process.stderr.close()  # type: ignore[union-attr]
                left = {file.name for file in out.glob("[!.]*")} if out.exists() else set()
                assert left <= {CHECKPOINT} or "manifest.json" in left
        assert_same_files(tmp_path / "whole", out)


def test_a_folder_of_something_else_is_refused_before_it_would_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists and holds no"):
        collect(small_model(), corpus_of(documents(3)), name="s", checkpoint=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def reading(shift: int, **changes: Any) -> Any:
    """A text model over one fixed module, whose encode closes over a number."""
    torch.manual_seed(0)
    return TextModel(
        torch.nn.Sequential(torch.nn.Embedding(50, 8)),
        lambda words: [(len(word) + shift) % 50 for word in words],
        **changes,
    )


@pytest.mark.parametrize(
    "other",
    [
        reading(1),
        reading(0, forward=lambda module, ids, mask: module(ids + 0)),
        reading(0, padding=3),
        reading(0, min_length=5),
        reading(0, reads_padding=True),
    ],
    ids=["encode", "forward", "padding", "shortest", "reads padding"],
)
def test_a_model_that_reads_otherwise_does_not_go_on(other: Any, tmp_path: Path) -> None:
    made = documents(60)
    asked: dict[str, Any] = {"name": "s", "batch_positions": 100, "checkpoint_seconds": 0}
    asked |= {"layers": ["0"], "checkpoint": tmp_path / "s"}
    with pytest.raises(StopError):
        collect(reading(0), stopping_after(59, made, passes=2), **asked)
    with pytest.raises(UsageError, match="differs in reading code|with reading[.=]"):
        collect(other, corpus_of(made), **asked)
    collect(reading(0), corpus_of(made), **asked)


def test_other_words_of_a_model_do_not_go_on(tmp_path: Path) -> None:
    made = documents(60)
    asked: dict[str, Any] = {"name": "s", "batch_positions": 100, "checkpoint_seconds": 0}
    asked |= {"checkpoint": tmp_path / "s"}
    with pytest.raises(StopError):
        collect(small_model(), stopping_after(59, made), **asked)
    other = small_model()
    first, second, *rest = other.vocabulary.words
    other.vocabulary = Vocabulary((first, second, *reversed(rest)), other.vocabulary.lowercase)
    with pytest.raises(UsageError, match="that differs in"):
        collect(other, corpus_of(made), **asked)


def test_what_cannot_be_told_apart_has_no_checkpoint(tmp_path: Path) -> None:
    lock = Lock()

    def encode(words: Any) -> list[int]:
        with lock:
            return [len(word) % 50 for word in words]

    model = TextModel(torch.nn.Sequential(torch.nn.Embedding(50, 8)), encode)
    asked: dict[str, Any] = {"layers": ["0"], "name": "s"}
    with pytest.raises(UsageError, match=r"_thread\.lock.*attribute `fingerprint`"):
        collect(model, corpus_of(documents(5)), **asked, checkpoint=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    collect(model, corpus_of(documents(5)), **asked)
    encode.fingerprint = "1"  # type: ignore[attr-defined]
    collect(model, corpus_of(documents(5)), **asked, checkpoint=tmp_path / "s")
