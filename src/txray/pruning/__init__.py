"""Ablate neurons in the forward pass, and compare the effect with that of random sets of the same size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.pruning.activation_stats import ActivationStats as ActivationStats
    from txray.pruning.advice import Advice as Advice
    from txray.pruning.compact import compact_model as compact_model
    from txray.pruning.effects import prune as prune
    from txray.pruning.evaluation import Evaluator as Evaluator
    from txray.pruning.evaluation import evaluator as evaluator
    from txray.pruning.export import Export as Export
    from txray.pruning.export import export_model as export_model
    from txray.pruning.mask import Mask as Mask
    from txray.pruning.masking import masked as masked
    from txray.pruning.model_matching import match_models as match_models
    from txray.pruning.neuron_sets import NeuronSet as NeuronSet
    from txray.pruning.neuron_sets import curve_sets as curve_sets
    from txray.pruning.neuron_sets import in_state as in_state
    from txray.pruning.neuron_sets import paper_sets as paper_sets
    from txray.pruning.neuron_sets import ranked as ranked
    from txray.pruning.pooling import pool_runs as pool_runs
    from txray.pruning.rankings import RANKINGS as RANKINGS
    from txray.pruning.rankings import RankingInputs as RankingInputs
    from txray.pruning.removal_search import advise as advise
    from txray.pruning.result import Pruning as Pruning

# Imported on first use: results can be read without torch.
__getattr__, __dir__, __all__ = attach(__name__)
