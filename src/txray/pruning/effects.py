"""What pruning does: sets of neurons against the whole model and against random sets, and how sure that is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from txray.corpus.corpus import Corpus
from txray.errors import ChanceWarning, ShapeError, UnknownNameError, UsageError
from txray.files import remove_temporaries
from txray.models.fingerprint import model_fingerprint
from txray.models.text_model import TextModel
from txray.progress import progress
from txray.pruning.activity import Activity
from txray.pruning.chance import chance_note
from txray.pruning.evaluation import Evaluator, Model, evaluator
from txray.pruning.mask import ABLATIONS, Ablation, Mask, When
from txray.pruning.masking import Target
from txray.pruning.outcomes import BETTER
from txray.pruning.result import Pruning
from txray.pruning.rows import EFFECTS, RANDOM, SETS, Rows, Samples, Scores
from txray.pruning.sets import NeuronSet, random_orders
from txray.pruning.trials import Advance, Metric, Trials


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
    model, for each set, and for each random set. Those of one `group`, or of the same words, are drawn together; the
    summary says of each text how many `documents` and `groups` there were. The model is left as it was.

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
        resamples: of groups of documents, for intervals.
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
        ShapeError: activity of a layer of another size.
        StageError: what the folder keeps is damaged, or of a model that computes something else.
        OutputError: the folder cannot be written.

    Warns:
        ChanceWarning: the whole model is not better than chance on a text.

    Source:
        Rethmeier et al. 2020, section 3.4 and table 2; the controls are ours.
    """
    _check(sets, texts, metric, random, resamples, seed)
    _check_evaluators(model, texts or {}, documents, max_length)
    if ablation not in ABLATIONS:
        raise UnknownNameError.of("ablation", ablation, ABLATIONS)
    plan = _Plan.of(model, sets, random, seed, when)
    kept = None if folder is None else Path(folder)
    if kept is not None and kept.is_dir():
        remove_temporaries(kept)
    fingerprint = model_fingerprint(model.module if isinstance(model, TextModel) else model)
    trials = {
        split: Trials.of(
            text
            if isinstance(text, Evaluator)
            else evaluator(model, text, documents=documents, max_length=max_length),
            kept,
            fingerprint,
        )
        for split, text in (texts or {}).items()
    }
    if metric is not None:
        trials["metric"] = Trials.measured(model, metric, fingerprint)
    if ablation != "zero" and activity is None:
        activity = _activity(model, list(plan.sizes), texts)
    masks = _Masks(ablation, when, activity, seed)
    masks.check(plan.sizes)
    positions = plan.runs * sum(each.positions for each in trials.values())
    with progress("pruning", positions, unit="positions") as advance:
        tables = [
            _rows(split, trial, plan, masks, resamples, 1 if higher_is_better else -1, advance)
            for split, trial in trials.items()
        ]
    summary = {
        "ablation": ablation,
        "when": when,
        "random": random,
        "resamples": resamples,
        "seed": seed,
        "documents": documents,
        "max_length": max_length,
        "layers": dict(plan.sizes),
        "model": fingerprint,
        "better": {name: sign for each in tables for name, sign in each.better.items()},
        "texts": {
            split: _told(trial) | {"chance": dict(each.chance)}
            for (split, trial), each in zip(trials.items(), tables, strict=True)
        },
    }
    return Pruning(
        pl.DataFrame([row for each in tables for row in each.effects], schema=EFFECTS, orient="row"),
        pl.DataFrame([row for each in tables for row in each.random], schema=RANDOM, orient="row"),
        plan.table(),
        pl.concat([each.resamples() for each in tables]),
        summary,
    )


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which neurons are silenced together.

    Attributes:
        sets: that were asked for.
        sizes: layer -> neurons.
        drawn: (layer, size of a set) -> random sets of that size.
    """

    sets: Sequence[NeuronSet]
    sizes: Mapping[str, int]
    drawn: Mapping[tuple[str, int], Sequence[tuple[int, ...]]]

    @classmethod
    def of(cls, model: Model, sets: Sequence[NeuronSet], random: int, seed: int, when: When) -> _Plan:
        """For a model; refuses what it has not."""
        sizes = {
            layer: Target.of(model, layer).n_neurons for layer in dict.fromkeys(each.layer for each in sets)
        }
        for each in sets:
            each.require_size(sizes[each.layer])
            try:
                Mask(each.layer, each.neurons, when=when).require_within(sizes[each.layer])
            except UnknownNameError:
                raise
            except UsageError as error:
                raise UsageError(f"set {each.name!r}: {error}") from error
        orders = {layer: random_orders(n, random, seed) for layer, n in sizes.items()} if random else {}
        drawn = {
            # Of a small layer there are few sets of a size: each counts once.
            (layer, k): list(dict.fromkeys(tuple(sorted(order[:k].tolist())) for order in orders[layer]))
            for layer, k in sorted({(each.layer, len(each)) for each in sets if len(each)})
            if layer in orders
        }
        return cls(sets, sizes, drawn)

    @property
    def runs(self) -> int:
        """How often a text is read."""
        return 1 + sum(1 for each in self.sets if len(each)) + sum(map(len, self.drawn.values()))

    def table(self) -> pl.DataFrame:
        """The sets, their neurons as text."""
        return pl.DataFrame(
            [(each.name, each.ranking, each.layer, " ".join(map(str, each.neurons))) for each in self.sets],
            schema=SETS,
            orient="row",
        )


def _rows(
    split: str, trial: Trials, plan: _Plan, masks: _Masks, resamples: int, sign: int, advance: Advance
) -> Rows:
    """Everything on one text."""
    whole = trial.outcomes("nothing", Mask(plan.sets[0].layer, ()), advance)
    samples = Samples.of(whole, trial.digest, resamples, trial.groups)
    reference = samples.metrics(whole)
    # A metric of the user's may have the name of one of ours.
    known = {} if trial.evaluator is None else BETTER
    better = {name: known.get(name, sign) for name in reference.observed}
    told = Rows(split, samples, reference, better, samples.chance(whole))
    note = chance_note(told.chance)
    if note:
        warnings.warn(
            f"prune: on {split!r} the whole model is not better than chance: {note}; how pruning changes such metrics "
            "means nothing: score a trained model, on "
            "documents whose labels it was trained for",
            ChanceWarning,
            stacklevel=4,
        )

    def scores(name: str, layer: str, neurons: Sequence[int]) -> Scores:
        return samples.metrics(trial.outcomes(name, masks.of(layer, neurons), advance))

    controls = {
        (layer, size): [scores(f"a random set of {size}", layer, neurons) for neurons in draws]
        for (layer, size), draws in plan.drawn.items()
    }
    for each in plan.sets:
        found = scores(f"set {each.name!r}", each.layer, each.neurons) if len(each) else None
        told.add(each, plan.sizes[each.layer], found, controls.get((each.layer, len(each)), []))
    for (layer, size), draws in controls.items():
        told.add_random(layer, size, draws)
    return told


def _told(trial: Trials) -> dict[str, Any]:
    if trial.evaluator is None:
        return {"documents": 0, "groups": 0}
    inputs = trial.evaluator.inputs
    return {
        "documents": inputs.documents,
        "groups": inputs.n_groups,
        "positions": inputs.words,
        "cut": inputs.cut,
        "skipped": inputs.skipped,
        "digest": inputs.documents_digest,
        "groups_digest": inputs.groups_digest,
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
    if texts is not None and not isinstance(texts, Mapping):
        raise UsageError(
            f"prune: texts of kind {type(texts).__name__}; give them by name, as in {{'test': corpus}}"
        )
    if (metric is None) == (not texts):
        raise UsageError("prune: give either texts to score on, or a metric of your own")
    for name, value, least, most in (
        ("resamples", resamples, 2, 1_000_000),
        ("seed", seed, 0, (1 << 63) - 1),
        ("random", random, 0, 10_000),
    ):
        if type(value) is not int or not least <= value <= most:
            raise UsageError(f"prune: {name}={value}; give a whole number from {least} to {most:,}")
    if random == 1:
        raise UsageError(
            f"prune: random={random}; one random set tells nothing of others: 20 or so, or 0 for none"
        )


def _check_evaluators(
    model: Model, texts: Mapping[str, Corpus | Evaluator], documents: int | None, max_length: int | None
) -> None:
    for split, text in texts.items():
        if not isinstance(text, Evaluator):
            continue
        if text.model is not model:
            raise UsageError(
                f"prune: text {split!r} scores another model than the one to be pruned; make it of that one"
            )
        if documents is not None or max_length is not None:
            raise UsageError(
                f"prune: text {split!r} is an evaluator, which has chosen its documents; give documents and max_length "
                "to txray.pruning.evaluator"
            )


def _activity(
    model: Model, layers: Sequence[str], texts: Mapping[str, Corpus | Evaluator] | None
) -> Activity:
    corpora = [text for text in (texts or {}).values() if isinstance(text, Corpus)]
    if len(layers) != 1 or not corpora:
        raise UsageError(
            "prune: ablations mean and resample need to know what neurons do: give activity of the layer "
            "(txray.pruning.Activity)"
        )
    return Activity.over(model, corpora[0], layers[0])


@dataclass(frozen=True, eq=False)
class _Masks:
    """How masks of this pruning are made."""

    ablation: Ablation
    when: When
    activity: Activity | None
    seed: int

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse activity of a layer of another size."""
        if self.activity is None or self.activity.layer not in sizes:
            return
        known, wanted = len(self.activity.mean), sizes[self.activity.layer]
        if known != wanted:
            raise ShapeError(
                f"prune: activity of {known} neurons of layer {self.activity.layer!r}, the model has {wanted}; take it "
                "from this model"
            )

    def of(self, layer: str, neurons: Sequence[int]) -> Mask:
        """For some neurons."""
        if self.ablation == "zero" or self.activity is None:
            return Mask(layer, neurons, self.ablation, self.when)
        if self.activity.layer != layer:
            raise UsageError(
                f"prune: activity is of layer {self.activity.layer!r}, a set of {layer!r}; prune one at a time"
            )
        return self.activity.mask(neurons, self.ablation, when=self.when, seed=self.seed)
