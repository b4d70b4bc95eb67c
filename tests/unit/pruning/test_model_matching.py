from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from txray import Corpus, Document, Mask, ModelMatching, demo_corpus, masked, match_models
from txray.analysis import CrossMoments
from txray.analysis.matching.by_moments import pairs_by_correlation
from txray.errors import UnknownNameError, UsageError
from txray.models import RecurrentLanguageModel, language_model
from txray.pruning import evaluator
from txray.pruning.fingerprints import ablation_fingerprints


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus("reviews", words=4_000)


@pytest.fixture(scope="module")
def model(corpus: Corpus) -> RecurrentLanguageModel:
    torch.manual_seed(0)
    return language_model("rnn-tanh", corpus, hidden=12, embedding=8)


def permuted(model: RecurrentLanguageModel, order: np.ndarray) -> RecurrentLanguageModel:
    """The same model with its recurrent neurons in another order."""
    other, index = copy.deepcopy(model), torch.from_numpy(order)
    (rnn,) = (part for part in other.rnn.modules() if isinstance(part, torch.nn.RNN))
    with torch.no_grad():
        for name, parameter in rnn.named_parameters():
            parameter.copy_(parameter[index])
            if name.startswith("weight_hh"):
                parameter.copy_(parameter[:, index])
        for name, parameter in other.named_parameters():
            if not name.startswith(("rnn", "embedding")) and parameter.dim() == 2:
                parameter.copy_(parameter[:, index])
    return other


@pytest.mark.parametrize("by", ["activation", "ablation"])
def test_a_permutation_of_neurons_is_recovered(
    by: str, model: RecurrentLanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    order = np.random.default_rng(3).permutation(12)
    text = demo_corpus("reviews", words=1_500) if by == "ablation" else corpus
    found = match_models(model, permuted(model, order), text, by=by)  # type: ignore[arg-type]
    matched = found.pairs.filter(pl.col("state") == "matched")
    assert matched.height >= 11
    assert (order[matched["after"].to_numpy()] == matched["before"].to_numpy()).all()
    assert matched["correlation"].to_numpy() == pytest.approx(1, abs=1e-3)
    loaded = ModelMatching.load(found.save(tmp_path / "matching"))
    assert loaded.pairs.equals(found.pairs)
    assert (loaded.summary, repr(loaded)) == (found.summary, repr(found))
    assert found.summary["by"] == by
    assert f"by {by}" in found.plot().layout.title.text


def test_fingerprints_are_changes_of_the_loss(model: RecurrentLanguageModel) -> None:
    scored = evaluator(model, demo_corpus("reviews", words=600))
    changes = ablation_fingerprints(scored, "rnn")
    from txray.pruning.ablation_values import BatchKeys

    plain = scored.predict(BatchKeys(), lambda amount: None)
    with masked(model, Mask("rnn", [5])) as keys:
        pruned = scored.predict(keys, lambda amount: None)
    assert changes.shape == (scored.inputs.n_documents, 12)
    assert changes[:, 5] == pytest.approx((pruned.nats - plain.nats) / plain.words)  # type: ignore[attr-defined]
    assert np.abs(changes).max() > 0


def moments(x: np.ndarray, y: np.ndarray) -> tuple[CrossMoments, CrossMoments, CrossMoments]:
    three = []
    for one, other in ((x, y), (x, x), (y, y)):
        joint = CrossMoments(one.shape[1], other.shape[1])
        joint.update(one, other)
        three.append(joint)
    return three[0], three[1], three[2]


def matched(x: np.ndarray, y: np.ndarray, seed: int = 0) -> pl.DataFrame:
    pairs = pairs_by_correlation(*moments(x, y), false_match_rate=0.05, draws=40, seed=seed)
    return pairs.filter(pl.col("state") == "matched")


def test_layers_of_the_same_content_in_other_neurons_do_not_match() -> None:
    """Random mixtures of the same sparse sources: CKA is 1 or nearly so, and no neuron is that of the other layer."""
    random = np.random.default_rng(0)
    total = sum(
        len(matched(random.standard_normal((2_000, 30)) @ mix, random.standard_normal((2_000, 30)) @ other))
        for mix, other in random.standard_normal((5, 2, 30, 30))
    )
    sources = random.standard_normal((2_000, 30))
    rotations = [np.linalg.qr(random.standard_normal((30, 30)))[0] for _ in range(10)]
    total += sum(len(matched(sources, sources @ rotation)) for rotation in rotations)
    # 15 pairs of layers without counterparts, each of which may have a match in one of twenty.
    assert total <= 2


def test_false_matches_of_neurons_without_a_counterpart_stay_below_their_rate() -> None:
    random = np.random.default_rng(1)
    right = wrong = 0
    for _ in range(5):
        shared = random.standard_normal((3_000, 60))
        x, y = shared + 0.7 * random.standard_normal((2, 3_000, 60))
        common = random.standard_normal((3_000, 8))
        # Half of the neurons of both layers are unrelated mixtures of what both encode.
        x[:, 30:], y[:, 30:] = (
            common @ random.standard_normal((8, 30)) + 0.5 * random.standard_normal((3_000, 30))
            for _ in range(2)
        )
        order = random.permutation(60)
        pairs = matched(x, y[:, order])
        true = (order[pairs["after"].to_numpy()] == pairs["before"].to_numpy()) & (
            pairs["before"].to_numpy() < 30
        )
        right += int(true.sum())
        wrong += int((~true).sum())
    assert right >= 0.95 * 150
    assert wrong <= 0.05 * (right + wrong) + 2


def test_bad_requests_are_refused(model: RecurrentLanguageModel, corpus: Corpus) -> None:
    for settings, error in (
        ({"by": "preferences"}, UnknownNameError),
        ({"by": "ablation", "max_words": 5}, UsageError),
        ({"max_documents": 5}, UsageError),
        ({"draws": 3}, UsageError),
        ({"layer": "nothing"}, UnknownNameError),
    ):
        with pytest.raises(error):
            match_models(model, model, corpus, **settings)
    few = Corpus.from_documents("few", [Document("d", ["good", "bad", "good"])])
    with pytest.raises(UsageError, match="at least 10"):
        match_models(model, model, few, by="ablation")
