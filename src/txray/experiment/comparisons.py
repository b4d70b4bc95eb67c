"""The comparisons that answer the paper's three questions."""

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
        first: feature type -> first epoch against the best (pretraining builds knowledge up).
        last: the epoch before the best against the best (it settles).
        domain: the same model on pretraining text against reviews (zero-shot transfer).
        supervision: the model on reviews against the fine-tuned encoder on the same reviews.

    Source:
        Rethmeier et al. 2020, RQ1 (first, last), RQ2 (domain), RQ3 (supervision).
    """

    first: Mapping[str, Comparison]
    last: Mapping[str, Comparison]
    domain: Mapping[str, Comparison]
    supervision: Mapping[str, Comparison]

    @classmethod
    def of(cls, outcome: ExperimentResult) -> PaperComparisons:
        """Compare the stages of an experiment, and test what changed."""
        best = outcome.pretraining.best_epoch
        stages = outcome.stages
        settings = outcome.settings

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
        """Folder name -> comparisons by feature type."""
        return {
            "rq1-first-to-best": self.first,
            "rq1-last-to-best": self.last,
            "rq2-domain": self.domain,
            "rq3-supervision": self.supervision,
        }


def timeline_of(outcome: ExperimentResult) -> Timeline:
    """The epochs of pretraining beside loss and perplexity on validation text."""
    curves = outcome.pretraining.curves.filter(pl.col("split") == "validation")
    names = {epoch: stage.name for epoch, stage in outcome.epochs.items()}
    scores = curves.filter(pl.col("epoch").is_in(list(names))).select(
        pl.col("epoch").replace_strict(names, return_dtype=pl.String).alias("stage"), "loss", "perplexity"
    )
    return timeline(
        list(outcome.epochs.values()),
        scores=scores,
        permutations=outcome.settings.permutations,
        seed=outcome.settings.seed,
    )
