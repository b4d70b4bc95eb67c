"""Rank neurons by how well their activations tell a concept from everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.concepts.scores import ConceptScores
from txray.analysis.result_folder import ResultFolder, SavedResult
from txray.analysis.rules import q_value_is_significant
from txray.analysis.significance.permutation import q_values
from txray.analysis.significance.rng import generator_for
from txray.analysis.states import significant_label
from txray.arguments import checked_call
from txray.checks import is_integer, is_number
from txray.errors import UnknownNameError, UsageError
from txray.notebook import card, table
from txray.preferences.histograms import FOLD_BLOCKS, ConceptHistograms, block_counts
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import StageFolder
from txray.preferences.stage_like import StageLike
from txray.text import plural

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.analysis.concepts.shift import ConceptShift

RANKING_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "rank": pl.Int64(),
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "direction": pl.String(),
    "strength": pl.Float64(),
    "auroc": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "average_precision": pl.Float64(),
    "control": pl.Float64(),
    "selectivity": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
}
"""Columns of `ConceptRanking.neurons`."""

CONCEPT_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "words": pl.Int64(),
    "share": pl.Float64(),
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "auroc": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "average_precision": pl.Float64(),
    "selectivity": pl.Float64(),
    "significant": pl.Int64(),
    "tested": pl.Int64(),
}
"""Columns of `ConceptRanking.concepts`."""

LEFT_OUT = "left_out"
MIN_WORDS = 10
"""Minimum number of words of a concept; fewer rank neurons by accident."""
_LISTED = 10


@dataclass(frozen=True, eq=False)
class ConceptRanking(SavedResult):
    """Neurons of a stage, ranked by how well their activations tell concepts from everything else.

    Attributes:
        stage: name of the stage.
        feature_type: type of the features that are the concepts.
        layers: names of the layers.
        fdr: false discovery rate of "significant".
        documents_digest: hash of the documents that the stage read; None if unknown.
        neurons: polars, columns as in `RANKING_SCHEMA`, one row per concept and neuron, best first: direction (`high`
            or `low` activations mark the concept); strength = max(auroc, 1 - auroc); auroc (of high activations), with
            the bounds low and high of its 95% interval over documents; average_precision (in that direction); control
            (mean strength for random groups of words); selectivity = strength - control; p_value (of an AUROC of 0.5)
            and q_value (Benjamini-Hochberg over the neurons of a concept). Null where there are too few documents.
        concepts: polars, columns as in `CONCEPT_SCHEMA`, one row per concept: words; share (of all words); layer,
            neuron, auroc, low, high, average_precision and selectivity of its best neuron; significant (number of
            neurons), of the tested.
        left_out: (n_rows, FOLD_BLOCKS) AUROC of each row of `neurons` without each block of documents.
    """

    SUMMARY_FILE = "ranking.json"

    stage: str
    feature_type: str
    layers: tuple[str, ...]
    fdr: float
    documents_digest: str | None
    neurons: pl.DataFrame
    concepts: pl.DataFrame
    left_out: np.ndarray[tuple[int, ...], np.dtype[np.float64]]

    def __repr__(self) -> str:
        best = self.concepts.row(0, named=True)
        return (
            f"ConceptRanking({self.stage!r}, {self.feature_type!r}, {plural(len(self.concepts), 'concept')}, "
            f"{plural(len(self.layers), 'layer')}: {best['feature']!r} best by neuron {best['neuron']} of "
            f"{best['layer']!r}, AUROC {best['auroc']:.3f})"
        )

    def _repr_html_(self) -> str:
        sentence = (
            f"AUROC of single neurons for {plural(len(self.concepts), 'concept')}; "
            f"{significant_label(self.fdr)}: an AUROC other than 0.5."
        )
        rows = self.concepts.head(_LISTED)
        title = f"Neurons of {self.stage} by {self.feature_type}"
        return card(title, [sentence], table("Best neuron of each concept", rows.columns, rows.iter_rows()))

    @property
    def layer(self) -> str | None:
        """Return the name of the layer; None for several."""
        return self.layers[0] if len(self.layers) == 1 else None

    @property
    def features(self) -> tuple[str, ...]:
        """Return the concepts, best first."""
        return tuple(self.concepts["feature"])

    @property
    def summary(self) -> dict[str, Any]:
        """Return what was ranked, as plain JSON values."""
        return {
            "stage": self.stage,
            "feature_type": self.feature_type,
            "layers": list(self.layers),
            "fdr": self.fdr,
            "documents_digest": self.documents_digest,
            "concepts": len(self.concepts),
        }

    def top(self, feature: str, k: int = 10) -> pl.DataFrame:
        """Return the best `k` neurons of a concept, columns as in `neurons`.

        Raises:
            UsageError: `k` is not a positive integer.
            UnknownNameError: a concept that was not ranked.
        """
        if not is_integer(k) or k < 1:
            raise UsageError(f"ranking: k={k!r}; pass the number of neurons, at least 1")
        return self.neurons.filter(feature=self._known(feature)).head(k)

    def top_of_neuron(self, neuron: int, *, layer: str | None = None, k: int = 5) -> pl.DataFrame:
        """Return the `k` concepts that one neuron marks best, columns as in `neurons`.

        Args:
            neuron: index in its layer.
            layer: may be omitted if one was ranked.
            k: number of concepts.

        Raises:
            UsageError: several layers and none named, or no such neuron.
        """
        layer = layer or self.layer
        if layer is None:
            raise UsageError(
                f"ranking of stage {self.stage!r}: several layers, name one of {', '.join(self.layers)}"
            )
        rows = self.neurons.filter(layer=layer, neuron=neuron)
        if rows.is_empty():
            raise UsageError(f"ranking of stage {self.stage!r}: no neuron {neuron} in layer {layer!r}")
        return rows.sort("strength", descending=True, nulls_last=True, maintain_order=True).head(k)

    def compare(self, after: ConceptRanking) -> ConceptShift:
        """Return which concepts moved to which neurons in a later stage; see `ConceptShift`.

        Raises:
            UsageError: rankings of another feature type, or without a layer and concept in common.
        """
        from txray.analysis.concepts.shift import ConceptShift

        if not isinstance(after, ConceptRanking):
            raise UsageError(
                f"compare: expected a ranking of the later stage, got {type(after).__name__}; pass a result of "
                "rank_neurons"
            )
        return ConceptShift.of(self, after)

    def plot(self, feature: str | None = None, *, k: int = 15) -> go.Figure:
        """Draw the best neurons of a concept, or the best neuron of each concept.

        Args:
            feature: the concept; all by default.
            k: maximum number of neurons, or of concepts.

        Raises:
            UnknownNameError: a concept that was not ranked.
        """
        from txray.plots import concept_neurons

        return concept_neurons(self, None if feature is None else self._known(feature), k=k)

    def _known(self, feature: str) -> str:
        if feature not in self.features:
            raise UnknownNameError.of(f"{self.feature_type} concept", feature, sorted(self.features))
        return feature

    def _contents(self) -> dict[str, Any]:
        values = pl.DataFrame(
            {LEFT_OUT: self.left_out}, schema={LEFT_OUT: pl.Array(pl.Float64(), FOLD_BLOCKS)}
        )
        return {"tables": {"neurons": self.neurons, "concepts": self.concepts}, "arrays": {LEFT_OUT: values}}

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> ConceptRanking:
        summary = folder.summary
        return cls(
            stage=summary["stage"],
            feature_type=summary["feature_type"],
            layers=tuple(summary["layers"]),
            fdr=summary["fdr"],
            documents_digest=summary["documents_digest"],
            neurons=folder.table("neurons").select(*RANKING_SCHEMA),
            concepts=folder.table("concepts").select(*CONCEPT_SCHEMA),
            left_out=folder.table(LEFT_OUT)[LEFT_OUT].to_numpy(),
        )


@checked_call
def rank_neurons(
    stage: StageLike,
    *,
    layer: str | None = None,
    feature_type: str = "pos",
    feature: str | Sequence[str] | None = None,
    fdr: float = 0.05,
    seed: int = 0,
) -> ConceptRanking:
    """Rank the neurons of a stage by how well their activations tell a concept from everything else.

    The stage must have been collected with `concepts`. Neither the model nor the text is needed.

    >>> corpus = txray.demo_corpus("reviews", words=2_000)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> stage = txray.collect(model, corpus, name="s", feature_types=["token", "pos"], concepts="pos")
    >>> txray.rank_neurons(stage, feature_type="pos", feature="NN").neurons.height
    8

    Args:
        stage: a stage, or its folder.
        layer: only this layer; by default all layers together.
        feature_type: type of the concepts, such as `pos` or `label`.
        feature: one or several concepts; by default every feature of the type with at least 10 words.
        fdr: false discovery rate of "significant".
        seed: of the random control concepts.

    Returns:
        One row per concept and neuron, best first.

    Raises:
        UsageError: the stage was collected without these concepts, they occur fewer than 10 times, or `fdr` is out of
            range.
        UnknownNameError: no such layer or concept.
        StageError: a folder that is missing or damaged.

    Source:
        Bamber 1975 (AUROC); Hewitt and Liang 2019 (controls).
    """
    if not is_number(fdr) or not 0 < fdr < 1:
        raise UsageError(f"rank_neurons: fdr={fdr!r}; it must lie between 0 and 1, such as 0.05")
    if not is_integer(seed) or seed < 0:
        raise UsageError(f"rank_neurons: seed={seed!r}; pass an integer of at least 0")
    names = (feature,) if isinstance(feature, str) else feature
    if names is not None and not (isinstance(names, Sequence) and names):
        raise UsageError(
            f"rank_neurons: feature={feature!r}; pass a concept such as 'NN', several, or None for all"
        )
    subject = StageFolder.open(stage) if not isinstance(stage, Stage | StageFolder) else stage
    feature_types = list(dict.fromkeys(name for _, name in subject.histograms))
    if feature_type not in feature_types:
        known = f"has those of {', '.join(feature_types)}" if feature_types else "has none"
        raise UsageError(
            f"rank_neurons: stage {subject.name!r} has no histograms of {feature_type!r} ({known}); collect it with "
            f"concepts={feature_type!r}, or --concepts {feature_type}"
        )
    layers = [name for name, kind in subject.histograms if kind == feature_type]
    if layer is not None and layer not in layers:
        raise UnknownNameError.of(f"layer of stage {subject.name!r}", layer, layers)
    layers = layers if layer is None else [layer]
    rows: list[pl.DataFrame] = []
    words: dict[str, tuple[int, float]] = {}
    for name in layers:
        histograms = subject.histograms[name, feature_type]
        _require_known(histograms, names)
        for concept, share, scores in _scores(histograms, names, seed):
            words[concept] = scores.words, share
            rows.append(_rows(concept, name, scores))
    if not rows:
        raise UsageError(
            f"rank_neurons: no feature of {feature_type!r} has at least {MIN_WORDS} words in stage {subject.name!r}; "
            "read more text"
        )
    neurons = _ranked(pl.concat(rows))
    digest = (subject.manifest.get("corpus") or {}).get("documents_digest")
    return ConceptRanking(
        stage=subject.name,
        feature_type=feature_type,
        layers=tuple(layers),
        fdr=fdr,
        documents_digest=digest,
        neurons=neurons.select(*RANKING_SCHEMA),
        concepts=_concepts(neurons, words, fdr),
        left_out=neurons[LEFT_OUT].to_numpy(),
    )


def _require_known(histograms: ConceptHistograms, names: Sequence[str] | None) -> None:
    counts = dict(zip(histograms.features.tolist(), histograms.words.sum(axis=0).tolist(), strict=False))
    for name in names or ():
        if name not in counts:
            raise UnknownNameError.of(f"{histograms.feature_type} concept", name, list(counts))
        if counts[name] < MIN_WORDS:
            raise UsageError(
                f"rank_neurons: {name!r} has {counts[name]} words in stage {histograms.stage!r}; at least {MIN_WORDS} "
                "are needed, read more text"
            )


def _scores(
    histograms: ConceptHistograms, names: Sequence[str] | None, seed: int
) -> Iterator[tuple[str, float, ConceptScores]]:
    """Yield each concept with its share of the words and its scores."""
    for concept, positive, others in block_counts(histograms):
        n_words, n_others = int(positive[:, 0].sum()), int(others[:, 0].sum())
        if (names is None or concept in names) and n_words >= MIN_WORDS and n_others >= MIN_WORDS:
            random = generator_for(seed, "controls")
            scores = ConceptScores.of(positive, others, histograms.controls, random)
            yield concept, n_words / (n_words + n_others), scores


def _rows(concept: str, layer: str, scores: ConceptScores) -> pl.DataFrame:
    n = len(scores.auroc)
    strength = np.maximum(scores.auroc, 1 - scores.auroc)
    left_out = np.full((n, FOLD_BLOCKS), np.nan)
    left_out[:, : len(scores.left_out)] = scores.left_out.T
    columns: Mapping[str, Any] = {
        "feature": [concept] * n,
        "rank": np.zeros(n, np.int64),
        "layer": [layer] * n,
        "neuron": np.arange(n),
        "direction": np.where(scores.auroc >= 0.5, "high", "low").tolist(),
        "strength": strength,
        "auroc": scores.auroc,
        "low": scores.low,
        "high": scores.high,
        "average_precision": scores.precision,
        "control": scores.control,
        "selectivity": strength - scores.control,
        "p_value": scores.p_value,
        "q_value": np.full(n, np.nan),
        LEFT_OUT: left_out,
    }
    return pl.DataFrame(
        columns, schema={**RANKING_SCHEMA, LEFT_OUT: pl.Array(pl.Float64(), FOLD_BLOCKS)}
    ).with_columns(pl.col("low", "high", "p_value", "q_value").fill_nan(None))


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort the neurons of each concept over all layers, and correct the p-values of each concept."""
    tables = []
    for _, of_concept in rows.group_by("feature", maintain_order=True):
        p = of_concept["p_value"].fill_null(float("nan")).to_numpy()
        tables.append(
            of_concept.with_columns(pl.Series("q_value", q_values(p)).fill_nan(None))
            .sort("strength", "selectivity", descending=True, nulls_last=True, maintain_order=True)
            .with_columns(rank=pl.int_range(1, pl.len() + 1))
        )
    tables.sort(key=lambda table: -float(table["strength"][0]))
    return pl.concat(tables)


def _concepts(neurons: pl.DataFrame, words: Mapping[str, tuple[int, float]], fdr: float) -> pl.DataFrame:
    counts = neurons.group_by("feature", maintain_order=True).agg(
        significant=q_value_is_significant(fdr).sum().cast(pl.Int64),
        tested=pl.col("q_value").count().cast(pl.Int64),
    )
    sizes = pl.DataFrame(
        [(feature, n, share) for feature, (n, share) in words.items()],
        schema={name: CONCEPT_SCHEMA[name] for name in ("feature", "words", "share")},
        orient="row",
    )
    best = neurons.filter(rank=1)
    return (
        best.join(counts, on="feature", maintain_order="left")
        .join(sizes, on="feature", maintain_order="left")
        .select(*CONCEPT_SCHEMA)
    )
