"""Silence neurons in the real forward pass, tell what that does, and whether random sets do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.pruning.activity import Activity as Activity
    from txray.pruning.effects import prune as prune
    from txray.pruning.evaluation import Evaluator as Evaluator
    from txray.pruning.evaluation import evaluator as evaluator
    from txray.pruning.files import load_masks as load_masks
    from txray.pruning.files import save_masks as save_masks
    from txray.pruning.mask import Mask as Mask
    from txray.pruning.masking import masked as masked
    from txray.pruning.plans import curve_sets as curve_sets
    from txray.pruning.plans import paper_sets as paper_sets
    from txray.pruning.pooling import pool as pool
    from txray.pruning.rankings import RANKINGS as RANKINGS
    from txray.pruning.rankings import Evidence as Evidence
    from txray.pruning.result import Pruning as Pruning
    from txray.pruning.result import load_pruning as load_pruning
    from txray.pruning.sets import NeuronSet as NeuronSet
    from txray.pruning.sets import in_state as in_state
    from txray.pruning.sets import ranked as ranked
    from txray.pruning.smaller import compact as compact

# Imported on first use: what was found can be read without torch.
__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "activity": "Activity",
        "effects": "prune",
        "evaluation": "Evaluator evaluator",
        "files": "load_masks save_masks",
        "mask": "Mask",
        "masking": "masked",
        "plans": "curve_sets paper_sets",
        "pooling": "pool",
        "rankings": "Evidence RANKINGS",
        "result": "Pruning load_pruning",
        "sets": "NeuronSet in_state ranked",
        "smaller": "compact",
    },
)
