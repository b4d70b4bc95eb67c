"""See what the neurons of a text model know, and how that knowledge changes between stages."""

from __future__ import annotations

from txray.safe_path import guard_command

# Before anything else is imported: of the command `txray`, nothing comes from the working folder.
guard_command()

from typing import TYPE_CHECKING  # noqa: E402

from txray.lazy import lazily  # noqa: E402

if TYPE_CHECKING:
    from txray import engines, errors, models, plots, tracking, training
    from txray.capture import Layer, Selection, collect
    from txray.corpus import Corpus, Document, Tagger, demo_corpus, read_corpus
    from txray.dashboard import Dashboard, serve
    from txray.models import TextModel, load_model
    from txray.planting import Planted, planted
    from txray.preferences import Preferences, Stage, load_stage, token_tags
    from txray.pruning import Mask, Pruning, masked, prune
    from txray.reporting import report
    from txray.similarity import layer_similarity
    from txray.tracking import Probe, Tracker, replay
    from txray.transfer import (
        Comparison,
        LayerSimilarity,
        Matching,
        Timeline,
        compare,
        match,
        timeline,
        with_significance,
    )

# Looked up on first use, so that `import txray` brings in neither torch nor plotly.
_HOMES = {
    "Comparison": "transfer",
    "Corpus": "corpus",
    "Dashboard": "dashboard",
    "Document": "corpus",
    "Layer": "capture",
    "Mask": "pruning",
    "Pruning": "pruning",
    "LayerSimilarity": "transfer",
    "Matching": "transfer",
    "Planted": "planting",
    "Preferences": "preferences",
    "Probe": "tracking",
    "Selection": "capture",
    "Stage": "preferences",
    "Tagger": "corpus",
    "TextModel": "models",
    "Timeline": "transfer",
    "Tracker": "tracking",
    "collect": "capture",
    "compare": "transfer",
    "demo_corpus": "corpus",
    "layer_similarity": "similarity",
    "load_model": "models",
    "load_stage": "preferences",
    "masked": "pruning",
    "match": "transfer",
    "prune": "pruning",
    "planted": "planting",
    "replay": "tracking",
    "report": "reporting",
    "serve": "dashboard",
    "timeline": "transfer",
    "token_tags": "preferences",
    "read_corpus": "corpus",
    "with_significance": "transfer",
}
_PACKAGES = (
    "capture",
    "corpus",
    "dashboard",
    "engines",
    "errors",
    "experiment",
    "models",
    "planting",
    "plots",
    "preferences",
    "pruning",
    "reporting",
    "similarity",
    "tracking",
    "training",
    "transfer",
)

__all__ = [
    "Comparison",
    "Corpus",
    "Dashboard",
    "Document",
    "Layer",
    "LayerSimilarity",
    "Mask",
    "Matching",
    "Planted",
    "Preferences",
    "Probe",
    "Pruning",
    "Selection",
    "Stage",
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
    "load_stage",
    "masked",
    "match",
    "models",
    "planted",
    "plots",
    "prune",
    "read_corpus",
    "replay",
    "report",
    "serve",
    "timeline",
    "token_tags",
    "tracking",
    "training",
    "with_significance",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__, _PACKAGES)
