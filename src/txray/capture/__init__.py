"""Collect a stage from a model and a corpus in one pass: hooks, batches, selection, tallies."""

from txray.capture.collect import collect
from txray.capture.hooks import capturing, layer_names, matching_layers
from txray.capture.layers import Layer, LayerShape, layer_shapes
from txray.capture.layout import Axes
from txray.capture.model_adapter import Autocast
from txray.capture.request import CollectRequest, Engine
from txray.capture.selection import Selection

__all__ = [
    "Autocast",
    "Axes",
    "CollectRequest",
    "Engine",
    "Layer",
    "LayerShape",
    "Selection",
    "capturing",
    "collect",
    "layer_names",
    "layer_shapes",
    "matching_layers",
]
