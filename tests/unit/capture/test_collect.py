from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.builders.text_models import transformer
from tests.builders.texts import WORDS, corpus_of, direct, documents, small_model
from txray.capture import Selection, capturing, collect, layer_names, matching_layers
from txray.capture.layer_similarity import layer_similarity
from txray.corpus import Corpus, Document
from txray.errors import CaptureError, CorpusError, UnknownNameError, UsageError
from txray.models import classifier, language_model
from txray.preferences import Preferences, Stage, token_tags

ALL_KINDS = ["token", "pos", "output", "label"]


def table_of(preferences: Preferences) -> dict[tuple[int, int, str], tuple[int, float]]:
    names = preferences.features[preferences.feature_id].tolist()
    keys = zip(preferences.fold.tolist(), preferences.neuron.tolist(), names, strict=True)
    return dict(
        zip(keys, zip(preferences.count.tolist(), preferences.sum.tolist(), strict=True), strict=True)
    )


def same_preferences(one: Stage, other: Stage, rtol: float = 1e-5, atol: float = 0) -> None:
    assert one.feature_types == other.feature_types
    for kind in one.feature_types:
        left, right = one.preferences(feature_type=kind), other.preferences(feature_type=kind)
        for name in ("features", "corpus_counts", "fold", "neuron", "feature_id", "count"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=f"{kind} {name}")
        for name in ("sum", "sum_sq", "max"):
            np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=rtol, atol=atol)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh", "rnn-relu"])
def test_preferences_equal_a_direct_computation(cell: str) -> None:
    model, made = small_model(cell), documents()
    collected = table_of(collect(model, corpus_of(made), name="s").preferences())
    expected = direct(model, made)
    assert collected.keys() == expected.keys()
    for key, values in expected.items():
        assert collected[key] == (len(values), pytest.approx(sum(values), rel=1e-5)), key


def test_two_layers_of_neurons_give_the_top_one() -> None:
    model, made = small_model(layers=2), documents(5)
    collected = table_of(collect(model, corpus_of(made), name="s").preferences())
    assert {key: count for key, (count, _) in collected.items()} == {
        key: len(values) for key, values in direct(model, made).items()
    }


def test_hooks_change_nothing() -> None:
    model = small_model()
    ids = torch.randint(0, len(WORDS), (3, 20), generator=torch.Generator().manual_seed(0))
    before, (h, c) = model(ids)
    with capturing(model, ["rnn", "embedding", "decoder"]) as captured:
        during, (h_during, c_during) = model(ids)
        assert torch.equal(captured.take("decoder"), during)
    for one, other in ((before, during), (h, h_during), (c, c_during)):
        assert torch.equal(one, other)
    assert not any(module._forward_hooks for module in model.modules())


def test_model_is_left_as_it_was() -> None:
    model = small_model()
    model.train()
    model.dropout.eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    collect(model, corpus_of(documents(5)), name="s")
    assert model.training
    assert not model.dropout.training
    assert model.rnn.training
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(weights[name], value)
        assert value.requires_grad is False


@pytest.mark.parametrize("positions", [1, 50, 333, 100_000])
@pytest.mark.parametrize("selection", ["max-1", "all"])
def test_batch_size_does_not_change_preferences(positions: int, selection: str) -> None:
    model, corpus = small_model(), corpus_of(documents())
    reference = collect(model, corpus, feature_types=ALL_KINDS, selection=selection, name="s")
    other = collect(
        model, corpus, feature_types=ALL_KINDS, selection=selection, name="s", batch_positions=positions
    )
    same_preferences(reference, other)
    # Equal contexts give activations that are equal but for the last bits, so ranks may swap among them.
    assert reference.exemplars.select("neuron", "rank").equals(other.exemplars.select("neuron", "rank"))
    np.testing.assert_allclose(
        reference.exemplars["activation"], other.exemplars["activation"], rtol=1e-5, atol=1e-6
    )


def test_order_of_documents_does_not_change_preferences() -> None:
    model, made = small_model(), documents()
    reference = collect(model, corpus_of(made), feature_types=ALL_KINDS, name="s")
    shuffled = made.copy()
    random.Random(1).shuffle(shuffled)
    other = collect(model, corpus_of(shuffled), feature_types=ALL_KINDS, name="s")
    same_preferences(reference, other)
    assert reference.manifest["corpus"]["documents_digest"] == other.manifest["corpus"]["documents_digest"]


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        collect(small_model(), corpus_of(documents()), feature_types=ALL_KINDS, name="s").save(
            tmp_path / folder
        )
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_padding_never_counts() -> None:
    made = [Document("long", tuple(WORDS) * 4), Document("short", ("mill",))]
    stage = collect(small_model(), corpus_of(made), name="s")
    assert stage.preferences().words == len(WORDS) * 4 + 1
    assert "<eos>" not in stage.preferences().features
    assert stage.preferences().wins().sum() == len(WORDS) * 4 + 1


def test_long_documents_carry_their_state_over_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Document("long", tuple(WORDS) * 20, {"pos": ("X",) * len(WORDS) * 20}, {"label": "pos"})
    model, made = small_model(), [long, *documents(4)]
    reference = collect(model, corpus_of(made), feature_types=ALL_KINDS, name="s")
    monkeypatch.setattr("txray.capture.model_adapter._CHUNK_STEPS", 7)
    same_preferences(reference, collect(model, corpus_of(made), feature_types=ALL_KINDS, name="s"))


def test_every_word_is_accounted_for() -> None:
    model = small_model("rnn-relu")
    with torch.no_grad():
        # Half of the embeddings lead to no activation at all.
        model.rnn.weight_ih_l0.abs_()
        model.rnn.weight_hh_l0.zero_()
        model.rnn.bias_ih_l0.zero_()
        model.rnn.bias_hh_l0.zero_()
        model.embedding.weight[::2].abs_().neg_()
        model.embedding.weight[1::2].abs_()
    for selection in ("max-1", "all"):
        manifest = collect(model, corpus_of(documents()), selection=selection, name="s").manifest
        account = manifest["layers"]["rnn"]
        assert account["skipped"]["no positive activation"] > 0
        assert account["counted"] > 0
        assert manifest["words"] == account["counted"] + sum(account["skipped"].values())
        assert manifest["words"] == sum(len(document.words) for document in documents())


def test_unknown_words_are_counted_as_the_model_sees_them() -> None:
    made = [Document("d", ("The", "Zebra", "sleeps", "ZEBRA"))]
    stage = collect(small_model(), corpus_of(made), name="s")
    preferences = stage.preferences()
    assert dict(zip(preferences.features, preferences.feature_counts().tolist(), strict=True)) == {
        "<unk>": 2,
        "sleeps": 1,
        "the": 1,
    }
    assert stage.manifest["unknown_words"] == 2
    assert stage.manifest["unknown_share"] == 0.5


def test_outputs_are_the_predicted_next_words() -> None:
    model, made = small_model(), documents(6)
    preferences = collect(model, corpus_of(made), feature_types=["output"], name="s").preferences(
        feature_type="output"
    )
    predicted: list[str] = []
    for document in made:
        logits, _ = model(torch.tensor([model.encode(document.words)]))
        predicted += [model.vocabulary.words[i] for i in logits[0, 1:-1].argmax(dim=-1).tolist()]
    names, counts = np.unique(predicted, return_counts=True)
    assert preferences.features.tolist() == names.tolist()
    assert preferences.feature_counts().tolist() == counts.tolist()


@pytest.mark.parametrize("pooling", ["last", "last+avg+max"])
def test_classifier_outputs_and_probabilities(pooling: str) -> None:
    model, made = classifier(small_model(), pooling, seed=3), documents(9)  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight.mul_(10)
    stage = collect(model, corpus_of(made), feature_types=["token", "output", "label"], name="s", exemplars=3)
    probability = {}
    for document in made:
        ids = torch.tensor([model.encode(document.words)])
        probability[document.id] = torch.sigmoid(model(ids, torch.tensor([ids.shape[1]]))).item()
    labels = {document.id: document.labels["label"] for document in made}
    assert len(stage.exemplars) > 5
    for document, output, value, label in stage.exemplars.select(
        "document", "output", "probability", "label"
    ).iter_rows():
        assert value == pytest.approx(probability[document], abs=1e-5)
        assert output == ("pos" if value >= 0.5 else "neg")
        assert label == labels[document]
    words = {document.id: len(document.words) for document in made}
    says_pos = sum(n for document, n in words.items() if probability[document] >= 0.5)
    outputs = stage.preferences(feature_type="output")
    assert (
        dict(zip(outputs.features, outputs.feature_counts().tolist(), strict=True)).get("pos", 0) == says_pos
    )


def test_exemplars_are_the_strongest_occurrences_with_their_words() -> None:
    model, made = small_model(), documents()
    stage = collect(model, corpus_of(made), name="s", exemplars=4)
    by_id = {document.id: document.words for document in made}
    for document, position, word, before, after in stage.exemplars.select(
        "document", "position", "word", "before", "after"
    ).iter_rows():
        words = by_id[document]
        assert words[position] == word
        assert before.split() == list(words[max(0, position - 8) : position])
        assert after.split() == list(words[position + 1 : position + 9])
    strongest = stage.exemplars.filter(pl.col("rank") == 0).select("neuron", "activation")
    largest = stage.preferences()
    for neuron, activation in strongest.iter_rows():
        assert activation == largest.max[largest.neuron == neuron].max()
    wins = stage.preferences().wins()
    kept = stage.exemplars["neuron"].value_counts().sort("neuron")
    assert kept["count"].to_list() == [min(4, int(n)) for n in wins if n]


def test_a_megabyte_that_passes_for_a_word_is_cut_in_exemplars_only() -> None:
    huge = "x" * 1_000_000
    known = Corpus.from_documents("known", [Document("k", ("the", huge))])
    model = language_model("lstm", known, embedding=8, hidden=16, seed=1)
    stage = collect(model, corpus_of([Document("d", ("the", huge, "the"))]), name="s")
    assert huge in stage.preferences().features
    assert stage.exemplars["word"].str.len_chars().max() == 200
    assert stage.exemplars["before"].str.len_chars().max() == len("the ") + 200
    assert stage.exemplars["after"].str.len_chars().max() == len(" the") + 200


def test_tokens_know_their_tags() -> None:
    made = [Document("d", ("the", "mill", "mill", "mill"), {"pos": ("DT", "VB", "NN", "NN")})]
    stage = collect(small_model(), corpus_of(made), feature_types=["token", "pos"], name="s")
    assert stage.tags.rows() == [("mill", "NN", 2), ("mill", "VB", 1), ("the", "DT", 1)]
    assert token_tags([stage, stage]) == {"mill": "NN", "the": "DT"}
    assert token_tags([collect(small_model(), corpus_of(made), name="s")]) == {}


def test_sign_chooses_what_counts() -> None:
    model, made = small_model(), documents(6)
    for sign, value_of in (("absolute", torch.abs), ("negative", torch.neg)):
        preferences = collect(
            model, corpus_of(made), selection=Selection("max-1", sign), name="s"
        ).preferences()  # type: ignore[arg-type]
        expected = 0.0
        for document in made:
            outputs, _ = model.hidden_states(torch.tensor([model.encode(document.words)]))
            expected += float(value_of(outputs[0, 1:-1]).max(dim=-1).values.clamp(min=0).sum())
        assert preferences.mass().sum() == pytest.approx(expected, rel=1e-5)
        assert preferences.selection == f"max-1/{sign}"


def test_several_layers_in_one_pass() -> None:
    stage = collect(small_model(), corpus_of(documents(6)), layers=["embedding", "rnn"], name="s")
    assert stage.layers == ("embedding", "rnn")
    assert stage.preferences(layer="embedding").n_neurons == 8
    assert stage.preferences(layer="rnn").n_neurons == 16
    same_preferences(
        Stage("s", {("rnn", "token"): stage.preferences(layer="rnn")}, stage.exemplars),
        collect(small_model(), corpus_of(documents(6)), name="s"),
    )


def test_max_words_cuts_the_corpus() -> None:
    stage = collect(small_model(), corpus_of(documents()), name="s", max_words=101)
    assert stage.manifest["words"] == 101
    assert stage.preferences().words == 101


def test_a_document_of_a_hundred_thousand_words() -> None:
    made = [Document("huge", tuple(WORDS) * 6_250)]
    stage = collect(small_model(), corpus_of(made), feature_types=["token", "output"], name="s")
    assert stage.preferences().wins().sum() == len(WORDS) * 6_250 == stage.manifest["words"]


def test_nan_names_layer_document_and_word() -> None:
    model = small_model()
    with torch.no_grad():
        model.embedding.weight[model.vocabulary.encode(["mill"])] = float("nan")
    made = [Document("fine", ("the", "river")), Document("bad", ("the", "mill", "sleeps"))]
    for selection in ("max-1", "all"):
        with pytest.raises(
            CaptureError, match=r"layer 'rnn': activation nan in document 'bad', word 1 \('mill'\)"
        ):
            collect(model, corpus_of(made), selection=selection, name="s")


def test_a_single_layer_and_feature_type_need_no_list() -> None:
    model, corpus = small_model(), corpus_of(documents(3))
    single = collect(model, corpus, layers="rnn", feature_types="pos", name="s")
    assert (single.layers, single.feature_types) == (("rnn",), ("pos",))
    listed = collect(model, corpus, layers=["rnn"], feature_types=["pos"], name="s")
    same_preferences(single, listed)
    with capturing(model, "rnn") as captured:
        hidden, _ = model.rnn(torch.zeros(2, 3, model.config.embedding))
    assert torch.equal(captured.take("rnn"), hidden)
    assert matching_layers(model, "*") == matching_layers(model, ["*"]) == layer_names(model)


def test_layers_are_checked_before_the_text_is_read() -> None:
    def unreadable(skipped: Counter[str]) -> Iterator[Document]:
        raise AssertionError("the text was read")

    corpus = Corpus("unreadable", unreadable, fingerprint=lambda: "unreadable")
    for layers in ("encode", ["embedding", "rnn*"]):
        with pytest.raises(UnknownNameError, match="there are: embedding, encoder"):
            collect(transformer(), corpus, layers=layers, name="s")
        with pytest.raises(UnknownNameError, match="there are: embedding, encoder"):
            layer_similarity(small_model(), transformer(), corpus, layers_after=layers)


def test_wrong_requests_name_what_there_is() -> None:
    model, corpus = small_model(), corpus_of(documents(3))
    with pytest.raises(UnknownNameError, match=r"layer 'lstm'; there are: embedding, rnn, dropout, decoder"):
        collect(model, corpus, layers=["lstm"], name="s")
    with pytest.raises(
        UnknownNameError,
        match=r"'upos'.*\(did you mean 'pos'\?\); there are: token, output, subword, label, pos",
    ):
        collect(model, corpus, feature_types=["upos"], name="s")
    with pytest.raises(UnknownNameError, match="selection 'max1'.*did you mean 'max-1'"):
        collect(model, corpus, selection="max1", name="s")
    with pytest.raises(UsageError, match="feature_types="):
        collect(model, corpus, feature_types=[], name="s")
    with pytest.raises(UsageError, match="layers=\\['rnn', 'rnn'\\]"):
        collect(model, corpus, layers=["rnn", "rnn"], name="s")
    with pytest.raises(UsageError, match="Linear"):
        collect(torch.nn.Linear(2, 2), corpus, name="s")
    with pytest.raises(CaptureError, match="'decoder': did not run"):
        collect(model, corpus, layers=["decoder"], name="s")
    with pytest.raises(CorpusError, match="document 'd': has no label"):
        collect(model, corpus_of([Document("d", ("the",))]), feature_types=["label"], name="s")


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="'nothing': no documents"):
        collect(small_model(), Corpus.from_documents("nothing", []), name="s")


def test_outputs_that_are_no_numbers_are_refused() -> None:
    model = small_model()
    with torch.no_grad():
        model.decoder.weight[5, 0] = float("nan")
    with pytest.raises(CaptureError, match="score of a predicted word is not finite"):
        collect(model, corpus_of(documents(4)), feature_types=["output"], name="s")
    judge = classifier(small_model(), "last", seed=3)
    with torch.no_grad():
        judge.head.weight[0, 0] = float("inf")
    with pytest.raises(CaptureError, match="classifier's score of a document is not finite"):
        collect(judge, corpus_of(documents(4)), name="s")


def test_a_weak_neuron_that_is_no_number_is_noticed_too() -> None:
    model = small_model()
    with torch.no_grad():
        model.embedding.weight[model.vocabulary.encode(["mill"]), 3] = float("-inf")
    made = [Document("bad", ("the", "mill"))]
    for selection in ("max-1", "max-2", "all", "max-position"):
        with pytest.raises(CaptureError, match=r"'embedding': activation -inf in document 'bad', word 1"):
            collect(model, corpus_of(made), layers=["embedding"], selection=selection, name="s")


def test_exemplars_among_equals_do_not_depend_on_the_order() -> None:
    made = [Document(f"d{i}", ("the", "mill", "sleeps")) for i in range(100)]
    for selection in ("max-1", "all"):
        for layer in ("embedding", "rnn"):
            one, two = (
                collect(
                    small_model(),
                    corpus_of(each),
                    layers=[layer],
                    selection=selection,
                    name="s",
                    batch_positions=97,
                )
                for each in (made, made[::-1])
            )
            columns = ["neuron", "rank", "document", "position"]
            assert one.exemplars.select(columns).equals(two.exemplars.select(columns))


def test_names_that_cannot_be_saved_are_refused_before_the_model_runs() -> None:
    model = small_model()
    model.rnn.register_forward_pre_hook(lambda *_: pytest.fail("the model ran"))
    made = [Document("d", ("the",), {"a/b": ("X",)})]
    for name, kinds in (("n\udcff", ["token"]), ("s", ["a/b"])):
        with pytest.raises(UsageError):
            collect(model, corpus_of(made), feature_types=kinds, name=name)


def test_autocast_is_near_and_recorded() -> None:
    model, corpus = small_model(), corpus_of(documents())
    exact = collect(model, corpus, feature_types=["token", "output"], selection="all", name="s")
    near = collect(
        model, corpus, feature_types=["token", "output"], selection="all", name="s", autocast="bfloat16"
    )
    assert near.manifest["reading"] == {**exact.manifest["reading"], "autocast": "bfloat16"}
    assert near.preferences().mass() == pytest.approx(exact.preferences().mass(), rel=0.02, abs=0.05)
    assert (near.preferences().mass() != exact.preferences().mass()).any()


def test_a_number_type_that_cannot_be_is_told_before_the_model_runs() -> None:
    model, corpus = small_model(), corpus_of(documents())
    with pytest.raises(UnknownNameError, match="autocast 'float8'.*there are: bfloat16, float16"):
        collect(model, corpus, name="s", autocast="float8")

    def without_kernel(*_: object) -> None:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no kernel\nfor this number type")

    model.rnn.register_forward_pre_hook(without_kernel)
    with pytest.raises(
        UsageError, match="autocast='float16': the model does not run with it on cpu"
    ) as caught:
        collect(model, corpus, name="s", autocast="float16")
    assert "\n" not in str(caught.value)
    collect(model, corpus, name="s")


def test_predicted_words_are_those_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txray.models.recurrent._DECODE_ROWS", 7)
    model = small_model()
    hidden = torch.randn(40, model.config.hidden, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        logits = model.decoder(hidden)
        best, value = model.predicted(hidden)
        nothing, _ = model.predicted(hidden[:0])
    assert torch.equal(best, logits.argmax(dim=1))
    assert torch.allclose(value, logits.max(dim=1).values)
    assert len(nothing) == 0
