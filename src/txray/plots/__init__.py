"""Figures: each function takes results and returns a plotly figure; nothing is written or shown."""

from txray.plots.concepts import concept_neurons, concept_shift
from txray.plots.curves import classifier_curves, training_curves
from txray.plots.decomposition import decomposition, model_and_text
from txray.plots.export import save_figure, save_figures, to_html
from txray.plots.flow import knowledge_flow
from txray.plots.frequency import pos_frequency
from txray.plots.gained import gained_neurons, gained_table
from txray.plots.gap import pruning_gap
from txray.plots.layers import layer_affinity, layer_similarity
from txray.plots.mass import mass_activation
from txray.plots.match_strength import match_strength
from txray.plots.matching import matching, matching_curve
from txray.plots.neuron_figures import least_changed_neurons, most_changed_neurons, neuron_detail
from txray.plots.persistence import persistence
from txray.plots.pos_first import pos_first
from txray.plots.pruning import pruning_effects
from txray.plots.removal_bounds import removal_bounds
from txray.plots.scatter import hellinger_length
from txray.plots.shift import length_shift
from txray.plots.sparsity import sparsity_curves
from txray.plots.states import states
from txray.plots.theme import StageStyle, stage_styles
from txray.plots.timeline import stage_distances, timeline
from txray.plots.volcano import volcano

__all__ = [
    "StageStyle",
    "classifier_curves",
    "concept_neurons",
    "concept_shift",
    "decomposition",
    "gained_neurons",
    "gained_table",
    "hellinger_length",
    "knowledge_flow",
    "layer_affinity",
    "layer_similarity",
    "least_changed_neurons",
    "length_shift",
    "mass_activation",
    "match_strength",
    "matching",
    "matching_curve",
    "model_and_text",
    "most_changed_neurons",
    "neuron_detail",
    "persistence",
    "pos_first",
    "pos_frequency",
    "pruning_effects",
    "pruning_gap",
    "removal_bounds",
    "save_figure",
    "save_figures",
    "sparsity_curves",
    "stage_distances",
    "stage_styles",
    "states",
    "timeline",
    "to_html",
    "training_curves",
    "volcano",
]
