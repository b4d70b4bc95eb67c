"""Planted classifiers: known neurons carry the label, known ones carry nothing. Does pruning say so, and how surely?

A recurrent layer of rectified units counts words: each unit that carries something counts one word of the vocabulary,
the head weighs the counts, and documents are drawn so that some words speak for a class. What pruning does to all
documents there could ever be is known from two hundred thousand of them, without any model.
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
from txray.pruning.bootstrap import SAME
from txray.pruning.rankings import Scores

STRONG, WEAK, NOISE, NOTHING = 6, 10, 12, 12
"""Units that carry much and little of the label; that count words which say nothing of it, and are believed; and that
nobody reads."""
UNITS = STRONG + WEAK + NOISE + NOTHING
NOISY, UNREAD = STRONG + WEAK, STRONG + WEAK + NOISE
"""Where the latter two begin."""
_LENGTH = 30
"""Words of a document."""
_OTHERS = 20
"""Words that no unit counts."""
_REPETITIONS = 100
_DOCUMENTS = 500
_MANY = 200_000


@dataclass(frozen=True)
class PlantedClassifier:
    """A classifier whose neurons are known, and the documents it is for.

    Attributes:
        model: its layer `rnn` has `UNITS` neurons: strong, weak, noisy and unread ones.
        head: (UNITS,) weights of the counts.
        probability: (2, words) of each word in a document of each class.
    """

    model: SentimentClassifier
    head: NDArray[np.float64]
    probability: NDArray[np.float64]

    @classmethod
    def made(cls, seed: int = 0) -> PlantedClassifier:
        """With effects of random size and sign."""
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
        # Noise is believed half as much as what carries much, and hurts: it is there to be pruned.
        head[NOISY:UNREAD] = random.choice((-1, 1), NOISE) * np.abs(head[:STRONG]).mean() / 2
        return cls(_counting(head), head, probability)

    def documents(self, n: int, seed: int) -> Corpus:
        """So many documents, half of each class."""
        random = np.random.default_rng([seed, 1])
        made = []
        for i in range(n):
            words = random.choice(self.probability.shape[1], _LENGTH, p=self.probability[i % 2])
            labels = {"label": ("neg", "pos")[i % 2]}
            made.append(Document(f"{seed}-{i}", tuple(f"w{word}" for word in words), labels=labels))
        return Corpus.from_documents(f"planted-{seed}", made)

    def truth(self, pruned: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Metrics over all documents there could be, once per set of silent neurons.

        From counts of words alone, in numpy: none of the code that is tried here is used.
        """
        random = np.random.default_rng(99)
        counts = np.concatenate(
            [random.multinomial(_LENGTH, p, size=_MANY // 2)[:, :UNITS] for p in self.probability]
        )
        positive = np.repeat([False, True], _MANY // 2)
        apart = 1e-9 * random.standard_normal(_MANY)  # of ties, one half
        found = []
        for neurons in pruned:
            head = self.head.copy()
            head[list(neurons)] = 0
            score = counts @ head
            said = score > 0
            both = (said & positive).sum()
            ranks = np.argsort(np.argsort(score + apart))[positive].sum()
            half = _MANY // 2
            found.append(
                {
                    "accuracy": float((said == positive).mean()),
                    "f1": float(2 * both / (said.sum() + positive.sum())),
                    "auroc": float((ranks - half * (half - 1) / 2) / half**2),
                    "loss": float(np.logaddexp(0, np.where(positive, -score, score)).mean()),
                }
            )
        return found


def _counting(head: NDArray[np.float64]) -> SentimentClassifier:
    """A recurrent layer whose units count words, and a head that weighs the counts."""
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


def strongest_last(scores: Scores) -> tuple[float, float]:
    """How well a ranking tells strong neurons from those that carry nothing, and from weak ones: AUC of each."""
    from benchmarks.evidence.tables import auc

    strong = np.arange(UNITS) < STRONG
    nothing = np.arange(UNITS) >= UNREAD
    weak = ~strong & (np.arange(UNITS) < NOISY)
    return (
        auc(scores[strong | nothing], strong[strong | nothing]),
        auc(scores[strong | weak], strong[strong | weak]),
    )


def planted_sets() -> list[NeuronSet]:
    """What is known of the neurons, as sets; `mixed` is a random one."""
    mixed = np.random.default_rng(5).permutation(UNITS)[:STRONG]
    return [
        NeuronSet("strong", "rnn", tuple(range(STRONG))),
        NeuronSet("weak", "rnn", tuple(range(STRONG, STRONG + STRONG))),
        NeuronSet("noise", "rnn", tuple(range(NOISY, NOISY + STRONG))),
        NeuronSet("nothing", "rnn", tuple(range(UNREAD, UNREAD + STRONG))),
        NeuronSet("mixed", "rnn", tuple(int(i) for i in mixed)),
    ]


def coverage(repetitions: int = _REPETITIONS, documents: int = _DOCUMENTS) -> pl.DataFrame:
    """Whether intervals hold the truth, and what is said of each set: one row per repetition, set and metric."""
    planted = PlantedClassifier.made()
    sets = planted_sets()
    whole, *pruned = planted.truth([(), *(each.neurons for each in sets)])
    truth = {
        (each.name, metric): value - whole[metric]
        for each, found in zip(sets, pruned, strict=True)
        for metric, value in found.items()
    }
    rows = []
    for repetition in range(repetitions):
        corpus = planted.documents(documents, 1_000 + repetition)
        found = prune(planted.model, sets, {"test": corpus}, seed=repetition)
        for row in found.effects.iter_rows(named=True):
            wanted = truth[row["set"], row["metric"]]
            inside = row["change_low"] <= wanted <= row["change_high"]
            rows.append((row["set"], row["metric"], wanted, row["change"], inside, row["verdict"]))
    names = ("set", "metric", "truth", "change", "covered", "verdict")
    return pl.DataFrame(rows, schema=names, orient="row")


def calibration(repetitions: int = 400, documents: int = _DOCUMENTS) -> pl.DataFrame:
    """Random sets, each held against twenty others: how often they are called better or worse than random."""
    planted = PlantedClassifier.made()
    rows = []
    for repetition in range(repetitions // 4):
        corpus = planted.documents(documents, 5_000 + repetition)
        random = np.random.default_rng([7, repetition])
        sets = [
            NeuronSet(f"{k} of {UNITS}, {i}", "rnn", tuple(int(j) for j in random.permutation(UNITS)[:k]))
            for k in (4, 12)
            for i in range(2)
        ]
        found = prune(planted.model, sets, {"test": corpus}, seed=repetition)
        for row in found.effects.iter_rows(named=True):
            # By rank, the farthest of 21 is one of 21: what so few random sets can say without any assumption.
            farthest = row["random_p_value"] < 0.05
            rows.append((row["neurons"], row["metric"], row["verdict"] != SAME, farthest))
    return pl.DataFrame(rows, schema=("neurons", "metric", "called", "farthest"), orient="row")


def rankings() -> Table:
    """How each ranking orders neurons that carry much, little, nothing."""
    rows = []
    for name, found in ranking_aucs().items():
        rows.append((f"`{name}`", *(number(each) for each in found)))
    columns = ("ranking", "strong above nothing (AUC)", "strong above weak (AUC)")
    return Table(columns, rows)


def ranking_aucs() -> dict[str, tuple[float, float]]:
    """Ranking -> AUC of strong against nothing, and against weak."""
    planted = PlantedClassifier.made()
    corpus = planted.documents(2_000, 1)
    evidence = RankingInputs(planted.model, "rnn", corpus=corpus, evaluator=evaluator(planted.model, corpus))
    return {
        name: strongest_last(evidence.importance(name))
        for name in ("magnitude", "activation", "wanda", "taylor")
    }


def curves() -> pl.DataFrame:
    """Sparsity curves of the planted classifier by what is known, and by Taylor."""
    planted = PlantedClassifier.made()
    corpus = planted.documents(2_000, 1)
    evidence = RankingInputs(planted.model, "rnn", corpus=corpus, evaluator=evaluator(planted.model, corpus))
    carried = np.concatenate(
        (np.full(STRONG, 2.0), np.full(WEAK, 1.0), np.full(NOISE, -1.0), np.zeros(NOTHING))
    )
    sets = curve_sets({"carried": carried, "taylor": evidence.importance("taylor")}, "rnn")
    return prune(planted.model, sets, {"test": planted.documents(2_000, 2)}).effects


def measured_coverage() -> Table:
    """Coverage of intervals, and verdicts."""
    found = coverage()
    rows = []
    for (name, metric), group in found.group_by("set", "metric", maintain_order=True):
        said = group["verdict"].to_list()
        rows.append(
            (
                f"{name}, {metric}",
                f"{group['truth'][0]:+.4f}",
                percent(float(group["covered"].cast(float).to_numpy().mean()), 0),
                *(percent(said.count(verdict) / len(said), 0) for verdict in ("better", "worse", SAME)),
            )
        )
    columns = ("set of 6 of 40, metric", "true change", "interval covers it", "better", "worse", SAME)
    return Table(columns, rows)


def measured_calibration() -> Table:
    """False verdicts of random sets."""
    found = calibration()
    rows = [
        (
            f"{size} of {UNITS}, {metric}",
            str(len(group)),
            percent(float(group["called"].cast(float).to_numpy().mean())),
            percent(float(group["farthest"].cast(float).to_numpy().mean())),
        )
        for (size, metric), group in found.group_by("neurons", "metric", maintain_order=True)
    ]
    return Table(("random sets, metric", "sets", "called better or worse", "farthest of 21"), rows)


warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
