"""What changed between two stages: distances, states, and their summary.

Everything here is computed from preferences alone, without the model or torch.
"""

from txray.transfer.comparison import STATES, Comparison, compare
from txray.transfer.distances import hellinger, hellinger_length, hellinger_published_code

__all__ = [
    "STATES",
    "Comparison",
    "compare",
    "hellinger",
    "hellinger_length",
    "hellinger_published_code",
]
