"""Match the neurons of two models on the same text: by what they respond to, or by what their ablation changes."""

from __future__ import annotations

from torch import nn

from txray.analysis.layers.moments import CrossMoments
from txray.analysis.matching.assignment import require_match_settings
from txray.analysis.matching.by_moments import pairs_by_correlation
from txray.analysis.matching.model_matching import MATCH_BY, MODEL_PAIR_SCHEMA, MatchBy, ModelMatching
from txray.arguments import checked_call
from txray.capture.joint_moments import AnyModel, joint_moments
from txray.corpus.corpus import Corpus
from txray.errors import UnknownNameError, UsageError
from txray.models.load import as_model
from txray.models.text_model import TextModel
from txray.pruning.evaluation import Evaluator, evaluator
from txray.pruning.fingerprints import ablation_fingerprints

_MIN_OBSERVATIONS = 10
"""Minimum number of documents, or classes of documents, that ablations are compared on."""


@checked_call
def match_models(
    before_model: AnyModel,
    after_model: AnyModel,
    corpus: Corpus,
    *,
    by: MatchBy = "activation",
    layer: str = "rnn",
    layer_after: str | None = None,
    names: tuple[str, str] | None = None,
    max_words: int | None = None,
    max_documents: int | None = None,
    false_match_rate: float = 0.05,
    draws: int = 100,
    seed: int = 0,
) -> ModelMatching:
    """Match the neurons of two models that read the same text, one to one.

    By `activation`, two neurons match if their activations correlate over the words that both models read; the models
    may differ in type, size and tokenizer. By `ablation`, they match if ablating one changes the predictions for the
    same documents as ablating the other: the loss of a language model, or the log-probabilities of a classifier, whose
    classes must be the same. The sign of a correlation does not count. `txray.match` matches stages by preferences.

    A pair matches if the two neurons correlate more than either of them does with the best of as many random mixtures
    of the 16 neurons of the other layer that are nearest to it; p-values are adjusted over all pairs.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> matching = txray.match_models(model, model, corpus)
    >>> matching.pairs.filter(matching.pairs["before"] == matching.pairs["after"]).height
    8

    Args:
        before_model: a model as in `txray.collect`; by `ablation`, as in `txray.prune`.
        after_model: another one.
        corpus: the documents that both read; with labels, if classifiers are matched by `ablation`.
        by: `activation` or `ablation`; the latter reads the text once for each neuron.
        layer: a layer of `before_model`.
        layer_after: a layer of `after_model`; the same as of the first model by default.
        names: names of the two models; those of their types by default.
        max_words: maximum number of words to read, by `activation`; all by default.
        max_documents: maximum number of documents, by `ablation`, chosen by a hash of their ids; all by default.
        false_match_rate: share of the matches that may be due to chance, on average (a false discovery rate).
        draws: number of draws of random directions, at least 20.
        seed: random seed of the directions.

    Raises:
        UnknownNameError: unknown layer, or `by`.
        UsageError: a number out of range, too few words or documents, stored activations or a model without a task
            by `ablation`, models of different tasks or classes, or not enough memory.
        CorpusError: a text that cannot be read or scored on.
        CaptureError: activations or scores that are not finite.

    Source:
        Li et al. 2016, Convergent learning (one-to-one matching by correlation); Khosla and Williams 2024, Soft
        matching distance (random rotations as the reference).
    """
    if by not in MATCH_BY:
        raise UnknownNameError.of("basis of matching", by, MATCH_BY)
    require_match_settings("match models", false_match_rate, draws=draws, seed=seed)
    unused = ("max_words", max_words) if by == "ablation" else ("max_documents", max_documents)
    if unused[1] is not None:
        raise UsageError(f"match models: {unused[0]}={unused[1]} has no effect by {by!r}; leave it out")
    layers = layer, layer_after or layer
    if by == "activation":
        joint = joint_moments(
            before_model,
            after_model,
            corpus,
            layers[0],
            layers[1],
            purpose="matching",
            names=names,
            max_words=max_words,
        )
        if len(joint.layers_before) != 1 or len(joint.layers_after) != 1:
            raise UsageError(
                f"match models: {len(joint.layers_before)} layers {layers[0]!r} and {len(joint.layers_after)} layers "
                f"{layers[1]!r}; name one layer of each model"
            )
        moments, model_names, words = joint.of(0, 0), joint.names, joint.words
    else:
        moments, model_names, words = _ablation_moments(
            before_model, after_model, corpus, layers, names, max_documents
        )
    pairs = pairs_by_correlation(*moments, false_match_rate=false_match_rate, draws=draws, seed=seed)
    varying = int((~moments[0].constant_x).sum()), int((~moments[0].constant_y).sum())
    return ModelMatching(
        *model_names,
        *layers,
        by,
        corpus.name,
        words,
        min(varying),
        pairs.select(*MODEL_PAIR_SCHEMA),
        false_match_rate,
    )


def _ablation_moments(
    before_model: AnyModel,
    after_model: AnyModel,
    corpus: Corpus,
    layers: tuple[str, str],
    names: tuple[str, str] | None,
    max_documents: int | None,
) -> tuple[tuple[CrossMoments, CrossMoments, CrossMoments], tuple[str, str], int]:
    """Return the moments of the ablation fingerprints of two layers, names of the models, and number of changes."""
    evaluators: list[Evaluator] = []
    for model in (before_model, after_model):
        if not isinstance(model, nn.Module | TextModel):
            raise UsageError(
                f"match models: a {type(model).__name__} cannot be ablated; pass a model, or by='activation'"
            )
        evaluators.append(evaluator(as_model(model), corpus, max_documents=max_documents))
    before, after = evaluators
    if type(before) is not type(after) or _classes(before) != _classes(after):
        raise UsageError(
            f"match models: one model predicts {_task(before)}, the other {_task(after)}; ablations are compared by "
            "the same predictions: pass models of the same task, or by='activation'"
        )
    if before.inputs.documents_digest != after.inputs.documents_digest:
        raise UsageError(
            f"match models: the models score {before.inputs.n_documents:,} and {after.inputs.n_documents:,} documents "
            f"of corpus {corpus.name!r}, not the same ones; leave out documents that one of them cannot read"
        )
    x = ablation_fingerprints(before, layers[0])
    same = before_model is after_model and layers[0] == layers[1]
    y = x if same else ablation_fingerprints(after, layers[1])
    if len(x) < _MIN_OBSERVATIONS:
        raise UsageError(
            f"match models: {len(x)} predictions of corpus {corpus.name!r}; at least {_MIN_OBSERVATIONS} are needed, "
            "and many more than neurons for a meaningful result: use more documents"
        )
    moments = []
    for one, other in ((x, y), (x, x), (y, y)):
        joint = CrossMoments(one.shape[1], other.shape[1])
        joint.update(one, other)
        moments.append(joint)
    cross, self_x, self_y = moments
    return (cross, self_x, self_y), names or (_name(before, "before"), _name(after, "after")), len(x)


def _classes(scored: Evaluator) -> tuple[str, ...]:
    return tuple(map(str, getattr(scored.model, "classes", ())))


def _task(scored: Evaluator) -> str:
    classes = _classes(scored)
    return f"the classes {', '.join(classes)}" if classes else "words"


def _name(scored: Evaluator, side: str) -> str:
    model = scored.model
    name = model.name if isinstance(model, TextModel) else ""
    return f"{name or type(scored.module).__name__} ({side})"
