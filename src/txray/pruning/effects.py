"""The effects of ablation: sets of neurons compared with the unpruned model and with random sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from txray.corpus.corpus import Corpus
from txray.errors import ChanceWarning, ShapeError, UnknownNameError, UsageError, warn_user
from txray.files import remove_temporaries
from txray.models.fingerprint import model_fingerprint
from txray.models.load import as_model
from txray.models.text_model import TextModel, module_of
from txray.progress import progress
from txray.pruning.ablation_runner import AblationRunner, Advance, Metric
from txray.pruning.activation_stats import ActivationStats
from txray.pruning.bootstrap import Bootstrap, RunMetrics
from txray.pruning.chance import chance_note
from txray.pruning.choices import Ablation, Scope
from txray.pruning.effect_table import EFFECT_SCHEMA, RANDOM_SCHEMA, SET_SCHEMA, EffectTable
from txray.pruning.evaluation import Evaluator, Model, evaluator
from txray.pruning.mask import ABLATIONS, Mask
from txray.pruning.masking import MaskTarget
from txray.pruning.neuron_sets import NeuronSet, random_orders
from txray.pruning.predictions import METRIC_SIGNS
from txray.pruning.result import Pruning

Texts = Mapping[str, Corpus | Evaluator]


def prune(
    model: Model,
    sets: Sequence[NeuronSet],
    texts: Texts | None = None,
    *,
    metric: Metric | None = None,
    higher_is_better: bool = True,
    ablation: Ablation = "zero",
    scope: Scope = "every-step",
    activation_stats: ActivationStats | None = None,
    n_random_sets: int = 200,
    resamples: int = 1_000,
    max_documents: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
) -> Pruning:
    """Ablate sets of neurons during the forward pass, and compare the effect with that of random sets of equal size.

    For each set size, `n_random_sets` sets are drawn from the same layer as the first neurons of random orders, so a
    larger random set contains the smaller ones of the same draw. Documents are resampled in pairs: the same ones for
    the unpruned model, each set, and each random set. Documents of one `group`, or with the same words, are drawn
    together; the summary has the number of `documents` and `groups` of each text. The model is not changed.

    Args:
        model: a classifier or language model of `txray.models`, or a `TextModel`.
        sets: sets with distinct names; empty sets yield rows without numbers.
        texts: split, such as `train` and `test` -> labelled documents (for language models: any documents), or an
            evaluator of the model.
        metric: a metric of your own instead of texts: called without arguments while neurons are ablated, it scores the
            model and returns a number, one number per document, or a mapping of names to these.
        higher_is_better: whether a higher value of that metric is better.
        ablation: values of the ablated neurons: `zero`, `mean` or `resample`; the latter two come from
            `activation_stats`.
        scope: for recurrent layers, see `Mask`.
        activation_stats: statistics of the layer of the sets; by default measured on the first text, if needed.
        n_random_sets: number of random sets of each size, at least 2; 0 for none.
        resamples: number of bootstrap samples, for intervals.
        max_documents: maximum number of documents of each text, chosen by a hash of their ids.
        max_length: maximum number of words per document.
        seed: random seed of the random sets and of `resample`.
        folder: folder where predictions are stored, so that the same call resumes after an interruption.

    Raises:
        UsageError: nothing to prune or to score on, two sets of one name, a set that leaves no neuron of its layer, a
            neuron that does not exist, a metric that fails, or a number that is out of range.
        UnknownNameError: unknown layer, ablation or scope.
        CorpusError: a text that cannot be scored on.
        CaptureError: the model fails, or returns scores that are not finite.
        ShapeError: activation statistics of a layer of another size.
        StageError: the folder is damaged, or belongs to a model that computes something else.
        OutputError: the folder cannot be written.

    Warns:
        ChanceWarning: the unpruned model is not better than chance on a text.

    Example:
        >>> sets = [NeuronSet("two", "rnn", (3, 17))]
        >>> pruning = txray.prune(model, sets, {"test": corpus})  # doctest: +SKIP
        >>> pruning.effects.select("metric", "change", "verdict")  # doctest: +SKIP

    Source:
        Rethmeier et al. 2020, section 3.4 and table 2; the comparison with random sets is ours.
    """
    _check(sets, texts, metric, n_random_sets, resamples, seed)
    texts = texts or {}
    original, model = model, as_model(model)
    _check_evaluators(model, texts, max_documents, max_length, opened=model is not original)
    if ablation not in ABLATIONS:
        raise UnknownNameError.of("ablation", ablation, ABLATIONS)
    plan = _PrunePlan.of(model, sets, n_random_sets, seed, scope)
    run_folder = None if folder is None else Path(folder)
    if run_folder is not None and run_folder.is_dir():
        remove_temporaries(run_folder)
    fingerprint = model_fingerprint(model.module if isinstance(model, TextModel) else model)
    runners = {}
    for split, text in texts.items():
        scored = text
        if not isinstance(scored, Evaluator):
            scored = evaluator(model, scored, max_documents=max_documents, max_length=max_length)
        runners[split] = AblationRunner(model, fingerprint, scored, run_folder)
    if metric is not None:
        runners["metric"] = AblationRunner(original, fingerprint, metric=metric)
    if ablation != "zero" and activation_stats is None:
        activation_stats = _measure_activations(model, list(plan.layer_sizes), texts)
    _require_fitting(activation_stats, plan.layer_sizes, ablation)

    def mask_of(layer: str, neurons: Sequence[int]) -> Mask:
        if ablation == "zero" or activation_stats is None:
            return Mask(layer, neurons, ablation, scope)
        return activation_stats.mask(neurons, ablation, scope=scope, seed=seed)

    positions = plan.n_runs * sum(runner.positions for runner in runners.values())
    sign = 1 if higher_is_better else -1
    with progress("pruning", positions, unit="positions") as advance:
        tables = {
            split: _effects_on(split, runner, plan, mask_of, resamples, sign, advance)
            for split, runner in runners.items()
        }
    summary = {
        "ablation": ablation,
        "scope": scope,
        "n_random_sets": n_random_sets,
        "resamples": resamples,
        "seed": seed,
        "max_documents": max_documents,
        "max_length": max_length,
        "layers": plan.layer_sizes,
        "model": fingerprint,
        "better": {name: sign for table in tables.values() for name, sign in table.better.items()},
        "texts": {
            split: _text_summary(runner) | {"chance": dict(tables[split].chance)}
            for split, runner in runners.items()
        },
    }
    effects = [row for table in tables.values() for row in table.effects]
    random = [row for table in tables.values() for row in table.random]
    return Pruning(
        pl.DataFrame(effects, schema=EFFECT_SCHEMA, orient="row"),
        pl.DataFrame(random, schema=RANDOM_SCHEMA, orient="row"),
        plan.table(),
        pl.concat([table.resamples() for table in tables.values()]),
        summary,
    )


@dataclass(frozen=True, eq=False)
class _PrunePlan:
    """The sets of neurons to ablate.

    Attributes:
        sets: requested sets.
        targets: layer -> where its masks act.
        random_sets: (layer, size of a set) -> random sets of that size.
    """

    sets: Sequence[NeuronSet]
    targets: Mapping[str, MaskTarget]
    random_sets: Mapping[tuple[str, int], Sequence[tuple[int, ...]]]

    @classmethod
    def of(
        cls, model: Model, sets: Sequence[NeuronSet], n_random_sets: int, seed: int, scope: Scope
    ) -> _PrunePlan:
        """Check the sets against the layers of a model, and draw the random sets."""
        layers = dict.fromkeys(neurons.layer for neurons in sets)
        targets = {layer: MaskTarget.of(model, layer) for layer in layers}
        for neurons in sets:
            n_neurons = targets[neurons.layer].n_neurons
            neurons.require_size(n_neurons)
            try:
                Mask(neurons.layer, neurons.neurons, scope=scope).require_within(n_neurons)
            except UnknownNameError:
                raise
            except UsageError as error:
                raise UsageError(f"set {neurons.name!r}: {error}") from error
        if not n_random_sets:
            return cls(sets, targets, {})
        orders = {
            layer: random_orders(target.n_neurons, n_random_sets, seed) for layer, target in targets.items()
        }
        random_sets = {
            # A small layer has few sets of a size, so the same one may be drawn again; it counts once.
            (layer, k): list(dict.fromkeys(tuple(sorted(order[:k].tolist())) for order in orders[layer]))
            for layer, k in sorted({(neurons.layer, len(neurons)) for neurons in sets if len(neurons)})
        }
        return cls(sets, targets, random_sets)

    @property
    def layer_sizes(self) -> dict[str, int]:
        """Return layer -> number of neurons."""
        return {layer: target.n_neurons for layer, target in self.targets.items()}

    @property
    def n_runs(self) -> int:
        """Return the number of times that each text is read."""
        return 1 + sum(1 for neurons in self.sets if len(neurons)) + sum(map(len, self.random_sets.values()))

    def table(self) -> pl.DataFrame:
        """Return the table of the sets."""
        rows = [
            (neurons.name, neurons.ranking, neurons.layer, " ".join(map(str, neurons.neurons)))
            for neurons in self.sets
        ]
        return pl.DataFrame(rows, schema=SET_SCHEMA, orient="row")


def _effects_on(
    split: str,
    runner: AblationRunner,
    plan: _PrunePlan,
    mask_of: Callable[[str, Sequence[int]], Mask],
    resamples: int,
    sign: int,
    advance: Advance,
) -> EffectTable:
    """Return the effects of all sets on one text."""
    unpruned = runner.run("nothing", Mask(plan.sets[0].layer, ()), advance)
    bootstrap = Bootstrap.of(unpruned, runner.digest, resamples, runner.groups)
    reference = bootstrap.metrics(unpruned)
    # A user-defined metric may have the name of one of ours.
    signs = {} if runner.evaluator is None else METRIC_SIGNS
    better = {name: signs.get(name, sign) for name in reference.observed}
    table = EffectTable(split, bootstrap, reference, better, bootstrap.chance(unpruned))
    note = chance_note(table.chance)
    if note:
        warn_user(
            f"prune: on {split!r} the unpruned model is not better than chance: {note}; changes of such metrics are "
            "meaningless: score a trained model, on documents with the labels that it was trained on",
            ChanceWarning,
        )

    def metrics(layer: str, named: Sequence[tuple[str, Sequence[int]]]) -> list[RunMetrics]:
        masks = [(name, mask_of(layer, neurons)) for name, neurons in named]
        return [bootstrap.metrics(run) for run in runner.run_each(plan.targets[layer], masks, advance)]

    random_sets = {
        (layer, size): metrics(layer, [(f"a random set of {size}", neurons) for neurons in draws])
        for (layer, size), draws in plan.random_sets.items()
    }
    pruned = {
        neurons.name: of_set
        for layer in plan.targets
        if (of_layer := [neurons for neurons in plan.sets if neurons.layer == layer and len(neurons)])
        for neurons, of_set in zip(
            of_layer,
            metrics(layer, [(f"set {neurons.name!r}", neurons.neurons) for neurons in of_layer]),
            strict=True,
        )
    }
    for neurons in plan.sets:
        same_size = random_sets.get((neurons.layer, len(neurons)), [])
        table.add_set(neurons, plan.layer_sizes[neurons.layer], pruned.get(neurons.name), same_size)
    for (layer, size), draws in random_sets.items():
        table.add_random(layer, size, draws)
    return table


def _text_summary(runner: AblationRunner) -> dict[str, Any]:
    if runner.evaluator is None:
        return {"documents": 0, "groups": 0}
    inputs = runner.evaluator.inputs
    return {
        "documents": inputs.n_documents,
        "groups": inputs.n_groups,
        "positions": inputs.n_positions,
        "truncated": inputs.n_truncated,
        "skipped": inputs.n_skipped,
        "digest": inputs.documents_digest,
        "groups_digest": inputs.groups_digest,
    }


def _check(
    sets: Sequence[NeuronSet],
    texts: Texts | None,
    metric: Metric | None,
    n_random_sets: int,
    resamples: int,
    seed: int,
) -> None:
    names = [neurons.name for neurons in sets]
    if not any(len(neurons) for neurons in sets):
        problem = f"{', '.join(map(repr, names))} have no neurons" if names else "no sets"
        raise UsageError(f"prune: nothing to prune: {problem}; pass at least one set with neurons")
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise UsageError(f"prune: several sets are named {duplicate!r}; use distinct names")
    if texts is not None and not isinstance(texts, Mapping):
        raise UsageError(
            f"prune: texts of type {type(texts).__name__}; pass them by name, as in {{'test': corpus}}"
        )
    if (metric is None) == (not texts):
        raise UsageError("prune: pass either texts to score on, or a metric of your own")
    for name, value, minimum, maximum in (
        ("resamples", resamples, 2, 1_000_000),
        ("seed", seed, 0, (1 << 63) - 1),
        ("n_random_sets", n_random_sets, 0, 10_000),
    ):
        if type(value) is not int or not minimum <= value <= maximum:
            raise UsageError(f"prune: {name}={value}; pass an integer from {minimum} to {maximum:,}")
    if n_random_sets == 1:
        raise UsageError(
            f"prune: n_random_sets={n_random_sets}; one random set does not show how others scatter: pass about 200, "
            "or 0 for none"
        )


def _check_evaluators(
    model: Model, texts: Texts, max_documents: int | None, max_length: int | None, *, opened: bool
) -> None:
    for split, text in texts.items():
        if not isinstance(text, Evaluator):
            continue
        # An object of another library is opened anew by each function that takes it.
        if text.model is not model and not (opened and module_of(text.model) is module_of(model)):
            raise UsageError(
                f"prune: text {split!r} is an evaluator of another model; create it for the model to be pruned"
            )
        if max_documents is not None or max_length is not None:
            raise UsageError(
                f"prune: text {split!r} is an evaluator, which has selected its documents; pass max_documents and "
                "max_length to txray.pruning.evaluator"
            )


def _measure_activations(model: Model, layers: Sequence[str], texts: Texts) -> ActivationStats:
    corpora = [text for text in texts.values() if isinstance(text, Corpus)]
    if len(layers) != 1 or not corpora:
        raise UsageError(
            "prune: ablations mean and resample need activations: pass activation_stats of the layer "
            "(txray.pruning.ActivationStats)"
        )
    return ActivationStats.measure(model, corpora[0], layers[0])


def _require_fitting(
    stats: ActivationStats | None, layer_sizes: Mapping[str, int], ablation: Ablation
) -> None:
    """Refuse activation statistics of another layer, or of a layer of another size."""
    if stats is None:
        return
    other = next((layer for layer in layer_sizes if layer != stats.layer), None)
    if ablation != "zero" and other is not None:
        raise UsageError(
            f"prune: activation statistics of layer {stats.layer!r}, a set of {other!r}; prune one layer at a time"
        )
    n_neurons = layer_sizes.get(stats.layer, len(stats.mean))
    if len(stats.mean) != n_neurons:
        raise ShapeError(
            f"prune: activation statistics of {len(stats.mean)} neurons of layer {stats.layer!r}, the model has "
            f"{n_neurons}; measure them on this model"
        )
