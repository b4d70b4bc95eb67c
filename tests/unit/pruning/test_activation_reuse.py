"""Many masks of one layer share the activations before it, and give the numbers of separate runs bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.classifiers import recurrent_classifier, reviews, text_classifier, with_mask
from tests.builders.families import tokenizer
from tests.builders.text_models import SIZE, letter_pieces, seeded
from txray import Corpus, Document, Mask, TextModel
from txray.models import from_transformers
from txray.pruning import Evaluator, evaluator
from txray.pruning.ablation_runner import AblationRunner
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.activation_reuse import ActivationReuse
from txray.pruning.masking import MaskTarget


def texts(n: int = 12) -> Corpus:
    """Documents of the words of the tiny tokenizer."""
    random = np.random.default_rng(1)
    words = ["the", "film", "is", "good", "and", "plot", "bad", "he", "saw", "it", "twice", "we", "not"]
    return Corpus.from_documents(
        "texts",
        [
            Document(f"{i}", tuple(random.choice(words, 5 + i % 7)), labels={"label": ("neg", "pos")[i % 2]})
            for i in range(n)
        ],
    )


def transformer(name: str) -> TextModel:
    import transformers

    common = {"vocab_size": 80, "pad_token_id": 1, "num_labels": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "bert":
            config: Any = transformers.BertConfig(
                hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, **common
            )
            module: Any = transformers.BertForSequenceClassification(config)
            return from_transformers(
                module.eval(), tokenizer(), task="classification", classes=("neg", "pos")
            )
        config = transformers.GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=64, **common)
        return from_transformers(transformers.GPT2LMHeadModel(config).eval(), tokenizer(), task="next-word")


def both(model: Any, text: Evaluator, masks: list[Mask]) -> tuple[list[Any], list[Any]]:
    """Return the predictions of separate runs and of runs together."""
    runner = AblationRunner(model, "", text)
    apart = [runner.run("", mask, lambda amount: None) for mask in masks]
    target = MaskTarget.of(model, masks[0].layer)
    together = list(runner.run_each(target, [("", mask) for mask in masks], lambda amount: None))
    return [next(iter(one.arrays().values())) for one in apart], [
        next(iter(one.arrays().values())) for one in together
    ]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert", "encoder.layer.2.output.dense:input"),
        ("bert", "encoder.layer.1.intermediate"),
        ("bert", "encoder.layer.1"),
        ("bert", "encoder.layer.2.attention.output.dense:input:head"),
        ("bert", "embeddings"),
        ("gpt2", "h.2.mlp.c_proj:input"),
        ("gpt2", "h.1.mlp.act"),
        ("gpt2", "h.0"),
    ],
)
def test_masks_together_give_the_numbers_of_masks_apart(name: str, layer: str) -> None:
    model = transformer(name)
    text = evaluator(model, texts())
    masks = [Mask(layer, neurons) for neurons in ((0,), (1,), (0, 1) if "head" not in layer else (0,))]
    apart, together = both(model, text, masks)
    assert not np.array_equal(apart[0], apart[1])
    for one, other in zip(apart, together, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("scope", ["every-step", "final-state"])
def test_recurrent_layers_too(scope: Any) -> None:
    model = recurrent_classifier()
    masks = [Mask("rnn", neurons, scope=scope) for neurons in ((0,), (1, 5), (7,))]
    apart, together = both(model, evaluator(model, reviews()), masks)
    assert all(map(np.array_equal, apart, together))


def test_what_lies_before_the_layer_is_computed_once_per_batch() -> None:
    model = transformer("bert")
    text = evaluator(model, texts())
    calls = {0: 0, 1: 0, 2: 0}
    layers = model.module.bert.encoder.layer
    for number in calls:
        inner = layers[number].attention.self.query

        def count(*call: Any, number: int = number) -> None:
            calls[number] += 1

        inner.register_forward_hook(count)
    target = MaskTarget.of(model, "encoder.layer.1.output.dense:input")
    calls.update({0: 0, 1: 0, 2: 0})
    masks = [Mask(target.layer, (i,)) for i in range(10)]
    text.predict_masked(target, masks, lambda amount: None)
    # Of ten masks the first records, the second is also run without reuse to compare, and eight reuse.
    assert calls == {0: 2, 1: 2, 2: 11}


class InPlace(nn.Module):
    """The hidden layer adds to the output of the embedding in place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(SIZE, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        embedded = self.embedding(ids)
        embedded += self.hidden(embedded)
        logits: Tensor = self.head(embedded.mean(dim=1))
        return logits


class Counting(nn.Module):
    """A module before the masked layer counts its calls, and its count changes what the model returns."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(SIZE, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.seen: Tensor | None = None
        self.embedding.register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen = output * 2

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.hidden(self.embedding(ids))
        assert self.seen is not None
        logits: Tensor = self.head((hidden + self.seen).mean(dim=1))
        self.seen = None
        return logits


@pytest.mark.parametrize("kind", [InPlace, Counting])
def test_a_model_that_changes_outputs_in_place_or_keeps_them_aside_gets_the_right_numbers(kind: Any) -> None:
    model = TextModel(seeded(kind), letter_pieces, with_mask, task="classification", classes=("neg", "pos"))
    masks = [Mask("hidden", (i,)) for i in range(4)]
    apart, together = both(model, evaluator(model, reviews()), masks)
    assert all(map(np.array_equal, apart, together))


def test_afterwards_no_forward_pass_is_replaced_even_after_an_error() -> None:
    model = text_classifier()
    target = MaskTarget.of(model, "hidden")
    text = evaluator(model, reviews())
    text.predict_masked(target, [Mask("hidden", (i,)) for i in range(3)], lambda amount: None)

    def stop(amount: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text.predict_masked(target, [Mask("hidden", (i,)) for i in range(3)], stop)
    assert not any("forward" in module.__dict__ for module in model.module.modules())
    assert not any(module._forward_pre_hooks for module in model.module.modules())


@pytest.mark.parametrize(("kind", "works"), [(InPlace, False), (Counting, True)])
def test_a_change_in_place_is_noticed_in_the_run_that_records(kind: Any, works: bool) -> None:
    model = TextModel(seeded(kind), letter_pieces, with_mask, task="classification", classes=("neg", "pos"))
    text, target, mask = evaluator(model, reviews()), MaskTarget.of(model, "hidden"), Mask("hidden", (0,))
    reuse = ActivationReuse(model.module, target, mask)
    with torch.no_grad(), reuse.run(), target.ablated(mask, BatchKeys()):
        text.run(next(text.batches()))
    assert reuse.works == works
