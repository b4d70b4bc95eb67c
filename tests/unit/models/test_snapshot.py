from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import parametrize, prune

from tests.builders.recurrent import CELLS, small, words
from txray.errors import SnapshotError, UsageError
from txray.models import (
    RecurrentModel,
    Vocabulary,
    classifier,
    language_model,
    load_model,
    save_model,
    snapshot_metadata,
)
from txray.models.recurrent import Cell


def assert_same(one: RecurrentModel, other: RecurrentModel) -> None:
    assert type(one) is type(other)
    assert one.config == other.config
    assert one.vocabulary == other.vocabulary
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    for (name, value), (same, copy) in pairs:
        assert name == same
        assert torch.equal(value, copy), name


@pytest.mark.parametrize("cell", CELLS)
def test_language_models_come_back_bit_by_bit(cell: Cell, tmp_path: Path) -> None:
    model = small(cell, layers=2, dropout=0.25).train()
    save_model(model, tmp_path / "s", epoch=3)
    loaded = load_model(tmp_path / "s")
    assert_same(model, loaded)
    assert not loaded.training
    assert model.training
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == [
        "model.json",
        "model.safetensors",
        "vocabulary.json",
    ]
    assert snapshot_metadata(tmp_path / "s") == {"epoch": 3}


@pytest.mark.parametrize("pooling", ["last", "last+avg+max"])
def test_classifiers_come_back_bit_by_bit(pooling: Any, tmp_path: Path) -> None:
    model = classifier(small("gru"), pooling)
    save_model(model, tmp_path / "s")
    loaded = load_model(str(tmp_path / "s"))
    assert_same(model, loaded)
    assert loaded.pooling == pooling


def test_tied_weights_are_kept_once_and_stay_tied(tmp_path: Path) -> None:
    model = small(embedding=7, tied=True)
    save_model(model, tmp_path / "s")
    with safe_open(tmp_path / "s" / "model.safetensors", framework="pt") as content:
        names = set(content.keys())
    assert "embedding.weight" in names
    assert "decoder.weight" not in names
    loaded = load_model(tmp_path / "s")
    assert_same(model, loaded)
    assert loaded.decoder.weight is loaded.embedding.weight  # type: ignore[union-attr]


def test_odd_words_survive(tmp_path: Path) -> None:
    odd = ("</script>", "\u2028", "a\nb", "\ud800", "é", '"', " ", "x" * 10_000)
    model = language_model("gru", Vocabulary(("<unk>", "<eos>", *odd)), embedding=2, hidden=2)
    save_model(model, tmp_path / "s")
    assert load_model(tmp_path / "s").vocabulary.words[2:] == odd


def test_same_model_same_bytes_and_no_random_state_touched(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name in ("one", "two"):
        save_model(small(), tmp_path / name, epoch=1)
        load_model(tmp_path / name)
    assert torch.equal(torch.get_rng_state(), before)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_replaces_an_older_snapshot_as_a_whole(tmp_path: Path) -> None:
    save_model(small(seed=1), tmp_path / "s")
    (tmp_path / "s" / "more.txt").write_text("x")
    save_model(small(seed=2), tmp_path / "s")
    assert_same(load_model(tmp_path / "s"), small(seed=2))
    assert not (tmp_path / "s" / "more.txt").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_refuses_another_kind_of_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RecurrentModel cannot be saved"):
        save_model(RecurrentModel(words(3), small().config), tmp_path / "s")
    with pytest.raises(UsageError, match="a Linear cannot be saved"):
        save_model(nn.Linear(2, 2), tmp_path / "s")  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(small(), tmp_path / "s")
    return tmp_path / "s"


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    for name, value in changes.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    file.write_text(json.dumps(content))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(SnapshotError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "vocabulary.json"])
def test_names_a_missing_or_damaged_file(saved: Path, name: str) -> None:
    file = saved / name
    content = file.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\xff\xfe" + content[2:]):
        file.write_bytes(damaged)
        refused(saved, f"{name}: damaged: ")
    file.unlink()
    refused(saved, f"{name}: no such file")


def test_notices_a_single_changed_bit_in_the_weights(saved: Path) -> None:
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    refused(saved, "checksum")


def test_notices_weights_of_another_size(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    save_file({**weights, "embedding.weight": torch.zeros(12, 5)}, saved / "model.safetensors")
    refused(saved, r"embedding.weight has shape \(12, 5\).* need \(11, 5\)")


def test_notices_missing_and_superfluous_weights(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    bias = weights.pop("decoder.bias")
    save_file({**weights, "more": bias}, saved / "model.safetensors")
    refused(saved, "differing weights: decoder.bias, more")


@pytest.mark.parametrize("count", [8, 9, 10])
def test_notices_a_vocabulary_of_another_model(saved: Path, tmp_path: Path, count: int) -> None:
    other = Vocabulary(("<unk>", "<eos>", *(f"x{number}" for number in range(count))))
    save_model(language_model("gru", other, embedding=2, hidden=2), tmp_path / "other")
    (saved / "vocabulary.json").write_bytes((tmp_path / "other" / "vocabulary.json").read_bytes())
    refused(saved, f"vocabulary.json: its {count + 2} words do not match")


@pytest.mark.parametrize("name", ["model.json", "vocabulary.json"])
@pytest.mark.parametrize("format_", [0, 2, "1", None])
def test_refuses_another_format(saved: Path, name: str, format_: object) -> None:
    edit(saved / name, format=format_)
    refused(saved, f"{name}: format {format_!r}; this version of txray reads format 1")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("model.json", {"kind": None}, "lacks 'kind'"),
        ("model.json", {"kind": "tree"}, "unknown type of model 'tree'"),
        ("model.json", {"config": {"cell": "lstm", "size": 3}}, "size"),
        ("model.json", {"config": {"cell": "lstm", "hidden": "7"}}, "hidden"),
        ("model.json", {"config": {"cell": "tree"}}, "unknown cell 'tree'"),
        ("model.json", {"kind": "sentiment-classifier", "pooling": "sum"}, "unknown pooling 'sum'"),
        ("model.json", {"kind": ["language-model"]}, "unknown type"),
        ("vocabulary.json", {"words": ["<unk>", "<eos>", 3]}, "words must be text"),
        ("vocabulary.json", {"words": 3}, "damaged"),
        ("vocabulary.json", {"words": ["a"]}, "begins with"),
        ("vocabulary.json", {"lowercase": None}, "lacks 'lowercase'"),
    ],
)
def test_refuses_descriptions_that_make_no_sense(
    saved: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    edit(saved / name, **changes)
    refused(saved, message)


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_refuses_json_that_is_no_object(saved: Path, content: str) -> None:
    (saved / "model.json").write_text(content)
    refused(saved, "model.json: damaged: not a JSON object")


def pruned(model: RecurrentModel) -> nn.Module:
    return prune.l1_unstructured(model.rnn, "weight_hh_l0", amount=0.5)


def parametrized(model: RecurrentModel) -> nn.Module:
    return parametrize.register_parametrization(model.embedding, "weight", nn.Identity())


def normed(model: RecurrentModel) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(model.embedding)


def larger(model: RecurrentModel) -> None:
    model.embedding = nn.Embedding(len(model.vocabulary) + 1, model.config.embedding)


def without_numbers(model: RecurrentModel) -> nn.Module:
    return model.to("meta")


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (without_numbers, "load the model's weights"),
        (pruned, "prune.remove"),
        (parametrized, "remove_parametrizations"),
        (normed, "remove_parametrizations"),
        (larger, "created by txray"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(change: Any, remedy: str, tmp_path: Path) -> None:
    model = small("lstm")
    save_model(model, tmp_path / "s", epoch=1)
    change(model)
    with pytest.raises(UsageError, match=rf"weight.*{remedy}"):
        save_model(model, tmp_path / "s", epoch=2)
    assert snapshot_metadata(tmp_path / "s") == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_the_remedies_help(tmp_path: Path) -> None:
    model = small("lstm")
    pruned(model)
    parametrized(model)
    zeros = (model.rnn.weight_hh_l0 == 0).sum()
    prune.remove(model.rnn, "weight_hh_l0")
    parametrize.remove_parametrizations(model.embedding, "weight")
    save_model(model, tmp_path / "s")
    loaded = load_model(tmp_path / "s")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert (loaded.rnn.weight_hh_l0 == 0).sum() == zeros > 0


def test_number_types_come_back(tmp_path: Path) -> None:
    model = small("gru", tied=True, embedding=7).to(torch.bfloat16)
    save_model(model, tmp_path / "s")
    loaded = load_model(tmp_path / "s")
    assert_same(model, loaded)
    assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
    assert loaded.decoder.weight is loaded.embedding.weight


def test_the_folder_of_a_training_names_its_last_snapshot(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_model(small("gru"), tmp_path / "lm" / f"epoch-{epoch:03d}")
    refused(tmp_path / "lm", "such as .*epoch-002")
