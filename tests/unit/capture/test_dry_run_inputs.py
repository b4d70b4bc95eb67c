"""Dry runs are given real words between real special positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor

from tests.builders.families import FAMILIES, tokenizer
from tests.builders.text_models import Transformer as Encoder
from tests.builders.text_models import letter_pieces, seeded, word_ids
from txray import Corpus, Document
from txray.capture import collect, layer_shapes
from txray.capture.forward.dry_run_inputs import padded_input, sample_words, text_ids
from txray.models import TextModel, from_transformers
from txray.models.pieces import special_ids

RUSSIAN = (
    "\u0434\u0430 "
    "\u043d\u0435\u0442 "
    "\u0434\u043e\u0431\u0440\u044b\u0439 "
    "\u0434\u0435\u043d\u044c "
    "\u0444\u0438\u043b\u044c\u043c"
)


def seen_by(model: TextModel, corpus: Corpus | None) -> list[Tensor]:
    """The inputs that a model is run on before it reads a corpus, or where there is none."""
    inputs: list[Tensor] = []
    forward = model.forward

    def watching(module: Any, ids: Tensor, mask: Tensor) -> object:
        inputs.append(ids)
        return forward(module, ids, mask)

    object.__setattr__(model, "forward", watching)
    if corpus is None:
        layer_shapes(model)
    else:
        collect(model, corpus, layers=["embedding"], name="s")
    return inputs[:2]


def test_dry_runs_have_words_of_the_text_between_special_positions() -> None:
    words = ("zebra", "yak", "xenon")
    model = TextModel(seeded(Encoder), letter_pieces, lambda m, i, k: m(i, k), prefix=(0,), suffix=(1, 1))
    for ids in seen_by(model, Corpus.from_documents("c", [Document("d", words)])):
        assert (ids[:, 0] == 0).all()
        assert (ids[:, -2:] == 1).all()
        assert set(ids[:, 1:-2].flatten().tolist()) == set(letter_pieces(words).ids)
        assert len({tuple(row) for row in ids.tolist()}) == len(ids)


def test_without_a_text_they_have_common_words() -> None:
    model = TextModel(seeded(Encoder), word_ids, lambda m, i, k: m(i, k), padding=3)
    for ids in seen_by(model, None):
        assert set(word_ids(["the", "film", "plot"])) <= set(ids.flatten().tolist())


def test_what_knows_no_word_is_run_on_its_padding() -> None:
    def encode(words: Sequence[str]) -> list[int]:
        return [{"alpha": 4, "beta": 5}[word] for word in words]

    model = TextModel(seeded(Encoder), encode, lambda m, i, k: m(i, k), padding=7)
    assert text_ids(model).tolist() == [7]
    assert text_ids(model, ["alpha", "beta"]).tolist() == [4, 5]
    assert text_ids(model, ["gamma"], ["alpha", "beta"]).tolist() == [4, 5]
    ids, mask = padded_input(model, text_ids(model, ["alpha", "beta"]), [3, 1], torch.device("cpu"))
    assert ids.tolist() == [[4, 5, 4], [5, 7, 7]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]


def test_sampling_leaves_the_complaints_to_the_reading() -> None:
    assert sample_words(None) == ()
    assert sample_words(Corpus.from_documents("empty", [])) == ()
    many = [Document(f"d{n}", ("a", "b", f"c{n}")) for n in range(100)]
    assert sample_words(Corpus.from_documents("c", many)) == ("a", "b", "c0", "c1", "c2", "c3")


def russian() -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ["<pad>", "<s>"]
    trainer = trainers.BpeTrainer(vocab_size=40, special_tokens=special, show_progress=False)
    bpe.train_from_iterator([RUSSIAN] * 5, trainer)
    bpe.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>")


def test_a_tokenizer_without_latin_letters_is_asked_in_its_own() -> None:
    config = transformers.GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=1, n_positions=64)
    model = from_transformers(transformers.GPT2Model(config).eval(), russian())
    assert (model.prefix, model.suffix) == ((1,), ())
    assert min(text_ids(model)) > 1
    assert {shape.name for shape in layer_shapes(model)} >= {"h.0.mlp"}
    corpus = Corpus.from_documents("c", [Document("d", tuple(RUSSIAN.split()))])
    options = {"selection": "max-1/absolute", "name": "s"}  # some neuron is always strongest
    account = collect(model, corpus, layers=["h.0.mlp"], **options).manifest["layers"]["h.0.mlp"]
    assert account["counted"] == 5


def test_special_ids_are_those_around_a_text() -> None:
    assert special_ids(tokenizer()) == ((0,), (2,))
    bare = tokenizer()
    bare.backend_tokenizer.post_processor = None
    assert special_ids(bare) == ((), ())
    two = tokenizer()
    two.backend_tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    assert special_ids(two) == ((0,), (2,))


@pytest.mark.parametrize("name", ["Bart", "T5"])
def test_heads_that_look_for_the_end_find_it(name: str) -> None:
    family = next(family for family in FAMILIES if family.name == name)
    model = from_transformers(family.build("ForSequenceClassification"), tokenizer())
    assert "classification_head" in {shape.name for shape in layer_shapes(model)}
