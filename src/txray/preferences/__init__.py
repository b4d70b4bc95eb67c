"""The preferences of neurons: the streaming tally, the frozen result, and the stage folder.

This package needs neither the model nor torch: preferences are collected once, while the model runs, and everything
else is computed from them.
"""

from txray.preferences.distributions import Distributions, aligned
from txray.preferences.exemplars import ExemplarTally, Occurrence
from txray.preferences.folder_merge import merge_folders
from txray.preferences.folds import document_key, fold_of
from txray.preferences.lift import lift
from txray.preferences.merge import merge_stages
from txray.preferences.neuron import NeuronPreferences
from txray.preferences.preferences import Preferences
from txray.preferences.stage import Stage
from txray.preferences.stage_folder import StageFolder
from txray.preferences.stage_like import StageLike, as_stage, as_stages
from txray.preferences.tags import token_tags
from txray.preferences.tally import Tally

__all__ = [
    "Distributions",
    "ExemplarTally",
    "NeuronPreferences",
    "Occurrence",
    "Preferences",
    "Stage",
    "StageFolder",
    "StageLike",
    "Tally",
    "aligned",
    "as_stage",
    "as_stages",
    "document_key",
    "fold_of",
    "lift",
    "merge_folders",
    "merge_stages",
    "token_tags",
]
