"""Show what the neurons of a text model know, and how that knowledge changes between stages."""

from __future__ import annotations

from txray.safe_path import guard_command

# Before any other import: the command `txray` imports nothing from the working folder.
guard_command()

from typing import TYPE_CHECKING  # noqa: E402

from txray._lazy import attach  # noqa: E402

if TYPE_CHECKING:
    from txray import activations as activations
    from txray import analysis as analysis
    from txray import capture as capture
    from txray import corpus as corpus
    from txray import engines as engines
    from txray import errors as errors
    from txray import experiment as experiment
    from txray import models as models
    from txray import plots as plots
    from txray import preferences as preferences
    from txray import pruning as pruning
    from txray import synthetic as synthetic
    from txray import tracking as tracking
    from txray import training as training
    from txray import web as web
    from txray._version import __version__ as __version__
    from txray.activations import SaveActivations as SaveActivations
    from txray.activations import StoredActivations as StoredActivations
    from txray.activations import read_activations as read_activations
    from txray.analysis import Comparison as Comparison
    from txray.analysis import ConceptRanking as ConceptRanking
    from txray.analysis import Decomposition as Decomposition
    from txray.analysis import LayerSimilarity as LayerSimilarity
    from txray.analysis import Matching as Matching
    from txray.analysis import ModelMatching as ModelMatching
    from txray.analysis import Persistence as Persistence
    from txray.analysis import Timeline as Timeline
    from txray.analysis import compare as compare
    from txray.analysis import match as match
    from txray.analysis import persistence as persistence
    from txray.analysis import rank_neurons as rank_neurons
    from txray.analysis import timeline as timeline
    from txray.capture import Layer as Layer
    from txray.capture import Selection as Selection
    from txray.capture.collect import collect as collect
    from txray.capture.decompose import decompose as decompose
    from txray.capture.layer_similarity import layer_similarity as layer_similarity
    from txray.capture.output.output_tokens import output_tokens as output_tokens
    from txray.corpus import Corpus as Corpus
    from txray.corpus import Document as Document
    from txray.corpus import Tagger as Tagger
    from txray.corpus import demo_corpus as demo_corpus
    from txray.corpus import read_corpus as read_corpus
    from txray.models import TextModel as TextModel
    from txray.models import load_autoencoder as load_autoencoder
    from txray.models import load_model as load_model
    from txray.preferences import Preferences as Preferences
    from txray.preferences import Stage as Stage
    from txray.preferences import StageFolder as StageFolder
    from txray.preferences import token_tags as token_tags
    from txray.pruning import Mask as Mask
    from txray.pruning import Pruning as Pruning
    from txray.pruning import masked as masked
    from txray.pruning import match_models as match_models
    from txray.pruning import prune as prune
    from txray.synthetic import SyntheticPair as SyntheticPair
    from txray.synthetic import synthetic_pair as synthetic_pair
    from txray.tracking import CollectSpec as CollectSpec
    from txray.tracking import Tracker as Tracker
    from txray.tracking import replay as replay
    from txray.web.dashboard import Dashboard as Dashboard
    from txray.web.dashboard import serve as serve
    from txray.web.report import report as report

# Imported on first use, so that `import txray` brings in neither torch nor plotly.
__getattr__, __dir__, __all__ = attach(__name__)
