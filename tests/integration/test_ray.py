"""Collections on workers equal the single pass, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from tests.integration.clusters import EndsAlways, Refuses, Scripted, Stops, WaitsOnce, local_cluster
from tests.unit.capture.test_collect import same_preferences
from txray import collect, engines
from txray.corpus import Corpus, Document
from txray.engines.cluster import Cluster
from txray.errors import (
    CaptureError,
    CorpusError,
    DominanceWarning,
    EngineError,
    UnknownNameError,
    UsageError,
)
from txray.models import TextModel
from txray.preferences import Stage
from txray.preferences.manifest import CHECKPOINT, MANIFEST_KEYS

LINEAR = "encoder.layers.0.linear1"


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[Any]:
    """One cluster for all tests."""
    with local_cluster() as connected:
        yield connected


def same(whole: Stage, other: Stage) -> None:
    """Counts and accounts exactly, sums to the rounding of the model's own arithmetic."""
    assert other.layers == whole.layers
    for layer in whole.layers:
        same_preferences(*(only(stage, layer) for stage in (whole, other)), atol=1e-5)
    assert other.manifest == whole.manifest
    assert other.tags.equals(whole.tags)
    columns = ["layer", "neuron", "rank", "document", "position", "word"]
    assert other.exemplars.select(columns).equals(whole.exemplars.select(columns))


def only(stage: Stage, layer: str) -> Stage:
    return Stage(stage.name, {k: p for k, p in stage.collected.items() if k[0] == layer}, stage.exemplars)


def ray_engine(**options: Any) -> engines.Ray:
    """One worker, because every worker takes seconds to start; where two are needed, tests say so."""
    return engines.Ray(**{"workers": 1, "shards": 3, **options})


@pytest.mark.parametrize("shards", [1, 8])
def test_the_built_in_model(shards: int) -> None:
    corpus = corpus_of(documents(60))
    asked: dict[str, Any] = {
        "feature_types": ["token", "pos", "output", "label"],
        "name": "s",
        "max_words": 700,
    }
    whole = collect(small_model(), corpus, **asked)
    assert whole.manifest["words"] == 700
    same(whole, collect(small_model(), corpus, **asked, engine=ray_engine(workers=2, shards=shards)))


@pytest.mark.parametrize("selection", ["all", "max-2/zscore"])
def test_a_text_model(selection: str, tmp_path: Path) -> None:
    corpus = corpus_of(documents(50))
    kinds = ["token", "pos", "subword"]
    asked: dict[str, Any] = {"layers": [LINEAR, "embedding"], "feature_types": kinds, "selection": selection}
    whole = collect(transformer(max_length=30), corpus, name="s", **asked)
    found = collect(transformer(max_length=30), corpus, name="s", **asked, engine=ray_engine(shards=5))
    assert found.scales.equals(whole.scales)
    same(whole, found)
    # In memory of its own: the cluster's may go.
    preferences = found.preferences(layer="embedding")
    assert preferences.sum.base is None
    found.save(tmp_path / "s")
    assert Stage.load(tmp_path / "s").preferences(layer="embedding").words == preferences.words


def test_scales_of_another_stage_are_used() -> None:
    corpus = corpus_of(documents(30))
    asked: dict[str, Any] = {"layers": ["embedding"], "selection": "max-1/zscore", "name": "s"}
    other = collect(transformer(), corpus_of(documents(20, seed=5)), **asked)
    whole = collect(transformer(), corpus, **asked, scales=other)
    same(whole, collect(transformer(), corpus, **asked, scales=other, engine=ray_engine(shards=3)))


def test_more_shards_than_documents_and_a_shard_of_a_corpus() -> None:
    corpus = corpus_of(documents(7)).shard(2, 3)
    whole = collect(small_model(), corpus, name="s")
    assert whole.manifest["corpus"]["documents"] == 2
    same(whole, collect(small_model(), corpus, name="s", engine=ray_engine(shards=6)))


def test_annotated_and_tokenized_text(tmp_path: Path) -> None:
    from txray import Tagger, read_corpus

    text = "\n\n".join(" ".join(document.words) for document in documents(20))
    (tmp_path / "a.txt").write_text(text)
    rows = "\n".join(
        f"{i}\t{word}\t_\tNOUN\tNN\t_\t0\troot\t_\t_" for i, word in enumerate(("the", "river", "flows"), 1)
    )
    (tmp_path / "a.conllu").write_text(f"{rows}\n\n" * 3)
    tagger = Tagger.train(tmp_path / "a.conllu", iterations=1)
    corpus = read_corpus("text", tmp_path / "a.txt").annotate(tagger)
    asked: dict[str, Any] = {"feature_types": ["token", "pos"], "name": "s"}
    whole = collect(small_model(), corpus, **asked)
    same(whole, collect(small_model(), corpus, **asked, engine=ray_engine(shards=3)))


def test_what_is_warned_of_is_warned_of_once_and_of_the_whole() -> None:
    model, made = small_model(), documents(20)
    model.embedding.weight.data[:, 3] += 100
    asked: dict[str, Any] = {"layers": ["embedding"], "name": "s"}
    with pytest.warns(DominanceWarning, match="neuron 3 wins 100% of all words") as told:
        found = collect(model, corpus_of(made), **asked, engine=ray_engine(shards=3))
    assert len(told) == 1
    assert found.manifest["warnings"] == [str(told[0].message)]


def kill_when_there(folder: Path) -> threading.Thread:
    """End the worker that waits, as a machine that goes down does."""

    def work() -> None:
        while not (folder / "here").exists():
            time.sleep(0.01)
        os.kill(int((folder / "here").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("kept", [False, True])
def test_a_worker_is_killed_in_the_middle_of_a_shard(kept: bool, tmp_path: Path) -> None:
    corpus = WaitsOnce(tmp_path, at=30).corpus()
    whole = collect(small_model(), corpus, feature_types=["token", "pos"], name="s")
    killer = kill_when_there(tmp_path)
    checkpoint = tmp_path / "stage" if kept else None
    found = collect(
        small_model(),
        corpus,
        feature_types=["token", "pos"],
        name="s",
        checkpoint=checkpoint,
        engine=ray_engine(workers=2, shards=4),
    )
    killer.join(timeout=5)
    assert not killer.is_alive(), "no worker was killed"
    same(whole, found)


def test_a_document_that_no_worker_survives() -> None:
    corpus = EndsAlways(Path(), at=5).corpus()
    with pytest.raises(EngineError, match=r"shard \d/4 was lost 2 times \(") as caught:
        collect(small_model(), corpus, name="s", engine=ray_engine(shards=4, retries=1))
    assert "\n" not in str(caught.value)


def test_an_interrupted_collection_goes_on_from_its_shards(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    # The first document of the last shard: the others have been read by then.
    script = Stops(tmp_path, n=8, at=7)
    asked: dict[str, Any] = {
        "layers": ["embedding"],
        "selection": "max-1/zscore",
        "feature_types": ["token", "pos"],
        "name": "s",
        "checkpoint": tmp_path / "stage",
        "engine": ray_engine(shards=8),
    }
    whole = collect(transformer(), script.corpus(), **{**asked, "checkpoint": None, "engine": None})
    stops_in_the_second_pass = SecondPass(tmp_path, n=8, at=7)
    with pytest.raises(ZeroDivisionError, match="the power is cut"):
        collect(transformer(), stops_in_the_second_pass.corpus(), **asked)
    left = sorted(path.name for path in (tmp_path / "stage" / "shards").iterdir())
    assert left == [f"{number:05d}-of-00008" for number in range(1, 8)]
    assert (tmp_path / "stage" / CHECKPOINT).is_file()
    with pytest.raises(UsageError, match=r"with shards=8 \(requested: 4\)"):
        collect(transformer(), script.corpus(), **{**asked, "engine": ray_engine(shards=4)})
    with pytest.raises(UsageError, match="holds an unfinished collection with shards=8"):
        collect(transformer(), script.corpus(), **{**asked, "engine": None})
    # Of what is kept, one is damaged since; only that one and the last are read again.
    (tmp_path / "stage" / "shards" / "00003-of-00008" / "preferences.token.parquet").write_bytes(b"")
    (tmp_path / "stop").unlink()
    found = collect(transformer(), RecordsShards(tmp_path, n=8).corpus(), **asked)
    same(whole, found)
    assert sorted(path.name for path in tmp_path.glob("read-*")) == ["read-d0-2", "read-d0-7"]
    found.save(tmp_path / "stage")
    assert not (tmp_path / "stage" / "shards").exists()
    same(whole, load_stage_without_more(tmp_path / "stage"))


def load_stage_without_more(folder: Path) -> Stage:
    """The stage, its manifest without what only folders have."""
    stage = Stage.load(folder)
    manifest = {key: value for key, value in stage.manifest.items() if key not in MANIFEST_KEYS}
    return replace(stage, manifest=manifest)


class SecondPass(Stops):
    """Stops where the tallies are collected, not where the scales are measured."""

    def act(self) -> None:
        (self.folder / "passes").mkdir(exist_ok=True)
        (self.folder / "passes" / str(time.monotonic_ns())).touch()
        # Eight shards read past this document in each pass; the last one reads it, twice if it is not empty.
        if len(list((self.folder / "passes").iterdir())) > 8 + 1 + 7:
            super().act()


class RecordsShards(Scripted):
    """Leaves the names of documents that were handed out for reading."""

    def corpus(self) -> Corpus:
        whole = super().corpus()
        folder, driver, shard = self.folder, self.driver, whole.shard

        def recorded(number: int, of: int) -> Corpus:
            found = shard(number, of)

            def all_of_them(skipped: Counter[str]) -> Iterator[Document]:
                for document in found._documents(skipped):
                    if os.getpid() != driver:
                        (folder / f"read-{document.id.replace('/', '-')}").touch()
                    yield document

            recording = Corpus(found.name, all_of_them, fingerprint=lambda: found.fingerprint)
            recording.shard_info = found.shard_info
            return recording

        whole.shard = recorded  # type: ignore[method-assign]
        return whole


def test_stale_shards_of_nobody_knows_what_are_not_used(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "name": "s",
        "checkpoint": tmp_path / "stage",
        "engine": ray_engine(shards=2),
    }
    collect(small_model(), corpus_of(documents(20)), **asked)
    assert len(list((tmp_path / "stage" / "shards").iterdir())) == 2
    (tmp_path / "stage" / CHECKPOINT).unlink()
    other = corpus_of(documents(20, seed=3))
    same(collect(small_model(), other, name="s"), collect(small_model(), other, **asked))


def test_errors_of_a_worker_are_those_of_txray() -> None:
    with pytest.raises(CorpusError) as caught:
        collect(small_model(), Refuses(Path(), at=9).corpus(), name="s", engine=ray_engine())
    assert type(caught.value) is CorpusError
    assert str(caught.value) == "reviews.txt, line 7: not UTF-8; convert it"
    model = small_model()
    model.embedding.weight.data[model.vocabulary.encode(["mill"])] = float("nan")
    made = [Document(f"d{i}", ("the", "mill" if i == 5 else "river")) for i in range(9)]
    with pytest.raises(
        CaptureError, match=r"layer 'rnn': activation nan in document 'd5', word 1 \('mill'\)"
    ):
        collect(model, corpus_of(made), name="s", engine=ray_engine())
    with pytest.raises(CorpusError, match="'nothing': no documents"):
        collect(small_model(), Corpus.from_documents("nothing", []), name="s", engine=ray_engine())
    with pytest.raises(UsageError, match=r"needs about .* of memory .* 1 bytes may be used"):
        collect(
            small_model(),
            corpus_of(documents(9)),
            selection="all",
            name="s",
            memory=1,
            engine=ray_engine(shards=2),
        )


def test_what_cannot_be_sent_is_told_in_one_line() -> None:
    lock = threading.Lock()
    model = replace(transformer(), encode=lambda words: [int(lock.locked())] * len(words))
    with pytest.raises(UsageError, match="the model of type Transformer cannot be sent") as caught:
        collect(model, corpus_of(documents(3)), layers=["embedding"], name="s", engine=ray_engine())
    assert "\n" not in str(caught.value)
    held = (document for document in documents(3))
    corpus = Corpus("held", lambda skipped: held, fingerprint=lambda: "0")
    with pytest.raises(UsageError, match="the corpus 'held' cannot be sent to another process") as caught:
        collect(small_model(), corpus, name="s", engine=ray_engine())
    assert "\n" not in str(caught.value)


def test_what_the_cluster_has_not_is_told() -> None:
    corpus = corpus_of(documents(3))
    with pytest.raises(EngineError, match="needs 64 CPUs, the largest machine of the cluster has 2"):
        collect(small_model(), corpus, name="s", engine=ray_engine(cpus=64))
    with pytest.raises(EngineError, match="needs 1 GPUs, the cluster has 0; use gpus=0"):
        collect(small_model(), corpus, name="s", engine=ray_engine(gpus=1))


def test_a_model_that_only_this_process_has(ray: Any) -> None:
    class Here(TextModel):
        pass

    whole = transformer()
    model = Here(whole.module, whole.encode, lambda module, ids, mask: module(ids, mask), prefix=(0,))
    corpus = corpus_of(documents(9))
    asked: dict[str, Any] = {"layers": ["embedding"], "name": "s"}
    same(collect(model, corpus, **asked), collect(model, corpus, **asked, engine=ray_engine(shards=2)))
    assert ray.is_initialized(), "a cluster that was there before is left alone"


def test_mistakes_are_found_before_a_cluster_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "__enter__", lambda _: pytest.fail("a cluster was asked for"))
    with pytest.raises(UnknownNameError, match="layer 'lstm'"):
        collect(small_model(), corpus_of(documents(3)), layers=["lstm"], name="s", engine=ray_engine())
    for wrong in ({"workers": 0}, {"shards": 0}, {"cpus": 0}, {"gpus": -1}, {"retries": -1}):
        with pytest.raises(UsageError, match="engine ray: "):
            engines.Ray(**wrong)  # type: ignore[arg-type]
