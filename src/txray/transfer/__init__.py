"""What changed between two stages: distances, states, their summary, and which changes are more than chance.

Everything here is computed from preferences alone, without the model or torch.
"""

from txray.transfer.comparison import STATES, Comparison, compare
from txray.transfer.distances import DISTANCES, hellinger, hellinger_length, hellinger_published_code
from txray.transfer.lengths import rarefied_lengths
from txray.transfer.matching import MATCH_STATES, Matching, match
from txray.transfer.significance import CONFIDENT_STATES, with_significance

__all__ = [
    "CONFIDENT_STATES",
    "DISTANCES",
    "MATCH_STATES",
    "STATES",
    "Comparison",
    "Matching",
    "compare",
    "hellinger",
    "hellinger_length",
    "hellinger_published_code",
    "match",
    "rarefied_lengths",
    "with_significance",
]
