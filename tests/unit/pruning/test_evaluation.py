"""Texts that models are scored on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.builders.classifiers import (
    WORDS,
    Tagged,
    recurrent_classifier,
    recurrent_model,
    reviews,
    text_classifier,
    text_predictor,
)
from txray import Corpus, Document, TextModel
from txray.errors import CaptureError, CorpusError, UnknownNameError, UsageError
from txray.pruning import Evaluator, evaluator
from txray.pruning import inputs as inputs_module
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.predictions import ClassPredictions, Predictions, WordPredictions
from txray.training import language_model_loss


def outcomes(found: Evaluator) -> Predictions:
    return found.predict(BatchKeys(), lambda amount: None)


def by_id(found: Evaluator, corpus: Corpus) -> dict[str, int]:
    from txray.preferences import document_key

    keys = found.inputs.keys.tolist()
    return {document.id: keys.index(document_key(document.id)) for document in corpus}


def test_a_recurrent_classifier_is_scored_document_by_document() -> None:
    model, corpus = recurrent_classifier(), reviews(30)
    found = evaluator(model, corpus)
    scored = outcomes(found)
    assert isinstance(scored, ClassPredictions)
    places = by_id(found, corpus)
    for document in corpus:
        ids = torch.tensor([model.encode(document.words)])
        score = model(ids, torch.tensor([ids.shape[1]])).double().sigmoid().item()
        assert math.exp(scored.log_probability[places[document.id], 1]) == pytest.approx(score, abs=1e-6)
        assert model.classes[scored.target[places[document.id]]] == document.labels["label"]


def test_a_language_model_is_scored_as_its_own_loss_says() -> None:
    model = recurrent_model()
    corpus = reviews(1)
    metrics = outcomes(evaluator(model, corpus)).metrics(np.ones((1, 1)))
    assert metrics["loss"][0] == pytest.approx(language_model_loss(model, corpus), abs=1e-5)
    assert metrics["perplexity"][0] == pytest.approx(math.exp(metrics["loss"][0]))


def test_a_text_model_is_scored_on_the_pieces_that_it_reads() -> None:
    model, corpus = text_classifier(prefix=(0,), suffix=(1,), max_length=9), reviews(25)
    found = evaluator(model, corpus)
    scored = outcomes(found)
    assert isinstance(scored, ClassPredictions)
    places = by_id(found, corpus)
    cut = 0
    for document in corpus:
        pieces = list(model.pieces(document.words).ids)
        cut += len(pieces) > 7
        ids = torch.tensor([[0, *pieces[:7], 1]])
        wanted = model.module(ids, torch.ones_like(ids)).log_softmax(dim=1)[0].detach().numpy()
        np.testing.assert_allclose(scored.log_probability[places[document.id]], wanted, atol=1e-6)
    assert found.inputs.n_truncated == cut > 0


def test_long_documents_of_a_text_predictor_are_scored_window_by_window() -> None:
    model, corpus = text_predictor(max_length=6), reviews(20)
    scored = outcomes(evaluator(model, corpus))
    assert isinstance(scored, WordPredictions)
    total = words = 0.0
    for document in corpus:
        ids = list(model.pieces(document.words).ids)
        for start in range(0, len(ids), 6):
            window = torch.tensor([ids[start : start + 6]])
            logits = model.module(window, torch.ones_like(window))[0, :-1]
            total += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
            words += window.shape[1] - 1
    assert scored.nats.sum() == pytest.approx(total, rel=1e-5)
    assert scored.words.sum() == words


@pytest.mark.parametrize("kind", ["classifier", "language", "text", "predictor", "blind"])
def test_scores_depend_neither_on_batches_nor_on_the_order_of_documents(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = text_classifier()
    models = {
        "classifier": recurrent_classifier(),
        "language": recurrent_model(),
        "text": text_classifier(),
        "predictor": text_predictor(max_length=6),
        # Padding that a module cannot see is never read beside text.
        "blind": TextModel(
            blind.module,
            blind.encode,
            blind.forward,
            reads_padding=False,
            task="classification",
            classes=("neg", "pos"),
        ),
    }
    corpus = reviews(30)
    whole = evaluator(models[kind], corpus)
    backwards = evaluator(models[kind], Corpus.from_documents("backwards", list(corpus)[::-1]))
    assert whole.inputs.digest == backwards.inputs.digest
    (name, wanted), *_ = outcomes(whole).arrays().items()
    monkeypatch.setattr(inputs_module, "_POSITIONS", 20)
    np.testing.assert_allclose(outcomes(backwards).arrays()[name], wanted, rtol=1e-5, atol=1e-6)


def test_some_documents_are_chosen_by_their_ids_alone() -> None:
    corpus = reviews(40)
    few = evaluator(recurrent_classifier(), corpus, max_documents=10).inputs
    backwards = Corpus.from_documents("backwards", list(corpus)[::-1])
    assert few.n_documents == 10
    assert few.digest == evaluator(recurrent_classifier(), backwards, max_documents=10).inputs.digest
    all_keys = evaluator(recurrent_classifier(), corpus).inputs.keys
    np.testing.assert_array_equal(few.keys, all_keys[:10])


def test_documents_of_one_id_keep_their_own_texts() -> None:
    twice = Corpus.from_documents(
        "twice",
        [
            Document("same", WORDS[:3], labels={"label": "neg"}),
            Document("same", WORDS[3:7], labels={"label": "pos"}),
        ],
    )
    backwards = Corpus.from_documents("twice", list(twice)[::-1])
    digests = {evaluator(recurrent_classifier(), each).inputs.digest for each in (twice, backwards)}
    assert len(digests) == 1


def test_what_cannot_be_scored_is_told_in_one_line() -> None:
    unlabelled = Corpus.from_documents("plain", [Document("a", ("good",)), Document("b", ("bad",))])
    one_class = Corpus.from_documents(
        "one", [Document(str(i), ("good",), labels={"label": "pos"}) for i in range(3)]
    )
    unreadable = Corpus.from_documents(
        "odd", [Document(str(i), ("!!",), labels={"label": "pos"}) for i in range(3)]
    )
    short = Corpus.from_documents("short", [Document("a", ("good",))])
    model = recurrent_classifier()
    for make, error, text in (
        (
            lambda: evaluator(model, unlabelled),
            CorpusError,
            "document 'a' has label None; the model's classes are",
        ),
        (lambda: evaluator(model, one_class), CorpusError, "all 3 documents have label 'pos'"),
        (lambda: evaluator(text_classifier(), unreadable), CorpusError, "nothing to read"),
        (
            lambda: evaluator(text_predictor(), short),
            CorpusError,
            "no document is long enough",
        ),
        (
            lambda: evaluator(model, reviews(), max_documents=0),
            UsageError,
            "max_documents=0; it must be at least 1",
        ),
        (
            lambda: evaluator(torch.nn.Linear(1, 1), reviews()),
            UsageError,
            "model of type Linear: has no task",
        ),
        (
            lambda: evaluator(TextModel(Tagged(), text_classifier().encode), reviews()),
            UsageError,
            "model of type Tagged: has no task",
        ),
        (
            lambda: TextModel(Tagged(), text_classifier().encode, task="guess"),
            UnknownNameError,
            "unknown task 'guess'",
        ),  # type: ignore[arg-type]
        (
            lambda: TextModel(Tagged(), text_classifier().encode, task="classification", classes=("pos",)),
            UsageError,
            "at least 2 classes",
        ),
    ):
        with pytest.raises(error) as raised:
            make()
        assert text in str(raised.value)
        assert "\n" not in str(raised.value)


def test_models_that_give_something_else_than_scores_are_told_so() -> None:
    base = text_classifier()

    def model(forward: object) -> TextModel:
        return TextModel(base.module, base.encode, forward, task="classification", classes=("neg", "pos"))  # type: ignore[arg-type]

    def broken(module: object, ids: torch.Tensor, mask: torch.Tensor) -> object:
        raise ValueError("no such\nluck")

    for forward, text in (
        (
            lambda module, ids, mask: torch.zeros(len(ids), 3),
            r"returned \(\d+, 3\) for \d+ documents of 2 classes",
        ),
        (lambda module, ids, mask: "nothing", "returned str; with a task, 'forward' must return logits"),
        (lambda module, ids, mask: torch.full((len(ids), 2), torch.nan), "scores are not finite"),
        (broken, "failed on .*: no such luck"),
    ):
        with pytest.raises(CaptureError, match=text):
            outcomes(evaluator(model(forward), reviews()))


def test_documents_without_anything_to_read_are_counted() -> None:
    labels = {"label": "pos"}
    corpus = Corpus.from_documents(
        "mixed",
        [Document("odd", ("!!",), labels=labels), *reviews(10), Document("odd2", ("??",), labels=labels)],
    )
    inputs = evaluator(text_classifier(), corpus).inputs
    assert (inputs.n_documents, inputs.n_skipped) == (10, 2)
