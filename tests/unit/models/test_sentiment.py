from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.recurrent import CELLS, small
from txray.errors import UnknownNameError
from txray.models import SentimentClassifier, classifier
from txray.models.recurrent import Cell
from txray.models.sentiment import Pooling

POOLINGS: tuple[Pooling, ...] = ("last", "last+avg+max")
DOCUMENTS = st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=9), min_size=1, max_size=5)


def padded(
    model: SentimentClassifier, documents: list[list[int]], extra: int, filler: int
) -> tuple[torch.Tensor, torch.Tensor]:
    texts = [[1, *document, 1] for document in documents]
    time = max(map(len, texts)) + extra
    ids = torch.tensor([text + [filler] * (time - len(text)) for text in texts])
    return ids, torch.tensor([len(text) for text in texts])


def logit_by_loops(model: SentimentClassifier, document: list[int]) -> float:
    """One text alone, its pooling written out as loops."""
    outputs = model.hidden_states(torch.tensor([[1, *document, 1]]))[0][0].tolist()
    features = list(outputs[-1])
    if model.pooling != "last":
        inner = outputs[1:-1]
        features += [sum(column) / len(inner) for column in zip(*inner, strict=True)]
        features += [max(column) for column in zip(*inner, strict=True)]
    weights = model.head.weight[0].tolist()
    return sum(a * b for a, b in zip(features, weights, strict=True)) + model.head.bias.item()


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=40)
@given(documents=DOCUMENTS, extra=st.integers(0, 4), filler=st.integers(0, 10))
def test_pooling_is_what_loops_give_whatever_the_padding(
    pooling: Pooling, documents: list[list[int]], extra: int, filler: int
) -> None:
    model = classifier(small(), pooling, seed=3)
    with torch.no_grad():
        ids, lengths = padded(model, documents, extra, filler)
        logits = model(ids, lengths)
        assert logits.shape == (len(documents),)
        expected = torch.tensor([logit_by_loops(model, document) for document in documents])
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
        other, _ = padded(model, documents, extra, (filler + 5) % 11)
        assert torch.equal(model(other, lengths), logits)


@pytest.mark.parametrize("cell", CELLS)
def test_features_of_each_pooling(cell: Cell) -> None:
    ids, lengths = torch.tensor([[1, 2, 3, 1]]), torch.tensor([4])
    for pooling, size in (("last", 7), ("last+avg+max", 21)):
        model = classifier(small(cell), pooling)  # type: ignore[arg-type]
        outputs, _ = model.hidden_states(ids)
        assert model.pool(outputs, lengths).shape == (1, size)
        assert model.head.weight.shape == (1, size)
    assert model.classes == ("neg", "pos")


def test_starts_from_a_copy_of_the_encoder() -> None:
    encoder = small("gru")
    model = classifier(encoder, "last", seed=1)
    assert model.vocabulary is encoder.vocabulary
    assert torch.equal(model.embedding.weight, encoder.embedding.weight)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model.hidden_states(ids)[0], encoder.hidden_states(ids)[0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert encoder.embedding.weight.abs().min() > 0
    assert encoder.rnn.weight_hh_l0.abs().sum() > 0


def test_the_head_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = classifier(small(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(classifier(small(), seed=1).head.weight, one.head.weight)
    assert not torch.equal(classifier(small(), seed=2).head.weight, one.head.weight)


def test_refuses_an_unknown_pooling() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown pooling 'max'.*last, last\+avg\+max"):
        classifier(small(), "max")  # type: ignore[arg-type]
