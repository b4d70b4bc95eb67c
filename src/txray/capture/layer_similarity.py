"""Similarity of the layers of two models that read the same documents; only sums of products are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import polars as pl

from txray.analysis.layers.cka import best_matches, cka, cka_debiased
from txray.analysis.layers.result import SIMILARITY_SCHEMA, LayerSimilarity
from txray.analysis.layers.soft_matching import chance_similarity, procrustes, soft_match
from txray.capture.joint_moments import AnyModel, JointMoments, joint_moments
from txray.capture.layer import Layer
from txray.corpus.corpus import Corpus
from txray.progress import progress


def layer_similarity(
    before_model: AnyModel,
    after_model: AnyModel,
    corpus: Corpus,
    *,
    layers: str | Layer | Sequence[str | Layer] = "rnn",
    layers_after: str | Layer | Sequence[str | Layer] | None = None,
    names: tuple[str, str] | None = None,
    max_words: int | None = None,
    batch_positions: int = 16_384,
    memory: int | None = None,
) -> LayerSimilarity:
    """Return the similarity of the layers of two models, in one pass over a corpus.

    Both models read the same documents, and the activations at the same words are compared; the pieces of a word are
    pooled as by its model. The models may differ in type, size and tokenizer. Pass one model twice to compare its own
    layers. Activations are not stored, so memory does not grow with the corpus.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> similarity = txray.layer_similarity(model, model, corpus, layers=["embedding", "rnn"])
    >>> similarity.table.height
    4

    Args:
        before_model: a model as in `txray.collect`.
        after_model: another one, or the same.
        corpus: the documents.
        layers: one or several layers of `before_model`: names of modules, patterns, or `Layer` objects, whose selection
            is ignored.
        layers_after: layers of `after_model`; `layers` by default.
        names: names of the two models; those of their types by default.
        max_words: maximum number of words to read; all by default.
        batch_positions: maximum number of padded positions in a batch. It affects speed and memory, and the result only
            by the rounding of the models' own arithmetic.
        memory: maximum size of the sums in bytes; half of the free memory by default.

    Returns:
        One row per pair of layers. Every word is accounted for: words read = `words` + `skipped`, by reason.

    Raises:
        UnknownNameError: unknown layer.
        UsageError: no layer, a type of model that txray cannot read with, not enough memory, or fewer than 3 words that
            both models read.
        CorpusError: the corpus is empty.
        CaptureError: activations that are not finite, or a layer without activations per position.

    Warns:
        PaddingWarning, RandomPassWarning, RepeatedCallWarning: as `txray.collect`.

    Source:
        Kornblith et al. 2019, Similarity of neural network representations revisited.
    """
    moments = joint_moments(
        before_model,
        after_model,
        corpus,
        layers,
        layers if layers_after is None else layers_after,
        names=names,
        max_words=max_words,
        batch_positions=batch_positions,
        memory=memory,
    )
    return LayerSimilarity(
        *moments.names,
        moments.layers_before,
        moments.layers_after,
        moments.corpus,
        moments.words,
        moments.skipped,
        moments.unread_before,
        moments.unread_after,
        _table(moments),
    )


def _table(moments: JointMoments) -> pl.DataFrame:
    rows = []
    layers = moments.layers_before, moments.layers_after
    with progress("similarity", len(layers[0]) * len(layers[1]), unit="pairs") as advance:
        for (i, before), (j, after) in product(*map(enumerate, layers)):
            both, self_x, self_y = moments.of(i, j)
            matches = best_matches(both)
            chance = chance_similarity(both, self_x, self_y)
            measures = (
                cka(both, self_x, self_y),
                cka_debiased(both, self_x, self_y),
                procrustes(both),
                matches.best_before,
                matches.best_after,
                matches.one_to_one,
                soft_match(both),
                chance.cka,
                chance.procrustes,
                chance.one_to_one,
                chance.soft_match,
            )
            finite = (None if math.isnan(value) else value for value in measures)
            rows.append((before, after, *finite, int(both.constant_x.sum()), int(both.constant_y.sum())))
            advance()
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA, orient="row")
