"""Broken and hostile files are refused in one line that names the file; nothing in them is run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

import txray
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.activations.test_foreign import SENTENCES, activations, token_table, write_hdf5, write_json
from txray import collect, read_activations
from txray.activations.writer import INDEX, UNFINISHED
from txray.errors import CaptureError, SnapshotError, TxrayError, UsageError

SHARD = "activations-00000.safetensors"
Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "acts"
    collect(small_model(), corpus_of(documents(8)), name="s", save_activations=folder)
    return folder


def message_of(source: Any, layers: Any = "**") -> str:
    """The error of reading everything, in one line."""
    with pytest.raises(TxrayError) as caught:
        stored = read_activations(source)
        collect(stored, stored.corpus(), layers=layers, name="s")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def edit_index(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index)
        (folder / INDEX).write_text(json.dumps(index))

    return damage


def edit_shard(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Change a shard, and its checksum in the index, as somebody would who means harm."""

    def damage(folder: Path) -> None:
        content = load_file(folder / SHARD)
        content = {name: tensor.clone() for name, tensor in content.items()}
        change(content)
        save_file(content, folder / SHARD)

        def checksum(index: dict[str, Any]) -> None:
            index["shards"][0]["sha256"] = txray.files.sha256_of(folder / SHARD)  # type: ignore[attr-defined]

        edit_index(checksum)(folder)

    return damage


def edit_document(line: Callable[[dict[str, Any]], str]) -> Damage:
    """Replace the line of the first document, and the checksum in the index."""

    def damage(folder: Path) -> None:
        file = folder / "documents.jsonl"
        first, *others = file.read_text().splitlines()
        file.write_text("\n".join([line(json.loads(first)), *others]) + "\n")
        digest = txray.files.sha256_of(file)  # type: ignore[attr-defined]
        edit_index(lambda index: index["documents"].update(sha256=digest))(folder)

    return damage


def truncate(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def flip(folder: Path) -> None:
    content = bytearray((folder / SHARD).read_bytes())
    content[-5] ^= 1
    (folder / SHARD).write_bytes(content)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no shard": (lambda folder: (folder / SHARD).unlink(), "missing or damaged"),
    "half a shard": (truncate(SHARD), "missing or damaged"),
    "half an index": (truncate(INDEX), "damaged"),
    "half the documents": (truncate("documents.jsonl"), "documents.jsonl"),
    "no documents": (lambda folder: (folder / "documents.jsonl").unlink(), "documents.jsonl"),
    "one bit": (flip, "checksum differs"),
    "another format": (edit_index(lambda index: index.update(format=99)), "format 99"),
    "a list": (lambda folder: (folder / INDEX).write_text("[]"), "damaged"),
    "deep": (lambda folder: (folder / INDEX).write_text("[" * 100_000), "damaged"),
    "no layers": (edit_index(lambda index: index.pop("layers")), "damaged"),
    "another size": (edit_index(lambda index: index["layers"]["rnn"].update(neurons=17)), "has shape"),
    "another file": (edit_index(lambda index: index["shards"][0].update(file="../x.safetensors")), "damaged"),
    "a strange type": (edit_index(lambda index: index["layers"]["rnn"].update(dtype="os")), "damaged"),
    "no type of tensors": (edit_index(lambda index: index["layers"]["rnn"].update(dtype="nn")), "damaged"),
    "rows": (edit_index(lambda index: index["shards"][0].update(rows=10**12)), "has shape"),
    "NaN": (
        edit_shard(lambda content: content["layer.rnn"][3].fill_(float("nan"))),
        "activation nan in document",
    ),
    "words": (edit_shard(lambda content: content["rows.word"].fill_(10**6)), "not ascending, or outside"),
    "negative words": (
        edit_shard(lambda content: content["rows.word"].fill_(-1)),
        "not ascending, or outside",
    ),
    "steps": (edit_shard(lambda content: content["rows.step"].fill_(2)), "not ascending, or outside"),
    "document": (edit_shard(lambda content: content["rows.document"].fill_(99)), "do not exist"),
    "inputs": (edit_shard(lambda content: content["inputs"].zero_()), "not ascending, or outside"),
    "no column": (edit_shard(lambda content: content.pop("rows.word")), "has no tensor"),
    "lag": (edit_index(lambda index: index["layers"]["rnn"].update(missing=-(10**12))), "damaged"),
    "positions": (
        lambda folder: (
            edit_shard(lambda content: content["inputs"][:, 2].fill_(2**31 - 1))(folder),
            edit_index(lambda index: index.update(chunk_steps=None))(folder),
        ),
        "longer than any that a model",
    ),
    "infinite rows": (edit_index(lambda index: index["shards"][0].update(rows=float("inf"))), "damaged"),
    "more rows than integers": (
        edit_index(lambda index: index["shards"][0].update(rows=10**30)),
        "has shape",
    ),
    "infinitely many documents": (
        edit_index(lambda index: index["documents"].update(n=float("inf"))),
        "damaged",
    ),
    "a negative number of documents": (
        edit_index(lambda index: index["documents"].update(n=-1)),
        "too small",
    ),
    "an infinite lag": (edit_index(lambda index: index["layers"]["rnn"].update(lag=float("inf"))), "damaged"),
    "no neurons": (
        edit_index(lambda index: (index.update(shards=[]), index["layers"]["rnn"].update(neurons=-3))),
        "too small",
    ),
    "an unknown pooling": (
        edit_index(lambda index: index.update(pooling="median")),
        "unknown pooling 'median'",
    ),
    "a deep document": (edit_document(lambda _: "[" * 100_000), "documents.jsonl, line 1: damaged"),
    "no document": (edit_document(lambda _: "null"), "documents.jsonl, line 1: damaged"),
    "a list of forms": (
        edit_document(lambda document: json.dumps(document | {"forms": [1]})),
        "documents.jsonl, line 1: damaged",
    ),
    "broken words": (
        edit_shard(lambda content: content.update({"rows.word": content["rows.word"] + 0.5})),
        "holds F32 instead of int32",
    ),
    "integers": (
        edit_shard(lambda content: content.update({"layer.rnn": content["layer.rnn"].to(torch.int8)})),
        "holds I8 instead of float32",
    ),
    "no inputs": (edit_shard(lambda content: content.pop("inputs")), "has no tensor 'inputs'"),
    "two probabilities": (
        edit_shard(
            lambda content: content.update({"inputs.probability": torch.ones(len(content["inputs"]), 2)})
        ),
        "'inputs' has shape",
    ),
    "deep outputs": (
        edit_shard(
            lambda content: content.update({"rows.outputs": torch.full((100_000,), 91, dtype=torch.uint8)})
        ),
        "'rows.outputs' is damaged",
    ),
    "unfinished": (lambda folder: (folder / UNFINISHED).write_text("{}"), "not finished"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(name: str, saved: Path, tmp_path: Path) -> None:
    damage, message = DAMAGES[name]
    folder = shutil.copytree(saved, tmp_path / "acts")
    damage(folder)
    assert message in message_of(folder)
    assert message_of(folder).startswith((str(folder), "layer 'rnn'"))
    assert message_of(folder).count("collect again") <= 1


def test_a_huge_index_is_not_read(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.activations.folder._MAX_INDEX", 100)
    assert "so it is no index" in message_of(saved)


class Harmful:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm"),))


def arrays_beside(folder: Path, write: Callable[[Path], Any], tokens: Any = None) -> Path:
    (folder / "tokens.json").write_text(json.dumps([["a", "b"], ["c"]] if tokens is None else tokens))
    write(folder)
    return folder


def objects(folder: Path) -> None:
    np.save(folder / "mlp.npy", np.array([[Harmful()] * 2] * 3, dtype=object), allow_pickle=True)


def zipped_objects(folder: Path) -> None:
    np.savez(folder / "mlp.npz", mlp=np.array([[Harmful()] * 2] * 3, dtype=object))


def pickled(folder: Path) -> None:
    (folder / "mlp.npy").write_bytes(pickle.dumps(Harmful()))


def shaped(*shape: int, dtype: Any = np.float32) -> Callable[[Path], Any]:
    return lambda folder: np.save(folder / "mlp.npy", np.ones(shape, dtype))


@pytest.mark.parametrize(
    ("write", "tokens", "message"),
    [
        (objects, None, "read safely"),
        (zipped_objects, None, "read safely"),
        (pickled, None, "read safely"),
        (shaped(4, 2), None, "has 4 rows of 2 neurons, but tokens.json lists 3 tokens"),
        (shaped(3), None, "has shape (3,)"),
        (shaped(3, 2, dtype="U3"), None, "read safely"),
        (shaped(3, 2, dtype=np.complex64), None, "complex"),
        (lambda folder: (folder / "mlp.npy").write_bytes(b"\x93NUMPY"), None, "read safely"),
        (lambda folder: (folder / "a.safetensors").write_bytes(b"\xff" * 200), None, "read safely"),
        (shaped(3, 2), {"tokens": 3}, "no list of documents"),
        (shaped(3, 2), [["a", 1, "c"]], "has the token 1"),
        (shaped(3, 2), [["a", "b", "c"], []], "has no tokens"),
        (shaped(0, 2), [], "holds no documents"),
        (shaped(3, 2), [{"id": "x"}], "no list of documents"),
    ],
)
def test_arrays_that_cannot_be_trusted_are_refused(
    write: Callable[[Path], Any], tokens: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in message_of(arrays_beside(tmp_path, write, tokens))
    assert not Path("harm").exists()


def test_arrays_without_tokens_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mlp.npy", np.ones((3, 2), np.float32))
    assert "the tokens are missing" in message_of(tmp_path)
    assert "no such file" in message_of(tmp_path / "nowhere")
    (tmp_path / "x.txt").write_text("?")
    assert "stored activations are" in message_of(tmp_path / "x.txt")
    assert "got a int" in message_of(3)


def test_broken_neurox_files_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    arrays = activations()
    (tmp_path / "no.hdf5").write_bytes(b"not HDF5 at all")
    assert "no HDF5 file" in message_of(tmp_path / "no.hdf5")
    whole = write_hdf5(tmp_path / "half.hdf5", arrays)
    whole.write_bytes(whole.read_bytes()[:-500])
    assert "half.hdf5" in message_of(whole)

    def changed(name: str, change: Callable[[Any], Any]) -> str:
        file = write_hdf5(tmp_path / f"{name}.hdf5", arrays)
        with h5py.File(file, "a") as content:
            change(content)
        return message_of(file)

    def replace(key: str, values: Any) -> Callable[[Any], None]:
        def change(content: Any) -> None:
            del content[key]
            if values is not None:
                content[key] = values

        return change

    assert "sentence_to_index" in changed("index", replace("sentence_to_index", None))
    assert "sentence_to_index" in changed("json", replace("sentence_to_index", np.array([b"{"])))
    assert "dataset '1' is missing" in changed("dataset", replace("1", None))
    assert "dataset '1' has shape (3, 2, 5)" in changed(
        "tokens", replace("1", np.ones((3, 2, 5), np.float32))
    )
    assert "dataset '1' has shape (3, 3, 4)" in changed("size", replace("1", np.ones((3, 3, 4), np.float32)))
    assert "dataset '1' is missing, or no array" in changed("text", replace("1", np.array([b"?"] * 9)))
    nan = changed("nan", lambda content: content["1"].__setitem__((0, 1), float("nan")))
    assert "activation nan in document '000001', word 1 ('b')" in nan

    lines = write_json(tmp_path / "good.json", arrays).read_text().splitlines()
    for name, line in (
        ("cut", lines[1][:40]),
        ("empty", json.dumps({"linex_index": 1, "features": []})),
        ("ragged", lines[1].replace("]}", ", 1.0]}", 1)),
        ("text", "hello"),
        ("number", lines[1].replace('"a"', "1")),
        ("other", json.dumps({"features": [{"token": "a", "layers": [{"index": 0, "values": [1.0]}]}]})),
    ):
        file = tmp_path / f"{name}.json"
        file.write_text("\n".join((lines[0], line, *lines[2:])))
        assert f"{file}, line 2: " in message_of(file)


def test_broken_tables_are_refused(tmp_path: Path) -> None:
    frame = token_table(activations(), pl.List(pl.Float32))
    (tmp_path / "no.parquet").write_bytes(b"PAR1?")
    assert "no Parquet" in message_of(tmp_path / "no.parquet")
    assert "name the one with the tokens" in message_of(frame.drop("token"))
    assert "names no document" in message_of(frame.drop("document"))
    assert "no column with lists of numbers" in message_of(frame.select("document", "token"))
    layer = pl.col("layer.1")
    first = pl.int_range(pl.len()) == 2
    ragged = frame.with_columns(pl.when(first).then(layer.list.head(2)).otherwise(layer).alias("layer.1"))
    assert "another number of neurons than 5" in message_of(ragged)
    missing = frame.with_columns(pl.when(first).then(None).otherwise(layer).alias("layer.1"))
    assert "another number of neurons than 5" in message_of(missing)
    inside = frame.with_columns(
        pl.when(first).then(pl.lit([1.0, None, 1.0, 1.0, 1.0])).otherwise(layer).alias("layer.1")
    )
    assert "a number is missing" in message_of(inside)
    assert "holds no documents" in message_of(frame[:0])
    assert "has the token None" in message_of(
        frame.with_columns(pl.when(first).then(None).otherwise(pl.col("token")).alias("token"))
    )


def test_what_needs_a_model_says_that_it_has_none(saved: Path) -> None:
    stored = read_activations(saved)
    corpus = stored.corpus()
    for call, message in (
        (lambda: txray.load_model(saved), "not a model that can run"),
        (lambda: txray.prune(stored, [], {"test": corpus}), "no sets|not a model that can run"),
        (lambda: txray.capture.layer_roles(stored), "not a model that can run"),
        (lambda: txray.masked(stored, txray.Mask("rnn", [0])).__enter__(), "not a model that can run"),
        (lambda: collect(stored, corpus, layers="rnn", name="s", autocast="bfloat16"), "omit it"),
        (lambda: collect(stored, corpus, layers="rn", name="s"), "did you mean 'rnn'"),
        (lambda: collect(stored, corpus, layers=txray.Layer("rnn", lag=1), name="s"), "omit it"),
        (lambda: collect(stored, corpus, layers=["rnn", "r*"], name="s"), "selected twice"),
        (lambda: collect(stored, corpus, layers="rnn", name="s", feature_types="output"), "holds no outputs"),
        (lambda: collect(stored, corpus, layers="rnn", name="s", feature_types="subword"), "does not name"),
    ):
        with pytest.raises((UsageError, SnapshotError, CaptureError), match=message):
            call()
    assert SENTENCES
