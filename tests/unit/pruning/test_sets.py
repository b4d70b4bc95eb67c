"""Sets, plans, rankings, stats."""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.builders.classifiers import (
    recurrent_classifier,
    recurrent_model,
    reviews,
    synthetic_classifier,
    text_classifier,
    text_predictor,
)
from txray import Mask, TextModel, collect, compare, masked
from txray.analysis import Comparison
from txray.errors import UnknownNameError, UsageError
from txray.models import RecurrentModel
from txray.pruning import (
    RANKINGS,
    ActivationStats,
    RankingInputs,
    curve_sets,
    evaluator,
    in_state,
    paper_sets,
    ranked,
)
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.choices import Ranking
from txray.pruning.neuron_sets import pruning_order, random_orders, shares_of_mass
from txray.pruning.set_notation import parse_indices, parse_set


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    corpus = reviews(60)
    model = recurrent_classifier(40)
    with torch.no_grad():
        model.embedding.weight.mul_(40)
    before = collect(model, corpus, selection="max-3", name="before")
    with torch.no_grad():
        model.embedding.weight.add_(torch.from_numpy(np.random.default_rng(0).normal(0, 4, (11, 6))))
    return compare(before, collect(model, corpus, selection="max-3", name="after"), permutations=0)


def test_states_are_those_of_the_comparison(comparison: Comparison) -> None:
    tested = comparison.test(permutations=200)
    for state in ("shared", "avoided", "gained", "unpreferred"):
        wanted = comparison.neurons.filter(pl.col("state") == state)["neuron"].to_list()
        assert list(in_state(comparison, state).neurons) == wanted
    confident = tested.neurons.filter(pl.col("confident_state") == "avoided")["neuron"].to_list()
    assert list(in_state(tested, "confident-avoided").neurons) == confident
    with pytest.raises(UsageError, match="tested for significance"):
        in_state(comparison, "confident-avoided")
    with pytest.raises(UnknownNameError, match="unknown state 'avoid'"):
        in_state(comparison, "avoid")


def test_ranked_sets_take_the_extremes_of_those_that_have_one() -> None:
    scores = np.array([3.0, np.nan, 1.0, 1.0, 7.0])
    assert ranked(scores, "rnn", 2, largest=False, ranking="mass").neurons == (2, 3)
    assert ranked(scores, "rnn", 2, largest=True, ranking="mass").neurons == (0, 4)
    assert ranked(scores, "rnn", 2, largest=True, ranking="mass").name == "top-2:mass"
    np.testing.assert_array_equal(pruning_order(scores), [2, 3, 0, 4, 1])
    np.testing.assert_array_equal(pruning_order(scores, largest_first=True), [4, 0, 2, 3, 1])
    with pytest.raises(UsageError, match="ranking 'mass' applies to 4 of 5 neurons of layer 'rnn'"):
        ranked(scores, "rnn", 5, largest=True, ranking="mass")
    with pytest.raises(UsageError, match="k=0"):
        ranked(scores, "rnn", 0, largest=True, ranking="mass")


def test_random_orders_hold_every_neuron_once_and_larger_sets_the_smaller_ones() -> None:
    orders = random_orders(30, 4, 0)
    assert all(sorted(row) == list(range(30)) for row in orders.tolist())
    np.testing.assert_array_equal(orders[:2], random_orders(30, 2, 0))
    assert not np.array_equal(orders, random_orders(30, 4, 1))


def test_sets_are_read_as_users_write_them(comparison: Comparison) -> None:
    def read(text: str, pair: Comparison | None = comparison) -> tuple[int, ...]:
        return parse_set(text, "rnn", pair, lambda name: np.arange(40.0)).neurons

    assert read("3,17,20-22") == (3, 17, 20, 21, 22)
    assert read("avoided") == in_state(comparison, "avoided").neurons
    assert read("top-3:mass") == (37, 38, 39)
    assert read("bottom-2:mass") == (0, 1)
    for text, error, told in (
        ("avoid", UnknownNameError, "did you mean 'avoided'?"),
        ("top-x:mass", UnknownNameError, "or top-20:mass"),
        ("3,x", UsageError, "'x' is neither a number nor a range"),
        ("9-3", UsageError, "'9-3' is neither"),
        ("1-99999999", UsageError, "more neurons than a layer has"),
        ("3-", UsageError, "'3-' is neither"),
        ("1" * 5_000, UsageError, "is neither a number nor a range"),
        ("3,٣", UsageError, "is neither a number nor a range"),
    ):
        with pytest.raises(error) as raised:
            read(text)
        assert told in str(raised.value)
    with pytest.raises(UsageError, match="a state between two stages; pass both"):
        read("gained", None)
    assert parse_indices(" 1 , 2") == (1, 2)


def test_the_sets_of_the_paper(comparison: Comparison) -> None:
    assert (comparison.after.lengths() > 0).sum() >= 4
    a, b, c, d = paper_sets(comparison, 2)
    assert (a.name, d.name) == ("A: avoided", "D: gained")
    assert a.neurons == in_state(comparison, "avoided").neurons
    assert d.neurons == in_state(comparison, "gained").neurons
    mass = comparison.after.mass()
    preferred = np.flatnonzero(comparison.after.lengths() > 0)
    order = preferred[np.argsort(mass[preferred], kind="stable")]
    assert set(b.neurons) == set(order[:2].tolist())
    assert set(c.neurons) == set(order[-2:].tolist())
    shares = dict(shares_of_mass(comparison, [a, b, c, d]).iter_rows())
    assert shares["A: avoided"] == 0  # they win nothing afterwards
    assert shares[c.name] == pytest.approx(mass[list(c.neurons)].sum() / mass.sum())
    # Of few preferred neurons, least and most do not overlap.
    _, b, c, _ = paper_sets(comparison, 500)
    assert not set(b.neurons) & set(c.neurons)
    assert len(b) == len(preferred) // 2
    with pytest.raises(UsageError, match="k=0"):
        paper_sets(comparison, 0)


def test_curves_prune_more_and_more_of_the_least_important() -> None:
    scores = {"a": np.arange(20.0), "b": np.append(np.full(5, np.nan), np.arange(15.0)[::-1])}
    sets = {each.name: each.neurons for each in curve_sets(scores, "rnn", (0.1, 0.5, 0.9))}
    assert sets["a 10%"] == (0, 1)
    assert sets["a 50%"] == tuple(range(10))
    assert sets["b 10%"] == (18, 19)
    assert sets["b 90%"] == (0, 1, 2, *range(5, 20))  # those without a score go last
    few = curve_sets({"a": np.arange(5.0)}, "rnn", (0.05, 0.1, 0.3, 0.99))
    assert [len(each) for each in few] == [1, 2, 4]  # the same neurons are no other set
    for shares, text in (
        ((0.0,), r"shares \[0.0\]"),
        ((1.0,), "between 0 and 1"),
        ((0.1, 0.1), "distinct"),
        ((), "no shares"),
    ):
        with pytest.raises(UsageError, match=text):
            curve_sets(scores, "rnn", shares)
    with pytest.raises(UsageError, match="no rankings"):
        curve_sets({}, "rnn")
    with pytest.raises(UsageError, match="has 1 neuron"):
        curve_sets({"a": np.ones(1)}, "rnn")


def evidence_of(model: RecurrentModel | TextModel, layer: str, **options: object) -> RankingInputs:
    corpus = reviews(30)
    return RankingInputs(model, layer, corpus=corpus, evaluator=evaluator(model, corpus), **options)  # type: ignore[arg-type]


def test_activity_is_what_neurons_do_at_every_word() -> None:
    model, corpus = recurrent_classifier(), reviews(30)
    found = ActivationStats.measure(model, corpus)
    states = [
        model.hidden_states(torch.tensor([model.encode(document.words)]))[0][0, 1:-1]
        .detach()
        .double()
        .numpy()
        for document in corpus
    ]
    values = np.concatenate(states)
    assert found.words == len(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.mean_absolute, np.abs(values).mean(axis=0), atol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.root_mean_square, np.sqrt(np.square(values).mean(axis=0)), atol=1e-6)
    assert found.samples is not None
    rows = {tuple(np.round(row, 5).tolist()) for row in values.astype(np.float32)}
    assert {tuple(np.round(row, 5).tolist()) for row in found.samples} <= rows


def test_samples_depend_neither_on_batches_nor_on_order() -> None:
    from txray import Corpus

    model, corpus = recurrent_classifier(), reviews(120)
    whole = ActivationStats.measure(model, corpus)
    other = ActivationStats.measure(model, Corpus.from_documents("b", list(corpus)[::-1]), batch_positions=30)
    assert whole.words > 512
    np.testing.assert_allclose(whole.samples, other.samples, atol=1e-6)  # type: ignore[arg-type]
    assert not np.allclose(whole.samples, ActivationStats.measure(model, corpus, seed=1).samples)  # type: ignore[arg-type]


def test_statistics_make_masks_and_a_stage_has_means() -> None:
    model, corpus = recurrent_classifier(), reviews(30)
    stats = ActivationStats.measure(model, corpus)
    mask = stats.mask([5, 2])
    np.testing.assert_allclose(mask.values, stats.mean[[2, 5]], rtol=1e-6)  # type: ignore[arg-type]
    assert stats.mask([5, 2], "zero").values is None
    assert stats.mask([5, 2], "resample").values.shape == stats.samples[:, [2, 5]].shape  # type: ignore[union-attr, index]
    with masked(model, mask):
        collect(model, corpus, name="masked")
    with pytest.raises(UsageError, match="no neuron 12"):
        stats.mask([12])
    stage = collect(model, corpus, selection="max-1/zscore", name="scaled")
    np.testing.assert_allclose(ActivationStats.from_stage(stage).mean, stats.mean, atol=1e-6)
    found = ActivationStats.from_stage(stage).root_mean_square
    np.testing.assert_allclose(found, stats.root_mean_square, atol=1e-6)
    with pytest.raises(UsageError, match="has no activations to resample from"):
        ActivationStats.from_stage(stage).mask([1], "resample")
    with pytest.raises(UsageError, match="has no mean activations of layer 'rnn'"):
        ActivationStats.from_stage(collect(model, corpus, name="plain"))


def test_magnitude_is_the_norm_of_the_weights_that_make_a_neuron() -> None:
    model = recurrent_classifier()
    weights = torch.cat((model.rnn.weight_ih_l0, model.rnn.weight_hh_l0), dim=1).detach().numpy()
    wanted = [np.sqrt(np.square(weights[neuron::12]).sum()) for neuron in range(12)]
    np.testing.assert_allclose(evidence_of(model, "rnn").importance("magnitude"), wanted, rtol=1e-6)
    text = text_classifier()
    weight = text.module.hidden.weight.detach().numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(
        evidence_of(text, "hidden").importance("magnitude"), np.linalg.norm(weight, axis=1), rtol=1e-6
    )
    with pytest.raises(UsageError, match=r"layer 'act' \(Tanh\) has no incoming weights of its 9 neurons"):
        evidence_of(text, "act").importance("magnitude")


def test_wanda_weighs_what_reads_a_neuron_by_how_large_it_is() -> None:
    model = recurrent_classifier()
    found = evidence_of(model, "rnn")
    weights = model.rnn.weight_hh_l0.abs().sum(dim=0) + model.head.weight.abs().sum(dim=0)
    wanted = weights.detach().numpy() * found.activation_stats.root_mean_square
    np.testing.assert_allclose(found.importance("wanda"), wanted, rtol=1e-5)
    language = recurrent_model()
    assert language.decoder.weight.shape == (11, 12)
    weights = language.rnn.weight_hh_l0.abs().sum(dim=0) + language.decoder.weight.abs().sum(dim=0)
    of = evidence_of(language, "rnn")
    np.testing.assert_allclose(
        of.importance("wanda"), weights.detach().numpy() * of.activation_stats.root_mean_square, rtol=1e-5
    )
    predictor = text_predictor()
    reads = evidence_of(predictor, "act")
    weight = predictor.module.head.weight.detach().abs().sum(dim=0).numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(
        reads.importance("wanda"), weight * reads.activation_stats.root_mean_square, rtol=1e-5
    )
    with pytest.raises(UsageError, match="no linear layer reads the output of 'act' directly"):
        evidence_of(text_classifier(), "act").importance("wanda")  # its head reads the mean


def test_taylor_sees_what_is_read_from_the_state() -> None:
    class Reads(nn.Module):
        def __init__(self, state: bool) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 6)
            self.lstm = nn.LSTM(6, 9, 2, batch_first=True)
            self.head = nn.Linear(9, 2)
            self.state = state

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            outputs, (hidden, _) = self.lstm(self.embedding(ids))
            found: torch.Tensor = self.head(hidden[-1] if self.state else outputs[:, -1])
            return found

    scores = []
    for state in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            module = Reads(state).eval()
        model = TextModel(
            module,
            text_classifier().encode,
            task="classification",
            classes=("neg", "pos"),
            reads_padding=False,
        )
        scores.append(evidence_of(model, "lstm").importance("taylor"))
    np.testing.assert_allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize("kind", ["recurrent", "language", "text", "predictor"])
def test_taylor_is_the_slope_of_the_loss_as_a_neuron_is_turned_down(kind: str) -> None:
    model, layer = {
        "recurrent": (recurrent_classifier(), "rnn"),
        "language": (recurrent_model(), "rnn"),
        "text": (text_classifier(), "act"),
        "predictor": (text_predictor(), "act"),
    }[kind]
    found = evidence_of(model, layer)
    scores = found.importance("taylor")
    assert found.evaluator is not None

    def loss(neuron: int, scale: float) -> float:
        """Of a copy whose neuron is scaled by hand."""
        import copy

        turned = copy.deepcopy(model)
        with torch.no_grad():
            if isinstance(turned, TextModel):
                head = turned.module.head  # type: ignore[union-attr]
                head.weight[:, neuron] *= scale  # type: ignore[index, operator]
            else:
                turned.rnn.weight_hh_l0[:, neuron] *= scale
                reader = turned.head if kind == "recurrent" else turned.decoder
                reader.weight[:, neuron] *= scale
        metrics = (
            evaluator(turned, reviews(30)).predict(BatchKeys(), lambda amount: None).metrics(np.ones((1, 30)))
        )
        return float(metrics["loss"][0])

    for neuron in (0, 5):
        slope = (loss(neuron, 1.02) - loss(neuron, 0.98)) / 0.04
        assert scores[neuron] == pytest.approx(abs(slope), rel=0.02, abs=1e-5)


def test_taylor_knows_where_an_output_has_its_neurons() -> None:
    class Filters(nn.Module):
        """Convolutions with as many filters as there are positions in the dry run's first input."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 6)
            self.conv = nn.Conv1d(6, 5, 1)
            self.head = nn.Linear(5, 2)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.conv(self.embedding(ids).transpose(1, 2)) * mask[:, None]
            found: torch.Tensor = self.head(hidden.sum(dim=2))
            return found

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        module = Filters().eval()
    base = text_classifier()
    model = TextModel(module, base.encode, base.forward, task="classification", classes=("neg", "pos"))
    scores = evidence_of(model, "conv").importance("taylor")
    total = torch.zeros(2, 5)
    losses = []
    for document in reviews(30):
        ids = torch.tensor([list(model.pieces(document.words).ids)])
        hidden = module.conv(module.embedding(ids).transpose(1, 2)).sum(dim=2)[0]
        target = ("neg", "pos").index(document.labels["label"])
        error = module.head(hidden).softmax(dim=0) - torch.eye(2)[target]
        losses.append(error[:, None] * module.head.weight * hidden)
    total = torch.stack(losses).mean(dim=0).sum(dim=0)
    np.testing.assert_allclose(scores, total.abs().detach().numpy(), rtol=1e-4, atol=1e-6)


def test_taylor_leaves_the_model_as_it_was() -> None:
    model = recurrent_classifier()
    evidence_of(model, "rnn").importance("taylor")
    assert all(each.grad is None for each in model.parameters())
    assert "forward" not in model.rnn.__dict__


def test_rankings_of_stages_say_what_they_lack(comparison: Comparison) -> None:
    model = recurrent_classifier(40, 1)
    found = evidence_of(model, "rnn", preferences=comparison.after, comparison=comparison)
    np.testing.assert_array_equal(found.importance("mass"), comparison.after.mass())
    np.testing.assert_array_equal(found.importance("length"), comparison.after.lengths())
    np.testing.assert_array_equal(found.importance("wins"), comparison.after.wins())
    distances = comparison.neurons["hellinger"]
    assert np.isnan(found.importance("hellinger")).sum() == distances.null_count() > 0
    with pytest.raises(UsageError, match="tested for significance"):
        found.importance("signal")
    bare = RankingInputs(model, "rnn")
    for name in ("mass", "length", "wins"):
        with pytest.raises(UsageError, match=f"ranking '{name}': needs a stage of the model"):
            bare.importance(name)
    for name in ("hellinger", "signal"):
        with pytest.raises(UsageError, match=f"ranking '{name}': needs an earlier stage"):
            bare.importance(name)
    for name in ("activation", "wanda", "taylor"):
        with pytest.raises(UsageError, match=r"needs? a text|activations need a text"):
            bare.importance(name)
    with pytest.raises(UnknownNameError, match="did you mean 'wanda'"):
        bare.importance("wands")
    assert set(RANKINGS) == {
        "mass", "length", "wins", "hellinger", "signal", "magnitude", "activation", "wanda", "taylor"
    }  # fmt: skip


def test_planted_neurons_are_ranked_as_they_must_be() -> None:
    from benchmarks.evidence.pruning import ranking_aucs

    found = ranking_aucs()
    assert found["wanda"] == (1.0, 1.0)
    assert found["taylor"] == (1.0, 1.0)
    # What is not read is as large, and made by the same weights: these two cannot know.
    assert found["magnitude"] == (0.5, 0.5)
    assert 0.2 < found["activation"][0] < 0.8


def test_planted_models_compute_what_is_known_of_them() -> None:
    classifier = synthetic_classifier()
    corpus = classifier.documents(300, 8)
    found = evaluator(classifier.model, corpus)
    with masked(classifier.model, Mask("rnn", [0, 20])):
        scored = found.predict(BatchKeys(), lambda amount: None)
    head = classifier.head.copy()
    head[[0, 20]] = 0
    from txray.preferences import document_key

    places = found.inputs.keys.tolist()
    for document in corpus:
        counts = np.bincount([int(word[1:]) for word in document.words], minlength=60)[:40]
        row = scored.arrays()["log_probability"][places.index(document_key(document.id))]
        assert row[1] - row[0] == pytest.approx(counts @ head, abs=1e-4)


def test_the_command_line_knows_every_ranking() -> None:
    assert get_args(Ranking) == tuple(RANKINGS)
