"""What pruning does: sets of neurons against the whole model and against random sets, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.corpus.corpus import Corpus
from txray.errors import StageError, UsageError
from txray.progress import progress
from txray.pruning.activity import Activity
from txray.pruning.bootstrap import against_random, bounds, resampled
from txray.pruning.evaluation import Evaluator, Model, evaluator
from txray.pruning.mask import Ablation, Mask, When
from txray.pruning.masking import Target
from txray.pruning.outcomes import BETTER, Outcomes
from txray.pruning.sets import NeuronSet, random_orders
from txray.pruning.trials import Metric, Trials
from txray.transfer.saving import save_tables

SUMMARY = "pruning.json"
"""The file that tells a folder of pruning effects."""

_TABLES = ("effects", "random", "sets", "resamples")

EFFECTS: Mapping[str, Any] = {
    "set": pl.String,
    "ranking": pl.String,
    "layer": pl.String,
    "neurons": pl.Int64,
    "share": pl.Float64,
    "split": pl.String,
    "metric": pl.String,
    "documents": pl.Int64,
    "unpruned": pl.Float64,
    "value": pl.Float64,
    "change": pl.Float64,
    "change_low": pl.Float64,
    "change_high": pl.Float64,
    "relative": pl.Float64,
    "random_mean": pl.Float64,
    "random_deviation": pl.Float64,
    "versus_random": pl.Float64,
    "versus_random_low": pl.Float64,
    "versus_random_high": pl.Float64,
    "random_p_value": pl.Float64,
    "verdict": pl.String,
}


@dataclass(frozen=True, eq=False)
class Pruning:
    """Effects of pruning some sets of neurons.

    Attributes:
        effects: one row per set, split and metric. `change` = `value` - `unpruned`, with the bounds of its 95 %
            interval over documents; `relative`: the change as a share of `unpruned`. `versus_random` = `value` -
            `random_mean`, with the bounds of a 95 % interval of the difference to one more random set of as many
            neurons; `verdict`: `better` or `worse` than random where that interval leaves out 0, else
            `not distinguishable`; null where the set is empty. `random_p_value`: share of random sets that are as far
            from their mean.
        random: one row per layer, size, draw, split and metric: the values of random sets.
        sets: one row per set: its neurons.
        resamples: one row per set, split and metric: `change` and `versus` of each resample of the documents.
        summary: settings and counts, plain JSON values.
    """

    effects: pl.DataFrame
    random: pl.DataFrame
    sets: pl.DataFrame
    resamples: pl.DataFrame
    summary: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.effects.filter(pl.col("verdict").is_not_null())
        return (
            f"Pruning({len(self.sets)} sets, {len(told)} verdicts, {self.summary['random']} random sets each)"
        )

    def save(self, folder: Path | str) -> Path:
        """Write the tables as Parquet (and CSV, where that can hold them) and `pruning.json`; returns the folder.

        Raises:
            OutputError: the place cannot be written.
        """
        tables = {name: getattr(self, name) for name in _TABLES}
        return save_tables(folder, tables, self.summary, SUMMARY)


def load_pruning(folder: Path | str) -> Pruning:
    """Read what `Pruning.save` wrote.

    Raises:
        StageError: there is nothing, or it is damaged.
    """
    import json

    place = Path(folder)
    if not (place / SUMMARY).is_file():
        raise StageError(
            f"{place}: holds no {SUMMARY}; name a folder that 'txray prune table' or 'curve' wrote"
        )
    try:
        tables = {name: pl.read_parquet(place / f"{name}.parquet") for name in _TABLES}
        summary = json.loads((place / SUMMARY).read_text(encoding="utf-8"))
        missing = set(EFFECTS) - set(tables["effects"].columns)
        if missing or not isinstance(summary, dict):
            raise ValueError(f"lacks {sorted(missing)}")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise StageError(f"{place}: damaged: {' '.join(str(error).split())[:200]}; make it again") from error
    return Pruning(**tables, summary=summary)


def prune(
    model: Model,
    sets: Sequence[NeuronSet],
    texts: Mapping[str, Corpus | Evaluator] | None = None,
    *,
    metric: Metric | None = None,
    higher_is_better: bool = True,
    ablation: Ablation = "zero",
    when: When = "every-step",
    activity: Activity | None = None,
    random: int = 20,
    resamples: int = 1_000,
    documents: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
) -> Pruning:
    """Silence sets of neurons in the real forward pass, and tell what that does and whether random sets do the same.

    For each set size, `random` sets are drawn from the same layer: the first neurons of random orders, so that a larger
    random set holds the smaller ones of the same draw. Documents are resampled in pairs: the same ones for the whole
    model, for each set, and for each random set. The model is left as it was.

    Args:
        model: a classifier or language model of `txray.models`, or a `TextModel`.
        sets: with distinct names; empty ones give rows without numbers.
        texts: split, such as `train` and `test` -> labelled documents (for language models: any).
        metric: of your own, instead of texts: called without arguments while neurons are silent, it measures the model
            and gives a number, or one per document, or such by name.
        higher_is_better: of that metric.
        ablation: what silent neurons give: `zero`, `mean` or `resample`, the latter two from `activity`.
        when: of recurrent layers, see `Mask`.
        activity: of the layer that the sets are of; by default, where it is needed, over the first of the texts.
        random: random sets of each size, at least 2; 0 leaves them out.
        resamples: of documents, for intervals.
        documents: of each text at most, chosen by a hash of their ids.
        max_length: words read of each document.
        seed: of random sets.
        folder: that finished runs of the model are kept in, so that the same call goes on after an interruption.

    Raises:
        UsageError: nothing to prune or to score on, two sets of one name, a set that leaves nothing of its layer, a
            neuron that does not exist, a metric that fails, or a number that cannot be.
        UnknownNameError: no such layer, ablation or time.
        CorpusError: a text that cannot be scored on.
        CaptureError: a model that fails, or gives no numbers.
        OutputError: the folder cannot be written.

    Source:
        Rethmeier et al. 2020, section 3.4 and table 2; the controls are ours.
    """
    _check(sets, texts, metric, random, resamples, seed)
    targets = {layer: Target.of(model, layer) for layer in dict.fromkeys(each.layer for each in sets)}
    for each in sets:
        each.require_size(targets[each.layer].n_neurons)
        Mask(each.layer, each.neurons, when=when).require_within(targets[each.layer].n_neurons)
    kept = None if folder is None else Path(folder)
    trials = {
        split: Trials.of(
            text
            if isinstance(text, Evaluator)
            else evaluator(model, text, documents=documents, max_length=max_length),
            kept,
        )
        for split, text in (texts or {}).items()
    }
    if metric is not None:
        trials["metric"] = Trials.measured(model, metric)
    if ablation != "zero" and activity is None:
        activity = _activity(model, targets, texts)
    masks = _Masks(ablation, when, activity, seed)
    orders = {
        layer: random_orders(target.n_neurons, random, seed) if random else None
        for layer, target in targets.items()
    }
    sizes = sorted({(each.layer, len(each)) for each in sets if len(each)})
    drawn = {
        (layer, size): [tuple(sorted(row[:size].tolist())) for row in chosen]
        for layer, size in sizes
        if (chosen := orders[layer]) is not None
    }
    runs = 1 + sum(1 for each in sets if len(each)) + sum(map(len, drawn.values()))
    better = dict(BETTER)
    tables: list[_Tables] = []
    with progress(
        "pruning", runs * sum(each.positions for each in trials.values()), unit="positions"
    ) as advance:
        for split, trial in trials.items():
            whole = trial.outcomes("nothing", Mask(sets[0].layer, ()), advance)
            if metric is not None:
                better.update(dict.fromkeys(whole.arrays(), 1 if higher_is_better else -1))
            samples = _Samples.of(whole, trial, resamples)
            controls = {
                key: [
                    samples.metrics(
                        trial.outcomes(f"a random set of {key[1]}", masks.of(key[0], neurons), advance)
                    )
                    for neurons in draws
                ]
                for key, draws in drawn.items()
            }
            reference = samples.metrics(whole)
            told = _Tables(split, samples, reference, better)
            for each in sets:
                found = None
                if len(each):
                    outcomes = trial.outcomes(
                        f"set {each.name!r}", masks.of(each.layer, each.neurons), advance
                    )
                    found = samples.metrics(outcomes)
                n = targets[each.layer].n_neurons
                told.add(each, n, found, controls.get((each.layer, len(each)), []))
            for (layer, size), draws in controls.items():
                told.add_random(layer, size, draws)
            tables.append(told)
    return Pruning(
        pl.DataFrame([row for each in tables for row in each.effects], schema=EFFECTS, orient="row"),
        pl.DataFrame([row for each in tables for row in each.random], schema=_RANDOM, orient="row"),
        pl.DataFrame(
            [(each.name, each.ranking, each.layer, " ".join(map(str, each.neurons))) for each in sets],
            schema={"set": pl.String, "ranking": pl.String, "layer": pl.String, "neurons": pl.String},
            orient="row",
        ),
        pl.concat([pl.DataFrame(schema=_RESAMPLES), *(each.resamples() for each in tables)]),
        {
            "ablation": ablation,
            "when": when,
            "random": random,
            "resamples": resamples,
            "seed": seed,
            "layers": {layer: target.n_neurons for layer, target in targets.items()},
            "model": next(iter(trials.values())).fingerprint,
            "better": {name: sign for name, sign in better.items() if name in set(_metrics(tables))},
            "texts": {split: _told(trial) for split, trial in trials.items()},
        },
    )


def _metrics(tables: Sequence[_Tables]) -> list[str]:
    return list(dict.fromkeys(row[6] for each in tables for row in each.effects))


def _told(trial: Trials) -> dict[str, Any]:
    if trial.evaluator is None:
        return {"documents": 0}
    inputs = trial.evaluator.inputs
    return {
        "documents": inputs.documents,
        "positions": inputs.words,
        "cut": inputs.cut,
        "skipped": inputs.skipped,
        "digest": inputs.digest,
    }


def _check(
    sets: Sequence[NeuronSet],
    texts: Mapping[str, Corpus | Evaluator] | None,
    metric: Metric | None,
    random: int,
    resamples: int,
    seed: int,
) -> None:
    if not sets or not any(len(each) for each in sets):
        names = ", ".join(repr(each.name) for each in sets)
        raise UsageError(
            f"prune: nothing to prune: {f'{names} hold no neuron' if names else 'no sets'}; give some"
        )
    called = [each.name for each in sets]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"prune: several sets are named {twice!r}; give each its own name")
    if (metric is None) == (not texts):
        raise UsageError("prune: give either texts to score on, or a metric of your own")
    for name, value, least in (("resamples", resamples, 2), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"prune: {name}={value}; it must be at least {least}")
    if random < 0 or random == 1:
        raise UsageError(
            f"prune: random={random}; one random set tells nothing of others: 20 or so, or 0 for none"
        )


def _activity(
    model: Model, targets: Mapping[str, Target], texts: Mapping[str, Corpus | Evaluator] | None
) -> Activity:
    corpora = [text for text in (texts or {}).values() if isinstance(text, Corpus)]
    if len(targets) != 1 or not corpora:
        raise UsageError(
            "prune: ablations mean and resample need to know what neurons do: give activity of the layer "
            "(txray.pruning.Activity)"
        )
    return Activity.over(model, corpora[0], next(iter(targets)))


@dataclass(frozen=True, eq=False)
class _Masks:
    """How masks of this pruning are made."""

    ablation: Ablation
    when: When
    activity: Activity | None
    seed: int

    def of(self, layer: str, neurons: Sequence[int]) -> Mask:
        """For some neurons."""
        if self.ablation == "zero" or self.activity is None:
            return Mask(layer, neurons, self.ablation, self.when)
        if self.activity.layer != layer:
            raise UsageError(
                f"prune: activity is of layer {self.activity.layer!r}, a set of {layer!r}; prune one at a time"
            )
        return self.activity.mask(neurons, self.ablation, when=self.when, seed=self.seed)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Metrics of one run: as observed, and of each resample."""

    observed: Mapping[str, float]
    sampled: Mapping[str, NDArray[np.float64]] | None


@dataclass(frozen=True, eq=False)
class _Samples:
    """The documents as they are, and resampled."""

    documents: int
    weights: NDArray[np.float64] | None

    @classmethod
    def of(cls, whole: Outcomes, trial: Trials, resamples: int) -> _Samples:
        """Of the documents of the unpruned model."""
        n = whole.documents
        digest = "" if trial.evaluator is None else trial.evaluator.inputs.digest
        return cls(n, resampled(n, resamples, digest) if n > 1 else None)

    def metrics(self, outcomes: Outcomes) -> _Scores:
        """Of one run."""
        if outcomes.documents != self.documents:
            raise UsageError(
                f"metric: gave {outcomes.documents} numbers where it gave {self.documents} of the unpruned model; "
                "give one for each of the same documents"
            )
        observed = outcomes.metrics(np.ones((1, max(self.documents, 1))))
        return _Scores(
            {name: float(value[0]) for name, value in observed.items()},
            None if self.weights is None else outcomes.metrics(self.weights),
        )


_RANDOM = {
    "layer": pl.String,
    "neurons": pl.Int64,
    "draw": pl.Int64,
    "split": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}

_RESAMPLES = {
    "set": pl.String,
    "split": pl.String,
    "metric": pl.String,
    "resample": pl.Int64,
    "change": pl.Float64,
    "versus": pl.Float64,
}


class _Tables:
    """Rows of one split."""

    def __init__(self, split: str, samples: _Samples, reference: _Scores, better: Mapping[str, int]) -> None:
        self.effects: list[tuple[Any, ...]] = []
        self.random: list[tuple[Any, ...]] = []
        self._resamples: list[pl.DataFrame] = []
        self._split, self._samples, self._reference, self._better = split, samples, reference, better

    def add(
        self, each: NeuronSet, n_neurons: int, found: _Scores | None, controls: Sequence[_Scores]
    ) -> None:
        """The rows of one set."""
        head = (each.name, each.ranking, each.layer, len(each), len(each) / n_neurons, self._split)
        for metric, unpruned in self._reference.observed.items():
            start = (*head, metric, self._samples.documents, unpruned)
            if found is None:
                self.effects.append((*start, *[None] * (len(EFFECTS) - len(start))))
                continue
            value = found.observed[metric]
            change = self._difference(metric, found, [self._reference])
            low, high = (None, None) if change is None else bounds(change)
            row = [value, value - unpruned, low, high, (value - unpruned) / unpruned if unpruned else None]
            versus = self._difference(metric, found, controls)
            if controls:
                beside = against_random(value, [one.observed[metric] for one in controls], versus)
                row += [
                    beside.mean,
                    beside.deviation,
                    beside.difference,
                    beside.low,
                    beside.high,
                    beside.p_value,
                ]
                row.append(beside.verdict(self._better.get(metric, 1)))  # type: ignore[arg-type]
            else:
                row += [None] * 7
            self.effects.append((*start, *row))
            if change is not None:
                self._resamples.append(
                    pl.DataFrame(
                        {
                            "set": each.name,
                            "split": self._split,
                            "metric": metric,
                            "resample": np.arange(len(change)),
                            "change": change,
                            "versus": np.full(len(change), np.nan) if versus is None else versus,
                        },
                        schema=_RESAMPLES,
                    )
                )

    def _difference(
        self, metric: str, found: _Scores, others: Sequence[_Scores]
    ) -> NDArray[np.float64] | None:
        """(resamples,) of a set less the mean of others."""
        if found.sampled is None or not others:
            return None
        mean = np.mean([one.sampled[metric] for one in others if one.sampled is not None], axis=0)
        return np.asarray(found.sampled[metric] - mean)

    def add_random(self, layer: str, size: int, draws: Sequence[_Scores]) -> None:
        """The rows of random sets of one size."""
        for draw, scores in enumerate(draws):
            for metric, value in scores.observed.items():
                self.random.append((layer, size, draw, self._split, metric, value))

    def resamples(self) -> pl.DataFrame:
        """What was resampled, as a table."""
        return pl.concat([pl.DataFrame(schema=_RESAMPLES), *self._resamples])
