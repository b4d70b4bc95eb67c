from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.builders.recurrent import CELLS, small, words
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError
from txray.models import language_model
from txray.models.recurrent import Cell

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn-tanh": nn.RNN, "rnn-relu": nn.RNN}


def sigmoid(values: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-values))


def by_hand(model: Any, cell: Cell, ids: list[int]) -> torch.Tensor:
    """Outputs of a one-layer model for one text, straight from the equations of the cells."""
    weights = {name: value.detach().double() for name, value in model.rnn.named_parameters()}
    w, u = weights["weight_ih_l0"], weights["weight_hh_l0"]
    b, c = weights["bias_ih_l0"], weights["bias_hh_l0"]
    h = torch.zeros(model.config.hidden, dtype=torch.float64)
    memory = torch.zeros_like(h)
    outputs = []
    for number in ids:
        x = model.embedding.weight.detach().double()[number]
        if cell == "lstm":
            i, f, g, o = (w @ x + b + u @ h + c).chunk(4)
            memory = sigmoid(f) * memory + sigmoid(i) * torch.tanh(g)
            h = sigmoid(o) * torch.tanh(memory)
        elif cell == "gru":
            (xr, xz, xn), (hr, hz, hn) = (w @ x + b).chunk(3), (u @ h + c).chunk(3)
            z = sigmoid(xz + hz)
            h = (1 - z) * torch.tanh(xn + sigmoid(xr + hr) * hn) + z * h
        else:
            total = w @ x + b + u @ h + c
            h = torch.tanh(total) if cell == "rnn-tanh" else total.clamp(min=0)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("cell", CELLS)
def test_each_cell_computes_its_equations(cell: Cell) -> None:
    model = small(cell)
    assert type(dict(model.named_modules())["rnn"]) is LAYERS[cell]
    ids = [1, 4, 2, 2, 10, 1]
    outputs, _ = model.hidden_states(torch.tensor([ids]))
    expected = by_hand(model, cell, ids)
    torch.testing.assert_close(outputs[0].double(), expected, rtol=1e-5, atol=1e-6)
    logits, _ = model(torch.tensor([ids]))
    decoder = model.decoder
    torch.testing.assert_close(
        logits[0].double(),
        expected @ decoder.weight.detach().double().T + decoder.bias.detach().double(),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_shapes_and_carrying_the_state_on(cell: Cell, layers: int) -> None:
    model = small(cell, layers=layers)
    ids = torch.randint(0, 11, (3, 8), generator=torch.Generator().manual_seed(0))
    logits, state = model(ids)
    outputs, _ = model.hidden_states(ids)
    assert logits.shape == (3, 8, 11)
    assert outputs.shape == (3, 8, 7)
    assert (state[0] if isinstance(state, tuple) else state).shape == (layers, 3, 7)

    first, state = model(ids[:, :5])
    second, _ = model(ids[:, 5:], state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), logits)
    fresh, _ = model(ids[:, 5:])
    assert (fresh - second).abs().max() > 1e-4


def test_reads_a_document_between_two_ends() -> None:
    model = small()
    assert model.encode(("w0", "W3", "other", "<eos>")) == [1, 2, 5, 0, 1, 1]


def test_tied_weights_are_one_and_the_same() -> None:
    model = small(embedding=7, tied=True)
    assert model.decoder.weight is model.embedding.weight
    assert small(embedding=7).decoder.weight is not small(embedding=7).embedding.weight
    with pytest.raises(UsageError, match="embedding = hidden, got 5 and 7"):
        small(tied=True)


def test_dropout_changes_embeddings_and_outputs_while_training_only() -> None:
    model = small(dropout=0.5, embedding=40, hidden=40)
    ids = torch.tensor([[1, 2, 3, 4]])
    applied = model(ids)[0]
    assert torch.equal(applied, model(ids)[0])
    model.train()
    seen: dict[str, torch.Tensor] = {}
    model.rnn.register_forward_hook(lambda _, given, got: seen.update(embedded=given[0], outputs=got[0]))
    model.decoder.register_forward_hook(lambda _, given, got: seen.update(read=given[0]))
    model(ids)
    assert 0.2 < (seen["embedded"] == 0).float().mean() < 0.8
    assert 0.2 < (seen["read"] == 0).float().mean() < 0.8
    assert (seen["outputs"] == 0).float().mean() == 0


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = small(seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = small(seed=5), small(seed=6)
    for (name, value), (_, again), (_, different) in zip(
        one.named_parameters(), same.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(value, again), name
        assert name == "decoder.bias" or not torch.equal(value, different), name


def test_takes_the_vocabulary_from_a_corpus() -> None:
    corpus = Corpus.from_documents("t", [Document("1", ("The", "the", "cat")), Document("2", ("a",))])
    model = language_model("gru", corpus, embedding=2, hidden=3, vocabulary_size=4)
    assert model.vocabulary.words == ("<unk>", "<eos>", "the", "a")
    assert model.embedding.weight.shape == (4, 2)
    assert model.decoder.weight.shape == (4, 3)
    cased = language_model("gru", corpus, embedding=2, hidden=3, lowercase=False)
    assert cased.vocabulary.words == ("<unk>", "<eos>", "The", "a", "cat", "the")
    assert not model.training


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden": 0}, "hidden=0"),
        ({"embedding": -1}, "embedding=-1"),
        ({"layers": 0}, "layers=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"vocabulary_size": 5}, "vocabulary_size=5"),
    ],
)
def test_refuses_sizes_that_cannot_be(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**sizes)


def test_refuses_an_unknown_cell_and_names_the_known() -> None:
    with pytest.raises(UnknownNameError, match="unknown cell 'rnn'.*lstm, gru, rnn-tanh, rnn-relu"):
        language_model("rnn", words(3))  # type: ignore[arg-type]
