"""Silence neurons in the real forward pass, tell what that does, and whether random sets do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.pruning.activity import Activity
    from txray.pruning.effects import prune
    from txray.pruning.evaluation import Evaluator, evaluator
    from txray.pruning.files import load_masks, save_masks
    from txray.pruning.mask import Mask
    from txray.pruning.masking import masked
    from txray.pruning.plans import curve_sets, paper_sets
    from txray.pruning.pooling import pool
    from txray.pruning.rankings import RANKINGS, Evidence
    from txray.pruning.result import Pruning, load_pruning
    from txray.pruning.sets import NeuronSet, in_state, ranked
    from txray.pruning.smaller import compact

# Looked up on first use: what was found can be read without torch.
_HOMES = {
    "Activity": "activity",
    "Evaluator": "evaluation",
    "Evidence": "rankings",
    "Mask": "mask",
    "NeuronSet": "sets",
    "Pruning": "result",
    "RANKINGS": "rankings",
    "compact": "smaller",
    "curve_sets": "plans",
    "evaluator": "evaluation",
    "in_state": "sets",
    "load_masks": "files",
    "load_pruning": "result",
    "masked": "masking",
    "paper_sets": "plans",
    "pool": "pooling",
    "prune": "effects",
    "ranked": "sets",
    "save_masks": "files",
}

__all__ = [
    "RANKINGS",
    "Activity",
    "Evaluator",
    "Evidence",
    "Mask",
    "NeuronSet",
    "Pruning",
    "compact",
    "curve_sets",
    "evaluator",
    "in_state",
    "load_masks",
    "load_pruning",
    "masked",
    "paper_sets",
    "pool",
    "prune",
    "ranked",
    "save_masks",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
