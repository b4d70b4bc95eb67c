"""Sections of the report: pretraining, zero-shot, supervision, pruning."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from txray import plots
from txray.analysis import Comparison, Timeline
from txray.experiment.comparisons import PaperComparisons
from txray.experiment.pruning import PruningResults
from txray.experiment.run import ExperimentResult
from txray.plots import StageStyle
from txray.preferences import Stage, token_tags
from txray.web.report import Picture, Section, volcano_picture


def sections(
    result: ExperimentResult, comparisons: PaperComparisons, epochs: Timeline, pruning: PruningResults
) -> list[Section]:
    """Return one section per research question, with the figures of the paper and significance, and one on pruning.

    Args:
        result: the experiment.
        comparisons: its comparisons.
        epochs: timeline of pretraining.
        pruning: effects of pruning the fine-tuned classifier.
    """
    stages = list(result.stages.values())
    styles = plots.stage_styles([stage.name for stage in stages])
    tags = token_tags(stages)
    best = result.pretraining.best_epoch
    return [
        Section(
            "Pretraining: knowledge builds up",
            f"The language model reads text for {max(result.pretraining.snapshots)} epochs; epoch {best} is the "
            "best on validation text and is called unsup below. How far do preferences move from the first epoch to "
            "the best, and how far in the last epoch before it? A neuron that wins few words shows a large distance "
            "even without training, so every distance is shown with the distance expected without change.",
            [
                Picture(plots.training_curves(result.pretraining.curves)),
                Picture(
                    plots.timeline(epochs),
                    "During training all changes slow down: a rank correlation that vanishes without the common trend "
                    "is no evidence that one change follows the other.",
                ),
                Picture(plots.knowledge_flow(epochs)),
                Picture(plots.stage_distances(epochs)),
                Picture(
                    plots.pos_first(epochs),
                    "If parts of speech were learned first, their line would lie below the band and below the "
                    "untrained model: mass would follow them more closely than other groupings of words.",
                ),
                Picture(
                    plots.pos_frequency(
                        comparisons.first["pos"].before, comparisons.first["pos"].after, styles=styles
                    ),
                    "Corpus frequency is the null model: mass that only follows it says little, since that of an "
                    "untrained model does so too.",
                ),
                *_distances(comparisons.first["token"], "first epoch and best epoch"),
                *_distances(comparisons.last["token"], "the epoch before the best and the best epoch"),
            ],
        ),
        Section(
            "Zero-shot: the same model in a new domain",
            "The language model is not trained further, but reads reviews. What changes is which part of its "
            "knowledge the new text uses.",
            [
                Picture(_mass(stages, ("unsup", "zero-shot"), styles)),
                *_distances(comparisons.domain["token"], "pretraining text and reviews"),
                *_neurons(comparisons.domain, tags, styles),
            ],
        ),
        Section(
            "Supervision: what fine-tuning keeps, avoids and gains",
            "The encoder is fine-tuned to classify reviews as positive or negative, and reads the same reviews again.",
            [
                Picture(plots.classifier_curves(result.fine_tuning.curves)),
                Picture(_mass(stages, ("unsup", "zero-shot", "sup"), styles)),
                *_distances(comparisons.supervision["token"], "before and after fine-tuning"),
                Picture(
                    plots.length_shift(comparisons.supervision["token"], styles=styles),
                    "A neuron that wins fewer words also prefers fewer features; compare its wins before calling it "
                    "specialised.",
                ),
                Picture(plots.length_shift(comparisons.supervision["pos"], styles=styles)),
                *_neurons(comparisons.supervision, tags, styles),
                Picture(
                    plots.gained_table(comparisons.supervision["token"]),
                    "Neurons that win words of the reviews in the classifier, but none in the language model. They may "
                    "have been active there without being the strongest.",
                ),
            ],
        ),
        _pruning(pruning),
    ]


def _pruning(pruning: PruningResults) -> Section:
    return Section(
        "Pruning: which neurons can be removed",
        "Neurons of the classifier are ablated at every step, and the classifier is scored again. Removing any neurons "
        "has an effect, so each set is shown with random sets of the same size: only an effect that random sets do not "
        "have is due to the choice of neurons.",
        [
            Picture(
                plots.pruning_effects(pruning.sets, "f1"),
                "F1 depends on where the threshold lies, which ablating any neurons can shift; AUROC does not.",
            ),
            Picture(plots.pruning_effects(pruning.sets, "auroc")),
            Picture(plots.pruning_gap(pruning.sets, "f1")),
            Picture(
                plots.sparsity_curves(pruning.curves, "auroc"),
                "A ranking is useful where its line is above the band of random sets.",
            ),
            Picture(plots.sparsity_curves(pruning.curves, "f1")),
        ],
    )


def _distances(comparison: Comparison, stages: str) -> list[Picture]:
    caption = (
        f"{stages[0].upper()}{stages[1:]}. Use it to find interesting neurons: distances at very different lengths are "
        "not comparable. Click a neuron to see its preferences."
    )
    return [Picture(plots.hellinger_length(comparison), caption, comparison), *volcano_picture(comparison)]


def _neurons(
    pair: Mapping[str, Comparison], tags: Mapping[str, str], styles: Mapping[str, StageStyle]
) -> list[Picture]:
    figures = (plots.most_changed_neurons, plots.least_changed_neurons)
    return [Picture(draw(pair["token"], pos=pair["pos"], token_tags=tags, styles=styles)) for draw in figures]


def _mass(stages: list[Stage], names: tuple[str, ...], styles: Mapping[str, StageStyle]) -> go.Figure:
    preferences = [stage.preferences() for stage in stages if stage.name in names]
    return plots.mass_activation(preferences, styles=styles)
