"""What changed between two stages: distances, states, their summary, and which changes are more than chance.

Everything here is computed from preferences, or from sums over activations, without the model or torch.
"""

from txray.transfer.comparison import Comparison, compare
from txray.transfer.concentration import gini, half_mass, share_of_top
from txray.transfer.correlation import RankCorrelation, rank_correlation
from txray.transfer.distances import DISTANCES, hellinger, hellinger_length, hellinger_published_code
from txray.transfer.effect_size import EffectSize, effect_size
from txray.transfer.findings import CONFIDENT_STATES, SHOWN_STATES, STATES, Findings
from txray.transfer.layer_similarity import MEASURES, LayerSimilarity
from txray.transfer.layers import layer_affinity
from txray.transfer.lengths import rarefied_lengths
from txray.transfer.matching import MATCH_STATES, Matching, match
from txray.transfer.measures import change_measures, stage_measures
from txray.transfer.moments import CrossMoments
from txray.transfer.pos_first import MassMatch, mass_divergence, mass_match
from txray.transfer.significance import with_significance
from txray.transfer.similarity import BestMatches, best_matches, cka, cka_debiased
from txray.transfer.timelines import CHANGES, REFERENCES, Timeline, timeline

__all__ = [
    "CHANGES",
    "CONFIDENT_STATES",
    "DISTANCES",
    "MATCH_STATES",
    "MEASURES",
    "REFERENCES",
    "SHOWN_STATES",
    "STATES",
    "BestMatches",
    "Comparison",
    "CrossMoments",
    "EffectSize",
    "Findings",
    "LayerSimilarity",
    "MassMatch",
    "Matching",
    "RankCorrelation",
    "Timeline",
    "best_matches",
    "change_measures",
    "cka",
    "cka_debiased",
    "compare",
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
    "rank_correlation",
    "rarefied_lengths",
    "share_of_top",
    "stage_measures",
    "timeline",
    "with_significance",
]
