"""Collect a stage from a model and a corpus in one pass.

DocumentStream      document -> inputs of the model, counted and hashed     loop, text.encoding
batches             inputs -> batches of similar length                     text.batching, text.prefetch
ActivationSource    batch -> chunks of words, with a tensor per layer       source; of a model or of files:
ModelAdapter        batch -> forward passes; the words of each as a chunk   model_adapter
StoredAdapter       batch -> rows of files, aligned with words              stored.adapter, stored.alignment
Captured            forward pass -> one tensor per hook point               forward.hooks; found by layers
Route               forward pass -> rows of one expert                      forward.routes, experts
HookPoint.read      tensor, chunk -> activations of the words               hook_point, forward.layout
select              activations -> those that count                         activations, selection, strongest_positions
ActivationRecorder  tensors -> files, before any selection                  stored.recorder
LayerTally          selected activations -> preferences and exemplars       layer_tally, text.words
ConceptTally        activations -> counts in bins, by concept               concept_tally, concept_bins
Predictor           head -> predicted words; tokens that neurons promote    output
"""

from txray.capture.collect import collect
from txray.capture.forward.hooks import capturing, layer_names, matching_layers
from txray.capture.forward.layout import Axes
from txray.capture.forward.through import ThroughLike
from txray.capture.layer import Layer
from txray.capture.layers import LayerShape, layer_shapes
from txray.capture.model_adapter import Autocast
from txray.capture.request import CollectRequest, Engine
from txray.capture.roles import LayerRole, layer_roles
from txray.capture.selection import Selection
from txray.capture.smallest_set import SmallestSet, smallest_set
from txray.capture.transformer_lens import layer_of_hook

__all__ = [
    "Autocast",
    "Axes",
    "CollectRequest",
    "Engine",
    "Layer",
    "LayerRole",
    "LayerShape",
    "Selection",
    "SmallestSet",
    "ThroughLike",
    "capturing",
    "collect",
    "layer_names",
    "layer_of_hook",
    "layer_roles",
    "layer_shapes",
    "matching_layers",
    "smallest_set",
]
