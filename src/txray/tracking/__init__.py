"""Tracking of a training: stages at regular steps or epochs, their comparison, and logging to W&B and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.tracking.checkpoint_replay import replay
    from txray.tracking.checkpoints import Checkpoint, find_checkpoints
    from txray.tracking.collect_spec import CollectSpec
    from txray.tracking.hugging_face import HuggingFaceCallback
    from txray.tracking.lightning import LightningCallback
    from txray.tracking.log_dispatch import FIGURES
    from txray.tracking.loggers import Logger
    from txray.tracking.tracker import Tracker

# Looked up on first use: each callback needs a library of its own.
_HOMES = {
    "Checkpoint": "checkpoints",
    "FIGURES": "log_dispatch",
    "HuggingFaceCallback": "hugging_face",
    "LightningCallback": "lightning",
    "Logger": "loggers",
    "CollectSpec": "collect_spec",
    "Tracker": "tracker",
    "find_checkpoints": "checkpoints",
    "replay": "checkpoint_replay",
}

__all__ = [
    "FIGURES",
    "Checkpoint",
    "CollectSpec",
    "HuggingFaceCallback",
    "LightningCallback",
    "Logger",
    "Tracker",
    "find_checkpoints",
    "replay",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
