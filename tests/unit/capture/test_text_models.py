"""Collection from any module, against a direct computation: one document at a time, plain loops, numpy."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.builders.text_models import (
    Packed,
    TextCnn,
    TimeFirst,
    Transformer,
    seeded,
    transformer,
    with_mask,
    word_ids,
)
from tests.builders.texts import corpus_of, documents
from tests.unit.capture.test_collect import same_preferences, table_of
from txray import compare, report
from txray.capture import Layer, Selection, capturing, collect, layer_names
from txray.capture.forward.calls import tracing
from txray.corpus import Corpus, Document, demo_corpus
from txray.errors import CaptureError, DominanceWarning, UsageError
from txray.models import TextModel
from txray.preferences import Stage, fold_of

LINEAR = "encoder.layers.0.linear1"
Rows = dict[tuple[int, int, str], list[float]]


def activations(
    model: TextModel, layer: str, words: Sequence[str]
) -> tuple[NDArray[np.float32], list[list[int]]]:
    """(n_pieces, n_neurons) of a document read at once, and the pieces of each word."""
    pieces = model.pieces(words)
    ids = torch.tensor([[*model.prefix, *pieces.ids, *model.suffix]])
    with torch.inference_mode(), capturing(model.module, [layer]) as captured:
        model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
        output = captured.take(layer)[0].numpy()
    rows = output[len(model.prefix) : len(model.prefix) + len(pieces.ids)]
    return rows, [[i for i, word in enumerate(pieces.word) if word == n] for n in range(len(words))]


POOL: dict[str, Callable[[Any], Any]] = {
    "max": lambda rows: rows.max(axis=0),
    "mean": lambda rows: rows.mean(axis=0, dtype=np.float64),
    "first": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
}
SIGN: dict[str, Callable[[Any], Any]] = {"positive": lambda x: x, "absolute": np.abs, "negative": np.negative}


def direct(model: TextModel, layer: str, made: list[Document], selection: Selection) -> tuple[Rows, int, int]:
    """Selected activations per (fold, neuron, token); words read; words that the model does not read."""
    every = []
    unread = 0
    folds = {document.id: fold_of(document) for document in made}
    for document in made:
        rows, owners = activations(model, layer, document.words)
        for word, owner in zip(document.words, owners, strict=True):
            if owner:
                every.append((document.id, word.lower(), rows[owner]))
            else:
                unread += 1
    pool = POOL[model.pooling]
    raw = np.array([pool(rows) for _, _, rows in every])
    mean, deviation = raw.mean(axis=0), raw.std(axis=0)
    found: Rows = defaultdict(list)
    by_document: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for name, word, rows in every:
        if selection.standardize == "zscore":
            rows = (rows - mean) / deviation
        value = pool(SIGN[selection.sign](rows))
        by_document[name].append((word, value))
        if selection.threshold is not None:
            chosen = np.flatnonzero(value > selection.threshold)
        elif selection.k is not None:
            chosen = np.argsort(-value, kind="stable")[: selection.k]
        else:
            continue
        for neuron in chosen[value[chosen] > 0].tolist():
            found[folds[name], neuron, word].append(float(value[neuron]))
    if selection.rule == "max-position":
        for name, words in by_document.items():
            values = np.array([value for _, value in words])
            for neuron, at in enumerate(values.argmax(axis=0).tolist()):
                if values[at, neuron] > 0:
                    found[folds[name], neuron, words[at][0]].append(float(values[at, neuron]))
    return found, len(every), unread


def assert_equal(stage: Stage, layer: str, expected: Rows) -> None:
    collected = table_of(stage.preferences(layer=layer))
    assert collected.keys() == expected.keys()
    for key, values in expected.items():
        count, total = collected[key]
        assert count == len(values), key
        assert total == pytest.approx(sum(values), rel=2e-5, abs=1e-6), key


@pytest.mark.parametrize("pooling", ["max", "mean", "first", "last"])
@pytest.mark.parametrize(
    "selection",
    [
        "max-1",
        "max-3",
        "max-99",
        "all",
        "threshold=0.4",
        "max-position",
        "max-1/negative",
        "all/absolute",
        "max-2/zscore",
    ],
)
def test_preferences_equal_a_direct_computation(pooling: str, selection: str) -> None:
    model, made = transformer(pooling=pooling), documents(12)
    chosen = Selection.parse(selection)
    stage = collect(model, corpus_of(made), layers=[LINEAR], selection=selection, name="s")
    expected, read, unread = direct(model, LINEAR, made, chosen)
    assert_equal(stage, LINEAR, expected)
    assert str(chosen) == selection == stage.preferences(layer=LINEAR).selection
    account = stage.manifest["layers"][LINEAR]
    assert read + unread == stage.manifest["words"] == account["counted"] + sum(account["skipped"].values())


@pytest.mark.parametrize(
    ("selection", "positions"), [("max-1", 1), ("all", 64), ("max-position", 7), ("threshold=0.2/zscore", 40)]
)
def test_batches_order_and_windows_change_nothing(selection: str, positions: int) -> None:
    model, made = transformer(), documents()
    kinds = ["token", "pos"] if selection == "max-position" else ["token", "pos", "subword"]
    reference = collect(
        model, corpus_of(made), layers=[LINEAR], feature_types=kinds, selection=selection, name="s"
    )
    shuffled = made.copy()
    random.Random(3).shuffle(shuffled)
    other = collect(
        model,
        corpus_of(shuffled),
        layers=[LINEAR],
        feature_types=kinds,
        selection=selection,
        name="s",
        batch_positions=positions,
    )
    same_preferences(reference, other, rtol=1e-5, atol=1e-5 if "zscore" in selection else 1e-6)
    assert reference.manifest["layers"] == other.manifest["layers"]
    # The layer in front of the attention does not see beyond its word: windows must not matter at all there.
    whole = collect(
        model, corpus_of(made), layers=["embedding"], feature_types=kinds, selection=selection, name="s"
    )
    for limit, overlap in ((9, 0), (9, 4), (30, 11)):
        cut = collect(
            replace(model, max_length=limit, overlap=overlap),
            corpus_of(made),
            layers=["embedding"],
            feature_types=kinds,
            selection=selection,
            name="s",
        )
        same_preferences(whole, cut, atol=1e-5)


def test_pieces_are_credited_on_their_own() -> None:
    model, made = transformer(), documents(9)
    stage = collect(model, corpus_of(made), layers=[LINEAR], feature_types=["subword"], name="s")
    expected: Rows = defaultdict(list)
    for document in made:
        rows, _ = activations(model, LINEAR, document.words)
        for text, row in zip(model.pieces(document.words).texts, rows, strict=True):
            if row.max() > 0:
                expected[fold_of(document), int(row.argmax()), text].append(float(row.max()))
    collected = table_of(stage.preferences(layer=LINEAR, feature_type="subword"))
    assert {key: count for key, (count, _) in collected.items()} == {k: len(v) for k, v in expected.items()}
    preferences = stage.preferences(layer=LINEAR, feature_type="subword")
    assert preferences.words == sum(len(model.pieces(document.words).ids) for document in made)


def test_a_convolution_credits_the_words_that_it_covers() -> None:
    module, made = seeded(TextCnn), documents(15)
    model = TextModel(module, word_ids)
    stage = collect(
        model, corpus_of(made), layers=[Layer("act", lag=-1, selection="max-position"), "conv"], name="s"
    )
    expected: Rows = defaultdict(list)
    for document in made:
        if len(document.words) < 3:
            continue
        with torch.inference_mode(), capturing(module, ["act"]) as captured:
            module(torch.tensor([word_ids(document.words)]))
            rows = captured.take("act")[0].numpy()  # (neurons, time)
        for neuron, row in enumerate(rows):
            if row.max() > 0:
                at = int(row.argmax())
                expected[fold_of(document), neuron, document.words[at + 1].lower()].append(float(row.max()))
    assert_equal(stage, "act", expected)
    # A filter of width 3 stands for its middle word, so the two at the ends of a text have none.
    short = sum(min(2, len(document.words)) for document in made if len(document.words) >= 3)
    assert stage.manifest["layers"]["act"]["skipped"]["outside the layer's output"] >= short
    assert stage.preferences(layer="conv").selection == "max-1"


@pytest.mark.parametrize(
    ("module_of", "forward", "layer"),
    [
        (Packed, with_mask, "gru"),
        (TimeFirst, None, "lstm"),
        (TimeFirst, None, "flat"),
        (TextCnn, None, "embedding"),
    ],
)
def test_every_layout_is_read_in_the_same_way(module_of: Any, forward: Any, layer: str) -> None:
    model = TextModel(seeded(module_of), word_ids, **({"forward": forward} if forward else {}))
    made = documents(14)
    stage = collect(model, corpus_of(made), layers=[layer], selection="all", name="s")
    expected: Rows = defaultdict(list)
    for document in made:
        ids = torch.tensor([word_ids(document.words)])
        with torch.inference_mode(), capturing(model.module, [layer]) as captured:
            model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
            rows = captured.take(layer).reshape(len(document.words), -1).numpy()
        for word, row in zip(document.words, rows, strict=True):
            for neuron in np.flatnonzero(row > 0).tolist():
                expected[fold_of(document), neuron, word.lower()].append(float(row[neuron]))
    assert_equal(stage, layer, expected)


@pytest.mark.parametrize("module_of", [Transformer, TextCnn, Packed, TimeFirst])
def test_hooks_change_no_bit(module_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = seeded(module_of)
    ids = torch.randint(2, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    takes_mask = module_of in (Transformer, Packed)
    arguments = (ids, torch.ones_like(ids, dtype=torch.bool)) if takes_mask else (ids,)

    def flat(output: Any) -> list[torch.Tensor]:
        if isinstance(output, torch.Tensor):
            return [output]
        return (
            [tensor for part in output for tensor in flat(part) if tensor is not None]
            if output is not None
            else []
        )

    # PyTorch's encoder has a fused path that skips its inner layers, and takes it only where nobody looks.
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    with torch.inference_mode():
        before = flat(module(*arguments))
        with tracing(module, layer_names(module)) as trace:
            module(*arguments)
        layers = [name for name in trace.ran if all(call.output for call in trace.calls(name))]
        with capturing(module, layers):
            during = flat(module(*arguments))
    assert len(before) == len(during) > 0
    assert all(torch.equal(one, other) for one, other in zip(before, during, strict=True))
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize(
    ("module_of", "forward", "layers", "selection"),
    [
        (Transformer, with_mask, ["encoder.layers.*.linear1", "encoder.layers.1"], "max-1"),
        (TextCnn, None, ["act"], "max-position"),
        (Packed, with_mask, ["gru"], "max-1"),
        (TimeFirst, None, ["lstm"], "all/absolute"),
    ],
)
def test_modules_of_every_kind_from_text_to_a_report(
    module_of: Any, forward: Any, layers: list[str], selection: str, tmp_path: Any
) -> None:
    stages = []
    for seed in (0, 1):
        options = {} if forward is None else {"forward": forward}
        model = TextModel(seeded(module_of, seed), word_ids, **options)
        corpus = demo_corpus("reviews", words=2_000)
        stage = collect(
            model,
            corpus,
            layers=layers,
            feature_types=["token", "pos"],
            selection=selection,
            name=f"seed-{seed}",
        )
        for account in stage.manifest["layers"].values():
            assert account["counted"] + sum(account["skipped"].values()) == 2_000
        stages.append(Stage.load(stage.save(tmp_path / f"seed-{seed}")))
    layer = stages[0].layers[0]
    assert (
        sum(
            compare(*stages, layer=layer, permutations=0).summary[state]
            for state in ("shared", "avoided", "gained")
        )
        > 0
    )
    page = report(stages, tmp_path / "report.html").read_text("utf-8")
    assert layer in page
    assert "seed-0" in page


def test_one_dominant_neuron_is_named_with_the_remedy() -> None:
    model = transformer()
    with torch.no_grad():
        model.module.get_submodule(LINEAR).bias[5] += 50  # type: ignore[index]
    with pytest.warns(DominanceWarning, match=rf"layer '{LINEAR}': neuron 5 wins 100% .*'max-1/zscore'"):
        stage = collect(model, corpus_of(documents(8)), layers=[LINEAR], name="s")
    assert len(stage.manifest["warnings"]) == 1
    standardized = collect(
        model, corpus_of(documents(8)), layers=[LINEAR], selection="max-1/zscore", name="s"
    )
    assert standardized.manifest["warnings"] == []
    assert (standardized.preferences(layer=LINEAR).wins() > 0).sum() > 5


def test_scales_come_from_a_given_stage_or_its_folder(tmp_path: Any) -> None:
    model, made = transformer(), documents(10)
    first = collect(model, corpus_of(made), layers=[LINEAR], selection="max-1/zscore", name="first")
    first.save(tmp_path / "first")
    loaded = Stage.load(tmp_path / "first")
    assert loaded.scales.equals(first.scales)
    assert len(loaded.scales) == 12
    for scales in (loaded, tmp_path / "first"):
        same = collect(
            model, corpus_of(made), layers=[LINEAR], selection="max-1/zscore", name="first", scales=scales
        )
        same_preferences(first, same, rtol=0)
    own = collect(model, corpus_of(made[:3]), layers=[LINEAR], selection="max-1/zscore", name="own")
    given = collect(
        model, corpus_of(made[:3]), layers=[LINEAR], selection="max-1/zscore", name="own", scales=loaded
    )
    assert not own.preferences(layer=LINEAR).table().equals(given.preferences(layer=LINEAR).table())
    with pytest.raises(UsageError, match="has scales of 0 neurons of layer 'embedding' instead of 8"):
        collect(
            model, corpus_of(made), layers=["embedding"], selection="max-1/zscore", name="s", scales=loaded
        )


def test_a_constant_neuron_has_no_standard_score() -> None:
    model = transformer()
    linear: Any = model.module.get_submodule(LINEAR)
    with torch.no_grad():
        linear.weight[3] = 0
        linear.bias[3] = 7
    stage = collect(
        model, corpus_of(documents(8)), layers=[LINEAR], selection="all/absolute/zscore", name="s"
    )
    assert stage.preferences(layer=LINEAR).wins()[3] == 0
    assert (np.delete(stage.preferences(layer=LINEAR).wins(), 3) > 0).all()


STRANGE = [
    Document("words of no letters", ("1", "?!", "\U0001f600")),
    Document("one", ("a",)),
    Document(
        "mixed",
        (
            "e\u0301te\u0301",
            "\u05d0\u05d1\u05d2",
            "new york",
            "two\nlines",
            "nul\x00",
            "\U0001f469\u200d\U0001f680",
            "plain",
        ),
    ),
    Document("huge", ("abc",) * 3_000 + ("zz" * 5_000,)),
]


@pytest.mark.parametrize("selection", ["max-1", "all", "max-position"])
def test_strange_words_are_read_or_counted_as_skipped(selection: str, tmp_path: Any) -> None:
    model = transformer(max_length=50, overlap=10)
    stage = collect(model, corpus_of(STRANGE), layers=[LINEAR, "embedding"], selection=selection, name="s")
    for account in stage.manifest["layers"].values():
        assert account["counted"] + sum(account["skipped"].values()) == stage.manifest["words"] == 3_012
        # "nul\\x00" and the like have no letters only, so the tokenizer of this test gives them no piece.
        assert account["skipped"]["unknown to the tokenizer"] == 8
        assert account["skipped"]["longer than the model can read"] == 1
    stage.save(tmp_path / "s")
    assert (
        Stage.load(tmp_path / "s")
        .preferences(layer=LINEAR)
        .table()
        .equals(stage.preferences(layer=LINEAR).table())
    )


def test_only_unreadable_words_are_no_crash() -> None:
    stage = collect(transformer(), corpus_of(STRANGE[:1]), layers=[LINEAR], name="s")
    assert stage.manifest["layers"][LINEAR]["skipped"] == {"unknown to the tokenizer": 3}
    assert stage.preferences(layer=LINEAR).words == 0


def test_wrong_requests_are_told() -> None:
    corpus = corpus_of(documents(3))
    with pytest.raises(UsageError, match="txray.TextModel"):
        collect(torch.nn.Linear(2, 2), corpus, name="s")
    with pytest.raises(UsageError, match="feature type 'output'"):
        collect(transformer(), corpus, layers=[LINEAR], feature_types=["output"], name="s")
    with pytest.raises(UsageError, match="'max-position' does not support the feature type 'subword'"):
        collect(
            transformer(),
            corpus,
            layers=[LINEAR],
            feature_types=["token", "subword"],
            selection="max-position",
            name="s",
        )
    with pytest.raises(CaptureError, match="does not name its pieces"):
        collect(
            TextModel(seeded(TextCnn), word_ids),
            corpus,
            layers=["embedding"],
            feature_types=["subword"],
            name="s",
        )
    with pytest.raises(UsageError, match="threshold"):
        Selection.parse("threshold=-1")


def test_broken_weights_name_layer_document_and_word() -> None:
    model = transformer()
    with torch.no_grad():
        model.module.get_submodule("embedding").weight[word_ids(["mi"])[0]] = float("inf")  # type: ignore[index]
    made = Corpus.from_documents("c", [Document("bad", ("the", "mill"))])
    for selection in ("max-1", "max-2", "all", "max-position"):
        with pytest.raises(
            CaptureError,
            match=r"layer 'embedding': activation (inf|nan) in document 'bad', word 1 \('mill'\)",
        ):
            collect(model, made, layers=["embedding"], selection=selection, name="s")


def test_a_broken_piece_that_pooling_ignores_is_found_where_pieces_count() -> None:
    model = transformer(pooling="first")
    with torch.no_grad():
        model.module.get_submodule("embedding").weight[word_ids(["ll"])[0]] = float("inf")  # type: ignore[index]
    corpus = Corpus.from_documents("c", [Document("bad", ("the", "mill"))])
    for selection in ("max-1", "all"):
        collect(model, corpus, layers=["embedding"], selection=selection, name="s")
        with pytest.raises(CaptureError, match=r"activation inf in document 'bad', word 1 \('mill'\)"):
            collect(
                model,
                corpus,
                layers=["embedding"],
                selection=selection,
                feature_types=["token", "subword"],
                name="s",
            )
