from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from txray.capture import Layer, collect, estimate
from txray.capture.estimate import bytes_of, free_memory, require_memory
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.capture.selection import Selection
from txray.errors import UsageError
from txray.preferences import fold_of

LINEAR = "encoder.layers.*.linear1"


def needed(features: list[str], selection: str = "all", **options: Any) -> int:
    reader = adapter_for(transformer(), outputs=False)
    sites = hook_points_for(reader, [LINEAR], Selection.parse(selection))
    asked = {"folds": 16, "memory": None, **options}
    return require_memory(sites, reader, corpus_of(documents()), features, **asked)


def test_the_estimate_is_the_cells_that_occur() -> None:
    pairs = {
        kind: len(
            {
                (fold_of(document), feature.lower() if kind == "token" else feature)
                for document in documents()
                for feature in (document.words if kind == "token" else document.annotations["pos"])
            }
        )
        for kind in ("token", "pos")
    }
    assert needed(["token"]) == (56 * 24 + 28 * 12) * pairs["token"]
    assert needed(["token", "pos", "subword"]) == bytes_of([12, 12], pairs.values())
    assert needed(["token"], "max-1") == needed(["token"], "max-position") == 0


def test_what_cannot_fit_is_refused_before_the_model_runs() -> None:
    model = small_model()
    runs = []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    model.rnn.register_forward_pre_hook(lambda *_: runs.append(1))
    layers: list[Any] = [Layer("rnn", selection="all"), Layer("embedding", selection="threshold=0.1")]
    with pytest.raises(UsageError) as caught:
        collect(
            model,
            corpus_of(documents()),
            layers=layers,
            feature_types=["token", "pos"],
            name="s",
            memory=290_000,
        )
    told = str(caught.value)
    assert len(runs) == 3, "only the dry runs"
    assert "\n" not in told
    assert re.search(
        r"needs about [\d.]+ (KiB|MiB) of memory for [\d,]+ \(fold, token\), \d+ \(fold, pos\) pairs", told
    )
    assert "24 neurons, 283 KiB may be used" in told
    for way in (
        "selection='max-1'",
        "1 of the 2 layers at a time",
        "folds=1 (",
        "only the feature type 'pos' (",
    ):
        assert way in told


def test_each_way_out_that_is_named_works() -> None:
    model = small_model()

    def tried(**changes: Any) -> None:
        asked: dict[str, Any] = {
            "layers": ["rnn"],
            "feature_types": ["token", "pos"],
            "selection": "all",
            "name": "s",
            "memory": 40_000,
        }
        collect(model, corpus_of(documents()), **{**asked, **changes})

    with pytest.raises(UsageError, match="options that fit"):
        tried()
    tried(folds=1)
    tried(feature_types=["pos"])
    tried(selection="max-5")


def test_free_memory_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 28 < free_memory() < 1 << 45
    monkeypatch.setattr(estimate, "free_memory", lambda: 1_000)
    with pytest.raises(UsageError, match="800 bytes may be used"):
        needed(["token"])


def test_a_container_leaves_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_CGROUP", tmp_path)
    machine = free_memory()
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert free_memory() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > machine / 2


MEASURE = """
import importlib, sys
from txray import collect, demo_corpus
from txray.corpus import Corpus
from txray.models import language_model

def peak():
    # Not ru_maxrss, which begins with what the parent of the process had.
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

module = importlib.import_module("txray.capture.single_pass")
estimates = []
known = module.require_memory
module.require_memory = lambda *asked: estimates.append(known(*asked)) or estimates[-1]
corpus = Corpus.from_documents("c", tuple(demo_corpus("reviews", words=20_000)))
model = language_model("lstm", corpus, embedding=600, hidden=600)
asked = {"layers": ["rnn", "embedding"], "feature_types": ["token", "pos"], "name": "s", "batch_positions": 2_048}
collect(model, corpus, **asked).save(sys.argv[2])
before = peak()
collect(model, corpus, selection=sys.argv[1], **asked).save(sys.argv[2])
print(peak() - before, estimates[-1])
"""


@pytest.mark.parametrize("selection", ["all/absolute", "all", "threshold=0.03"])
def test_no_more_memory_is_taken_than_was_estimated(selection: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, selection, str(tmp_path / "stage")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken, estimated = map(int, done.stdout.split())
    assert estimated > 300 << 20, "too small to be seen beside everything else"
    assert taken < estimated + (90 << 20), f"{taken >> 20} MiB taken, {estimated >> 20} MiB estimated"
    if selection == "all/absolute":
        assert taken > estimated / 2
