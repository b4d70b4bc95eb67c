"""Comparison of stages: distances, states, significance, matching, timelines and similarity of layers.

Everything here is computed from preferences, or from sums over activations, without the model or torch.
"""

from txray.analysis.comparison import Comparison, compare
from txray.analysis.concepts.ranking import ConceptRanking, rank_neurons
from txray.analysis.concepts.shift import ConceptShift
from txray.analysis.correlation import RankCorrelation, rank_correlation
from txray.analysis.decomposition import Decomposition
from txray.analysis.decomposition_tables import COMPARED, MARGINS, VERDICTS
from txray.analysis.distances import DISTANCES, hellinger, hellinger_length, hellinger_published_code
from txray.analysis.effect_sizes import EffectSize, effect_size
from txray.analysis.equivalence import Equivalence
from txray.analysis.findings import Findings
from txray.analysis.layers.affinity import layer_affinity
from txray.analysis.layers.cka import BestMatches, best_matches, cka, cka_debiased
from txray.analysis.layers.moments import CrossMoments
from txray.analysis.layers.result import MEASURES, LayerSimilarity
from txray.analysis.layers.soft_matching import ChanceSimilarity, chance_similarity, procrustes, soft_match
from txray.analysis.mass_inequality import gini, half_mass, share_of_top
from txray.analysis.matching.assignment import MATCH_STATES
from txray.analysis.matching.match import Matching, match
from txray.analysis.matching.model_matching import MATCH_BY, ModelMatching
from txray.analysis.matching.persistence import PERSISTENCE_STATES, Persistence, persistence
from txray.analysis.neuron_change import NeuronChange
from txray.analysis.significance.families import one_family
from txray.analysis.significance.rarefaction import rarefied_lengths
from txray.analysis.states import CONFIDENT_STATES, SHOWN_STATES, STATES
from txray.analysis.summaries import change_measures, stage_measures
from txray.analysis.tag_mass_test import MassMatch, mass_divergence, mass_match
from txray.analysis.timeline_tables import CHANGES, REFERENCES
from txray.analysis.timelines import Timeline, timeline
from txray.analysis.totals import compare_totals

__all__ = [
    "CHANGES",
    "COMPARED",
    "CONFIDENT_STATES",
    "DISTANCES",
    "MARGINS",
    "MATCH_BY",
    "MATCH_STATES",
    "MEASURES",
    "PERSISTENCE_STATES",
    "REFERENCES",
    "SHOWN_STATES",
    "STATES",
    "VERDICTS",
    "BestMatches",
    "ChanceSimilarity",
    "Comparison",
    "ConceptRanking",
    "ConceptShift",
    "CrossMoments",
    "Decomposition",
    "EffectSize",
    "Equivalence",
    "Findings",
    "LayerSimilarity",
    "MassMatch",
    "Matching",
    "ModelMatching",
    "NeuronChange",
    "Persistence",
    "RankCorrelation",
    "Timeline",
    "best_matches",
    "chance_similarity",
    "change_measures",
    "cka",
    "cka_debiased",
    "compare",
    "compare_totals",
    "effect_size",
    "gini",
    "half_mass",
    "hellinger",
    "hellinger_length",
    "hellinger_published_code",
    "layer_affinity",
    "mass_divergence",
    "mass_match",
    "match",
    "one_family",
    "persistence",
    "procrustes",
    "rank_correlation",
    "rank_neurons",
    "rarefied_lengths",
    "share_of_top",
    "soft_match",
    "stage_measures",
    "timeline",
]
