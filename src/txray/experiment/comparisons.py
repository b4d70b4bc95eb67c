"""Comparisons that answer the paper's three research questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from txray.analysis import Comparison, Timeline, compare, timeline
from txray.experiment.run import ExperimentResult, stage_name

FEATURE_TYPES = ("token", "pos")


@dataclass(frozen=True)
class PaperComparisons:
    """One comparison per question and feature type.

    Attributes:
        first: feature type -> first epoch and best epoch (pretraining builds up knowledge).
        last: the epoch before the best and the best epoch (knowledge settles).
        domain: the same model on pretraining text and on reviews (zero-shot transfer).
        supervision: the language model and the fine-tuned encoder on the same reviews.

    Source:
        Rethmeier et al. 2020, RQ1 (first, last), RQ2 (domain), RQ3 (supervision).
    """

    first: Mapping[str, Comparison]
    last: Mapping[str, Comparison]
    domain: Mapping[str, Comparison]
    supervision: Mapping[str, Comparison]

    @classmethod
    def of(cls, result: ExperimentResult) -> PaperComparisons:
        """Compare the stages of an experiment, with significance tests."""
        best = result.pretraining.best_epoch
        stages = result.stages
        settings = result.settings

        def pair(before: str, after: str) -> dict[str, Comparison]:
            return {
                feature_type: compare(
                    stages[before],
                    stages[after],
                    feature_type=feature_type,
                    permutations=settings.permutations,
                    seed=settings.seed,
                )
                for feature_type in FEATURE_TYPES
            }

        return cls(
            first=pair(stage_name(min(1, best), best), "unsup"),
            last=pair(stage_name(max(best - 1, 0), best), "unsup"),
            domain=pair("unsup", "zero-shot"),
            supervision=pair("zero-shot", "sup"),
        )

    def by_name(self) -> dict[str, Mapping[str, Comparison]]:
        """Return folder name -> comparisons by feature type."""
        return {
            "rq1-first-to-best": self.first,
            "rq1-last-to-best": self.last,
            "rq2-domain": self.domain,
            "rq3-supervision": self.supervision,
        }


def pretraining_timeline(result: ExperimentResult) -> Timeline:
    """Return the timeline of the epochs of pretraining, with loss and perplexity on validation text."""
    curves = result.pretraining.curves.filter(pl.col("split") == "validation")
    names = {epoch: stage.name for epoch, stage in result.epochs.items()}
    scores = curves.filter(pl.col("epoch").is_in(list(names))).select(
        pl.col("epoch").replace_strict(names, return_dtype=pl.String).alias("stage"), "loss", "perplexity"
    )
    return timeline(
        list(result.epochs.values()),
        scores=scores,
        permutations=result.settings.permutations,
        seed=result.settings.seed,
    )
