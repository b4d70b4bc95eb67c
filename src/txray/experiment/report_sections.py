"""The report's story: pretraining, zero-shot, supervised."""

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
    outcome: ExperimentResult, questions: PaperComparisons, epochs: Timeline, pruned: PruningResults
) -> list[Section]:
    """One section per question, with the figures of the paper and what is more than chance.

    Args:
        outcome: of the experiment.
        questions: its comparisons.
        epochs: of pretraining.
        pruned: the fine-tuned classifier.
    """
    stages = list(outcome.stages.values())
    styles = plots.stage_styles([stage.name for stage in stages])
    tags = token_tags(stages)
    best = outcome.pretraining.best_epoch
    return [
        Section(
            "Pretraining: knowledge builds up",
            f"The language model reads text for {max(outcome.pretraining.snapshots)} epochs; epoch {best} is the "
            "best on validation text and is called unsup from here on. How far do preferences move from the first "
            "epoch to the best, and how far in the last epoch before it? Even without any training a neuron that wins "
            "few words shows a large distance, so every distance stands beside the one that is seen where nothing "
            "changed.",
            [
                Picture(plots.training_curves(outcome.pretraining.curves)),
                Picture(
                    plots.timeline(epochs),
                    "Over a training everything slows down: a rank correlation that vanishes without the common trend "
                    "is no evidence that one follows the other.",
                ),
                Picture(plots.knowledge_flow(epochs)),
                Picture(plots.stage_distances(epochs)),
                Picture(
                    plots.pos_first(epochs),
                    "Were parts of speech learned first, their line would lie below the band and below the untrained "
                    "model: mass would follow them more closely than it follows any grouping of words.",
                ),
                Picture(
                    plots.pos_frequency(
                        questions.first["pos"].before, questions.first["pos"].after, styles=styles
                    ),
                    "Corpus frequency is the null model: mass that merely follows it says little, and an untrained "
                    "model follows it too.",
                ),
                *_distances(questions.first["token"], "first epoch against the best"),
                *_distances(questions.last["token"], "the last epoch before the best against the best"),
            ],
        ),
        Section(
            "Zero-shot: the same model in a new domain",
            "Nothing is trained here: the language model reads reviews instead. What changes is which of its "
            "knowledge the new text calls on.",
            [
                Picture(_mass(stages, ("unsup", "zero-shot"), styles)),
                *_distances(questions.domain["token"], "pretraining text against reviews"),
                *_neurons(questions.domain, tags, styles),
            ],
        ),
        Section(
            "Supervision: what fine-tuning keeps, avoids and gains",
            "The encoder is fine-tuned to tell positive from negative reviews and reads the same reviews again.",
            [
                Picture(plots.classifier_curves(outcome.fine_tuning.curves)),
                Picture(_mass(stages, ("unsup", "zero-shot", "sup"), styles)),
                *_distances(questions.supervision["token"], "before against after fine-tuning"),
                Picture(
                    plots.length_shift(questions.supervision["token"], styles=styles),
                    "A neuron that wins fewer words also has fewer features to show; compare its wins before "
                    "calling it specialised.",
                ),
                Picture(plots.length_shift(questions.supervision["pos"], styles=styles)),
                *_neurons(questions.supervision, tags, styles),
                Picture(
                    plots.gained_table(questions.supervision["token"]),
                    "Neurons that never won a word of the reviews in the language model, and do in the classifier. "
                    "They may have been active before without being the strongest.",
                ),
            ],
        ),
        _pruning(pruned),
    ]


def _pruning(pruned: PruningResults) -> Section:
    return Section(
        "Pruning: which neurons can go",
        "Neurons of the classifier are ablated at every time step, and the classifier is scored again. Taking away any "
        "neurons changes something, so every set stands beside random sets of as many neurons: only what random sets "
        "do not do is due to the choice.",
        [
            Picture(
                plots.pruning_effects(pruned.sets, "f1"),
                "F1 depends on where the threshold lies, which ablating any neurons can shift; AUROC does not.",
            ),
            Picture(plots.pruning_effects(pruned.sets, "auroc")),
            Picture(plots.pruning_gap(pruned.sets, "f1")),
            Picture(
                plots.sparsity_curves(pruned.curves, "auroc"),
                "A ranking is worth its name where its line stays above the band of random sets.",
            ),
            Picture(plots.sparsity_curves(pruned.curves, "f1")),
        ],
    )


def _distances(comparison: Comparison, what: str) -> list[Picture]:
    caption = (
        f"{what[0].upper()}{what[1:]}. Use it to find neurons worth a look: distances at very different lengths "
        "are not comparable. Click a neuron to see what it prefers."
    )
    return [Picture(plots.hellinger_length(comparison), caption, comparison), *volcano_picture(comparison)]


def _neurons(
    pair: Mapping[str, Comparison], tags: Mapping[str, str], styles: Mapping[str, StageStyle]
) -> list[Picture]:
    figures = (plots.most_changed_neurons, plots.least_changed_neurons)
    return [Picture(draw(pair["token"], pos=pair["pos"], token_tags=tags, styles=styles)) for draw in figures]


def _mass(stages: list[Stage], names: tuple[str, ...], styles: Mapping[str, StageStyle]) -> go.Figure:
    chosen = [stage.preferences() for stage in stages if stage.name in names]
    return plots.mass_activation(chosen, styles=styles)
