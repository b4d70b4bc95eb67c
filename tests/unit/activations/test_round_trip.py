"""Saved activations give the stage of their model to the last bit; what is saved is what the model computes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import txray
from tests.builders.hub_folders import folder_of
from tests.builders.text_models import TextCnn, letter_pieces, seeded, transformer, word_ids
from tests.builders.texts import corpus_of, documents, small_model
from txray import Layer, SaveActivations, Stage, TextModel, collect, read_activations
from txray.activations.writer import INDEX, UNFINISHED, ActivationWriter
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, OutputError, UsageError
from txray.models import classifier

LINEAR, EMBEDDING = "encoder.layers.0.linear1", "embedding"
SMALL = 20_000


def pieces(pooling: Any) -> TextModel:
    return transformer(max_length=30, pooling=pooling, overlap=4)


MODELS: dict[str, tuple[Callable[[], Any], list[str], list[str]]] = {
    "recurrent": (small_model, ["rnn", "embedding"], ["token", "pos", "output"]),
    "classifier": (lambda: classifier(small_model(), "last"), ["rnn"], ["token", "label"]),
    "transformer": (lambda: pieces("max"), [LINEAR, EMBEDDING], ["token", "subword"]),
    "mean of the pieces": (lambda: pieces("mean"), [LINEAR], ["token", "subword"]),
    "first piece": (lambda: pieces("first"), [LINEAR], ["token"]),
    "convolution": (
        lambda: TextModel(seeded(TextCnn), word_ids, max_length=13, min_length=3),
        ["embedding", "conv"],
        ["token"],
    ),
}


def files_of(stage: Stage, folder: Path) -> dict[str, bytes]:
    """The files of a stage but the manifest, which names the source."""
    stage.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}


def bits(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("selection", ["max-1", "all", "max-2/zscore"])
@pytest.mark.parametrize("name", MODELS)
def test_the_stage_of_saved_activations_is_that_of_the_model(
    name: str, selection: str, tmp_path: Path
) -> None:
    build, layers, feature_types = MODELS[name]
    settings: dict[str, Any] = {
        "name": "s",
        "layers": layers,
        "feature_types": feature_types,
        "selection": selection,
        "batch_positions": 100,
    }
    corpus = corpus_of(documents(40))
    save = SaveActivations(tmp_path / "acts", shard_bytes=SMALL)
    stage = collect(build(), corpus, **settings, save_activations=save)
    stored = read_activations(tmp_path / "acts")
    again = collect(stored, corpus, **settings)
    own_text = collect(tmp_path / "acts", stored.corpus(), **settings)
    wanted = files_of(stage, tmp_path / "of the model")
    assert files_of(again, tmp_path / "again") == wanted
    assert files_of(own_text, tmp_path / "own text") == wanted
    for key in ("words", "unknown_words", "exemplars", "selection", "warnings"):
        assert again.manifest[key] == stage.manifest[key]
    for layer in stage.layers:
        one, other = stage.manifest["layers"][layer], again.manifest["layers"][layer]
        assert {k: v for k, v in one.items() if k != "layout"} == {
            k: v for k, v in other.items() if k != "layout"
        }
    assert again.manifest["model"]["model_fingerprint"] == stage.manifest["model"]["fingerprint"]
    assert again.manifest["model"]["fingerprint"] != stage.manifest["model"]["fingerprint"]


def test_a_document_that_is_read_in_several_chunks_is_saved_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.capture.model_adapter._CHUNK_STEPS", 16)
    long = [Document(f"long{i}", document.words * 4) for i, document in enumerate(documents(6))]
    stage = collect(small_model(), corpus_of(long), name="s", save_activations=tmp_path / "acts")
    monkeypatch.undo()
    again = collect(read_activations(tmp_path / "acts"), corpus_of(long), name="s")
    assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")


def test_what_is_saved_is_what_the_model_computes_for_each_document_alone(tmp_path: Path) -> None:
    texts, model = documents(30), pieces("max")
    collect(
        model,
        corpus_of(texts),
        layers=LINEAR,
        name="s",
        save_activations=SaveActivations(tmp_path / "acts", shard_bytes=4_000),
    )
    stored: dict[tuple[int, int, int], Any] = {}
    shards = sorted((tmp_path / "acts").glob("*.safetensors"))
    assert len(shards) > 3
    for shard in shards:
        content = load_file(shard)
        rows = (content[f"rows.{name}"].tolist() for name in ("document", "input", "step", "word"))
        for document, number, step, word, values in zip(*rows, content[f"layer.{LINEAR}"], strict=True):
            stored[document, number, step] = word, values
    lines = [json.loads(line) for line in (tmp_path / "acts" / "documents.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [text.id for text in texts]
    module, taken = model.module.eval(), []
    module.get_submodule(LINEAR).register_forward_hook(lambda *call: taken.append(call[-1]))
    checked = 0
    for number, text in enumerate(texts):
        encoded = letter_pieces(text.words)
        if len(encoded.ids) > 28:  # longer documents are read in several inputs
            continue
        ids = torch.tensor([[0, *encoded.ids, 1]])
        with torch.no_grad():
            module(ids, torch.ones_like(ids, dtype=torch.bool))
        for step, word in enumerate(encoded.word, 1):
            stored_word, stored_values = stored[number, 0, step]
            assert stored_word == word
            torch.testing.assert_close(stored_values, taken[-1][0, step], atol=1e-5, rtol=1e-5)
            checked += 1
    assert checked > 30


def test_half_precision_costs_what_the_index_says(tmp_path: Path) -> None:
    corpus, model = corpus_of(documents(20)), small_model()
    half_precision = SaveActivations(tmp_path / "half", dtype="float16")
    for save in (tmp_path / "whole", half_precision):
        collect(model, corpus, name="s", batch_positions=100, save_activations=save)
    whole, half = (
        torch.cat(
            [load_file(shard)["layer.rnn"] for shard in sorted((tmp_path / name).glob("*.safetensors"))]
        )
        for name in ("whole", "half")
    )
    assert half.dtype == torch.float16
    error = (half.double() - whole.double()).abs()
    layer = json.loads((tmp_path / "half" / INDEX).read_text())["layers"]["rnn"]
    assert layer["largest_error"] == pytest.approx(float(error.max()))
    relative = float(error.square().sum() / whole.double().square().sum()) ** 0.5
    assert layer["relative_error"] == pytest.approx(relative)
    assert 0 < relative < 1e-3
    read = read_activations(tmp_path / "half").files.rows("rnn", 0, 5)
    assert read.dtype == torch.float32
    np.testing.assert_array_equal(read.numpy(), half[:5].float().numpy())


def test_bfloat16_layers_are_saved_as_they_are_and_numbers_too_large_for_a_type_are_refused(
    tmp_path: Path,
) -> None:
    corpus, model = corpus_of(documents(20)), transformer(max_length=30)
    model.module.to(torch.bfloat16)
    stage = collect(model, corpus, name="s", layers=LINEAR, save_activations=tmp_path / "acts")
    again = collect(read_activations(tmp_path / "acts"), corpus, name="s", layers=LINEAR)
    assert json.loads((tmp_path / "acts" / INDEX).read_text())["layers"][LINEAR]["stored"] == "bfloat16"
    assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")
    large = transformer(max_length=30)
    with torch.no_grad():
        large.module.get_submodule(LINEAR).weight.mul_(1e7)  # type: ignore[union-attr, operator]
    half = SaveActivations(tmp_path / "half", dtype="float16")
    with pytest.raises(CaptureError, match="too large for float16"):
        collect(large, corpus, name="s", layers=LINEAR, save_activations=half)


def test_a_layer_read_through_a_module_is_saved_itself(tmp_path: Path) -> None:
    corpus, model = corpus_of(documents(20)), transformer(max_length=30)
    torch.manual_seed(0)
    through = Layer(LINEAR, through=torch.nn.Sequential(torch.nn.Linear(12, 40), torch.nn.ReLU()))
    stage = collect(model, corpus, name="s", layers=through, save_activations=tmp_path / "acts")
    stored = read_activations(tmp_path / "acts")
    assert {name: layer.neurons for name, layer in stored.layers.items()} == {LINEAR: 12}
    again = collect(stored, corpus, name="s", layers=through)
    assert again.layers == stage.layers
    assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")


def test_a_module_is_tried_with_the_first_document_that_has_activations(tmp_path: Path) -> None:
    model = txray.load_model(folder_of("bert", tmp_path / "bert"))
    texts = (("日本語",), ("a", "film", "of", "its", "own"), ("漢字",))
    corpus = corpus_of([Document(f"d{number}", words) for number, words in enumerate(texts)])
    torch.manual_seed(0)
    layer = Layer("encoder.layer.0", through=torch.nn.Linear(16, 40))
    stage = collect(model, corpus, name="s", layers=layer, save_activations=tmp_path / "acts")
    again = collect(read_activations(tmp_path / "acts"), corpus, name="s", layers=layer)
    assert again.manifest["layers"]["encoder.layer.0:through=Linear"]["counted"] == 5
    assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")


@pytest.mark.parametrize("prefix", ["d", "other"])
def test_words_may_be_lists(prefix: str, tmp_path: Path) -> None:
    texts = [list(document.words) for document in documents(5)]
    corpus = corpus_of([Document(f"d{number}", words) for number, words in enumerate(texts)])  # type: ignore[arg-type]
    stage = collect(small_model(), corpus, name="s", save_activations=tmp_path / "acts")
    again = corpus_of([Document(f"{prefix}{number}", words) for number, words in enumerate(texts)])  # type: ignore[arg-type]
    stored = collect(read_activations(tmp_path / "acts"), again, name="s")
    assert stored["rnn", "token"].wins().tolist() == stage["rnn", "token"].wins().tolist()


def test_documents_of_the_same_id_are_told_apart_by_their_text(tmp_path: Path) -> None:
    corpus = corpus_of([Document("same", document.words) for document in documents(4)])
    stage = collect(small_model(), corpus, name="s", save_activations=tmp_path / "acts")
    again = collect(read_activations(tmp_path / "acts"), corpus, name="s")
    assert files_of(again, tmp_path / "again") == files_of(stage, tmp_path / "once")


def test_some_words_and_the_order_of_documents_may_differ(tmp_path: Path) -> None:
    texts, model = documents(30), small_model()
    collect(model, corpus_of(texts), name="s", save_activations=tmp_path / "acts")
    stored = read_activations(tmp_path / "acts")
    fewer = collect(stored, corpus_of(texts), name="s", max_words=100)
    wanted = collect(model, corpus_of(texts), name="s", max_words=100)
    assert files_of(fewer, tmp_path / "one") == files_of(wanted, tmp_path / "other")
    reverse = collect(stored, corpus_of(texts[::-1]), name="s", selection="all")
    wanted = collect(model, corpus_of(texts[::-1]), name="s", selection="all")
    assert files_of(reverse, tmp_path / "three") == files_of(wanted, tmp_path / "four")
    # A document of another id, but with the same text, is that document.
    renamed = [Document(f"other{i}", text.words) for i, text in enumerate(texts)]
    assert collect(stored, corpus_of(renamed), name="s").manifest["layers"]["rnn"]["skipped"] == {}
    in_capitals = Document("another", tuple(word.upper() for word in texts[3].words))
    stage = collect(stored, corpus_of([*texts, in_capitals]), name="s")
    skipped = {"no stored activations": len(in_capitals.words)}
    assert stage.manifest["layers"]["rnn"]["skipped"] == skipped


def test_documents_that_are_not_stored_are_counted_and_other_words_refused(tmp_path: Path) -> None:
    texts = documents(10)
    collect(small_model(), corpus_of(texts[:7]), name="s", save_activations=tmp_path / "acts")
    stored = read_activations(tmp_path / "acts")
    stage = collect(stored, corpus_of(texts), name="s")
    missing = sum(len(text.words) for text in texts[7:])
    assert stage.manifest["layers"]["rnn"]["skipped"] == {"no stored activations": missing}
    changed = Document(texts[3].id, (*texts[3].words[:2], "lake", *texts[3].words[3:]))
    message = (
        f"document '{texts[3].id}': word 2 is 'lake', but activations are stored for '{texts[3].words[2]}'"
    )
    with pytest.raises(CaptureError, match=message):
        collect(stored, corpus_of([changed]), name="s")
    shorter = Document(texts[3].id, texts[3].words[:-1])
    with pytest.raises(CaptureError, match="no word"):
        collect(stored, corpus_of([shorter]), name="s")


def test_the_similarity_of_stored_layers_is_that_of_the_models(tmp_path: Path) -> None:
    corpus, model = corpus_of(documents(30)), small_model()
    collect(model, corpus, name="s", layers=["rnn", "embedding"], save_activations=tmp_path / "acts")
    stored = read_activations(tmp_path / "acts")
    layers = ["rnn", "embedding"]
    wanted = txray.layer_similarity(model, model, corpus, layers=layers).table
    assert txray.layer_similarity(stored, stored, corpus, layers=layers).table.equals(wanted)
    mixed = txray.layer_similarity(stored, model, corpus, layers=layers).table
    np.testing.assert_allclose(mixed["cka"], wanted["cka"], rtol=1e-12)


def test_documents_that_are_read_ahead_by_another_thread_are_saved_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(documents(40))
    settings: dict[str, Any] = {"name": "s", "batch_positions": 100}
    collect(small_model(), corpus, **settings, save_activations=tmp_path / "one")
    monkeypatch.setattr("txray.capture.source.input_device", lambda module: torch.device("meta"))
    collect(small_model(), corpus, **settings, save_activations=tmp_path / "other")
    assert bits(tmp_path / "one") == bits(tmp_path / "other")


class StopError(Exception):
    """A stand-in for the power cut."""


def stopping_after(n: int, whole: Corpus, *, passes: int = 0) -> Corpus:
    left = passes

    def broken(skipped: Any) -> Iterator[Document]:
        nonlocal left
        left -= 1
        for number, document in enumerate(whole):
            if number == n and left < 0:
                raise StopError
            yield document

    return Corpus(whole.name, broken, fingerprint=lambda: whole.fingerprint)


@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_an_interrupted_collection_leaves_neither_holes_nor_duplicates(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.capture.text.batching._POOL_BATCHES", 2)
    build, layers, feature_types = MODELS[name]
    corpus = corpus_of(documents(60))
    settings: dict[str, Any] = {"name": "s", "layers": layers, "feature_types": feature_types}
    settings |= {"batch_positions": 100, "checkpoint_seconds": 0}
    once = collect(
        build(), corpus, **settings, save_activations=SaveActivations(tmp_path / "once", shard_bytes=9_000)
    )
    cut = SaveActivations(tmp_path / "cut", shard_bytes=9_000)
    for n in (9, 25, 41, 59):
        with pytest.raises(StopError):
            collect(
                build(),
                # Of transformers, the first passes are dry runs and count the words.
                stopping_after(n, corpus, passes=2 * int(name == "transformer")),
                **settings,
                checkpoint=tmp_path / "stage",
                save_activations=cut,
            )
        assert (tmp_path / "cut" / UNFINISHED).is_file()
        with pytest.raises(CaptureError, match="not finished"):
            read_activations(tmp_path / "cut")
        # As after a power cut between a file and the checkpoint that mentions it.
        (tmp_path / "cut" / "activations-00099.safetensors").write_bytes(b"?")
    model, forwards = build(), []
    getattr(model, "module", model).register_forward_pre_hook(lambda *call: forwards.append(1))
    stage = collect(model, corpus, **settings, checkpoint=tmp_path / "stage", save_activations=cut)
    assert bits(tmp_path / "cut") == bits(tmp_path / "once")
    assert files_of(stage, tmp_path / "a") == files_of(once, tmp_path / "b")


def test_a_lost_file_is_noticed_before_the_collection_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.capture.text.batching._POOL_BATCHES", 2)
    corpus = corpus_of(documents(60))
    save = SaveActivations(tmp_path / "acts", shard_bytes=9_000)
    settings: dict[str, Any] = {"name": "s", "batch_positions": 100, "checkpoint_seconds": 0}
    with pytest.raises(StopError):
        collect(
            small_model(),
            stopping_after(50, corpus),
            **settings,
            checkpoint=tmp_path / "stage",
            save_activations=save,
        )
    (tmp_path / "acts" / "activations-00000.safetensors").unlink()
    with pytest.raises(OutputError, match=r"activations-00000\.safetensors: missing or incomplete"):
        collect(small_model(), corpus, **settings, checkpoint=tmp_path / "stage", save_activations=save)


def test_a_killed_command_resumes_to_the_same_files(tmp_path: Path) -> None:
    txray.models.save_model(small_model(), tmp_path / "model")
    (tmp_path / "text.txt").write_text("\n\n".join(" ".join(d.words) for d in documents(1500)))

    def command(folder: str) -> list[str]:
        return [
            *(sys.executable, "-m", "txray", "collect", "model", "-f", "text", "-t", "text.txt"),
            *("--out", f"stage-{folder}", "--name", "s", "--checkpoint", "0", "--save-activations", folder),
        ]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL}
    subprocess.run(command("once"), check=True, **options)
    killed = subprocess.Popen(command("cut"), **options)
    started = time.monotonic()
    while not (tmp_path / "cut" / UNFINISHED).exists() and time.monotonic() - started < 60:
        time.sleep(0.005)
    time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (tmp_path / "cut" / UNFINISHED).exists()
    subprocess.run(command("cut"), check=True, **options)
    assert bits(tmp_path / "cut") == bits(tmp_path / "once")


def test_other_settings_other_folders_and_limits_are_refused_before_any_work(tmp_path: Path) -> None:
    corpus, model = corpus_of(documents(20)), small_model()
    done = tmp_path / "done"
    collect(model, corpus, name="s", save_activations=done)
    before = bits(done)
    collect(model, corpus, name="another", feature_types="pos", save_activations=done)
    assert bits(done) == before
    with pytest.raises(OutputError, match="already holds activations"):
        collect(model, corpus, name="s", layers="embedding", save_activations=done)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="holds no activations"):
        collect(model, corpus, name="s", save_activations=tmp_path / "mine")
    limited = SaveActivations(tmp_path / "limited", shard_bytes=2_000, max_bytes=9_000)
    with pytest.raises(UsageError, match=r"max_bytes=9,000"):
        collect(model, corpus, name="s", save_activations=limited)
    assert sum(file.stat().st_size for file in (tmp_path / "limited").glob("*.safetensors")) <= 9_000
    with pytest.raises(UsageError, match="unfinished collection with"):
        collect(model, corpus, name="s", layers="embedding", save_activations=tmp_path / "limited")
    with pytest.raises(UsageError, match="float8"):
        SaveActivations(tmp_path / "x", dtype="float8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="shard_bytes=0"):
        SaveActivations(tmp_path / "x", shard_bytes=0)
    ray = txray.engines.Ray(workers=1)
    with pytest.raises(UsageError, match="save_activations"):
        collect(model, corpus, name="s", save_activations=tmp_path / "x", engine=ray)
    with pytest.raises(UsageError, match="stored activations"):
        collect(read_activations(done), corpus, name="s", engine=ray)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_disk_that_is_full_at_the_end_is_named(tmp_path: Path) -> None:
    writer = ActivationWriter(SaveActivations(tmp_path / "acts"), {})
    writer._documents = Path("/dev/full").open("wb")  # noqa: SIM115
    writer.add_document(Document("d", ("a",)), ["a"], {})
    with pytest.raises(OutputError, match="/dev/full: cannot be written: No space left on device"):
        writer.finish({}, {})
    assert not (tmp_path / "acts" / INDEX).exists()
