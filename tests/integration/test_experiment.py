"""The experiment through its command: killed and resumed, and at the size of the paper."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import polars as pl
import pytest

from tests.builders.processes import forking, start

SMALL = (
    *("--pretraining-words", "3000", "--evaluation-words", "300", "--collection-words", "2000"),
    *("--epochs", "1", "--classifier-epochs", "1", "--training-reviews", "20"),
    *("--validation-reviews", "8", "--test-reviews", "8"),
    *("--pruning-reviews", "8", "--curve-reviews", "8", "--random-sets", "2"),
)
VARIABLES = {"OMP_NUM_THREADS": "1", "BROWSER_PATH": "/no/browser"}
"""Without pictures of figures, which take longest and are drawn in the tests of a smaller experiment."""


@pytest.fixture(scope="module", autouse=True)
def forks() -> Iterator[None]:
    """One import of torch and Lightning for all experiments."""
    with forking():
        yield


def begin(preset: str, out: Path, *options: str) -> BaseProcess:
    """Start an experiment; it says what it does in a file beside its folder."""
    arguments = ["experiment", "--preset", preset, "--out", str(out), *SMALL, *options]
    return start(arguments, out.with_suffix(".log"), VARIABLES)


def finish(preset: str, out: Path, *options: str) -> str:
    """Run an experiment to its end; what it says."""
    process = begin(preset, out, *options)
    process.join()
    said = out.with_suffix(".log").read_text()
    assert process.exitcode == 0, said
    return said


def kill_when(out: Path, appears: str) -> None:
    """Start an experiment and kill it, with no chance to clean up, as soon as a path is there."""
    process = begin("demo", out)
    deadline = time.monotonic() + 300
    while not (out / appears).exists():
        assert process.is_alive(), f"ended before {appears} was there"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def results_of(folder: Path) -> dict[str, bytes]:
    names = [
        *folder.glob("stages/*/*"),
        *(path for path in folder.glob("comparisons/**/*") if path.is_file()),
        *folder.glob("pruning/*/*"),
        folder / "results.md",
        folder / "report.html",
    ]
    return {str(file.relative_to(folder)): file.read_bytes() for file in names}


def test_a_killed_experiment_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert "collecting stage untrained" in finish("demo", whole)
    for moment in ("language-model/epoch-001", "classifier/epoch-000", "stages/zero-shot", "pruning/runs"):
        kill_when(killed, moment)
        assert not (killed / "report.html").exists()
    killed.with_suffix(".log").unlink()
    said = finish("demo", killed)
    assert "collecting stage untrained" not in said, "a finished stage was collected again"
    assert said.splitlines()[-1] == str(killed / "report.html")
    expected, found = results_of(whole), results_of(killed)
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        assert found[name] == content, name
    left = [path.name for path in killed.rglob(".*")]
    assert left == [], "temporary folders of killed runs are removed"


def short_reviews(imdb: Path, folder: Path) -> Path:
    """The shortest of the real reviews: to a model of this size every word takes its time."""
    folder.mkdir()
    for split in ("train", "test"):
        reviews = pl.read_csv(imdb / f"imdb_{split}_25k.csv.gz")
        shortest = reviews.sort(pl.col("text").str.len_chars(), "text").with_columns(
            rank=pl.int_range(pl.len()).over("label")
        )
        # Labels take turns, so that every part of them holds both.
        shortest.filter(pl.col("rank") < 20).sort("rank", "label").drop("rank").write_csv(
            folder / f"imdb_{split}.csv"
        )
    return folder


@pytest.mark.data
def test_the_preset_of_the_paper_runs_on_a_cpu(data_folder: Path, tmp_path: Path) -> None:
    """One epoch of some words; the sizes of the model are those of the paper."""
    options = (
        *("--wikitext", str(data_folder / "wikitext-2")),
        *("--imdb", str(short_reviews(data_folder / "imdb", tmp_path / "imdb"))),
        *("--pretraining-words", "1500", "--evaluation-words", "150", "--collection-words", "500"),
        *("--training-reviews", "8", "--validation-reviews", "4", "--test-reviews", "4"),
        *("--pruning-reviews", "4", "--curve-reviews", "2"),
    )
    treebank = tmp_path / "treebank"
    treebank.mkdir()
    # The smaller dev part stands in for the training part: the tagger is not what is tested here.
    (treebank / "en-train.conllu.gz").symlink_to(data_folder / "ud-ewt" / "en_ewt-ud-dev.conllu.gz")
    finish("paper", tmp_path / "out", *options, "--conllu", str(treebank), "--device", "cpu")
    manifest = json.loads((tmp_path / "out" / "stages" / "unsup" / "manifest.json").read_text())
    assert manifest["neurons"] == {"rnn": 1500}
    assert manifest["words"] == 500
    assert "of 1500" in (tmp_path / "out" / "results.md").read_text()
    assert (tmp_path / "out" / "report.html").stat().st_size < 15_000_000
