"""Synthetic classifiers in which the effect of each neuron on the label is known: does pruning find it?

A recurrent layer of rectified units counts words: each informative unit counts one word of the vocabulary, the head
weighs the counts, and in the documents some words are more frequent in one class. The true effect of pruning, over the
population of documents, is computed from 200,000 of them without any model.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from benchmarks.evidence.tables import Table, number, percent
from txray.corpus import Corpus, Document
from txray.models import SentimentClassifier, Vocabulary
from txray.models.recurrent import RecurrentConfig
from txray.pruning import NeuronSet, RankingInputs, curve_sets, evaluator, prune
from txray.pruning.random_comparison import SAME
from txray.pruning.rankings import Importance

STRONG, WEAK, NOISE, NOTHING = 6, 10, 12, 12
"""Numbers of units that are very and slightly informative; that count uninformative words and are weighed by the head;
and that the head ignores."""
UNITS = STRONG + WEAK + NOISE + NOTHING
NOISY, UNREAD = STRONG + WEAK, STRONG + WEAK + NOISE
"""First index of the latter two."""
_LENGTH = 30
"""Words per document."""
_OTHERS = 20
"""Number of words that no unit counts."""
_REPETITIONS = 100
_DOCUMENTS = 500
_MANY = 200_000


@dataclass(frozen=True)
class SyntheticClassifier:
    """A classifier with known neurons, and the distribution of its documents.

    Attributes:
        model: classifier whose layer `rnn` has `UNITS` neurons: strong, weak, noisy and ignored ones.
        head: (UNITS,) weights of the counts.
        probability: (2, words) probability of each word in documents of each class.
    """

    model: SentimentClassifier
    head: NDArray[np.float64]
    probability: NDArray[np.float64]

    @classmethod
    def create(cls, seed: int = 0) -> SyntheticClassifier:
        """Create a classifier with effects of random size and sign."""
        random = np.random.default_rng(seed)
        words = UNITS + _OTHERS
        tilt = np.concatenate(
            (random.uniform(0.5, 0.8, STRONG), random.uniform(0.1, 0.2, WEAK), np.zeros(words - NOISY))
        ) * np.where(np.arange(words) % 2, 1, -1)
        frequency = np.full(words, 1 / words)
        probability = np.stack([frequency * (1 + side * tilt) for side in (-1, 1)])
        probability /= probability.sum(axis=1, keepdims=True)
        head = np.log(probability[1, :UNITS] / probability[0, :UNITS])
        head[UNREAD:] = 0
        # Noisy units have half the weight of strong ones, so pruning them improves the classifier.
        head[NOISY:UNREAD] = random.choice((-1, 1), NOISE) * np.abs(head[:STRONG]).mean() / 2
        return cls(_counting_model(head), head, probability)

    def documents(self, n: int, seed: int) -> Corpus:
        """Return `n` documents, half of each class."""
        random = np.random.default_rng([seed, 1])
        documents = []
        for i in range(n):
            words = random.choice(self.probability.shape[1], _LENGTH, p=self.probability[i % 2])
            labels = {"label": ("neg", "pos")[i % 2]}
            documents.append(Document(f"{seed}-{i}", tuple(f"w{word}" for word in words), labels=labels))
        return Corpus.from_documents(f"synthetic-{seed}", documents)

    def truth(self, pruned: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Return the metrics over the population of documents, for each set of ablated neurons.

        They are computed in NumPy from counts of words, with none of the code under test.
        """
        random = np.random.default_rng(99)
        counts = np.concatenate(
            [random.multinomial(_LENGTH, p, size=_MANY // 2)[:, :UNITS] for p in self.probability]
        )
        positive = np.repeat([False, True], _MANY // 2)
        tie_breaker = 1e-9 * random.standard_normal(_MANY)  # breaks ties: each counts one half on average
        metrics = []
        for neurons in pruned:
            head = self.head.copy()
            head[list(neurons)] = 0
            score = counts @ head
            predicted = score > 0
            hits = (predicted & positive).sum()
            ranks = np.argsort(np.argsort(score + tie_breaker))[positive].sum()
            half = _MANY // 2
            metrics.append(
                {
                    "accuracy": float((predicted == positive).mean()),
                    "f1": float(2 * hits / (predicted.sum() + positive.sum())),
                    "auroc": float((ranks - half * (half - 1) / 2) / half**2),
                    "loss": float(np.logaddexp(0, np.where(positive, -score, score)).mean()),
                }
            )
        return metrics


def _counting_model(head: NDArray[np.float64]) -> SentimentClassifier:
    """Return a model whose recurrent units count words, and whose head weighs the counts."""
    words = UNITS + _OTHERS
    vocabulary = Vocabulary(("<unk>", "<eos>", *(f"w{i}" for i in range(words))))
    config = RecurrentConfig("rnn-relu", embedding=len(vocabulary), hidden=UNITS)
    model = SentimentClassifier(vocabulary, config, "last").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embedding.weight.copy_(torch.eye(len(vocabulary)))
        model.rnn.weight_ih_l0[:, 2 : 2 + UNITS] = torch.eye(UNITS)
        model.rnn.weight_hh_l0.copy_(torch.eye(UNITS))
        model.head.weight[0] = torch.from_numpy(head)
    return model


def ranking_auc(importance: Importance) -> tuple[float, float]:
    """Return the AUC of a ranking for strong against ignored neurons, and for strong against weak ones."""
    from benchmarks.evidence.tables import auc

    strong = np.arange(UNITS) < STRONG
    nothing = np.arange(UNITS) >= UNREAD
    weak = ~strong & (np.arange(UNITS) < NOISY)
    return (
        auc(importance[strong | nothing], strong[strong | nothing]),
        auc(importance[strong | weak], strong[strong | weak]),
    )


def known_sets() -> list[NeuronSet]:
    """Return one set for each kind of neurons, and `mixed`, a random one."""
    mixed = np.random.default_rng(5).permutation(UNITS)[:STRONG]
    return [
        NeuronSet("strong", "rnn", tuple(range(STRONG))),
        NeuronSet("weak", "rnn", tuple(range(STRONG, STRONG + STRONG))),
        NeuronSet("noise", "rnn", tuple(range(NOISY, NOISY + STRONG))),
        NeuronSet("nothing", "rnn", tuple(range(UNREAD, UNREAD + STRONG))),
        NeuronSet("mixed", "rnn", tuple(int(i) for i in mixed)),
    ]


def coverage(repetitions: int = _REPETITIONS, documents: int = _DOCUMENTS) -> pl.DataFrame:
    """Return the true change, whether the interval covers it, and the verdict, per repetition, set and metric."""
    synthetic = SyntheticClassifier.create()
    sets = known_sets()
    unpruned, *pruned = synthetic.truth([(), *(neurons.neurons for neurons in sets)])
    truth = {
        (neurons.name, metric): value - unpruned[metric]
        for neurons, metrics in zip(sets, pruned, strict=True)
        for metric, value in metrics.items()
    }
    rows = []
    for repetition in range(repetitions):
        corpus = synthetic.documents(documents, 1_000 + repetition)
        pruning = prune(synthetic.model, sets, {"test": corpus}, n_random_sets=20, seed=repetition)
        for row in pruning.effects.iter_rows(named=True):
            true_change = truth[row["set"], row["metric"]]
            covered = row["change_low"] <= true_change <= row["change_high"]
            rows.append((row["set"], row["metric"], true_change, row["change"], covered, row["verdict"]))
    names = ("set", "metric", "truth", "change", "covered", "verdict")
    return pl.DataFrame(rows, schema=names, orient="row")


def calibration(repetitions: int = 400, documents: int = _DOCUMENTS) -> pl.DataFrame:
    """Compare random sets with twenty others each; return whether they are called better or worse than random."""
    synthetic = SyntheticClassifier.create()
    rows = []
    for repetition in range(repetitions // 4):
        corpus = synthetic.documents(documents, 5_000 + repetition)
        random = np.random.default_rng([7, repetition])
        sets = [
            NeuronSet(f"{k} of {UNITS}, {i}", "rnn", tuple(int(j) for j in random.permutation(UNITS)[:k]))
            for k in (4, 12)
            for i in range(2)
        ]
        pruning = prune(synthetic.model, sets, {"test": corpus}, n_random_sets=20, seed=repetition)
        for row in pruning.effects.iter_rows(named=True):
            # The p-value by rank needs no assumption; with 20 random sets it is below 5% for the farthest only.
            farthest = row["random_p_value"] < 0.05
            rows.append((row["neurons"], row["metric"], row["verdict"] != SAME, farthest))
    return pl.DataFrame(rows, schema=("neurons", "metric", "called", "farthest"), orient="row")


def rankings() -> Table:
    """Return the table of the AUC of each ranking."""
    rows = [(f"`{name}`", *map(number, aucs)) for name, aucs in ranking_aucs().items()]
    columns = ("ranking", "strong above ignored (AUC)", "strong above weak (AUC)")
    return Table(columns, rows)


def ranking_aucs() -> dict[str, tuple[float, float]]:
    """Return the two AUCs of each ranking, see `ranking_auc`."""
    synthetic = SyntheticClassifier.create()
    corpus = synthetic.documents(2_000, 1)
    inputs = RankingInputs(
        synthetic.model, "rnn", corpus=corpus, evaluator=evaluator(synthetic.model, corpus)
    )
    return {
        name: ranking_auc(inputs.importance(name)) for name in ("magnitude", "activation", "wanda", "taylor")
    }


def curves() -> pl.DataFrame:
    """Return the sparsity curves of the synthetic classifier by the known information of its neurons, and by Taylor."""
    synthetic = SyntheticClassifier.create()
    corpus = synthetic.documents(2_000, 1)
    inputs = RankingInputs(
        synthetic.model, "rnn", corpus=corpus, evaluator=evaluator(synthetic.model, corpus)
    )
    information = np.concatenate(
        (np.full(STRONG, 2.0), np.full(WEAK, 1.0), np.full(NOISE, -1.0), np.zeros(NOTHING))
    )
    sets = curve_sets({"information": information, "taylor": inputs.importance("taylor")}, "rnn")
    return prune(synthetic.model, sets, {"test": synthetic.documents(2_000, 2)}, n_random_sets=20).effects


def measured_coverage() -> Table:
    """Return the table of the coverage of intervals, and of verdicts."""
    rows = []
    for (name, metric), group in coverage().group_by("set", "metric", maintain_order=True):
        verdicts = group["verdict"].to_list()
        rows.append(
            (
                f"{name}, {metric}",
                f"{group['truth'][0]:+.4f}",
                percent(float(group["covered"].cast(float).to_numpy().mean()), 0),
                *(
                    percent(verdicts.count(verdict) / len(verdicts), 0)
                    for verdict in ("better", "worse", SAME)
                ),
            )
        )
    columns = ("set of 6 of 40, metric", "true change", "interval contains it", "better", "worse", SAME)
    return Table(columns, rows)


def measured_calibration() -> Table:
    """Return the table of false verdicts on random sets."""
    rows = [
        (
            f"{size} of {UNITS}, {metric}",
            str(len(group)),
            percent(float(group["called"].cast(float).to_numpy().mean())),
            percent(float(group["farthest"].cast(float).to_numpy().mean())),
        )
        for (size, metric), group in calibration().group_by("neurons", "metric", maintain_order=True)
    ]
    return Table(("random sets, metric", "sets", "called better or worse", "farthest of 21"), rows)


warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
