"""Scores are those of documents read one by one, whatever padding does to a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.classifiers import reviews, with_mask
from tests.builders.families import FAMILIES, WORDS, tokenizer
from tests.builders.text_models import SIZE, seeded, word_ids
from txray import Corpus, Document, TextModel, prune
from txray.errors import PaddingWarning
from txray.models import from_transformers
from txray.pruning import ActivationStats, NeuronSet

CLASSES = ("neg", "pos")


def labelled() -> Corpus:
    """Documents of many lengths with a label each, of words that the small tokenizer knows."""
    draw = np.random.default_rng(0)
    return Corpus.from_documents(
        "labelled",
        [
            Document(
                f"d{n}", tuple(draw.choice(WORDS, 1 + n % 13).tolist()), labels={"label": CLASSES[n % 2]}
            )
            for n in range(30)
        ],
    )


def unpruned(model: TextModel, corpus: Corpus, layer: str, **options: Any) -> dict[str, float]:
    """The scores of the whole model."""
    sets = [NeuronSet("a", layer, (1, 2))]
    effects = prune(model, sets, {"test": corpus}, n_random_sets=2, resamples=10, **options).effects
    return dict(effects.select("metric", "unpruned").iter_rows())


def loss_of(logits: list[Tensor], corpus: Corpus) -> float:
    """Mean cross-entropy of documents, in their order."""
    targets = torch.tensor([CLASSES.index(str(document.labels["label"])) for document in corpus])
    return float(nn.functional.cross_entropy(torch.cat(logits), targets))


@pytest.mark.parametrize("padding", [2, None])
@pytest.mark.parametrize("name", ["GPT2", "Llama", "OPT"])
def test_a_decoder_that_classifies_finds_the_end_of_each_document(name: str, padding: int | None) -> None:
    """By the padding of the model: the tokenizer has none, or another."""
    family = next(family for family in FAMILIES if family.name == name)
    module = family.build("ForSequenceClassification")
    module.config.pad_token_id = padding
    with torch.no_grad():
        module.score.weight.mul_(100)
    corpus = labelled()
    for given in (None, "<mask>"):
        words = tokenizer(pad_token=given)
        model = from_transformers(module, words, task="classification", classes=CLASSES)
        logits = []
        for document in corpus:
            ids = words(list(document.words), is_split_into_words=True)["input_ids"]
            with torch.no_grad():
                logits.append(module(input_ids=torch.tensor([ids])).logits)
        layer = {"GPT2": "h.0.mlp", "Llama": "layers.0.mlp", "OPT": "decoder.layers.0.self_attn"}[name]
        assert unpruned(model, corpus, layer)["loss"] == pytest.approx(loss_of(logits, corpus), rel=1e-4)
        assert module.config.pad_token_id == padding
        assert model.padding == (4 if given and padding is None else padding or model.padding)


class BothWays(nn.Module):
    """A recurrent layer that reads both ways, over padding as well, and a head over what it ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SIZE, 6)
        self.rnn = nn.LSTM(6, 5, bidirectional=True, batch_first=True)
        self.hidden = nn.Linear(10, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = 5 * self.head(self.hidden(self.rnn(self.embedding(ids))[0])).amax(dim=1)
        return logits


def both_ways(**options: Any) -> TextModel:
    return TextModel(seeded(BothWays), word_ids, with_mask, task="classification", classes=CLASSES, **options)


def test_a_model_that_padding_changes_is_scored_in_equal_lengths() -> None:
    model, corpus = both_ways(), reviews()
    logits = []
    for document in corpus:
        ids = torch.tensor([word_ids(document.words)])
        with torch.no_grad():
            logits.append(model.module(ids, torch.ones_like(ids)))
    assert unpruned(model, corpus, "hidden")["loss"] == pytest.approx(loss_of(logits, corpus), rel=1e-5)


def test_whoever_insists_on_padding_is_warned() -> None:
    with pytest.warns(PaddingWarning, match="padding changes its logits"):
        padded = unpruned(both_ways(reads_padding=True), reviews(), "hidden")
    assert padded["loss"] != pytest.approx(unpruned(both_ways(), reviews(), "hidden")["loss"], rel=1e-3)


def test_documents_keep_their_samples_when_lengths_are_read_apart() -> None:
    activity = ActivationStats.measure(both_ways(), reviews(), "hidden")
    for reads in (False, None):
        effects = unpruned(
            both_ways(reads_padding=reads),
            reviews(),
            "hidden",
            ablation="resample",
            activation_stats=activity,
        )
        assert effects["loss"] > 0
