"""From a model and a corpus to a stage, in one pass: hooks, batches, selection, tally."""

from txray.capture.collect import collect
from txray.capture.hooks import capturing, layer_names
from txray.capture.selection import Selection

__all__ = ["Selection", "capturing", "collect", "layer_names"]
