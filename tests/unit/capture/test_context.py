"""The activations around exemplars, against plain forward passes: one document at a time, without batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from tests.builders.text_models import TextCnn, seeded, transformer, word_ids
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_text_models import POOL, SIGN
from txray.capture import Layer, Selection, collect
from txray.corpus import Document
from txray.models import TextModel
from txray.preferences import Stage

LINEAR = "encoder.layers.0.linear1"
SELECTIONS = ["max-1", "max-2", "all", "threshold=0.3", "max-position"]
Known = dict[str, NDArray[np.float64]]
"""Document id -> (n_words, n_neurons) activations, NaN where a word has none."""


def with_gaps(n: int = 12) -> list[Document]:
    """Documents with words that have no piece for the model."""
    made = []
    for document in documents(n):
        words = [str(i) if i % 5 == 2 else word for i, word in enumerate(document.words)]
        made.append(replace(document, words=tuple(words)))
    return made


def outputs(model: TextModel, layer: str, words: Sequence[str]) -> NDArray[np.float64]:
    """(positions, ...) what a module gives for a document alone."""
    ids = torch.tensor([[*model.prefix, *model.pieces(words).ids, *model.suffix]])
    seen: list[torch.Tensor] = []
    hook = model.module.get_submodule(layer).register_forward_hook(
        lambda module, given, output: seen.append(output)
    )
    try:
        # With gradients: without, PyTorch's encoder takes a fused path around its inner layers.
        model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
    finally:
        hook.remove()
    return seen[0][0].detach().double().numpy()


def by_hand(model: TextModel, layer: str, made: list[Document], selection: str = "max-1") -> Known:
    """Standardized, signed and pooled by loops over words."""
    chosen, pool = Selection.parse(selection), POOL[model.pooling]
    pieces: dict[str, list[NDArray[np.float64] | None]] = {}
    for document in made:
        rows = outputs(model, layer, document.words)[len(model.prefix) :]
        owner = np.array(model.pieces(document.words).word)
        mine = [np.flatnonzero(owner == number) for number in range(len(document.words))]
        pieces[document.id] = [rows[places] if len(places) else None for places in mine]
    if chosen.standardize == "zscore":
        raw = np.array([pool(rows) for each in pieces.values() for rows in each if rows is not None])
        mean, deviation = raw.mean(axis=0), raw.std(axis=0)
        pieces = {
            name: [None if rows is None else (rows - mean) / deviation for rows in each]
            for name, each in pieces.items()
        }
    neurons = next(rows for each in pieces.values() for rows in each if rows is not None).shape[1]
    return {
        name: np.array(
            [np.full(neurons, np.nan) if rows is None else pool(SIGN[chosen.sign](rows)) for rows in each]
        )
        for name, each in pieces.items()
    }


def shown(stage: Stage, layer: str) -> list[dict[str, Any]]:
    """The exemplars of a layer, each with activations."""
    rows = stage.exemplars.filter(pl.col("layer") == layer).to_dicts()
    assert rows
    assert all(row["activations"] is not None for row in rows)
    return rows


def around(row: dict[str, Any], known: Known) -> NDArray[np.float64]:
    """(words of the context,) activations that an exemplar must have."""
    first = max(0, row["position"] - 8)
    return known[row["document"]][first : row["position"] + 9, row["neuron"]].copy()


def assert_around(stage: Stage, layer: str, known: Known, atol: float = 1e-6) -> None:
    for row in shown(stage, layer):
        found = np.array(row["activations"], np.float64)
        np.testing.assert_allclose(found, around(row, known), rtol=2e-5, atol=atol)
        before = len(row["before"].split(" ")) if row["before"] else 0
        assert found[before] == pytest.approx(row["activation"], rel=1e-6)


@pytest.mark.parametrize("pooling", ["max", "mean", "first", "last"])
@pytest.mark.parametrize(
    "selection", [*SELECTIONS, "max-1/negative", "all/absolute", "max-2/zscore", "max-position/negative"]
)
def test_activations_around_equal_a_plain_forward_pass(pooling: str, selection: str) -> None:
    model, made = transformer(pooling=pooling), with_gaps()
    stage = collect(
        model, corpus_of(made), layers=[LINEAR], selection=selection, name="s", batch_positions=300
    )
    known = by_hand(model, LINEAR, made, selection)
    assert_around(stage, LINEAR, known, atol=1e-5 if "zscore" in selection else 1e-6)
    gaps = [value is None for row in shown(stage, LINEAR) for value in row["activations"]]
    assert 0.1 < np.mean(gaps) < 0.3, "every fifth word has no piece"


@pytest.mark.parametrize("selection", SELECTIONS)
def test_recurrent_layers(selection: str) -> None:
    model, made = small_model(), documents()
    known: Known = {}
    with torch.inference_mode():
        for document in made:
            hidden, _ = model.rnn(model.embedding(torch.tensor([model.encode(document.words)])))
            known[document.id] = hidden[0, 1:-1].double().numpy()
    assert_around(collect(model, corpus_of(made), selection=selection, name="s"), "rnn", known)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_recurrent_layer_is_looked_at_window_by_window(
    selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.capture.model_adapter._CHUNK_STEPS", 10)
    model, made = small_model(), documents()
    whole: Known = {}
    for document in made:
        embedded = model.embedding(torch.tensor(model.encode(document.words)[1:-1]))
        whole[document.id] = embedded.detach().double().numpy()
    stage = collect(model, corpus_of(made), layers=["embedding"], selection=selection, name="s")
    for row in shown(stage, "embedding"):
        expected = around(row, whole)
        # `<eos>` stands in front of the first word.
        position = max(0, row["position"] - 8) + np.arange(len(expected))
        expected[(position + 1) // 10 != (row["position"] + 1) // 10] = np.nan
        np.testing.assert_allclose(np.array(row["activations"], np.float64), expected, rtol=1e-6)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_long_document_is_looked_at_input_by_input(selection: str) -> None:
    model, made = transformer(), documents(40)
    whole = by_hand(model, "embedding", made)
    cut = replace(model, max_length=14, overlap=4)
    stage = collect(cut, corpus_of(made), layers=["embedding"], selection=selection, name="s")
    lacking = 0
    for row in shown(stage, "embedding"):
        found, expected = np.array(row["activations"], np.float64), around(row, whole)
        own = min(8, row["position"])
        assert found[own] == pytest.approx(row["activation"], rel=1e-6)
        held = np.flatnonzero(~np.isnan(found))
        assert (np.diff(held) == 1).all(), "the words of one input follow each other"
        np.testing.assert_allclose(found[held], expected[held], rtol=1e-6)
        lacking += len(found) - len(held)
    assert lacking > 0


def test_words_that_a_convolution_does_not_cover_have_none() -> None:
    module, made = seeded(TextCnn), [each for each in documents(15) if len(each.words) >= 3]
    layers = [Layer("act", lag=-1, selection="max-position"), Layer("conv", lag=-1)]
    model = TextModel(module, word_ids)
    stage = collect(model, corpus_of(made), layers=layers, name="s")
    for layer in ("act", "conv"):
        known: Known = {}
        for document in made:
            inner = outputs(model, layer, document.words).T
            known[document.id] = np.pad(inner, ((1, 1), (0, 0)), constant_values=np.nan)
        assert_around(stage, layer, known)
        assert any(None in row["activations"] for row in shown(stage, layer))


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("options", [{}, {"max_length": 14, "overlap": 4}])
def test_batches_and_order_change_nothing(selection: str, options: dict[str, int]) -> None:
    model, made = transformer(**options), with_gaps(30)
    shuffled = made.copy()
    random.Random(3).shuffle(shuffled)
    one, eight = (
        collect(
            model,
            corpus_of(order),
            layers=[LINEAR, "embedding"],
            selection=selection,
            name="s",
            batch_positions=positions,
        ).exemplars
        for order, positions in ((made, 1), (shuffled, 8 * 60))
    )
    of_embedding = [table.filter(pl.col("layer") == "embedding") for table in (one, eight)]
    assert of_embedding[0].equals(of_embedding[1])
    keys = ["layer", "neuron", "document", "position"]
    both = one.join(eight, on=keys, suffix="_eight")
    # The arithmetic of the model differs with the shape of a batch, so close to the last rank another may be kept.
    assert len(both) > 0.95 * len(one)
    for left, right in both.select("activations", "activations_eight").iter_rows():
        np.testing.assert_allclose(
            np.array(left, np.float64), np.array(right, np.float64), rtol=1e-5, atol=1e-6
        )


def test_words_are_told_apart_by_the_spaces_between_them() -> None:
    words = ("mill", "new york", "a b c", "", "river", "two\nlines", "old")
    model = TextModel(seeded(TextCnn), word_ids)
    stage = collect(model, corpus_of([Document("d", words)]), layers=["embedding"], selection="all", name="s")
    row = next(row for row in shown(stage, "embedding") if row["position"] == 4)
    assert row["before"].split(" ") == ["mill", "new␣york", "a␣b␣c", ""]
    assert row["after"].split(" ") == ["two\nlines", "old"]
    known = outputs(model, "embedding", words)[:, row["neuron"]]
    np.testing.assert_allclose(row["activations"], known, rtol=1e-6)


def test_what_is_too_large_for_single_precision_is_not_known() -> None:
    module: Any = seeded(TextCnn).double()
    with torch.no_grad():
        module.embedding.weight.abs_()
        module.embedding.weight[word_ids(["mill"])[0]] = 1e100
    made = [Document("d", ("river", "mill", "old"))]
    stage = collect(
        TextModel(module, word_ids), corpus_of(made), layers=["embedding"], selection="all", name="s"
    )
    for row in stage.exemplars.iter_rows(named=True):
        if row["position"] == 1:
            assert row["activations"] is None
        else:
            assert [value is None for value in row["activations"]] == [False, True, False]
