"""See what the neurons of a text model know, and how that knowledge changes between stages."""

from __future__ import annotations

from txray.safe_path import guard_command

# Before anything else is imported: of the command `txray`, nothing comes from the working folder.
guard_command()

from typing import TYPE_CHECKING  # noqa: E402

from txray._lazy import lazily  # noqa: E402

if TYPE_CHECKING:
    from txray import engines, errors, models, plots, tracking, training
    from txray.analysis import (
        Comparison,
        LayerSimilarity,
        Matching,
        Timeline,
        compare,
        match,
        timeline,
        with_significance,
    )
    from txray.capture import Layer, Selection, collect, layer_similarity
    from txray.corpus import Corpus, Document, Tagger, demo_corpus, read_corpus
    from txray.models import TextModel, load_model
    from txray.preferences import Preferences, Stage, StageFolder, token_tags
    from txray.pruning import Mask, Pruning, masked, prune
    from txray.synthetic import SyntheticPair, synthetic_pair
    from txray.tracking import CollectSpec, Tracker, replay
    from txray.web.dashboard import Dashboard, serve
    from txray.web.report import report

# Looked up on first use, so that `import txray` brings in neither torch nor plotly.
_HOMES = {
    "Comparison": "analysis",
    "Corpus": "corpus",
    "Dashboard": "web.dashboard",
    "Document": "corpus",
    "Layer": "capture",
    "Mask": "pruning",
    "Pruning": "pruning",
    "LayerSimilarity": "analysis",
    "Matching": "analysis",
    "SyntheticPair": "synthetic",
    "Preferences": "preferences",
    "CollectSpec": "tracking",
    "Selection": "capture",
    "Stage": "preferences",
    "Tagger": "corpus",
    "TextModel": "models",
    "Timeline": "analysis",
    "Tracker": "tracking",
    "collect": "capture",
    "compare": "analysis",
    "demo_corpus": "corpus",
    "layer_similarity": "capture.layer_similarity",
    "load_model": "models",
    "StageFolder": "preferences",
    "masked": "pruning",
    "match": "analysis",
    "prune": "pruning",
    "synthetic_pair": "synthetic",
    "replay": "tracking",
    "report": "web.report",
    "serve": "web.dashboard",
    "timeline": "analysis",
    "token_tags": "preferences",
    "read_corpus": "corpus",
    "with_significance": "analysis",
}
_PACKAGES = (
    "analysis",
    "capture",
    "corpus",
    "engines",
    "errors",
    "experiment",
    "models",
    "plots",
    "preferences",
    "pruning",
    "synthetic",
    "tracking",
    "training",
    "web",
)

__all__ = [
    "CollectSpec",
    "Comparison",
    "Corpus",
    "Dashboard",
    "Document",
    "Layer",
    "LayerSimilarity",
    "Mask",
    "Matching",
    "Preferences",
    "Pruning",
    "Selection",
    "Stage",
    "StageFolder",
    "SyntheticPair",
    "Tagger",
    "TextModel",
    "Timeline",
    "Tracker",
    "collect",
    "compare",
    "demo_corpus",
    "engines",
    "errors",
    "layer_similarity",
    "load_model",
    "masked",
    "match",
    "models",
    "plots",
    "prune",
    "read_corpus",
    "replay",
    "report",
    "serve",
    "synthetic_pair",
    "timeline",
    "token_tags",
    "tracking",
    "training",
    "with_significance",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__, _PACKAGES)
