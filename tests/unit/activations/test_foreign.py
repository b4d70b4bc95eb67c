"""Activations that other tools stored: each format gives the same numbers, word by word."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from txray import Stage, StoredActivations, collect, read_activations
from txray.activations.tokens import joined
from txray.capture.stored.alignment import words_of_tokens
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, UsageError

Floats = NDArray[np.float32]

SENTENCES = ["The film is good", "a b c", "The film is good", "x ( y ) Zürich", "one"]
N_LAYERS, N_NEURONS = 3, 5


def activations(sentences: list[str] = SENTENCES) -> list[Floats]:
    """(layers, tokens, neurons) per sentence."""
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=(N_LAYERS, len(sentence.split()), N_NEURONS)).astype(np.float32)
        for sentence in sentences
    ]


def write_hdf5(file: Path, arrays: list[Floats], sentences: list[str] = SENTENCES) -> Path:
    """As the writer of NeuroX does: a dataset per sentence; repeated sentences are numbered in the index."""
    h5py = pytest.importorskip("h5py")
    index: dict[str, str] = {}
    with h5py.File(file, "w") as content:
        for number, (sentence, values) in enumerate(zip(sentences, arrays, strict=True)):
            content.create_dataset(str(number), values.shape, dtype="float32", data=values)
            name, occurrence = sentence, 1
            while name in index:
                occurrence += 1
                name = f"{sentence} (Occurrence {occurrence})"
            index[name] = str(number)
        dataset = content.create_dataset("sentence_to_index", (1,), dtype=h5py.special_dtype(vlen=str))
        dataset[0] = json.dumps(index)
    return file


def write_json(file: Path, arrays: list[Floats], sentences: list[str] = SENTENCES) -> Path:
    """As the writer of NeuroX does: a line per sentence, values rounded to 8 decimals."""
    with file.open("w", encoding="utf-8") as stream:
        for number, (sentence, values) in enumerate(zip(sentences, arrays, strict=True)):
            features = [
                {
                    "token": token,
                    "layers": [
                        {"index": layer, "values": [round(float(x), 8) for x in values[layer, position]]}
                        for layer in range(len(values))
                    ],
                }
                for position, token in enumerate(sentence.split(" "))
            ]
            stream.write(json.dumps({"linex_index": number, "features": features}) + "\n")
    return file


def write_arrays(folder: Path, arrays: list[Floats], suffix: str) -> Path:
    """(tokens, neurons) of every layer, in two files each."""
    folder.mkdir()
    lines = (
        json.dumps({"id": f"d{number}", "tokens": sentence.split()})
        for number, sentence in enumerate(SENTENCES)
    )
    (folder / "tokens.jsonl").write_text("\n".join(lines), encoding="utf-8")
    layers = {f"layer.{layer}": np.concatenate([a[layer] for a in arrays]) for layer in range(N_LAYERS)}
    for number, part in enumerate((slice(0, 6), slice(6, None))):
        cut = {name: np.ascontiguousarray(values[part]) for name, values in layers.items()}
        if suffix == ".safetensors":
            tensors = {name: torch.from_numpy(values) for name, values in cut.items()}
            save_file(tensors, folder / f"part-{number}.safetensors")
        elif suffix == ".npz":
            np.savez(folder / f"part-{number}.npz", **cut)
        else:
            for name, values in cut.items():
                np.save(folder / f"{name}-{number:05d}.npy", values)
    return folder


def token_table(arrays: list[Floats], dtype: Any) -> pl.DataFrame:
    """A row per token."""
    rows = [
        (f"d{number}", word, *(values[layer, position].tolist() for layer in range(N_LAYERS)))
        for number, (sentence, values) in enumerate(zip(SENTENCES, arrays, strict=True))
        for position, word in enumerate(sentence.split())
    ]
    layers = {f"layer.{layer}": dtype for layer in range(N_LAYERS)}
    return pl.DataFrame(rows, schema={"document": pl.String, "token": pl.String, **layers}, orient="row")


def document_table(arrays: list[Floats]) -> dict[str, list[Any]]:
    """A row per document."""
    return {
        "id": [f"d{number}" for number in range(len(SENTENCES))],
        "tokens": [sentence.split() for sentence in SENTENCES],
        **{f"layer.{layer}": [values[layer].tolist() for values in arrays] for layer in range(N_LAYERS)},
    }


def data_set(arrays: list[Floats]) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict(document_table(arrays))


def stored_as(name: str, folder: Path) -> StoredActivations:
    """The same activations in another format."""
    arrays = activations()
    if name == "hdf5":
        return read_activations(write_hdf5(folder / "acts.hdf5", arrays))
    if name == "hdf5 by layer":
        (folder / "acts").mkdir()
        for layer in range(N_LAYERS):
            write_hdf5(folder / "acts" / f"acts-layer{layer}.hdf5", [values[[layer]] for values in arrays])
        return read_activations(folder / "acts")
    if name == "json":
        return read_activations(write_json(folder / "acts.json", arrays))
    if name.startswith("."):
        return read_activations(write_arrays(folder / "acts", arrays, name))
    if name == "rows of tokens":
        token_table(arrays, pl.List(pl.Float32)).write_parquet(folder / "t.parquet", row_group_size=4)
        return read_activations(folder / "t.parquet")
    if name == "fixed lists":
        frame = token_table(arrays, pl.Array(pl.Float32, N_NEURONS))
        (folder / "acts").mkdir()
        frame[:9].write_parquet(folder / "acts" / "0.parquet")
        frame[9:].write_parquet(folder / "acts" / "1.parquet")
        return read_activations(folder / "acts")
    if name == "DataFrame":
        return read_activations(token_table(arrays, pl.List(pl.Float64)))
    if name == "rows of documents":
        pl.DataFrame(document_table(arrays)).write_parquet(folder / "d.parquet")
        return read_activations(folder / "d.parquet")
    if name == "data set":
        return read_activations(data_set(arrays))
    data_set(arrays).save_to_disk(str(folder / "saved"))
    return read_activations(folder / "saved")


FORMATS = [
    *("hdf5", "hdf5 by layer", "json", ".safetensors", ".npz", ".npy", "rows of tokens", "fixed lists"),
    *("DataFrame", "rows of documents", "data set", "saved data set"),
]


def sums(stage: Stage, layer: str) -> dict[tuple[str, int], float]:
    preferences = stage[layer, "token"]
    totals: dict[tuple[str, int], float] = defaultdict(float)
    for feature, neuron, total in zip(
        preferences.feature_id, preferences.neuron, preferences.sum, strict=True
    ):
        totals[str(preferences.features[feature]), int(neuron)] += float(total)
    return dict(totals)


def directly(layer: int) -> dict[tuple[str, int], float]:
    """The sums of positive activations per word and neuron."""
    wanted: dict[tuple[str, int], float] = defaultdict(float)
    for sentence, values in zip(SENTENCES, activations(), strict=True):
        for position, word in enumerate(sentence.split()):
            for neuron, value in enumerate(values[layer, position].tolist()):
                if value > 0:
                    wanted[word.lower(), neuron] += value
    return dict(wanted)


@pytest.mark.filterwarnings("ignore::txray.errors.DuplicateWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_sums_of_its_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.activations.tables._BLOCK_BYTES", 300)
    stored = stored_as(name, tmp_path)
    assert list(stored.layers) == [f"layer.{layer}" for layer in range(N_LAYERS)]
    assert stored.n_documents == len(SENTENCES)
    assert [document.words for document in stored.corpus()] == [tuple(s.split()) for s in SENTENCES]
    stage = collect(stored, stored.corpus(), layers="layer.*", name="s", selection="all", batch_positions=9)
    exact = 1e-7 if name == "json" else 0
    for layer in range(N_LAYERS):
        assert sums(stage, f"layer.{layer}") == pytest.approx(directly(layer), abs=exact, rel=1e-12)
    strongest = [int(word) for values in activations() for word in (values[1].max(axis=1) > 0)]
    stage = collect(stored, stored.corpus(), layers="layer.1", name="s")
    assert stage.manifest["layers"]["layer.1"]["counted"] == sum(strongest)
    assert len(stored.fingerprint) == 64
    assert stored.fingerprint == stage.manifest["model"]["fingerprint"]


def test_files_of_the_real_neurox_are_read_exactly(tmp_path: Path) -> None:
    writers = pytest.importorskip("neurox.data.writer")
    arrays = activations()
    for suffix, rounding in (("hdf5", 0.0), ("json", 2e-8)):
        writer = writers.ActivationsWriter.get_writer(str(tmp_path / f"real.{suffix}"))
        for number, (sentence, values) in enumerate(zip(SENTENCES, arrays, strict=True)):
            writer.write_activations(number, sentence.split(" "), values)
        writer.close()
        stored = read_activations(tmp_path / f"real.{suffix}")
        for number, values in enumerate(arrays):
            rows = stored.files.text(number).inputs[0].rows
            for layer in range(N_LAYERS):
                read = stored.files.rows(f"layer.{layer}", int(rows[0]), int(rows[-1]) + 1).numpy()
                np.testing.assert_allclose(read, values[layer], rtol=0, atol=rounding)
        by_hand = {"hdf5": write_hdf5, "json": write_json}[suffix](tmp_path / f"hand.{suffix}", arrays)
        assert [d.words for d in read_activations(by_hand).corpus()] == [d.words for d in stored.corpus()]


@pytest.mark.parametrize(
    ("sentences", "wanted"),
    [
        (["want##ed it", "#"], [("wanted", "it"), ("#",)]),
        (["The Ġfilm ĠwasnâĢĻt ĠZÃ¼rich"], [("The", "film", "wasn’t", "Zürich")]),
        (["▁The ▁film"], [("The", "film")]),
        (["a  b"], [("a", "b")]),  # the tokenizer dropped a character between two words
    ],
)
def test_words_that_neurox_joined_from_pieces_lose_their_marks(
    sentences: list[str], wanted: list[tuple[str, ...]], tmp_path: Path
) -> None:
    arrays = [np.ones((1, len(sentence.split(" ")), 2), np.float32) for sentence in sentences]
    for write, suffix in ((write_hdf5, "hdf5"), (write_json, "json")):
        stored = read_activations(write(tmp_path / f"acts.{suffix}", arrays, sentences))
        assert [document.words for document in stored.corpus()] == wanted
        stage = collect(stored, stored.corpus(), layers="layer.0", name="s")
        assert stage.manifest["layers"]["layer.0"]["counted"] == sum(map(len, wanted))


@pytest.mark.filterwarnings("ignore::txray.errors.DuplicateWarning")
def test_files_of_other_tools_can_be_converted(tmp_path: Path) -> None:
    stored = stored_as("json", tmp_path)
    settings: dict[str, Any] = {"layers": ["layer.0", "layer.2"], "name": "s", "selection": "all"}
    stage = collect(stored, stored.corpus(), **settings, save_activations=tmp_path / "converted")
    converted = read_activations(tmp_path / "converted")
    assert list(converted.layers) == ["layer.0", "layer.2"]
    again = collect(converted, converted.corpus(), **settings)
    for layer in stage.layers:
        assert sums(again, layer) == sums(stage, layer)
    assert again.exemplars.equals(stage.exemplars)


def test_equal_numbers_in_a_file_have_equal_fingerprints_and_others_another(tmp_path: Path) -> None:
    arrays = activations()
    one = read_activations(write_hdf5(tmp_path / "one.hdf5", arrays)).fingerprint
    assert read_activations(write_hdf5(tmp_path / "two.hdf5", arrays)).fingerprint == one
    arrays[2][1, 0, 3] += 1e-6
    assert read_activations(write_hdf5(tmp_path / "three.hdf5", arrays)).fingerprint != one
    frame = token_table(activations(), pl.List(pl.Float32))
    assert (
        read_activations(frame).fingerprint
        != read_activations(token_table(arrays, pl.List(pl.Float32))).fingerprint
    )


def test_a_corpus_with_annotations_finds_its_sentences_by_their_text(tmp_path: Path) -> None:
    stored = stored_as("hdf5", tmp_path)
    texts = [
        Document("n2", ("x", "(", "y", ")", "Zürich"), {"pos": ("X", "(", "X", ")", "NNP")}),
        # The ids of another corpus are numbers as well, and mean nothing.
        Document("000000", ("a", "b", "c"), {"pos": ("DT", "X", "X")}),
        Document("n4", ("not", "stored"), {"pos": ("RB", "VB")}),
    ]
    corpus = Corpus.from_documents("t", texts)
    stage = collect(stored, corpus, layers="layer.0", feature_types="pos", selection="all", name="s")
    preferences = stage["layer.0", "pos"]
    total = preferences.sum[preferences.features[preferences.feature_id] == "NNP"].sum()
    assert total == pytest.approx(float(activations()[3][0, 4].clip(0).sum()))
    assert stage.manifest["layers"]["layer.0"]["skipped"]["no stored activations"] == 2
    beginning = collect(stored, stored.corpus(), layers="layer.0", name="s", max_words=9)
    assert beginning.manifest["words"] == 9
    assert "no stored activations" not in beginning.manifest["layers"]["layer.0"]["skipped"]


def test_pieces_are_pooled_to_words(tmp_path: Path) -> None:
    tokens = ["[CLS]", "un", "##like", "##ly", "cafe", ",", "[SEP]"]
    values = np.random.default_rng(1).normal(size=(len(tokens), 4)).astype(np.float32)
    (tmp_path / "tokens.jsonl").write_text(json.dumps(tokens))
    np.save(tmp_path / "mlp.npy", values)
    text = Corpus.from_documents("t", [Document("d", ("Unlikely", "Café", ","))])
    for pooling, pool in (("max", np.max), ("mean", np.mean), ("last", lambda part, axis: part[-1])):
        stored = read_activations(tmp_path, pooling=pooling)  # type: ignore[arg-type]
        assert [document.words for document in stored.corpus()] == [("unlikely", "cafe", ",")]
        stage = collect(stored, text, layers="mlp", name="s", selection="all/absolute")
        # The absolute value is taken of the pieces.
        wanted = [pool(np.abs(part), axis=0) for part in (values[1:4], values[4:5], values[5:6])]
        assert sum(sums(stage, "mlp").values()) == pytest.approx(float(np.sum(wanted)), rel=1e-6)
        pieces = collect(stored, text, layers="mlp", name="s", feature_types="subword", selection="all")
        assert set(pieces["mlp", "subword"].features) == set(tokens[1:-1])
    with pytest.raises(UsageError, match="unknown pooling"):
        read_activations(tmp_path, pooling="sum")  # type: ignore[arg-type]


ALIGNED: list[tuple[list[str], list[str], list[int]]] = [
    (["It", "is"], ["It", "is"], [0, 1]),
    (["Unlikely", "ends"], ["[CLS]", "un", "##like", "##ly", "ends", "[SEP]"], [-1, 0, 0, 0, 1, -1]),
    (["Unlikely", "é", "ends"], ["Un", "likely", "ĠÃ", "©", "Ġends", "<|endoftext|>"], [0, 0, 1, 1, 2, -1]),
    (["Unlikely", "ends"], ["<s>", "▁Un", "like", "ly", "▁", "ends", "</s>"], [-1, 0, 0, 0, -1, 1, -1]),
    (["low", "er"], ["lo", "w</w>", "er</w>"], [0, 0, 1]),
    (["Zürich", "is"], ["zur", "##ich", "is"], [0, 0, 1]),
    (["do", "n't"], ["don't"], [1]),
    (["a", "qq", "b"], ["a", "[UNK]", "b"], [0, 1, 2]),
    (["[CLS]", "a"], ["[CLS]", "a"], [0, 1]),
    (["a", "b", "c"], ["a", "b"], [0, 1]),
    (["##", "x"], ["##", "x"], [0, 1]),
    (["日本", "語"], ["日", "##本", "語"], [0, 0, 1]),
]


@pytest.mark.parametrize(("words", "tokens", "wanted"), ALIGNED)
def test_tokens_are_assigned_to_words_by_their_letters(
    words: list[str], tokens: list[str], wanted: list[int]
) -> None:
    assert words_of_tokens(words, tokens, "d").tolist() == wanted


def test_other_text_is_refused_with_its_place() -> None:
    for words, tokens, message in (
        (
            ["a", "river"],
            ["a", "lake"],
            "document 'd': stored token 1 is 'lake', but the text has 'river' at word 1",
        ),
        (["a"], ["a", "more"], "stored token 1 is 'more', but the text has its end at word 1"),
        (["abc"], ["abd"], "stored token 0 is 'abd'"),
    ):
        with pytest.raises(CaptureError, match=message):
            words_of_tokens(words, tokens, "d")
    assert words_of_tokens(["a"], ["a", "more"], "d", cut=True).tolist() == [0, -1]


def test_words_are_joined_from_their_pieces() -> None:
    for tokens, words in (
        (["It", "is"], ("It", "is")),
        (["[CLS]", "un", "##like", "##ly", "ends", "[SEP]"], ("unlikely", "ends")),
        (["<s>", "▁Un", "likely", "▁ends", "</s>"], ("Unlikely", "ends")),
        (["Un", "likely", "ĠÃ", "©", "Ġends", "<|endoftext|>"], ("Unlikely", "é", "ends")),
        (["lo", "w</w>", "er</w>"], ("low", "er")),
    ):
        assert joined(tokens) == words
