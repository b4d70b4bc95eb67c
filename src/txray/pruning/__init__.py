"""Ablate neurons in the forward pass, and compare the effect with that of random sets of the same size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.pruning.activation_stats import ActivationStats
    from txray.pruning.compact import compact_model
    from txray.pruning.effects import prune
    from txray.pruning.evaluation import Evaluator, evaluator
    from txray.pruning.mask import Mask
    from txray.pruning.masking import masked
    from txray.pruning.neuron_sets import NeuronSet, curve_sets, in_state, paper_sets, ranked
    from txray.pruning.pooling import pool_runs
    from txray.pruning.rankings import RANKINGS, RankingInputs
    from txray.pruning.result import Pruning

# Imported on first use: results can be read without torch.
_HOMES = {
    "ActivationStats": "activation_stats",
    "Evaluator": "evaluation",
    "Mask": "mask",
    "NeuronSet": "neuron_sets",
    "Pruning": "result",
    "RANKINGS": "rankings",
    "RankingInputs": "rankings",
    "compact_model": "compact",
    "curve_sets": "neuron_sets",
    "evaluator": "evaluation",
    "in_state": "neuron_sets",
    "masked": "masking",
    "paper_sets": "neuron_sets",
    "pool_runs": "pooling",
    "prune": "effects",
    "ranked": "neuron_sets",
}

__all__ = [
    "RANKINGS",
    "ActivationStats",
    "Evaluator",
    "Mask",
    "NeuronSet",
    "Pruning",
    "RankingInputs",
    "compact_model",
    "curve_sets",
    "evaluator",
    "in_state",
    "masked",
    "paper_sets",
    "pool_runs",
    "prune",
    "ranked",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
